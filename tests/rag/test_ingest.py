import asyncio
import errno
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from providers.base import Fault, ProviderError, Slot
from providers.embed_lexical import LexicalEmbedder
from rag import store
from rag.durable import IndexUnwritable
from rag.ingest import NothingThere, ingest
from rag.update import IngestBusy, Progress, Report, save


class CountingEmbedder(LexicalEmbedder):
    """Remembers what it was asked; fails from the n-th batch on."""

    def __init__(self, dimensions: int = 64, fails_from: int = 1_000) -> None:
        super().__init__(dimensions)
        self.batches: list[int] = []
        self._fails_from = fails_from

    async def embed(
        self, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> NDArray[np.float32]:
        if len(self.batches) >= self._fails_from:
            raise ProviderError(Slot.EMBEDDER, "counting", Fault.UNREACHABLE, "gone")
        self.batches.append(len(texts))
        return await super().embed(texts, kind)


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "ja").mkdir(parents=True)
    (folder / "hours.md").write_text("# Hours\n\nWe open at nine.\n\n## Sunday\n\nClosed.\n")
    (folder / "parking.txt").write_text("Parking\n\nParking is free.\n")
    (folder / "ja" / "a.md").write_text("# 案内\n\n九時に開きます。\n")
    return folder


def _ingest(*paths: Path, into: Path, embedder: LexicalEmbedder | None = None) -> Report:
    return asyncio.run(ingest(paths, into, embedder or CountingEmbedder()))


def _sources(index: Path) -> list[str]:
    return [document.source for document in store.load(index).documents]


def test_unchanged_files_are_not_embedded_again(docs: Path, tmp_path: Path) -> None:
    index, embedder = tmp_path / "index", CountingEmbedder()
    first = _ingest(docs, into=index, embedder=embedder)
    assert first.added == ("hours.md", "ja/a.md", "parking.txt") and first.embedded == 4
    second = _ingest(docs, into=index, embedder=embedder)
    assert second.unchanged == first.added and second.embedded == 0
    assert second.version == first.version and embedder.batches == [4]


