import os
from pathlib import Path

import pytest

from rag.read_text import Unreadable
from rag.walk import LARGEST_FILE_BYTES, File, Refusal, contents, named_apart, walk


def _found(root: Path) -> dict[str, str]:
    return {f.source: f.reason if isinstance(f, Refusal) else "" for f in walk(root)}


def test_files_are_named_by_their_path_below_the_folder(tmp_path: Path) -> None:
    (tmp_path / "ja").mkdir()
    (tmp_path / "ja" / "a.md").write_text("x")
    (tmp_path / "b.TXT").write_text("x")
    assert _found(tmp_path) == {"b.TXT": "", "ja/a.md": ""}
    assert _found(tmp_path / "ja" / "a.md") == {"a.md": ""}


def test_links_hidden_pipes_and_other_kinds_are_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    root = tmp_path / "docs"
    (root / ".git").mkdir(parents=True)
    (root / ".git" / "a.md").write_text("x")
    (root / ".hidden.md").write_text("x")
    (root / "link.txt").symlink_to(secret)
    (root / "up").symlink_to(tmp_path)
    (root / "a.zip").write_bytes(b"PK")
    os.mkfifo(root / "pipe.txt")
    found = _found(root)
    assert set(found) == {"link.txt", "up", "a.zip", "pipe.txt"}
    assert "link" in found["link.txt"] and "link" in found["up"]
    assert found["a.zip"].startswith("not one of") and "regular" in found["pipe.txt"]


def test_too_large_files_are_refused_unread(tmp_path: Path) -> None:
    with open(tmp_path / "big.txt", "wb") as big:
        big.truncate(LARGEST_FILE_BYTES + 1)
    assert "split it" in _found(tmp_path)["big.txt"]
    with pytest.raises(Unreadable, match="split it"):
        contents(File(tmp_path / "big.txt", "big.txt"))


def test_a_file_swapped_for_a_link_or_a_pipe_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real.txt").write_text("x")
    (tmp_path / "a.txt").symlink_to(tmp_path / "real.txt")
    os.mkfifo(tmp_path / "b.txt")
    with pytest.raises(Unreadable, match="cannot be opened"):
        contents(File(tmp_path / "a.txt", "a.txt"))
    with pytest.raises(Unreadable, match="not a regular file"):
        contents(File(tmp_path / "b.txt", "b.txt"))


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(walk(tmp_path / "nowhere"))


def test_a_name_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "a\u202efdp.md").write_text("x")
    (tmp_path / os.fsdecode(b"\xff.md")).write_text("x")
    (tmp_path / "bell\x07.exe").write_text("x")
    assert set(_found(tmp_path)) == {"a\\u202efdp.md", "\\udcff.md", "bell\\u0007.exe"}


def test_a_folder_that_cannot_be_opened_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.md").write_text("x")
    real = os.scandir

    def scandir(path: str) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)  # root, who may run this, can open all
    found = _found(tmp_path)
    assert found["a.md"] == ""
    assert "Permission denied; let this user read the folder" in found["closed"]


def test_names_are_as_long_as_it_takes_to_tell_documents_apart() -> None:
    wanted = {
        "/x/a/readme.md": "readme.md",
        "/x/b/readme.md": "readme.md",
        "/x/b/hours.md": "hours.md",
        "/x/readme.md": "readme.md",
        "/y/a/readme.md": "a/readme.md",
        "/y/c/d/one.md": "d/one.md",
        "/z/c/d/one.md": "d/one.md",
        "/one.md": "one.md",
    }
    names = named_apart(wanted)
    assert names == {
        "/x/a/readme.md": "x/a/readme.md",
        "/x/b/readme.md": "b/readme.md",
        "/x/b/hours.md": "hours.md",
        "/x/readme.md": "x/readme.md",
        "/y/a/readme.md": "y/a/readme.md",
        "/y/c/d/one.md": "y/c/d/one.md",
        "/z/c/d/one.md": "z/c/d/one.md",
        "/one.md": "one.md",
    }
    assert named_apart(names) == names
    assert named_apart(dict(reversed(wanted.items()))) == names
