"""Decoding graphs in OpenFst's binary form: written of a few symbols, and read."""

import struct
from collections.abc import Sequence
from pathlib import Path

MAGIC, VERSION = 2125659606, 2
EXPANDED_AND_MUTABLE = 3


def write_graph(path: Path, symbols: Sequence[int]) -> None:
    """One state. Labels are symbols plus one: 0 would be no symbol at all."""
    kinds = b"".join(struct.pack("<i", len(word)) + word for word in (b"vector", b"standard"))
    head = struct.pack("<i", MAGIC) + kinds
    head += struct.pack("<iiQqqq", VERSION, 0, EXPANDED_AND_MUTABLE, 0, 1, len(symbols))
    state = struct.pack("<fq", 0.0, len(symbols))
    arcs = (struct.pack("<iifi", symbol + 1, symbol + 1, 0.0, 0) for symbol in symbols)
    path.write_bytes(head + state + b"".join(arcs))


Arc = tuple[int, float]


def read_graph(path: Path) -> tuple[list[float], list[Arc]]:
    """Each state's cost of being the last, and each arc's label and cost."""
    data = path.read_bytes()
    at = 4
    for _ in range(2):
        at += 4 + struct.unpack_from("<i", data, at)[0]
    *_, states, _ = struct.unpack_from("<iiQqqq", data, at)
    at += struct.calcsize("<iiQqqq")
    finals: list[float] = []
    arcs: list[Arc] = []
    for _ in range(states):
        final, count = struct.unpack_from("<fq", data, at)
        at += 12
        finals.append(final)
        arcs += [(label, cost) for label, _, cost, _ in
                 struct.iter_unpack("<iifi", data[at : at + 16 * count])]  # fmt: skip
        at += 16 * count
    assert at == len(data)
    return finals, arcs
