"""What can fail, how, and when; and the cells that are tried of it.

Every two of (what, how), (how, when) and (what, when) that can come together do so in some cell:
most faults of this kind need no third party. FAULT_MATRIX=all tries every cell there is.
"""

from collections.abc import Iterable
from itertools import combinations, product
from typing import Literal, get_args

import msgspec

Part = Literal["stt", "embedder", "reranker", "llm", "tts", "transport"]
Kind = Literal[
    "refuse", "hang", "slow", "stall", "reset", "truncate", "error", "busy", "malformed", "drip",
    "crash", "stop",
]  # fmt: skip
"""See proxy.py; malformed: answers that are none, bad UTF-8, NaN."""
Phase = Literal[
    "idle", "speaking", "endpointing", "thinking", "answering", "voicing", "sounding", "barge_in",
    "closing",
]  # fmt: skip
"""endpointing: behind the last word, before the turn's end is certain. thinking, answering: of the
LLM, before and behind its first token. voicing, sounding: of the voice, likewise."""

NOT_OF_TRANSPORT = ("refuse", "slow", "error", "busy")
"""Faults of a server; here a client fails."""


class Cell(msgspec.Struct, frozen=True, order=True):
    part: Part
    kind: Kind
    phase: Phase

    def __str__(self) -> str:
        return f"{self.part}-{self.kind}-{self.phase}"

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset(combinations((self.part, self.kind, self.phase), 2))


def all_cells() -> list[Cell]:
    found = (Cell(*names) for names in product(*map(get_args, (Part, Kind, Phase))))
    return [cell for cell in found if makes_sense(cell)]


def makes_sense(cell: Cell) -> bool:
    return cell.part != "transport" or cell.kind not in NOT_OF_TRANSPORT


def pairwise(cells: Iterable[Cell]) -> list[Cell]:
    """A few of them that hold every pair which all of them hold. Greedy; always the same ones."""
    left = list(cells)
    wanted = {pair for cell in left for pair in cell.pairs}
    chosen: list[Cell] = []
    while wanted:
        best = max(left, key=lambda cell: len(cell.pairs & wanted))
        chosen.append(best)
        left.remove(best)
        wanted -= best.pairs
    return sorted(chosen)
