import builtins
import os
import random
import shutil
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag import lexical, publish, store
from rag.durable import IndexUnwritable
from rag.types import Chunk, Document

DOCUMENT = Document(path="/d/a.md", source="a.md", sha256="0", text="Oak. Elm.", title="A")
CHUNKS = [
    Chunk(id=str(i), source="a.md", title="A", heading="", start=s, end=s + 4, text=t)
    for i, (s, t) in enumerate([(0, "Oak."), (5, "Elm.")])
]
ROWS = np.eye(2, 64, dtype=np.float32)


def _save(index_dir: Path, roots: Sequence[str] = ()) -> store.Manifest:
    return publish.save(
        index_dir,
        documents=[DOCUMENT],
        chunks=CHUNKS,
        lexical=lexical.build([chunk.text for chunk in CHUNKS], ["", ""]),
        rows=ROWS,
        embedder="e-1",
        reader="1",
        chunker="1",
        roots=roots,
    )


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    manifest = _save(tmp_path)
    found = store.load(tmp_path, "e-1")
    assert found.manifest == manifest
    assert found.documents == (DOCUMENT,) and found.chunks == tuple(CHUNKS)
    assert np.array_equal(found.rows([1, 0]), ROWS[[1, 0]])
    assert int(np.argmax(found.lexical.scores("elm"))) == 1


def test_nothing_there_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(store.IndexMissing, match=f"run: kaiwa ingest PATH --index {tmp_path}"):
        store.load(tmp_path)


def test_with_an_embedder_not_known_yet_the_words_can_be_searched(tmp_path: Path) -> None:
    _save(tmp_path)
    assert store.load(tmp_path, "").manifest.embedder == "e-1"


def test_the_nearest_come_first(tmp_path: Path) -> None:
    _save(tmp_path)
    found = store.on_gpu(store.load(tmp_path))
    assert list(found.nearest(ROWS[1:], 2)) == [1, 0]
    assert list(found.nearest(ROWS[:1], 5)) == [0, 1]


def test_another_embedders_index_is_refused_with_the_command_that_makes_it_anew(
    tmp_path: Path,
) -> None:
    _save(tmp_path)
    command = f"kaiwa ingest PATH --index {tmp_path} --fresh"
    with pytest.raises(store.IndexMismatch, match=f"e-1, not e-2; to make it anew, run: {command}"):
        store.load(tmp_path, "e-2")
    _save(tmp_path, roots=["/home/me/my docs", "/srv/more.md"])
    command = f"ingest '/home/me/my docs' /srv/more.md --index {tmp_path} --fresh"
    with pytest.raises(store.IndexMismatch, match=command):
        store.load(tmp_path, "e-2")


def test_what_is_let_go_is_gone_and_what_is_still_held_is_whole(tmp_path: Path) -> None:
    _save(tmp_path)
    found = store.load(tmp_path)
    kept, gone = found.chunks[0], weakref.ref(found.lexical.weights)
    retired = [found]
    del found
    store.let_go(retired)
    assert retired == [] and gone() is None and kept == CHUNKS[0]


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
    with pytest.raises(IndexUnwritable, match="cannot be written"):
        _save(tmp_path)
    (tmp_path / "current").rmdir()
    (tmp_path / "aside").rename(tmp_path / "current")
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [version]
    assert store.load(tmp_path).manifest.version == version


class PowerCut(BaseException):
    pass


