"""Files that a crash or a power cut leaves whole or leaves out; why they could not be written.

write the file -> fsync it -> fsync its folder     now its bytes and its name are on the disk
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.EEXIST, errno.ENOTDIR)


class IndexUnwritable(Exception):
    """The index cannot be written and is as it was. The text says what to do."""


@contextlib.contextmanager
def explained(index_dir: Path) -> Iterator[None]:
    """Raises:
    IndexUnwritable: In place of what the system refused inside.
    """
    try:
        yield
    except OSError as error:
        raise IndexUnwritable(_explanation(index_dir, error)) from error


def _explanation(index_dir: Path, error: OSError) -> str:
    if error.errno in _FULL:
        return (
            f"no space is left for the index in {index_dir}, which is as it was; "
            "free some and run it again"
        )
    if error.errno in _FORBIDDEN:
        return (
            f"{error.filename or index_dir} cannot be written ({error.strerror}); "
            "make it writable for this user, or name another folder with --index"
        )
    if error.errno in _NO_FOLDER:
        return (
            f"{error.filename or index_dir} is a file, or below one, where the index needs a "
            "folder; name another with --index"
        )
    return (
        f"the index in {index_dir} cannot be written ({error.strerror or error}) and is as it was; "
        "check the disk, or name another folder with --index"
    )


def write(path: Path, data: bytes) -> None:
    """A new file; its name lasts once its folder is synced."""
    with open(path, "xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def sync(folder: Path) -> None:
    """Make the names in a folder last."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems sync no folders
            raise
    finally:
        os.close(opened)


def replace(path: Path, data: bytes) -> None:
    """A reader sees the old file or the new one, after a crash too; `sync` the folder next."""
    fresh = path.with_name(f".{path.name}-{token_hex(4)}")
    try:
        write(fresh, data)
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
