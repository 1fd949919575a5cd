import asyncio
import shutil
from pathlib import Path

import numpy as np
import pytest

from providers.embed_lexical import LexicalEmbedder
from rag import store
from rag.ingest import ingest
from rag.remove import NotIndexed, remove


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "ja").mkdir(parents=True)
    (folder / "hours.md").write_text("# Hours\n\nWe open at nine.\n\n## Sunday\n\nClosed.\n")
    (folder / "jar.txt").write_text("Jars are free.")
    (folder / "ja" / "a.md").write_text("# 案内\n\n九時に開きます。\n")
    return folder


@pytest.fixture
def index(docs: Path, tmp_path: Path) -> Path:
    asyncio.run(ingest([docs], tmp_path / "index", LexicalEmbedder(64)))
    return tmp_path / "index"


def _sources(index: Path) -> list[str]:
    return [document.source for document in store.load(index).documents]


def test_a_folder_leaves_the_index_with_all_that_lies_below(docs: Path, index: Path) -> None:
    report = remove([str(docs / "ja")], index)
    assert report.removed == ("ja/a.md",) and (report.documents, report.chunks) == (2, 3)
    assert _sources(index) == ["hours.md", "jar.txt"]


def test_a_folder_that_is_deleted_leaves_the_index_too(docs: Path, index: Path) -> None:
    shutil.rmtree(docs / "ja")
    assert remove([str(docs / "ja")], index).removed == ("ja/a.md",)


@pytest.mark.parametrize("name", ["ja", "ja/", "ja/a.md"])
def test_names_in_the_index_do_as_well(index: Path, name: str) -> None:
    assert remove([name], index).removed == ("ja/a.md",)


def test_what_is_left_is_found_as_before(docs: Path, index: Path, tmp_path: Path) -> None:
    remove(["ja"], index)
    shutil.rmtree(docs / "ja")
    asyncio.run(ingest([docs], tmp_path / "anew", LexicalEmbedder(64)))
    left, anew = store.load(index, "lexical-2-64"), store.load(tmp_path / "anew")
    assert left.chunks == anew.chunks and left.documents == anew.documents
    assert np.array_equal(left.rows(range(3)), anew.rows(range(3)))
    assert np.array_equal(left.lexical.scores("jars"), anew.lexical.scores("jars"))


def test_all_can_be_removed(docs: Path, index: Path) -> None:
    assert len(remove([str(docs)], index).removed) == 3
    assert store.load(index).chunks == ()


def test_what_is_not_there_removes_nothing_and_names_the_list(index: Path) -> None:
    with pytest.raises(NotIndexed, match=f"kaiwa ingest --list --index {index}"):
        remove(["ja", "nowhere"], index)
    assert len(_sources(index)) == 3


def test_without_an_index_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(store.IndexMissing, match="run: kaiwa ingest"):
        remove(["x"], tmp_path / "none")
    assert not (tmp_path / "none").exists()
