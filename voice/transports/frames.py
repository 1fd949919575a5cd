"""WebSocket data frames that need no state machine: whole ones in, unfragmented ones out.

     0        1        2 … 10    4 bytes
    FIN op   M len     longer    mask      payload          RFC 6455 §5.2

Nearly all of a call is such frames, fifty a second and more for every caller, and `websockets`
walks each through three generators. What is anything else is left to it.
"""

from typing import Any

from websockets.server import ServerProtocol
from websockets.utils import apply_mask as _apply_mask

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel for this machine
    apply_mask = _apply_mask

TEXT, BINARY = 1, 2
_FINAL = 0x80
_MASKED = 0x80


def whole_frame(data: bytes, start: int) -> tuple[int, bytes, int] | None:
    """The message that lies at `start`, if it is one whole masked text or binary frame.

    Returns:
        TEXT or BINARY, the payload, and where the next frame begins. None: ask the protocol.
    """
    length = len(data)
    if length < start + 6:
        return None
    first, size = data[start], data[start + 1] - _MASKED
    if first != _FINAL | TEXT and first != _FINAL | BINARY:
        return None
    if 0 <= size < 126:
        mask = start + 2
    elif size == 126:
        size, mask = data[start + 2] << 8 | data[start + 3], start + 4
    else:  # unmasked; or so long that it is no frame of live audio
        return None
    begin = mask + 4
    end = begin + size
    if end > length:
        return None
    return first & 0x0F, apply_mask(data[begin:end], data[mask:begin]), end


def frame_of(payload: bytes, *, binary: bool) -> bytes:
    """A server's frame."""
    first, size = _FINAL | (BINARY if binary else TEXT), len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126, size >> 8, size & 0xFF)) + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload


def is_between_frames(conn: ServerProtocol) -> bool:
    """Whether the next byte begins a message of its own.

    The parser's generators alone know where in a frame they wait; between two it is for the end of
    the stream. One that waits elsewhere, or is built otherwise one day, gets every byte itself.
    """
    waits_in: Any = conn.parser
    while (inner := getattr(waits_in, "gi_yieldfrom", None)) is not None:
        waits_in = inner
    between = getattr(waits_in, "__name__", "") == "at_eof"
    return between and conn.current_size is None and conn.parser_exc is None