def test_only_the_changed_chunk_is_embedded(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    _ingest(docs, into=index)
    (docs / "hours.md").write_text("# Hours\n\nWe open at ten.\n\n## Sunday\n\nClosed.\n")
    report = _ingest(docs, into=index)
    assert (report.changed, report.embedded) == (("hours.md",), 1)
    fresh = tmp_path / "fresh"
    _ingest(docs, into=fresh)
    taken_over, anew = store.load(index), store.load(fresh)
    assert taken_over.chunks == anew.chunks
    assert np.array_equal(taken_over.rows(range(4)), anew.rows(range(4)))


def test_files_that_are_gone_leave_the_index(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    _ingest(docs, into=index)
    (docs / "parking.txt").unlink()
    report = _ingest(docs, into=index)
    assert report.removed == ("parking.txt",) and _sources(index) == ["hours.md", "ja/a.md"]


def test_what_was_not_given_stays_as_it_is(docs: Path, tmp_path: Path) -> None:
    index, more = tmp_path / "index", tmp_path / "more"
    more.mkdir()
    (more / "more.txt").write_text("More words.")
    _ingest(docs, into=index)
    (docs / "parking.txt").unlink()
    report = _ingest(more, into=index)
    assert (report.added, report.removed) == (("more.txt",), ())
    assert _sources(index) == ["hours.md", "ja/a.md", "more.txt", "parking.txt"]


@pytest.fixture
def twins(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders that both hold readme.md."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "readme.md").write_text(f"This is the house of {name}.")
    (tmp_path / "b" / "hours.md").write_text("We open at nine.")
    return tmp_path / "a", tmp_path / "b"


TWINS = ["a/readme.md", "b/readme.md", "hours.md"]


def test_documents_of_one_name_in_two_folders_are_both_kept(
    twins: tuple[Path, Path], tmp_path: Path
) -> None:
    together, one_by_one = tmp_path / "together", tmp_path / "one_by_one"
    report = _ingest(*twins, into=together)
    assert report.added == tuple(TWINS) and report.refused == ()
    for folder in twins:
        _ingest(folder, into=one_by_one)
    assert _sources(together) == _sources(one_by_one) == TWINS
    assert store.load(together).chunks == store.load(one_by_one).chunks
    texts = {chunk.source: chunk.text for chunk in store.load(together).chunks}
    assert texts["a/readme.md"] == "This is the house of a."


@pytest.mark.parametrize("given", [(0,), (1,), (0, 1), (1, 0)])
def test_names_stay_whichever_folders_the_next_ingest_is_given(
    twins: tuple[Path, Path], tmp_path: Path, given: tuple[int, ...]
) -> None:
    index = tmp_path / "index"
    version = _ingest(*twins, into=index).version
    report = _ingest(*(twins[i] for i in given), into=index)
    assert (report.version, report.embedded, report.added) == (version, 0, ())
    (twins[given[0]] / "readme.md").write_text("It has moved.")
    report = _ingest(*(twins[i] for i in given), into=index)
    assert report.changed == (TWINS[given[0]],) and _sources(index) == TWINS


def test_a_folder_inside_does_not_shorten_its_documents_names(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    version = _ingest(docs, into=index).version
    report = _ingest(docs / "ja", into=index)
    assert report.unchanged == ("ja/a.md",) and report.version == version


def test_starting_fresh_leaves_only_what_is_given_now(
    twins: tuple[Path, Path], tmp_path: Path
) -> None:
    index = tmp_path / "index"
    _ingest(*twins, into=index)
    report = asyncio.run(ingest([twins[1]], index, CountingEmbedder(), fresh=True))
    assert _sources(index) == ["hours.md", "readme.md"] and report.embedded == 2


def test_an_index_the_system_refuses_is_not_replaced(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    version = _ingest(docs, into=index).version
    path = index / version / "documents.msgpack"
    aside = path.rename(tmp_path / "aside")
    path.symlink_to(path)
    with pytest.raises(store.IndexUnreadable, match="make it readable"):
        _ingest(docs / "ja", into=index)
    path.unlink()
    aside.rename(path)
    assert len(_sources(index)) == 3


def test_an_index_folder_that_is_a_file_is_told_with_what_to_do(docs: Path, tmp_path: Path) -> None:
    (tmp_path / "index").write_text("mine")
    for index in (tmp_path / "index", tmp_path / "index" / "below"):
        with pytest.raises(IndexUnwritable, match="is a file.*name another with --index"):
            _ingest(docs, into=index)
    assert (tmp_path / "index").read_text() == "mine"


def test_a_full_disk_leaves_the_index_as_it_was(
    docs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "index"
    version = _ingest(docs, into=index).version
    (docs / "new.txt").write_text("New.")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(IndexUnwritable, match="free some"):
        patch.setattr(os, "fsync", full)
        _ingest(docs, into=index)
    assert store.load(index).manifest.version == version
    assert [path.name for path in index.iterdir() if path.is_dir()] == [version]


def test_a_scan_is_left_out_with_what_it_needs(docs: Path, tmp_path: Path) -> None:
    pdf = (Path(__file__).parent / "files" / "hours.pdf").read_bytes()
    (docs / "scan.pdf").write_bytes(pdf.replace(b"We open at nine.", b" " * 16))
    report = _ingest(docs, into=tmp_path / "index")
    (refusal,) = report.refused
    assert refusal.source == "scan.pdf" and refusal.reason.endswith("needs OCR first")
    assert report.documents == 3


def test_bad_files_are_reported_and_the_rest_ingested(docs: Path, tmp_path: Path) -> None:
    (docs / "junk.pdf").write_bytes(b"\0junk" * 100)
    (docs / "empty.txt").write_bytes(b"")
    (docs / "link.md").symlink_to("/etc/passwd")
    report = _ingest(docs, into=tmp_path / "index")
    assert {r.source for r in report.refused} == {"junk.pdf", "empty.txt", "link.md"}
    assert all(r.reason for r in report.refused) and report.documents == 3


def test_a_failure_half_way_loses_nothing(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    version = _ingest(docs, into=index).version
    for number in range(180):
        (docs / f"{number}.txt").write_text(f"Text number {number}.")
    with pytest.raises(ProviderError):
        _ingest(docs, into=index, embedder=CountingEmbedder(fails_from=1))
    assert store.load(index).manifest.version == version
    assert [path.name for path in index.iterdir() if path.is_dir()] == [version]


def test_texts_are_embedded_in_batches_of_several_requests(docs: Path, tmp_path: Path) -> None:
    for number in range(80):
        (docs / f"{number}.txt").write_text(f"Text number {number}.")
    embedder = CountingEmbedder()
    _ingest(docs, into=tmp_path / "index", embedder=embedder)
    assert embedder.batches == [84]


def _commanded(refusal: pytest.ExceptionInfo[store.IndexMismatch]) -> tuple[list[Path], Path]:
    """What the command in it would ingest, and into which index; it begins anew."""
    words = shlex.split(str(refusal.value).partition(" run: ")[2])
    assert words[:2] == ["kaiwa", "ingest"] and words[-3] == "--index" and words[-1] == "--fresh"
    return [Path(word) for word in words[2:-3]], Path(words[-2])


def test_another_embedder_is_refused_with_the_command_that_makes_the_whole_index_anew(
    docs: Path, tmp_path: Path
) -> None:
    index, more = tmp_path / "the index", tmp_path / "more"
    more.mkdir()
    (more / "more.txt").write_text("More words.")
    _ingest(docs, into=index)
    version = _ingest(more, into=index).version
    another = CountingEmbedder(128)
    with pytest.raises(store.IndexMismatch, match="lexical-2-64, not lexical-2-128") as refusal:
        _ingest(docs / "ja", into=index, embedder=another)
    assert another.batches == [] and store.load(index).manifest.version == version
    paths, into = _commanded(refusal)
    assert (paths, into) == ([docs, more], index)
    report = asyncio.run(ingest(paths, into, another, fresh=True))
    assert (report.embedded, report.documents) == (5, 4)
    assert store.load(index, another.fingerprint).manifest.dimensions == 128


def test_the_command_names_what_was_given_and_is_not_in_the_index_yet(
    docs: Path, tmp_path: Path
) -> None:
    index, new = tmp_path / "index", tmp_path / "new"
    new.mkdir()
    _ingest(docs / "ja", docs / "hours.md", into=index)
    with pytest.raises(store.IndexMismatch) as refusal:
        _ingest(new, into=index, embedder=CountingEmbedder(128))
    assert _commanded(refusal)[0] == [docs / "hours.md", docs / "ja", new]


def test_of_an_index_that_does_not_know_its_folders_the_command_says_what_else_to_name(
    docs: Path, tmp_path: Path
) -> None:
    index = tmp_path / "index"
    _ingest(docs, into=index)
    held = store.load(index)
    save(index, held.documents, held.chunks, held.rows(range(4)), embedder="lexical-2-64")
    with pytest.raises(store.IndexMismatch, match="2 of its documents lie elsewhere, see --list"):
        _ingest(docs / "ja", into=index, embedder=CountingEmbedder(128))
    _ingest(docs, into=index)  # the same embedder is welcome, and nothing has changed
    (docs / "parking.txt").unlink()
    _ingest(docs, into=index)
    assert store.load(index).manifest.roots == (str(docs),)


def test_an_index_without_documents_belongs_to_no_embedder(docs: Path, tmp_path: Path) -> None:
    index, empty = tmp_path / "index", tmp_path / "empty"
    empty.mkdir()
    _ingest(empty, into=index)
    assert _ingest(docs, into=index, embedder=CountingEmbedder(128)).embedded == 4


def test_an_embedder_that_becomes_another_one_leaves_no_mixture(docs: Path, tmp_path: Path) -> None:
    class Changing(CountingEmbedder):
        """Another stands in for it from the second batch on, and nobody is told."""

        @property
        def fingerprint(self) -> str:
            return "hash-64" if len(self.batches) > 1 else super().fingerprint

    index = tmp_path / "index"
    version = _ingest(docs, into=index).version
    for number in range(180):
        (docs / f"{number}.txt").write_text(f"Text number {number}.")
    with pytest.raises(ProviderError, match="lexical-2-64 became hash-64 .*run it again") as caught:
        _ingest(docs, into=index, embedder=Changing())
    assert caught.value.fault is Fault.BROKEN
    assert store.load(index).manifest.version == version


def test_a_damaged_index_is_replaced_and_the_report_says_so(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    version = _ingest(docs, into=index).version
    (index / version / "chunks.msgpack").write_bytes(b"\x90")
    report = _ingest(docs, into=index)
    assert report.documents == 3 and "it is replaced" in report.notes[0]
    assert report.version != version


def test_two_ingests_at_once_are_excluded(docs: Path, tmp_path: Path) -> None:
    async def scenario() -> None:
        index = tmp_path / "index"
        refused = []

        class Nested(CountingEmbedder):
            async def embed(
                self, texts: Sequence[str], kind: Literal["query", "passage"]
            ) -> NDArray[np.float32]:
                with pytest.raises(IngestBusy, match="wait until it is done") as busy:
                    await ingest([docs], index, CountingEmbedder())
                refused.append(busy)
                return await super().embed(texts, kind)

        await ingest([docs], index, Nested())
        assert len(refused) == 1
        await ingest([docs], index, CountingEmbedder())

    asyncio.run(scenario())


def test_progress_counts_up_to_its_total_in_each_phase(docs: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    asyncio.run(ingest([docs], tmp_path / "index", CountingEmbedder(), progress=seen.append))
    for phase, total in (("read", 3), ("embed", 4), ("write", 1)):
        steps = [(p.done, p.total) for p in seen if p.phase == phase]
        assert steps[0][0] == 0 and steps[-1] == (total, total) and steps == sorted(steps)


def test_a_path_that_does_not_exist_removes_nothing(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    _ingest(docs, into=index)
    with pytest.raises(FileNotFoundError, match="no such file or folder: .*nowhere"):
        _ingest(tmp_path / "nowhere", into=index)
    assert len(_sources(index)) == 3


def test_an_emptied_folder_leaves_an_empty_index(docs: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    _ingest(docs, into=index)
    for path in docs.rglob("*.*"):
        path.unlink()
    report = _ingest(docs, into=index)
    assert (report.documents, report.chunks) == (0, 0) and len(report.removed) == 3
    assert store.load(index).chunks == ()


def test_starting_fresh_with_nothing_to_take_in_leaves_the_index_as_it_was(
    twins: tuple[Path, Path], tmp_path: Path
) -> None:
    index, empty = tmp_path / "index", tmp_path / "empty"
    _ingest(*twins, into=index)
    before = _sources(index)
    empty.mkdir()
    (empty / "broken.pdf").write_bytes(b"no pdf")
    with pytest.raises(NothingThere, match=r"broken\.pdf.*stays as it was"):
        asyncio.run(ingest([empty], index, CountingEmbedder(), fresh=True))
    assert _sources(index) == before
