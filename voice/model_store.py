"""The folder `models`: what was pulled into it, from where, with which checksums.

    models/stt/NAME/…          one folder a model, in the slot that it is for
    models/kaiwa-models.json   every download's and file's SHA-256, recorded when it first came
    models/.downloads/…        what is on its way

The record outlives a model's folder: what is pulled again must be what came the first time.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

import providers
from voice.download import DownloadError, Progress, fetch
from voice.model_catalogue import Model, Source
from voice.unpack import UnpackError, is_archive, unpack

RECORD = "kaiwa-models.json"
PACKAGED = Path(providers.__file__).parent
BLOCK_BYTES = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DOWNLOAD = re.compile(r"[0-9a-f]{12}")
"""A folder of one address."""


class ModelsError(Exception):
    """The text says what to do."""


class Stamp(msgspec.Struct, frozen=True):
    sha256: str
    size: int


class Pulled(msgspec.Struct, frozen=True, kw_only=True):
    """One model as it came."""

    slot: str
    licence: str
    downloads: dict[str, Stamp] = {}
    """By address."""
    files: dict[str, Stamp] = {}
    """By path below the model's folder."""


class Trouble(msgspec.Struct, frozen=True):
    model: str
    path: str
    what: str


class ModelStore:
    """Args:
    root: The folder `models`; made when something is pulled.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, model: Model) -> Path:
        return self.root / model.slot / model.name

    def has(self, model: Model) -> bool:
        return self.is_here(model.name, self.pulled().get(model.name))

    def is_here(self, name: str, pulled: Pulled | None) -> bool:
        """Raises:
        ModelsError: This user may not look.
        """
        if pulled is None:
            return False
        folder = self.root / pulled.slot / name
        try:
            return folder.is_dir()
        except PermissionError:
            raise self._closed(folder.parent) from None

    def _closed(self, path: Path) -> ModelsError:
        return ModelsError(
            f"{path} cannot be read by user {os.getuid()}; for all users: chmod -R a+rX {self.root}"
        )

    def pulled(self) -> dict[str, Pulled]:
        """By name, what was ever pulled.

        Raises:
            ModelsError: The record cannot be read.
        """
        path = self.root / RECORD
        try:
            return msgspec.json.decode(path.read_bytes(), type=dict[str, Pulled])
        except FileNotFoundError:
            return {}
        except PermissionError:
            raise self._closed(path) from None
        except NotADirectoryError:
            raise ModelsError(f"{self.root} is no folder; move that file away") from None
        except (OSError, msgspec.DecodeError) as error:
            raise ModelsError(
                f"{path} cannot be read ({error}); without it nothing can be compared. Put it back "
                "from a backup, or remove it and pull the models again"
            ) from None

    def begun(self) -> dict[str, int]:
        """By name, how many bytes have come of what broke off."""
        try:
            parts = sorted((self.root / ".downloads").glob("*/*/*"))
        except OSError:  # another user's
            return {}
        sizes: dict[str, int] = {}
        for part in parts:
            if part.suffix != ".json" and _DOWNLOAD.fullmatch(part.parent.name):
                name = part.parents[1].name
                with contextlib.suppress(OSError):
                    sizes[name] = sizes.get(name, 0) + part.stat().st_size
        return {name: size for name, size in sizes.items() if size}

    def pull(
        self,
        model: Model,
        *,
        progress: Callable[[Source], Progress],
        fetch: Callable[..., None] = fetch,
    ) -> Pulled:
        """Brings the model, anew if it is there, and replaces its folder only when all is well.

        Raises:
            ModelsError: It did not come, or is not what it was the first time.
        """
        with self._alone():
            work = self.root / ".downloads" / model.name
            work.mkdir(parents=True, exist_ok=True)
            built = work / "built"
            shutil.rmtree(built, ignore_errors=True)
            before = self.pulled().get(model.name)
            try:
                stamps = {}
                # An archive makes the folder, so it comes before what is laid beside its files.
                for source in sorted(model.sources, key=lambda one: bool(one.path)):
                    stamps[source.url] = self._bring(
                        model, source, work, built, before, progress, fetch
                    )
                self._copy_packaged(model, built)
                pulled = Pulled(
                    slot=model.slot,
                    licence=model.licence,
                    downloads=stamps,
                    files=stamps_of(built),
                )
                self._put(model, built)
                self._record(model.name, pulled)
            except (DownloadError, UnpackError) as error:
                raise ModelsError(str(error)) from None
            except OSError as error:
                if error.errno in FULL:  # of a copy, it names the file that is read
                    raise ModelsError(
                        f"{self.root}: {error.strerror}; make room, or name another folder with "
                        "--models-dir"
                    ) from None
                raise ModelsError(f"{error.filename or self.root}: {error.strerror}") from None
            shutil.rmtree(work, ignore_errors=True)
            return pulled

    def _bring(
        self,
        model: Model,
        source: Source,
        work: Path,
        built: Path,
        before: Pulled | None,
        progress: Callable[[Source], Progress],
        fetch: Callable[..., None],
    ) -> Stamp:
        path = work / hashlib.sha256(source.url.encode()).hexdigest()[:12] / _name(source.url)
        if not path.is_file():
            most_bytes = 2_000_000 * model.megabytes + 50_000_000
            fetch(source.url, path, progress=progress(source), most_bytes=most_bytes)
        stamp = stamp_of(path)
        first = before.downloads.get(source.url) if before is not None else None
        if first is not None and first != stamp:
            path.unlink()
            raise ModelsError(
                f"{source.url} is not what it was: SHA-256 {stamp.sha256} now, {first.sha256} when "
                f"it first came. Ask its publisher why; to take it as it is now, remove "
                f"{model.name!r} from {self.root / RECORD}"
            )
        if not source.path and is_archive(path.name):
            try:
                unpack(path, built)
            except UnpackError:
                path.unlink()  # whole by its length and yet broken: continuing would not mend it
                raise
        else:
            to = built / (source.path or path.name)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)
        return stamp

    def _copy_packaged(self, model: Model, built: Path) -> None:
        for relative in model.packaged:
            source = PACKAGED / relative
            if not source.is_file():
                raise ModelsError(
                    f"{model.name}: {source} is not there; install Kaiwa again, with its data"
                )
            built.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, built / source.name)

    def _put(self, model: Model, built: Path) -> None:
        folder = self.folder(model)
        folder.parent.mkdir(parents=True, exist_ok=True)
        old = built.with_name("old")
        shutil.rmtree(old, ignore_errors=True)
        if folder.exists():
            folder.replace(old)
        built.replace(folder)

    def _record(self, name: str, pulled: Pulled) -> None:
        path = self.root / RECORD
        everything = self.pulled() | {name: pulled}
        partial = path.with_name(path.name + ".part")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(everything), indent=2))
        partial.replace(path)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One pull at a time."""
        try:
            (self.root / ".downloads").mkdir(parents=True, exist_ok=True)
            file = (self.root / ".downloads" / "lock").open("w")
        except OSError as error:
            raise ModelsError(f"{self.root}: cannot be written to: {error.strerror}") from None
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ModelsError(
                    f"another `kaiwa models pull` is at work in {self.root}; wait for it"
                ) from None
            yield

    def check(
        self, name: str, *, by_size: bool = False, seen: Callable[[str], None] = lambda path: None
    ) -> list[Trouble]:
        """What has changed since it was pulled.

        Args:
            by_size: Quick: contents are not read.
            seen: Told of each file before it is read.
        """
        pulled = self.pulled()[name]
        folder = self.root / pulled.slot / name
        troubles = []
        for relative, stamp in pulled.files.items():
            seen(relative)
            path = folder / relative
            try:
                size = path.stat().st_size
                is_same = size == stamp.size and (by_size or stamp_of(path) == stamp)
            except OSError as error:
                troubles.append(Trouble(name, str(path), error.strerror or "cannot be read"))
                continue
            if not is_same:
                what = (
                    "has changed"
                    if size == stamp.size
                    else f"has {size:,} bytes, not {stamp.size:,}"
                )
                troubles.append(Trouble(name, str(path), what))
        return troubles


def stamp_of(path: Path) -> Stamp:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
        return Stamp(digest.hexdigest(), os.fstat(file.fileno()).st_size)


def stamps_of(folder: Path) -> dict[str, Stamp]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(folder).as_posix(): stamp_of(path) for path in files}


def _name(url: str) -> str:
    return url.rpartition("/")[2] or "file"
