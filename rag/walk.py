"""Which files an ingest reads: those below the given folders, and nothing they only point to."""

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from rag.clean import visible
from rag.read import SUFFIXES
from rag.read_text import Unreadable

LARGEST_FILE_BYTES = 20_000_000
MOST_FILES = 20_000


class File(msgspec.Struct, frozen=True):
    path: Path
    """Absolute, without links."""
    source: str
    """Its path below the given folder, with "/" between its parts and nothing invisible in it."""


class Refusal(msgspec.Struct, frozen=True):
    source: str
    reason: str


def walk(root: Path) -> Iterator[File | Refusal]:
    """Files below a folder in a fixed order, or the one file given. Hidden ones are passed over.

    Raises:
        FileNotFoundError: If there is no such folder or file.
    """
    root = root.resolve(strict=True)
    if not root.is_dir():
        yield _judged(root, visible(root.name))
        return
    count = 0
    shut: list[OSError] = []
    for folder, folders, names in os.walk(root, followlinks=False, onerror=shut.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(folder)
        for name in list(folders):
            if (inside / name).is_symlink():
                folders.remove(name)
                yield Refusal(
                    _source(inside / name, root), "is a link; ingest the folder it points to"
                )
        for name in sorted(names):
            if name.startswith("."):
                continue
            count += 1
            if count > MOST_FILES:
                yield Refusal(
                    visible(root.name),
                    f"holds more than {MOST_FILES:,} files; the rest is left out",
                )
                return
            yield _judged(inside / name, _source(inside / name, root))
    for error in shut:
        closed = Path(error.filename)
        source = visible(root.name) if closed == root else _source(closed, root)
        yield Refusal(source, f"cannot be opened: {error.strerror}; let this user read the folder")


def _source(path: Path, root: Path) -> str:
    return visible(path.relative_to(root).as_posix())


def _judged(path: Path, source: str) -> File | Refusal:
    try:
        found = path.lstat()
    except OSError as error:
        return Refusal(source, f"cannot be opened: {error.strerror}")
    if stat.S_ISLNK(found.st_mode):
        return Refusal(source, "is a link; ingest the file it points to")
    if not stat.S_ISREG(found.st_mode):
        return Refusal(source, "is not a regular file")
    if path.suffix.lower() not in SUFFIXES:
        return Refusal(source, f"not one of {', '.join(SUFFIXES)}")
    if found.st_size > LARGEST_FILE_BYTES:
        return Refusal(source, f"is larger than {LARGEST_FILE_BYTES // 1_000_000} MB; split it")
    return File(path, source)


def contents(file: File) -> bytes:
    """The file's bytes; never those of another one put in its place meanwhile.

    Raises:
        Unreadable: If it cannot be opened, became a link or grew too large.
    """
    try:
        opened = os.open(file.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | os.O_NONBLOCK)
        with open(opened, "rb") as stream:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise Unreadable("is not a regular file")
            data = stream.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise Unreadable(f"cannot be opened: {error.strerror}") from None
    if len(data) > LARGEST_FILE_BYTES:
        raise Unreadable(f"is larger than {LARGEST_FILE_BYTES // 1_000_000} MB; split it")
    return data


def named_apart(wanted: Mapping[str, str]) -> dict[str, str]:
    """Names for documents, where several want the same one: each with the folders that differ.

        /x/a/readme.md  readme.md     a/readme.md
        /x/b/readme.md  readme.md  >  b/readme.md
        /x/b/hours.md   hours.md      hours.md

    Args:
        wanted: By absolute path, an end of that path.
    Returns:
        By absolute path. In any order of the paths the same, and given its own result the same.
    """
    names = dict(wanted)
    clashing: list[str] | None = None
    while clashing != []:
        counts = Counter(names.values())
        clashing = []
        for path, name in names.items():
            if counts[name] > 1 and (longer := _with_parent(path, name)) != name:
                clashing.append(path)
                names[path] = longer
    return names


def _with_parent(path: str, name: str) -> str:
    parts = visible(path).strip("/").split("/")
    return "/".join(parts[-name.count("/") - 2 :])


def is_below(path: str, roots: Sequence[Path]) -> bool:
    return any(Path(path).is_relative_to(root) for root in roots)
