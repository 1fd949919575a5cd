"""An offer's text as lines, and these as sections; how long each may be.

Grammar: RFC 8866 §9.
"""

import re

MOST_BYTES = 16_384
MOST_LINES = 600
"""Chromium's longest, with two videos, has 300."""
LONGEST_LINE = 1024
MOST_SECTIONS = 8


class SdpError(Exception):
    """An offer that is not taken.

    Args:
        code: invalid_sdp, unsupported_sdp or sdp_too_large.
        line: Where, from 1; 0: as a whole.
    """

    def __init__(self, code: str, message: str, line: int = 0) -> None:
        self.code, self.line = code, line
        self.message = f"Line {line}: {message}" if line else message
        super().__init__(self.message)


class Part:
    """The session's lines, or an m-line with its own."""

    def __init__(self, line: int, head: str = "") -> None:
        self.line, self.head = line, head
        self.attributes: dict[str, list[tuple[int, str]]] = {}

    def add(self, line: int, attribute: str) -> None:
        name, _, value = attribute.partition(":")
        self.attributes.setdefault(name, []).append((line, value))

    def first(self, name: str) -> tuple[int, str] | None:
        return next(iter(self.attributes.get(name, ())), None)

    def all(self, name: str) -> list[tuple[int, str]]:
        return self.attributes.get(name, [])


_HEAD = re.compile(
    r"(?P<kind>[a-z]{1,16}) (?P<port>[0-9]{1,5})(/[0-9]{1,5})? (?P<protocol>[A-Za-z0-9/-]{1,32})"
    r"(?P<formats>( [A-Za-z0-9._*-]{1,64}){1,64})"
)


def parts_of(data: bytes) -> tuple[Part, list[Part]]:
    """The session's own lines, and each section.

    Raises:
        SdpError: Too long, or no such text.
    """
    if len(data) > MOST_BYTES:
        raise SdpError("sdp_too_large", f"An offer may have {MOST_BYTES} bytes, not {len(data)}.")
    try:
        lines = data.decode("utf-8").rstrip("\r\n").split("\n")
    except UnicodeDecodeError:
        raise SdpError("invalid_sdp", "The offer is not UTF-8 text.") from None
    if len(lines) > MOST_LINES:
        raise SdpError("sdp_too_large", f"An offer may have {MOST_LINES} lines, not {len(lines)}.")
    if lines[0].rstrip("\r") != "v=0":
        raise SdpError("invalid_sdp", 'an offer begins with "v=0".', 1)
    session, parts = Part(1), list[Part]()
    for number, raw in enumerate(lines, 1):
        line = raw.removesuffix("\r")
        if len(line) > LONGEST_LINE:
            raise SdpError("sdp_too_large", f"longer than {LONGEST_LINE} characters.", number)
        if line[1:2] != "=" or not "a" <= line[0] <= "z":
            raise SdpError("invalid_sdp", 'each line is a letter, "=" and a value.', number)
        if any(sign < " " or sign == "\x7f" for sign in line):
            raise SdpError("invalid_sdp", "a control character.", number)
        if line.startswith("m="):
            if len(parts) == MOST_SECTIONS:
                message = f"more than {MOST_SECTIONS} media sections."
                raise SdpError("sdp_too_large", message, number)
            parts.append(Part(number, line[2:]))
        elif line.startswith("a="):
            (parts[-1] if parts else session).add(number, line[2:])
    return session, parts


def head_of(part: Part) -> re.Match[str]:
    """kind, port, protocol and formats.

    Raises:
        SdpError: It is no media line.
    """
    if (head := _HEAD.fullmatch(part.head)) is None:
        raise SdpError("invalid_sdp", "not a media line: m=KIND PORT PROTOCOL FORMATS.", part.line)
    return head
