"""A file is whole or not there; what broke off is continued, and only with more of the same."""

import shutil
import socket
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.file_server import FileServer, serving_file
from voice.download import DownloadError, fetch

CONTENT = bytes(range(256)) * 4000
HALF = len(CONTENT) // 2


@pytest.fixture(autouse=True)
def without_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serving_file(CONTENT) as file:
        yield file


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "models" / "file.bin"


def get(server: FileServer, to: Path, **options: Any) -> list[float]:
    """Returns the pauses that were made."""
    pauses: list[float] = []
    fetch(server.url + "/file.bin", to, sleep=pauses.append, **options)
    return pauses


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(DownloadError) as refused:
        act()
    return str(refused.value)


def leftovers(to: Path) -> list[str]:
    return sorted(path.name for path in to.parent.iterdir())


def test_a_file_comes_whole_with_its_progress(server: FileServer, to: Path) -> None:
    told: list[tuple[int, int]] = []
    assert get(server, to, progress=lambda done, total: told.append((done, total))) == []
    assert to.read_bytes() == CONTENT and leftovers(to) == ["file.bin"]
    assert told[0] == (0, len(CONTENT)) and told[-1] == (len(CONTENT), len(CONTENT))


def test_a_connection_that_breaks_is_continued_where_it_broke(server: FileServer, to: Path) -> None:
    server.cut_after = [HALF, 1000, 2000]
    get(server, to)
    assert to.read_bytes() == CONTENT
    assert server.ranges == ["", *(f"bytes={HALF + n}-" for n in (0, 1000, 3000))]
    assert server.asked[1]["If-Range"] == server.version()[1]


def test_a_later_run_continues_what_an_earlier_one_left(server: FileServer, to: Path) -> None:
    server.cut_after = [HALF]
    server.statuses = []
    assert "kept" in refusal(lambda: get(server, to, pauses_s=()))
    assert leftovers(to) == ["file.bin.part", "file.bin.part.json"]
    get(server, to)
    assert to.read_bytes() == CONTENT and server.ranges[-1] == f"bytes={HALF}-"


def test_a_file_that_changed_meanwhile_is_not_mixed_with_what_it_was(
    server: FileServer, to: Path
) -> None:
    server.cut_after = [HALF]
    refusal(lambda: get(server, to, pauses_s=()))
    server.content = CONTENT[::-1]
    get(server, to)
    assert to.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("validator", [("", ""), ("ETag", 'W/"weak"')])
def test_without_a_name_for_the_version_the_download_begins_anew(
    server: FileServer, to: Path, validator: tuple[str, str]
) -> None:
    server.validator = validator
    server.cut_after = [HALF]
    get(server, to)
    assert to.read_bytes() == CONTENT and server.ranges == ["", ""]


def test_a_date_names_a_version_too(server: FileServer, to: Path) -> None:
    server.validator = ("Last-Modified", "Sat, 01 Aug 2026 10:00:00 GMT")
    server.cut_after = [HALF]
    get(server, to)
    assert to.read_bytes() == CONTENT and server.ranges == ["", f"bytes={HALF}-"]


def test_a_server_without_ranges_sends_all_again(server: FileServer, to: Path) -> None:
    server.has_ranges = False
    server.cut_after = [HALF]
    get(server, to)
    assert to.read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(server: FileServer, to: Path) -> None:
    server.cut_after = [HALF]
    refusal(lambda: get(server, to, pauses_s=()))
    with to.with_name("file.bin.part").open("ab") as part:
        part.write(CONTENT)
    get(server, to)
    assert to.read_bytes() == CONTENT


def test_a_part_of_another_address_is_not_continued(server: FileServer, to: Path) -> None:
    server.cut_after = [HALF]
    refusal(lambda: get(server, to, pauses_s=()))
    fetch(server.url + "/other.bin", to)
    assert server.ranges[-1] == "" and to.read_bytes() == CONTENT


# --- servers that fail ----------------------------------------------------------------------------


def test_a_busy_server_is_asked_again_after_growing_pauses(server: FileServer, to: Path) -> None:
    server.statuses = [503, 429, 500]
    pauses = get(server, to)
    assert to.read_bytes() == CONTENT
    assert len(pauses) == 3 and pauses == sorted(set(pauses))


def test_a_server_that_stays_busy_is_given_up(server: FileServer, to: Path) -> None:
    server.statuses = [503] * 99
    assert "503" in refusal(lambda: get(server, to))
    assert len(server.asked) == 5


def test_progress_renews_the_attempts(server: FileServer, to: Path) -> None:
    server.cut_after = [10_000] * 20
    get(server, to)
    assert to.read_bytes() == CONTENT and len(server.asked) == 21


@pytest.mark.parametrize(
    ("status", "remedy"), [(404, "page"), (410, "page"), (401, "signed in"), (403, "signed in")]
)
def test_what_will_not_be_given_is_told_at_once(
    server: FileServer, to: Path, status: int, remedy: str
) -> None:
    server.statuses = [status]
    said = refusal(lambda: get(server, to))
    assert str(status) in said and remedy in said and server.url in said
    assert len(server.asked) == 1


def test_less_than_was_said_is_no_file(server: FileServer, to: Path) -> None:
    server.length = len(CONTENT) + 5000
    server.has_ranges = False
    said = refusal(lambda: get(server, to, pauses_s=()))
    assert f"{len(CONTENT):,} of {len(CONTENT) + 5000:,}" in said
    assert not to.exists()


def test_more_than_may_be_is_not_taken(server: FileServer, to: Path) -> None:
    said = refusal(lambda: get(server, to, most_bytes=1000))
    assert f"{len(CONTENT):,}" in said and "1,000" in said
    assert not to.exists() and len(server.asked) == 1


def test_no_connection_is_told_soon_and_by_the_hosts_name(to: Path) -> None:
    with socket.socket() as probe:  # bound, not listening: refused, and nobody else's
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        pauses: list[float] = []
        said = refusal(lambda: fetch(f"http://127.0.0.1:{port}/x", to, sleep=pauses.append))
    assert f"no connection to 127.0.0.1:{port}" in said and sum(pauses) < 3


def test_a_full_disk_is_told_before_anything_comes(
    server: FileServer, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1_000_000))
    said = refusal(lambda: get(server, to))
    assert "1 MB are free" in said and str(to.parent) in said


def test_a_folder_that_cannot_be_written_is_told(server: FileServer, tmp_path: Path) -> None:
    blocked = tmp_path / "file.bin"
    blocked.with_name("file.bin.part").mkdir()
    assert "file.bin.part" in refusal(lambda: get(server, blocked, pauses_s=()))


# --- redirects ------------------------------------------------------------------------------------


def test_a_redirect_is_followed_with_the_range_kept(server: FileServer, to: Path) -> None:
    server.cut_after = [HALF]
    refusal(lambda: get(server, to, pauses_s=()))
    server.redirect = server.url + "/elsewhere"
    get(server, to)
    assert server.asked[-1]["path"] == "/elsewhere" and server.ranges[-1] == f"bytes={HALF}-"
    assert to.read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_a_redirect_out_of_the_web_is_not_followed(
    server: FileServer, to: Path, target: str
) -> None:
    server.redirect = target
    refusal(lambda: get(server, to, pauses_s=()))
    assert not to.exists()
