"""How long recordings are kept: the choice alone, then on a disk, then by a recorder's thread."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.served import eventually
from voice.config import RecordConfig
from voice.recorder import Recorder, recorder_of
from voice.retention import WRITTEN_S, Found, Keeping, Retention, outlived

NOW = 1_795_255_200.0
"""2026-11-21, 10:00 UTC."""
LONG_AGO = NOW - 2 * WRITTEN_S


def of_day(day: int, size: int = 1_000_000, written_at: float = LONG_AGO) -> Found:
    return Found(f"202611{day:02}T100000Z-sess_{day}.kaiwa", size, written_at)


def days_of(found: list[Found]) -> list[int]:
    return [int(one.name[6:8]) for one in found]


CALLS = [of_day(day) for day in (3, 1, 20, 21, 14, 15)]


# --- the choice -----------------------------------------------------------------------------------


def test_without_limits_all_are_kept() -> None:
    assert outlived(CALLS, Keeping(), NOW) == []


def test_what_is_older_than_so_many_days_goes() -> None:
    assert days_of(outlived(CALLS, Keeping(days=7), NOW)) == [3, 1]
    assert days_of(outlived(CALLS, Keeping(days=6.9), NOW)) == [14, 3, 1]


def test_of_too_many_megabytes_the_oldest_go() -> None:
    assert days_of(outlived(CALLS, Keeping(megabytes=4), NOW)) == [3, 1]
    assert days_of(outlived(CALLS, Keeping(megabytes=3.9), NOW)) == [14, 3, 1]


def test_behind_one_that_is_too_large_no_older_one_is_kept_for_being_small() -> None:
    calls = [of_day(1, size=1), of_day(2, size=9_000_000), of_day(3)]
    assert days_of(outlived(calls, Keeping(megabytes=5), NOW)) == [2, 1]


def test_a_call_that_goes_on_is_kept_and_counts() -> None:
    calls = [of_day(1, written_at=NOW - 1.0), of_day(2), of_day(3)]
    assert days_of(outlived(calls, Keeping(days=1, megabytes=1), NOW)) == [3, 2]


@given(
    st.lists(
        st.builds(
            Found,
            st.integers(1, 28).map(lambda day: of_day(day).name),
            st.integers(0, 3_000_000),
            st.sampled_from([LONG_AGO, NOW]),
        ),
        max_size=12,
        unique_by=lambda one: one.name,
    ),
    st.integers(1, 40),
    st.integers(1, 9),
)
def test_what_is_left_keeps_both_limits_but_for_calls_that_go_on(
    calls: list[Found], days: int, megabytes: int
) -> None:
    gone = outlived(calls, Keeping(days=days, megabytes=megabytes), NOW)
    left = [one for one in calls if one not in gone]
    assert all(one.written_at < NOW for one in gone)
    resting = [one for one in left if one.written_at < NOW]
    for one in resting:
        newer = [other for other in left if other.name > one.name]
        assert one.size + sum(other.size for other in newer) <= megabytes * 1e6
    assert outlived(left, Keeping(days=days, megabytes=megabytes), NOW) == []


# --- on a disk ------------------------------------------------------------------------------------


def write(folder: Path, name: str, size: int = 10) -> Path:
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def test_only_recordings_are_deleted(tmp_path: Path) -> None:
    old = write(tmp_path, "20261001T100000Z-sess_0a1b.kaiwa")
    packed = write(tmp_path, "20261001T100000Z-sess_2c3d.kaiwa.gz")
    new = write(tmp_path, "20261121T095900Z-sess_4e5f.kaiwa")
    renamed = write(tmp_path, "the-call-that-went-wrong.kaiwa")
    other = write(tmp_path, "20261001T100000Z-notes.txt")
    elsewhere = write(tmp_path.parent, "20261001T100000Z-sess_6a7b.kaiwa")
    link = tmp_path / "20261001T100000Z-sess_8c9d.kaiwa"
    link.symlink_to(elsewhere)
    (tmp_path / "20261001T100000Z-sess_folder.kaiwa").mkdir()
    with capture_logs() as logs:
        Retention(tmp_path, Keeping(days=30), now=lambda: NOW).sweep()
    assert not old.exists() and not packed.exists()
    assert all(path.exists() for path in (new, renamed, other, elsewhere, link))
    assert logs == [
        {"event": "recordings_deleted", "count": 2, "mb": 0.0, "log_level": "info"},
    ]


def test_a_file_that_cannot_be_deleted_is_told(tmp_path: Path) -> None:
    write(tmp_path, "20261001T100000Z-sess_0a1b.kaiwa")
    tmp_path.chmod(0o500)
    try:
        with capture_logs() as logs:
            Retention(tmp_path, Keeping(days=1), now=lambda: NOW).sweep()
    finally:
        tmp_path.chmod(0o700)
    if os.geteuid():  # root may
        assert [line["event"] for line in logs] == ["recordings_not_deleted"]


def test_a_folder_that_is_gone_is_told_and_looked_for_again(tmp_path: Path) -> None:
    retention = Retention(tmp_path / "gone", Keeping(days=1))
    with capture_logs() as logs:
        retention.tick()
    (line,) = logs
    assert line["event"] == "recordings_not_deleted" and "No such file" in line["why"]
    assert retention.wait_s


def test_without_limits_nobody_looks() -> None:
    assert Retention(Path("/nowhere"), Keeping()).wait_s is None


# --- by the recorder ------------------------------------------------------------------------------


def test_a_server_that_records_deletes_what_is_too_old_also_without_a_call(tmp_path: Path) -> None:
    old = write(tmp_path, "20200101T100000Z-sess_0a1b.kaiwa")
    recorder = recorder_of(RecordConfig(folder=str(tmp_path)))
    assert recorder is not None
    eventually(lambda: not old.exists(), "that it is deleted")
    recorder.close()


def test_a_server_that_keeps_them_for_ever_deletes_none(tmp_path: Path) -> None:
    old = write(tmp_path, "20200101T100000Z-sess_0a1b.kaiwa")
    recorder = recorder_of(RecordConfig(folder=str(tmp_path), keep_days=0, keep_mb=0))
    assert recorder is not None
    recorder.tape("sess_now").stopped = True
    recorder.close()
    assert old.exists()


def test_a_disk_that_hangs_in_a_sweep_holds_up_no_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the thread waits for, whoever begins a call waits for nothing."""
    begun, released, over = threading.Event(), threading.Event(), threading.Event()

    def scandir(folder: Any) -> Any:
        begun.set()
        released.wait(5.0)
        over.set()
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "scandir", scandir)
    recorder = Recorder(tmp_path, most_mb=10, keeping=Keeping(days=1))
    assert begun.wait(5.0)
    recorder.tape("sess_test").stopped = True
    assert not over.is_set()
    released.set()
    recorder.close()


def test_days_are_those_of_the_calls_beginning() -> None:
    edge = Found("20261120T100000Z-sess_1.kaiwa", 1, LONG_AGO)
    assert outlived([edge], Keeping(days=1), NOW) == []
    assert outlived([edge], Keeping(days=1), NOW + 1.0) == [edge]
