"""Whatever fails, however, whenever: the caller is answered, and everybody is told."""

import os
from pathlib import Path

import pytest

from tests.faults import transport
from tests.faults.cell import seen
from tests.faults.clock import run
from tests.faults.matrix import Cell, all_cells, pairwise
from tests.faults.oracles import complaints

WANTED = all_cells() if os.environ.get("FAULT_MATRIX") == "all" else pairwise(all_cells())
OF_PROVIDERS = [cell for cell in WANTED if cell.part != "transport"]


@pytest.mark.parametrize("cell", OF_PROVIDERS, ids=str)
def test_a_failing_provider_is_stood_in_for_told_of_and_taken_back(cell: Cell, index: Path) -> None:
    found = complaints(run(seen(cell, index)))
    assert not found, "\n".join([f"{cell}:", *found])


@pytest.mark.parametrize("cell", [cell for cell in WANTED if cell.part == "transport"], ids=str)
def test_a_caller_whose_connection_fails_leaves_nothing_behind(cell: Cell, index: Path) -> None:
    found = list(transport.complaints(*run(transport.seen(cell, index), minds_acks=True)))
    assert not found, "\n".join([f"{cell}:", *found])


def test_the_cells_hold_every_pair_that_can_be() -> None:
    every, chosen = all_cells(), pairwise(all_cells())
    pairs = {pair for cell in every for pair in cell.pairs}
    assert {pair for cell in chosen for pair in cell.pairs} == pairs
    assert 100 <= len(chosen) <= 130 and len(every) > 600
