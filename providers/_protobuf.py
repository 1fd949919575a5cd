"""Protocol buffers' wire format: just enough to take an ONNX file apart and to write a small one.

    tag = field number << 3 | type      0 varint   1 eight bytes   2 length and bytes   5 four bytes

Source: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field, in order; messages, strings and arrays as bytes.

    Raises:
        ValueError: It is cut short, or no such message.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind, size = tag & 7, {_FIXED64: 8, _FIXED32: 4}.get(tag & 7, 0)
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield tag >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif not size:
            raise ValueError(f"type {kind} of field {tag >> 3}")
        if at + size > len(message):
            raise ValueError(f"field {tag >> 3} is cut short")
        yield tag >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("cut short: a number without an end")
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def field(number: int, value: int | str | bytes) -> bytes:
    """One field; a message in a message is given as its bytes, and a number is 0 or more."""
    if isinstance(value, int):
        return _number(number << 3 | _VARINT) + _number(value)
    content = value.encode() if isinstance(value, str) else value
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
