"""What is written in an ONNX file's head, read without its weights and without a library for it.

Source: onnx.proto: ModelProto.graph = 7, .metadata_props = 14; StringStringEntryProto.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO


class ModelError(ValueError):
    """There is no model that can be used; the text says what was found and what is needed."""


def read_metadata(path: Path) -> dict[str, str]:
    """`metadata_props` of an ONNX file, without reading the weights.

    Raises:
        ModelError: If it is no ONNX file, or not all of it is there.
    """
    metadata = {}
    has_graph = False
    with path.open("rb") as file:
        size = path.stat().st_size
        try:
            while file.tell() < size:
                field, body = _next_field(file, size, {14})
                has_graph = has_graph or field == 7
                if field == 14:
                    entry = dict(_entries(body))
                    metadata[entry.get(1, "")] = entry.get(2, "")
        except EOFError:
            raise ModelError(f"{path} is cut short ({size} bytes); download it again") from None
        except (ValueError, UnicodeDecodeError):
            has_graph = False
    if not has_graph:
        raise ModelError(
            f"{path} is no ONNX file ({size} bytes); a Git LFS pointer or an error page in its "
            "place? Download it again"
        )
    return metadata


def _next_field(file: BinaryIO, size: int, wanted: set[int]) -> tuple[int, bytes]:
    """Number and, if it is wanted, content of the next field of a message; skips the others."""
    tag = _varint(file)
    field, wire_type = tag >> 3, tag & 7
    if field == 0 or wire_type not in (0, 1, 2, 5):
        raise ValueError(f"tag {tag}")
    if wire_type == 0:
        _varint(file)
        return field, b""
    length = _varint(file) if wire_type == 2 else {1: 8, 5: 4}[wire_type]
    if file.tell() + length > size:
        raise EOFError
    if field in wanted:
        return field, file.read(length)
    file.seek(length, 1)
    return field, b""


def _entries(body: bytes) -> Iterable[tuple[int, str]]:
    start = 0
    while start + 2 <= len(body):
        field, length, shift = body[start] >> 3, 0, 0
        start += 1
        while True:
            byte = body[start]
            length |= (byte & 127) << shift
            start, shift = start + 1, shift + 7
            if byte < 128:
                break
        yield field, body[start : start + length].decode()
        start += length


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("a number without an end")
