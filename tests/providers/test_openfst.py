"""A graph that is cut off or damaged is refused before anything loads it."""

import random
import struct
from pathlib import Path

import pytest

from providers._openfst import WALKED_BYTES, DamagedError, look_through
from providers.tiny_en import FOLDER
from tests.providers.tiny_graph import write_graph

GRAPH = (FOLDER / "HLG.fst").read_bytes()
LABELS = 257


def looked_through(folder: Path, data: bytes, labels: int = LABELS) -> None:
    (folder / "HLG.fst").write_bytes(data)
    look_through(folder / "HLG.fst", labels)


def test_our_own_graph_is_whole(tmp_path: Path) -> None:
    looked_through(tmp_path, GRAPH)


@pytest.mark.parametrize("kept", [4, 10, 60, 100, 200, 2000, 150_000, len(GRAPH) - 1])
def test_wherever_it_is_cut_off_it_is_refused(tmp_path: Path, kept: int) -> None:
    with pytest.raises(DamagedError):
        looked_through(tmp_path, GRAPH[:kept])


@pytest.mark.parametrize("seed", range(8))
def test_bytes_written_over_it_are_found_where_they_would_lead_astray(
    tmp_path: Path, seed: int
) -> None:
    damaged, source = bytearray(GRAPH), random.Random(seed)
    for _ in range(200):
        damaged[source.randrange(100, len(damaged))] = source.randrange(256)
    with pytest.raises(DamagedError):
        looked_through(tmp_path, bytes(damaged))


def test_a_label_beyond_the_models_symbols_is_refused(tmp_path: Path) -> None:
    write_graph(tmp_path / "HLG.fst", [0, 1])
    look_through(tmp_path / "HLG.fst", 2)
    with pytest.raises(DamagedError, match="an arc's input is 2, not 0 to 1"):
        look_through(tmp_path / "HLG.fst", 1)


@pytest.mark.parametrize("lost", [1, 15, 17, 1000, 2_000_000])
def test_a_large_one_that_is_cut_off_is_refused_too(tmp_path: Path, lost: int) -> None:
    """Its head counts no arcs, as OpenFst writes it, so that the size alone tells nothing."""
    path = tmp_path / "HLG.fst"
    write_graph(path, [0, 1] * (WALKED_BYTES // 16))
    whole = bytearray(path.read_bytes())
    at = 4 + 4 + len("vector") + 4 + len("standard") + struct.calcsize("<iiQqq")
    whole[at : at + 8] = bytes(8)
    looked_through(tmp_path, bytes(whole))
    with pytest.raises(DamagedError, match="state"):
        looked_through(tmp_path, bytes(whole[: len(whole) - lost]))


def test_a_large_one_is_judged_by_its_counts_without_a_walk(tmp_path: Path) -> None:
    path = tmp_path / "HLG.fst"
    write_graph(path, [0, 1] * (WALKED_BYTES // 16))
    look_through(path, LABELS)
    whole = path.read_bytes()
    assert len(whole) > WALKED_BYTES
    with pytest.raises(DamagedError, match="states and"):
        counts = struct.pack("<q", len(whole))
        at = 4 + 4 + len("vector") + 4 + len("standard") + struct.calcsize("<iiQq")
        looked_through(tmp_path, whole[:at] + counts + whole[at + 8 :])
