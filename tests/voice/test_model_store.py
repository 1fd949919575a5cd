"""What is pulled is recorded, and what is recorded is compared."""

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.file_server import FileServer, serving_file
from voice.download import fetch
from voice.model_catalogue import Model, Source
from voice.model_store import RECORD, ModelsError, ModelStore, stamp_of


def archive(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"m-2026/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


FIRST = archive(tokens=b"a 0\n", weights=bytes(range(256)) * 100)
OTHER = archive(tokens=b"b 0\n", weights=bytes(range(255, -1, -1)) * 100)


@pytest.fixture(autouse=True)
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving_file(FIRST) as file:
        yield file


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


def model(server: FileServer, *more: Source) -> Model:
    return Model(
        name="en",
        slot="stt",
        title="English",
        licence="Apache-2.0",
        megabytes=1,
        page="https://example.org",
        sources=(Source(f"{server.url}/m-2026.tar.bz2"), *more),
    )


def once(url: str, to: Path, **options: Any) -> None:
    fetch(url, to, pauses_s=(), **options)


def pull(store: ModelStore, one: Model) -> None:
    store.pull(one, progress=lambda source: lambda done, total: None, fetch=once)


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(ModelsError) as refused:
        act()
    return str(refused.value)


def test_a_model_lies_in_its_slot_and_its_checksums_in_the_record(
    server: FileServer, store: ModelStore
) -> None:
    one = model(server)
    pull(store, one)
    folder = store.root / "stt" / "en"
    assert store.folder(one) == folder and store.has(one)
    assert sorted(path.name for path in folder.iterdir()) == ["tokens", "weights"]
    pulled = store.pulled()["en"]
    assert pulled.files["weights"] == stamp_of(folder / "weights")
    assert pulled.downloads[one.sources[0].url].size == len(FIRST)
    assert store.check("en") == []
    assert sorted(path.name for path in store.root.iterdir()) == [".downloads", RECORD, "stt"]
    assert [path.name for path in (store.root / ".downloads").iterdir()] == ["lock"]


def test_single_files_are_laid_beside_what_the_archive_held(
    server: FileServer, store: ModelStore
) -> None:
    pull(store, model(server, Source(f"{server.url}/vocoder.onnx", "sub/vocoder.onnx")))
    assert (store.root / "stt" / "en" / "sub" / "vocoder.onnx").read_bytes() == FIRST


def test_a_changed_a_short_and_a_missing_file_are_found(
    server: FileServer, store: ModelStore
) -> None:
    pull(store, model(server))
    folder = store.root / "stt" / "en"
    changed = bytearray((folder / "weights").read_bytes())
    changed[7] ^= 1
    (folder / "weights").write_bytes(changed)
    assert [trouble.what for trouble in store.check("en")] == ["has changed"]
    assert store.check("en", by_size=True) == [], "contents are not read"
    (folder / "weights").write_bytes(changed[:10])
    assert [trouble.what for trouble in store.check("en", by_size=True)] == [
        "has 10 bytes, not 25,600"
    ]
    (folder / "weights").unlink()
    assert [Path(trouble.path).name for trouble in store.check("en")] == ["weights"]


def test_another_file_under_the_same_address_is_refused_though_the_folder_was_removed(
    server: FileServer, store: ModelStore
) -> None:
    pull(store, model(server))
    record = (store.root / RECORD).read_bytes()
    server.content = OTHER
    said = refusal(lambda: pull(store, model(server)))
    assert "is not what it was" in said and RECORD in said
    assert store.check("en") == [], "what was there stays"
    assert (store.root / RECORD).read_bytes() == record


def test_what_is_pulled_anew_mends_what_was_changed(server: FileServer, store: ModelStore) -> None:
    pull(store, model(server))
    (store.root / "stt" / "en" / "weights").write_bytes(b"")
    pull(store, model(server))
    assert store.check("en") == []


def test_a_pull_that_breaks_off_is_continued_by_the_next(
    server: FileServer, store: ModelStore
) -> None:
    server.cut_after = [100]
    assert "broke off" in refusal(lambda: pull(store, model(server)))
    assert not (store.root / "stt").exists() and store.pulled() == {}
    pull(store, model(server))
    assert server.ranges == ["", "bytes=100-"] and store.check("en") == []


def test_a_broken_archive_is_not_kept(server: FileServer, store: ModelStore) -> None:
    server.content = FIRST[: len(FIRST) // 2]
    assert "no whole archive" in refusal(lambda: pull(store, model(server)))
    assert not (store.root / "stt").exists()
    server.content = FIRST
    pull(store, model(server))
    assert store.check("en") == []


def test_a_file_far_larger_than_the_catalogue_says_is_refused(
    server: FileServer, store: ModelStore
) -> None:
    server.length = 60_000_000
    assert "far more" in refusal(lambda: pull(store, model(server)))


def test_two_pulls_at_a_time_do_not_meet(server: FileServer, store: ModelStore) -> None:
    with store._alone():
        assert "another" in refusal(lambda: pull(store, model(server)))
    pull(store, model(server))


def test_a_record_that_cannot_be_read_is_told(store: ModelStore) -> None:
    store.root.mkdir()
    (store.root / RECORD).write_text("{")
    assert RECORD in refusal(store.pulled)
