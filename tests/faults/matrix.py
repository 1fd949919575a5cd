"""What can fail, how, and when; and the cells that are tried of it.

one fault    every two of (what, how), (how, when) and (what, when) that can come together do so in
             some cell: most faults of this kind need no third party
alone        where the slot has no other provider; every (what, how) and (what, when)
at once      what operators meet: two faults, a whole chain, the host with everything on it
deaths       of any server, with nobody on the line

FAULT_MATRIX=all tries every cell there is.
"""

import os
from collections.abc import Callable, Iterable
from itertools import combinations, product
from typing import Literal, get_args

import msgspec

Part = Literal[
    "stt", "embedder", "reranker", "llm", "tts", "other_stt", "other_llm", "other_tts", "transport"
]
"""The first server of each slot, those that stand in, and the caller's own connection."""
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

FIRST_OF_CHAINS: tuple[Part, ...] = ("stt", "llm", "tts")
"""Of slots in which other providers stand in; documents are searched without theirs."""
FIRST: tuple[Part, ...] = ("stt", "embedder", "reranker", "llm", "tts")
NOT_OF_TRANSPORT = ("refuse", "slow", "error", "busy")
"""Faults of a server; here a client fails."""
UNLIKE: tuple[Kind, ...] = (
    "refuse", "hang", "slow", "stall", "reset", "error", "busy", "malformed", "stop",
)  # fmt: skip
"""Without those that a slot with nobody left meets in the same way as one of these."""
PHASES: tuple[Phase, ...] = get_args(Phase)
KINDS: tuple[Kind, ...] = get_args(Kind)


class Cell(msgspec.Struct, frozen=True, order=True):
    part: Part
    kind: Kind
    phase: Phase
    also: tuple[tuple[Part, Kind], ...] = ()
    """What else fails at the same moment, and is repaired at the same."""
    alone: bool = False
    """Whether nobody stands in for what fails."""

    def __str__(self) -> str:
        also = "".join(f"-{part}-{kind}" for part, kind in self.also)
        return f"{'only-' * self.alone}{self.part}-{self.kind}{also}-{self.phase}"

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        return frozenset(combinations((self.part, self.kind, self.phase), 2))

    @property
    def faults(self) -> dict[Part, Kind]:
        return {self.part: self.kind, **dict(self.also)}

    @property
    def slots(self) -> frozenset[str]:
        """In which something fails."""
        return frozenset(part.removeprefix("other_") for part in self.faults)

    @property
    def dead(self) -> frozenset[str]:
        """Slots in which nobody is left."""
        chains = self.slots & set(FIRST_OF_CHAINS)
        if self.alone:
            return chains
        return frozenset(slot for slot in chains if {slot, f"other_{slot}"} <= set(self.faults))


def all_cells() -> list[Cell]:
    parts: tuple[Part, ...] = (*FIRST, "transport")
    found = (Cell(*names) for names in product(parts, KINDS, PHASES))
    return [cell for cell in found if makes_sense(cell)]


def makes_sense(cell: Cell) -> bool:
    return cell.part != "transport" or cell.kind not in NOT_OF_TRANSPORT


def covering(
    cells: Iterable[Cell],
    pairs: Callable[[Cell], frozenset[tuple[str, str]]] = lambda cell: cell.pairs,
) -> list[Cell]:
    """A few of them that hold every pair which all of them hold. Greedy; always the same ones."""
    left = list(cells)
    wanted = {pair for cell in left for pair in pairs(cell)}
    chosen: list[Cell] = []
    while wanted:
        best = max(left, key=lambda cell: len(pairs(cell) & wanted))
        chosen.append(best)
        left.remove(best)
        wanted -= pairs(best)
    return sorted(chosen)


def all_alone(kinds: Iterable[Kind] = KINDS) -> list[Cell]:
    return [Cell(*names, alone=True) for names in product(FIRST_OF_CHAINS, kinds, PHASES)]


def pairs_of_part(cell: Cell) -> frozenset[tuple[str, str]]:
    return frozenset({(cell.part, cell.kind), (cell.part, cell.phase)})


HOST: tuple[tuple[Part, Kind], ...] = (
    ("llm", "refuse"),
    ("stt", "refuse"),
    ("tts", "refuse"),
    ("embedder", "refuse"),
)
"""Everything that the GPU host serves, gone and back at once."""
AT_ONCE: tuple[Cell, ...] = (
    # two slots, both with somebody who stands in
    Cell("llm", "slow", "thinking", (("tts", "refuse"),)),
    Cell("stt", "reset", "speaking", (("llm", "error"),)),
    Cell("tts", "stall", "sounding", (("embedder", "refuse"),)),
    Cell("llm", "reset", "answering", (("tts", "reset"),)),
    Cell("stt", "hang", "endpointing", (("embedder", "hang"),)),
    Cell("embedder", "slow", "endpointing", (("reranker", "error"),)),
    Cell("llm", "busy", "barge_in", (("tts", "busy"),)),
    # both links of one chain
    Cell("stt", "refuse", "speaking", (("other_stt", "refuse"),)),
    Cell("llm", "reset", "answering", (("other_llm", "refuse"),)),
    Cell("llm", "hang", "idle", (("other_llm", "hang"),)),
    Cell("tts", "crash", "voicing", (("other_tts", "error"),)),
    # one slot has nobody left, another one limps
    Cell("llm", "error", "thinking", (("other_llm", "error"), ("tts", "stall"))),
    # the host with everything on it
    Cell(*HOST[0], "idle", HOST[1:]),
    Cell(*HOST[0], "answering", HOST[1:]),
    Cell(*HOST[0], "answering", HOST[1:], alone=True),
    Cell(*HOST[0], "closing", HOST[1:], alone=True),
)


def deaths(kinds: Iterable[Kind]) -> list[Cell]:
    parts: tuple[Part, ...] = (*FIRST, "other_stt", "other_llm", "other_tts")
    single = [Cell(part, kind, "idle") for part, kind in product(parts, kinds)]
    return [*single, Cell(*HOST[0], "idle", HOST[1:], alone=True)]


# --- those that are tried -------------------------------------------------------------------------

if os.environ.get("FAULT_MATRIX") == "all":
    SINGLE = all_cells()
    ALONE = all_alone()
    TOGETHER = sorted(
        {msgspec.structs.replace(cell, phase=phase) for cell in AT_ONCE for phase in PHASES}
    )
    DEATHS = deaths(("refuse", "hang", "crash", "error"))
else:
    SINGLE = covering(all_cells())
    ALONE = covering(all_alone(UNLIKE), pairs_of_part)
    TOGETHER = list(AT_ONCE)
    DEATHS = deaths(("refuse", "hang"))
