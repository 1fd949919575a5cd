"""The answer to an offer: each section in its place, and our addresses as callers know them."""

from collections.abc import Iterable

from msgspec import Struct

from voice.sdp import Offer


class Announced(Struct, frozen=True):
    """What the server's own addresses are called outside."""

    public: str = ""
    """In place of those of its kind, IPv4 or IPv6; empty: as they are."""
    beside: bool = False
    """It does not replace them, it comes after them."""


SRFLX_PRIORITY = 100 << 24 | 65_535 << 8 | 255
"""Behind every host candidate: RFC 8445 §5.1.2.1."""


def answered(offer: Offer, answer: str, announced: Announced | None = None) -> str:
    """The peer's answer with a section for each one that was offered.

    Args:
        answer: To `offer.text`.
    """
    announced = announced or Announced()
    session, *given = _sections(answer.splitlines())
    waiting = iter(given)
    lines = list(session)
    for section in offer.sections:
        lines += _announce(next(waiting), announced) if section.taken else section.refused
    return "\r\n".join(lines) + "\r\n"


def _sections(lines: Iterable[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            found.append([])
        found[-1].append(line)
    return found


def _announce(lines: list[str], announced: Announced) -> list[str]:
    if not announced.public:
        return lines
    told, after = [], []
    for line in lines:
        name, _, value = line.partition(":")
        bits = value.split()
        is_host = name == "a=candidate" and bits[6:8] == ["typ", "host"]
        if is_host and _alike(bits[4], announced.public):
            if announced.beside:
                told.append(line)
                after.append(_reflexive(bits, announced.public))
            else:
                told.append(line.replace(f" {bits[4]} ", f" {announced.public} ", 1))
        elif line.startswith("c=IN ") and _alike(line.split()[-1], announced.public):
            told.append(f"{line.rpartition(' ')[0]} {announced.public}")
        elif line == "a=end-of-candidates":
            told += [*after, line]
            after = []
        else:
            told.append(line)
    return [*told, *after]


def _reflexive(bits: list[str], public: str) -> str:
    foundation, component, protocol, _, address, port = bits[:6]
    what = f"{foundation}p {component} {protocol} {SRFLX_PRIORITY} {public} {port}"
    return f"a=candidate:{what} typ srflx raddr {address} rport {port}"


def _alike(address: str, other: str) -> bool:
    return (":" in address) == (":" in other)