class Disk:
    """Counts what is asked of the system, forgets at the n-th what was not synced, then is dead."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cut_at: int = 10**9) -> None:
        self.done: list[tuple[str, str]] = []
        self.unsynced: set[str] = set()
        self._cut_at = cut_at
        self._names: dict[int, str] = {}
        self._patched = monkeypatch
        for owner, name in [
            (builtins, "open"),
            (os, "open"),
            (os, "mkdir"),
            (os, "fsync"),
            (os, "replace"),
            (os, "unlink"),
            (shutil, "rmtree"),
        ]:
            monkeypatch.setattr(owner, name, self._watched(name, getattr(owner, name)))

    def _watched(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if len(self.done) >= self._cut_at:
                raise PowerCut
            if name == "fsync":
                target = self._names[args[0]]
                self.unsynced.discard(target)
            else:
                target = str(args[1] if name == "replace" else args[0])
            self.done.append((name, target))
            made = real(*args, **options)
            if name == "open":
                self._names[made if isinstance(made, int) else made.fileno()] = target
                if "x" in str(args[1:]):
                    self.unsynced |= {target, str(Path(target).parent)}
            elif name in ("mkdir", "replace"):
                self.unsynced.add(str(Path(target).parent))
            return made

        return call

    def comes_back(self) -> None:
        self._patched.undo()
        for path in map(Path, self.unsynced):
            if path.is_file():
                path.write_bytes(b"")  # its name may have lasted, its bytes did not


def test_the_pointer_moves_only_when_all_it_leads_to_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        disk = Disk(patch)
        at_swap: list[set[str]] = []
        swap = os.replace

        def look(source: Any, target: Any) -> None:
            at_swap.append({p for p in disk.unsynced if p != str(tmp_path)})
            names_synced = [
                i for i, step in enumerate(disk.done) if step == ("fsync", str(tmp_path))
            ]
            made = [i for i, (name, _) in enumerate(disk.done) if name == "mkdir"]
            assert names_synced and made and names_synced[-1] > made[-1]
            swap(source, target)

        patch.setattr(os, "replace", look)
        _save(tmp_path)
    assert at_swap == [set()]
    assert disk.done[-1] != ("replace", str(tmp_path / "current"))
    last = max(i for i, (name, _) in enumerate(disk.done) if name == "replace")
    assert ("fsync", str(tmp_path)) in disk.done[last:]


def test_a_power_cut_at_any_step_leaves_the_old_index_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for cut_at in range(200):
        index_dir = tmp_path / str(cut_at)
        first = _save(index_dir).version
        _save(index_dir)
        old = store.load(index_dir).manifest.version
        with monkeypatch.context() as patch:
            disk = Disk(patch, cut_at)
            try:
                _save(index_dir)
            except PowerCut:
                disk.comes_back()
            else:
                break
        found.append("old" if store.load(index_dir).manifest.version == old else "new")
        assert _save(index_dir).version != first
        left = [path.name for path in index_dir.iterdir()]
        assert len(left) == 3 and "current" in left  # two versions and nothing of the crash
    else:
        raise AssertionError("saving never came to its end")
    assert "old" in found and "new" in found and found == sorted(found, reverse=True)


def test_a_version_that_was_swapped_in_is_not_taken_back_by_a_late_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path)
    real = os.replace

    def replaced_then_interrupted(source: Any, target: Any) -> None:
        real(source, target)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", replaced_then_interrupted)
        _save(tmp_path)
    assert store.load(tmp_path).chunks == tuple(CHUNKS)


def test_folders_of_the_users_beside_the_versions_are_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "myThesis-final"
    mine.mkdir()
    (mine / "manifest.json").write_text("{}")
    for _ in range(4):
        _save(tmp_path)
    assert (mine / "manifest.json").exists()


def test_a_file_the_system_refuses_now_is_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / _save(tmp_path).version / "chunks.msgpack"
    aside = path.rename(tmp_path / "aside")
    path.symlink_to(path)  # ELOOP: refused to everybody, root too
    with pytest.raises(store.IndexUnreadable, match="make it readable for this user"):
        store.load(tmp_path)
    path.unlink()
    aside.rename(path)
    store.load(tmp_path)


def test_the_command_in_a_message_can_be_pasted(tmp_path: Path) -> None:
    with pytest.raises(store.IndexMissing, match="--index '.*/my index'"):
        store.load(tmp_path / "my index")
