"""What an archive may and may not do to the disk."""

import io
import tarfile
from pathlib import Path

import pytest

from voice.unpack import UnpackError, unpack

Entry = tuple[str, bytes | tarfile.TarInfo]


def archive(path: Path, *entries: Entry, mode: str = "w:bz2") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in entries:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return name, info


def held(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("mode", ["w:bz2", "w:gz", "w"])
def test_the_only_folder_of_an_archive_becomes_the_models_own(tmp_path: Path, mode: str) -> None:
    path = archive(
        tmp_path / "a", ("m-2026/tokens.txt", b"a 0"), ("m-2026/x/y.bin", b"y"), mode=mode
    )
    unpack(path, tmp_path / "en")
    assert held(tmp_path / "en") == {"tokens.txt": b"a 0", "x/y.bin": b"y"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "en"]


def test_files_without_a_folder_come_as_they_are(tmp_path: Path) -> None:
    unpack(archive(tmp_path / "a", ("one", b"1"), ("two", b"2")), tmp_path / "en")
    assert held(tmp_path / "en") == {"one": b"1", "two": b"2"}


def test_a_link_within_is_kept(tmp_path: Path) -> None:
    unpack(archive(tmp_path / "a", ("m/one", b"1"), link("m/two", "one")), tmp_path / "en")
    assert (tmp_path / "en" / "two").read_bytes() == b"1"


@pytest.mark.parametrize(
    "entry",
    [
        ("../outside", b"x"),
        ("m/../../outside", b"x"),
        link("m/l", "/etc/passwd"),
        link("m/l", "../../outside"),
        link("m/l", "../../outside", tarfile.LNKTYPE),
        link("m/fifo", "", tarfile.FIFOTYPE),
        link("m/dev", "", tarfile.CHRTYPE),
    ],
)
def test_what_reaches_outside_leaves_nothing_behind(tmp_path: Path, entry: Entry) -> None:
    path = archive(tmp_path / "a", ("m/good", b"1"), entry)
    with pytest.raises(UnpackError):
        unpack(path, tmp_path / "in" / "en")
    assert list((tmp_path / "in").iterdir()) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "in"]


def test_an_absolute_path_lands_inside(tmp_path: Path) -> None:
    target = tmp_path / "outside"
    unpack(archive(tmp_path / "a", (str(target), b"x")), tmp_path / "en")
    assert not target.exists()


def test_a_bomb_is_defused_by_its_said_size(tmp_path: Path) -> None:
    path = archive(tmp_path / "a", ("m/zeros", bytes(3_000_000)))
    assert path.stat().st_size < 1000
    with pytest.raises(UnpackError, match="more than 2 MB"):
        unpack(path, tmp_path / "en", most_bytes=2_000_000)
    assert not (tmp_path / "en").exists()


@pytest.mark.parametrize("mode", ["w:bz2", "w:gz"])
def test_a_cut_archive_is_told(tmp_path: Path, mode: str) -> None:
    import random

    path = archive(tmp_path / "a", ("m/x", random.Random(1).randbytes(200_000)), mode=mode)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(UnpackError, match="no whole archive"):
        unpack(path, tmp_path / "en")
    assert not (tmp_path / "en").exists()


@pytest.mark.parametrize("content", [b"", b"<html>Not found</html>"])
def test_what_is_no_archive_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UnpackError):
        unpack(tmp_path / "a", tmp_path / "en")
