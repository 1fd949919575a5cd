"""Whether a file of OpenFst is whole: what loads one crashes where it is not.

    magic, type, arc type, version, flags, properties, start, states, arcs     little endian
    and for each state of a vector      final weight f32, arcs i64
        and for each of its arcs        input i32, output i32, weight f32, next state i32

Source: lib/fst.cc FstHeader::Read; include/fst/vector-fst.h VectorFstImpl::Read.
"""

import mmap
import struct
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np

MAGIC = (2125659606).to_bytes(4, "little")
HEAD = struct.Struct("<iiQqqq")
STATE = struct.Struct("<fq")
CONST_STATE_BYTES = 20
ARC = np.dtype([("input", "<i4"), ("output", "<i4"), ("weight", "<f4"), ("next", "<i4")])
WALKED_BYTES = 4_000_000
"""Of larger ones the arcs are stepped over, which takes a tenth of the time, 10 ms for each MB:
where they are cut off is found, a label that is none is not."""
HAS_SYMBOLS = 1 | 2
LONGEST_NAME = 64
COUNT_MISSING = -1
"""Of states: written to a pipe, it goes on to the file's end."""


class DamagedError(ValueError):
    """The file ends too soon, or holds what cannot be."""


def look_through(path: Path, labels: int) -> None:
    """Args:
        labels: How many input labels there are beside 0, which is none.
    Raises:
        DamagedError: Says where it is wrong.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= WALKED_BYTES:
            return _judge(file.read(), labels)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _judge(data, labels)


Data = bytes | mmap.mmap


def _judge(data: Data, labels: int) -> None:
    size = len(data)
    try:
        _look_through(data, size, labels)
    except (struct.error, UnicodeDecodeError):
        raise DamagedError(f"it ends within its head, {size} bytes long") from None


def _look_through(data: Data, size: int, labels: int) -> None:
    kind, at = _name(data, 4)
    arc_type, at = _name(data, at)
    if kind not in ("vector", "const") or arc_type != "standard":
        raise DamagedError(f"it says {kind!r} of {arc_type!r} arcs, not vector or const, standard")
    _, flags, _, start, states, arcs = HEAD.unpack_from(data, at)
    at += HEAD.size
    if states < COUNT_MISSING or arcs < COUNT_MISSING:
        raise DamagedError(f"it says that it has {states} states, {arcs} arcs")
    of_state = STATE.size if kind == "vector" else CONST_STATE_BYTES
    least = at + max(0, states) * of_state + max(0, arcs) * ARC.itemsize
    if least > size:
        raise DamagedError(f"{states} states and {arcs} arcs need {least} bytes, it has {size}")
    if states != COUNT_MISSING and not 0 <= start < states:
        raise DamagedError(f"it begins at state {start} of {states}")
    if kind != "vector" or flags & HAS_SYMBOLS:
        return
    if size <= WALKED_BYTES:
        _walk(data, at, states, labels)
    else:
        deque(_states(data, at, states), maxlen=0)


def _name(data: Data, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<i", data, at)
    if not 0 < length <= LONGEST_NAME:
        raise DamagedError(f"a name of {length} letters at byte {at}")
    end = at + 4 + length
    return data[at + 4 : end].decode(), end


def _states(data: Data, at: int, states: int) -> Iterator[tuple[int, int]]:
    """Where each one's arcs begin, and how many there are."""
    found, size = 0, len(data)
    while found < states or (states == COUNT_MISSING and at < size):
        if at + STATE.size > size:
            raise DamagedError(f"it ends at byte {size}, within state {found} of {states}")
        _, count = STATE.unpack_from(data, at)
        at += STATE.size
        if not 0 <= count <= (size - at) // ARC.itemsize:
            raise DamagedError(f"state {found} says it has {count} arcs, more than there are bytes")
        yield at, count
        at += count * ARC.itemsize
        found += 1


def _walk(data: Data, at: int, states: int, labels: int) -> None:
    places = list(_states(data, at, states))
    arcs = [np.frombuffer(data, ARC, count, begin) for begin, count in places if count]
    every = np.concatenate(arcs) if arcs else np.empty(0, ARC)
    for field, least, most in (("next", 0, len(places) - 1), ("input", 0, labels)):
        wrong = every[field][(every[field] < least) | (every[field] > most)]
        if wrong.size:
            raise DamagedError(f"an arc's {field} is {wrong[0]}, not {least} to {most}")
