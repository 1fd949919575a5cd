import errno
import os
from pathlib import Path

import pytest

from rag import durable


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some and run it again"),
        (errno.EDQUOT, "free some and run it again"),
        (errno.EACCES, "make it writable for this user, or name another folder with --index"),
        (errno.EROFS, "make it writable for this user, or name another folder with --index"),
        (errno.EEXIST, "is a file, or below one, where the index needs a folder; name another"),
        (errno.ENOTDIR, "is a file, or below one, where the index needs a folder; name another"),
        (errno.EIO, "check the disk"),
    ],
)
def test_what_the_system_refuses_is_told_with_what_to_do(code: int, remedy: str) -> None:
    with (
        pytest.raises(durable.IndexUnwritable, match=remedy) as told,
        durable.explained(Path("data/index")),
    ):
        raise OSError(code, os.strerror(code))
    assert "data/index" in str(told.value) and "Errno" not in str(told.value)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "current"
    durable.replace(path, b"one")
    with pytest.raises(TypeError):
        durable.replace(path, "no bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"one" and list(tmp_path.iterdir()) == [path]


def test_a_file_system_that_syncs_no_folders_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(code: int) -> None:
        def fsync(_: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", fsync)

    refuse(errno.EINVAL)
    durable.sync(tmp_path)
    refuse(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        durable.sync(tmp_path)
