import random
from pathlib import Path

import numpy as np
import pytest

from rag import lexical, store
from rag.types import Chunk, Document

DOCUMENT = Document(path="/d/a.md", source="a.md", sha256="0", text="One. Two.", title="A")
CHUNKS = [
    Chunk(id=str(i), source="a.md", title="A", heading="", start=s, end=s + 4, text=t)
    for i, (s, t) in enumerate([(0, "One."), (5, "Two.")])
]
ROWS = np.eye(2, 64, dtype=np.float32)


def _save(index_dir: Path) -> store.Manifest:
    return store.save(
        index_dir,
        documents=[DOCUMENT],
        chunks=CHUNKS,
        lexical=lexical.build([chunk.text for chunk in CHUNKS], ["", ""]),
        rows=ROWS,
        embedder="e-1",
        reader="1",
        chunker="1",
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    manifest = _save(tmp_path)
    found = store.load(tmp_path, "e-1")
    assert found.manifest == manifest
    assert found.documents == (DOCUMENT,) and found.chunks == tuple(CHUNKS)
    assert np.array_equal(found.rows([1, 0]), ROWS[[1, 0]])
    assert int(np.argmax(found.lexical.scores("two"))) == 1


def test_nothing_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(store.IndexMissing, match=f"run: kaiwa ingest PATH --index {tmp_path}"):
        store.load(tmp_path)


def test_another_embedders_index_is_refused(tmp_path: Path) -> None:
    _save(tmp_path)
    with pytest.raises(store.IndexMismatch, match="embedder e-1, not e-2; run: kaiwa ingest PATH"):
        store.load(tmp_path, "e-2")


def test_an_index_of_other_words_is_refused_for_search_but_read_for_ingest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path)
    monkeypatch.setattr(store, "WORDS_VERSION", "another")
    with pytest.raises(store.IndexMismatch, match="older version of Kaiwa; run: kaiwa ingest"):
        store.load(tmp_path, "e-1")
    assert store.load(tmp_path).documents == (DOCUMENT,)


NAMES = ["documents.msgpack", "chunks.msgpack", "lexical.npz", "vectors.faiss", "manifest.json"]


@pytest.mark.parametrize("name", NAMES)
def test_every_changed_byte_is_noticed(tmp_path: Path, name: str) -> None:
    path = tmp_path / _save(tmp_path).version / name
    whole = path.read_bytes()
    rng = random.Random(name)
    for _ in range(32):
        at = rng.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
        with pytest.raises(store.IndexDamaged, match="has changed.*run: kaiwa ingest PATH --index"):
            store.load(tmp_path)
    path.write_bytes(whole)
    store.load(tmp_path)


@pytest.mark.parametrize("name", [*NAMES, "current"])
def test_missing_and_shortened_files_are_noticed(tmp_path: Path, name: str) -> None:
    version = _save(tmp_path).version
    path = tmp_path / ("" if name == "current" else version) / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(store.IndexDamaged, match="run: kaiwa ingest PATH"):
        store.load(tmp_path)
    path.unlink()
    with pytest.raises(store.IndexUnusable, match="run: kaiwa ingest PATH"):
        store.load(tmp_path)


@pytest.mark.parametrize("pointer", ["../../etc 00", "", "x", ". 00", "\xff\xfe 1"])
def test_a_pointer_leads_nowhere_else(tmp_path: Path, pointer: str) -> None:
    _save(tmp_path)
    (tmp_path / "current").write_bytes(pointer.encode("latin-1"))
    with pytest.raises(store.IndexDamaged):
        store.load(tmp_path)


def test_two_versions_are_kept_and_the_pointer_moves(tmp_path: Path) -> None:
    stamps = {store.current_stamp(tmp_path)}
    versions = []
    for _ in range(4):
        versions.append(_save(tmp_path).version)
        stamps.add(store.current_stamp(tmp_path))
    assert len(stamps) == 5
    kept = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert len(kept) == 2 and versions[-1] in kept
    assert store.load(tmp_path).manifest.version == versions[-1]


def test_a_write_that_fails_leaves_the_old_version(tmp_path: Path) -> None:
    version = _save(tmp_path).version
    (tmp_path / "current").rename(tmp_path / "aside")
    (tmp_path / "current").mkdir()  # cannot be replaced by a file
    with pytest.raises(OSError):
        _save(tmp_path)
    (tmp_path / "current").rmdir()
    (tmp_path / "aside").rename(tmp_path / "current")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [version]
    assert store.load(tmp_path).manifest.version == version
