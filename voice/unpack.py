"""Archives of others, unpacked with care: nothing outside the folder, no bomb."""

import shutil
import tarfile
import zlib
from pathlib import Path

MOST_ENTRIES = 20_000
MOST_TIMES_LARGER = 8
"""Than the archive. Weights hardly shrink; measured on sherpa-onnx's archives' own figures: 1.1."""
LEAST_BOUND_BYTES = 200_000_000


class UnpackError(Exception):
    """It is no whole archive, or holds what it should not."""


def is_archive(name: str) -> bool:
    return name.endswith((".tar.bz2", ".tar.gz", ".tgz", ".tar"))


def unpack(archive: Path, folder: Path, *, most_bytes: int = 0) -> None:
    """Leaves in `folder` what the archive holds, or what its only folder holds.

    Args:
        folder: Must not exist; exists only if all went well.
        most_bytes: Unpacked; 0: by the archive's own size.
    Raises:
        UnpackError: Says what is wrong with the archive.
        OSError: The disk.
    """
    most_bytes = most_bytes or max(LEAST_BOUND_BYTES, MOST_TIMES_LARGER * archive.stat().st_size)
    work = folder.with_name(folder.name + ".unpacking")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        _extract(archive, work, most_bytes)
        entries = list(work.iterdir())
        if not entries:
            raise UnpackError(f"{archive.name} is empty")
        only = entries[0]
        root = only if len(entries) == 1 and only.is_dir() and not only.is_symlink() else work
        root.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(archive: Path, work: Path, most_bytes: int) -> None:
    total = 0
    try:
        with tarfile.open(archive, "r:*") as tar:
            for number, member in enumerate(tar):
                total += max(0, member.size)
                if total > most_bytes or number >= MOST_ENTRIES:
                    raise UnpackError(
                        f"{archive.name} holds more than {most_bytes / 1e6:,.0f} MB or "
                        f"{MOST_ENTRIES:,} files: no model does"
                    )
                # "data": no absolute or climbing paths, no links outside, no devices (PEP 706).
                tar.extract(member, work, filter="data")
    except tarfile.FilterError as error:
        raise UnpackError(f"{archive.name} holds what it should not: {error}") from None
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UnpackError(f"{archive.name} is no whole archive: {error}") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise UnpackError(f"{archive.name} is no whole archive: {error}") from None
