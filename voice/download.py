"""A file from a web server: resumed where it broke off, whole when it stands under its name.

    NAME.part        what has come so far
    NAME.part.json   of which version of the file: only the same one is continued
    NAME             all of it

A part is continued only if the server says that the file is still the one it was (If-Range with
its ETag or date, RFC 9110 §13.1.5); where it cannot say so, the download begins anew.
"""

import contextlib
import errno
import http.client
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

PIECE_BYTES = 256 * 1024
PAUSES_S = (0.5, 2.0, 5.0, 10.0)
"""Before each further attempt that brought nothing; one that brought something begins again."""
SPARE_BYTES = 50_000_000
"""Disk space left over."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO)
AGAIN = (408, 425, 429, 500, 502, 503, 504)

Progress = Callable[[int, int], None]
"""Bytes so far, and all of them; 0: not known."""


class DownloadError(Exception):
    """It cannot be had; the text says what to do. What came is kept for the next attempt."""


class _Interrupted(Exception):
    """It may go on."""

    most_pauses = len(PAUSES_S)


class _Unreachable(_Interrupted):
    """Not even a connection: whoever is offline should not wait to be told."""

    most_pauses = 2


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    """Which file a part is of."""

    url: str
    validator: str = ""
    """A strong ETag, else Last-Modified; empty: it cannot be continued."""
    total: int = 0


def fetch(
    url: str,
    to: Path,
    *,
    progress: Progress = lambda done, total: None,
    most_bytes: int = 0,
    timeout_s: float = 30.0,
    pauses_s: tuple[float, ...] = PAUSES_S,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Args:
        to: Its folder is made. Nothing stands there before the file is whole.
        most_bytes: A larger file is not taken; 0: any.
        timeout_s: For a connection, and for the next piece.
        pauses_s: None: one attempt only.
    Raises:
        DownloadError: After the last attempt, or at once where another would not help.
    """
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_name(to.name + ".part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _attempt(url, part, progress, most_bytes, timeout_s)
            break
        except _Interrupted as error:
            failures = 0 if _size(part) > before else failures + 1
            if not pauses_s or failures > min(len(pauses_s), error.most_pauses):
                raise DownloadError(f"{error}; what came is kept: run it again later") from None
            sleep(pauses_s[max(0, failures - 1)])
    part.replace(to)
    _version_path(part).unlink(missing_ok=True)


def _attempt(url: str, part: Path, progress: Progress, most_bytes: int, timeout_s: float) -> None:
    known = _known_version(part, url)
    offset = _size(part) if known.validator else 0
    headers = {"User-Agent": "kaiwa", "Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": known.validator}
    host = urlsplit(url).netloc
    try:
        with _opener().open(
            urllib.request.Request(url, headers=headers), timeout=timeout_s
        ) as answer:
            _receive(answer, url, part, known, offset, progress, most_bytes)
    except urllib.error.HTTPError as error:
        with error:
            _refused(error, url, part)
    except urllib.error.URLError as error:
        raise _Unreachable(f"no connection to {host} ({_reason(error.reason)})") from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and (error.filename or error.errno in DISK):
            raise DownloadError(f"{error.filename or part.parent}: {error.strerror}") from None
        raise _Interrupted(f"the connection to {host} broke ({_reason(error)})") from None


def _receive(
    answer: Any,
    url: str,
    part: Path,
    known: _Version,
    offset: int,
    progress: Progress,
    most_bytes: int,
) -> None:
    start, total = _extent(answer, url)
    if answer.status == 206 and (start != offset or (known.total and total != known.total)):
        part.unlink(missing_ok=True)
        raise _Interrupted(f"{url} was continued elsewhere than asked")
    if most_bytes and total > most_bytes:
        raise DownloadError(
            f"{url} has {total:,} bytes, far more than the {most_bytes:,} it should at most have: "
            "it is not the file it was; look at its page before you take it"
        )
    _need_space(part, total - start)
    version = _Version(url=url, validator=_validator(answer), total=total)
    _version_path(part).write_bytes(msgspec.json.encode(version))
    done = start
    with part.open("ab" if start else "wb") as file:
        progress(done, total)
        while piece := answer.read(PIECE_BYTES):
            done += len(piece)
            if (total and done > total) or (most_bytes and done > most_bytes):
                file.truncate(0)
                raise DownloadError(f"{url}: more came than the {total or most_bytes:,} bytes said")
            file.write(piece)
            progress(done, total)
    if total and done < total:
        raise _Interrupted(f"{url} broke off at {done:,} of {total:,} bytes")


def _extent(answer: Any, url: str) -> tuple[int, int]:
    """The first byte's place, and how many there are in all; 0: not said."""
    try:
        if answer.status == 206:
            place, _, total = answer.headers["Content-Range"].removeprefix("bytes ").partition("/")
            return int(place.partition("-")[0]), int(total)
        return 0, int(answer.headers.get("Content-Length") or 0)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DownloadError(f"{url}: its server does not say which bytes it sends") from None


def _refused(error: urllib.error.HTTPError, url: str, part: Path) -> None:
    said = f"{url}: {error.code} {error.reason}"
    if error.code == 416:  # the part is longer than the file: of another one, then
        part.unlink(missing_ok=True)
        raise _Interrupted(said)
    if error.code in AGAIN:
        raise _Interrupted(said)
    remedy = "it is no longer there, or was moved; look for it on the model's page"
    if error.code in (401, 403):
        remedy = "its publisher gives it only to those who signed in; see the model's page"
    raise DownloadError(f"{said}: {remedy}")


def _need_space(part: Path, wanted: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if wanted + SPARE_BYTES > free:
        raise DownloadError(
            f"{part.parent}: {wanted / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free; "
            "make room, or name another folder with --models-dir"
        )


def _validator(answer: Any) -> str:
    tag = str(answer.headers.get("ETag") or "")
    if tag and not tag.startswith("W/"):
        return tag
    return str(answer.headers.get("Last-Modified") or "")


def _known_version(part: Path, url: str) -> _Version:
    with contextlib.suppress(OSError, msgspec.DecodeError):
        known = msgspec.json.decode(_version_path(part).read_bytes(), type=_Version)
        if known.url == url:
            return known
    return _Version(url=url)


def _version_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _reason(error: Any) -> str:
    return str(getattr(error, "strerror", "") or error or type(error).__name__)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Release pages send to a store elsewhere; never from https to http."""

    def redirect_request(
        self, request: Any, response: Any, code: int, message: str, headers: Any, url: str
    ) -> Any:
        if request.full_url.startswith("https:") and not url.startswith("https:"):
            raise DownloadError(f"{request.full_url} leads to {url}, which is not encrypted")
        return super().redirect_request(request, response, code, message, headers, url)


def _opener() -> urllib.request.OpenerDirector:
    """http and https only, through the proxy that the environment names."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        _SafeRedirects(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
