"""Whatever fails, however, whenever: the caller is answered, and everybody is told."""

from pathlib import Path

import pytest

from tests.faults import deaths, evidence, transport
from tests.faults.cell import seen
from tests.faults.matrix import (
    ALONE,
    DEATHS,
    FIRST_OF_CHAINS,
    SINGLE,
    TOGETHER,
    Cell,
    Part,
    Phase,
    all_cells,
    covering,
)
from tests.faults.oracles import complaints, judged
from tests.faults.stack import run
from voice.phrases import APOLOGY

OF_PROVIDERS = [cell for cell in SINGLE if cell.part != "transport"]
OF_TRANSPORT = [cell for cell in SINGLE if cell.part == "transport"]


def judge(cell: Cell, index: Path) -> None:
    found = judged(cell, index)
    assert not found, "\n".join([f"{cell}:", *found])


@pytest.mark.parametrize("cell", OF_PROVIDERS, ids=str)
def test_a_failing_provider_is_stood_in_for_told_of_and_taken_back(cell: Cell, index: Path) -> None:
    judge(cell, index)


@pytest.mark.parametrize("cell", ALONE, ids=str)
def test_where_nobody_stands_in_the_caller_is_told_and_the_next_turn_works(
    cell: Cell, index: Path
) -> None:
    judge(cell, index)


@pytest.mark.parametrize("cell", TOGETHER, ids=str)
def test_what_fails_at_once_is_told_and_taken_back_at_once(cell: Cell, index: Path) -> None:
    judge(cell, index)


@pytest.mark.parametrize("phase", ["idle", "voicing"])
def test_without_a_voice_the_caller_still_hears_an_apology(phase: Phase, index: Path) -> None:
    found = run(seen(Cell("tts", "refuse", phase, alone=True), index))
    failed = [
        (caller, turn) for caller, turn in evidence.turns(found) if evidence.failed(caller, turn)
    ]
    assert failed
    for caller, turn in failed:
        assert evidence.said(caller, turn).endswith(APOLOGY["en"])
        assert evidence.heard_ms(caller, turn) > 2000


@pytest.mark.parametrize("part", FIRST_OF_CHAINS)
def test_what_had_nobody_left_is_asked_again_5_s_after_its_repair(part: Part, index: Path) -> None:
    """The question ends 5 s after it."""
    other: Part = f"other_{part}"  # type: ignore[assignment]
    cell = Cell(part, "error", "thinking", ((other, "error"),))
    assert not list(complaints(run(seen(cell, index, known_s=4.4))))


@pytest.mark.parametrize("cell", DEATHS, ids=str)
def test_a_death_is_told_before_anybody_calls(cell: Cell, index: Path) -> None:
    found = list(deaths.complaints(*run(deaths.seen(cell, index))))
    assert not found, "\n".join([f"{cell}:", *found])


@pytest.mark.parametrize("cell", OF_TRANSPORT, ids=str)
def test_a_caller_whose_connection_fails_leaves_nothing_behind(cell: Cell, index: Path) -> None:
    found = list(transport.complaints(*run(transport.seen(cell, index), chatty=True)))
    assert not found, "\n".join([f"{cell}:", *found])


def test_the_cells_hold_every_pair_that_can_be() -> None:
    every, chosen = all_cells(), covering(all_cells())
    pairs = {pair for cell in every for pair in cell.pairs}
    assert {pair for cell in chosen for pair in cell.pairs} == pairs
    assert 100 <= len(chosen) <= 130 and len(every) > 600
