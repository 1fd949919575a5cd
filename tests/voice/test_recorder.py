"""Recordings on disk: readable by their owner only, bounded, and never in the way of a call."""

import errno
import os
import resource
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.driving import Call, converse
from tests.recorded_calls import Reel, cuts_in, recorded
from tests.served import Caller, Served, eventually
from voice.carrier import WEBSOCKET
from voice.config import RecordConfig
from voice.errors import ConfigError
from voice.recorder import MOST_WAITING_BYTES, Recorder, Spool, Traffic, create, recorder_of
from voice.recording import MAGIC, parsed, read
from voice.replay import replay
from voice.tape import Tape


def stopped_for(logs: list[Any]) -> list[str]:
    return [line["why"] for line in logs if line["event"] == "recording_stopped"]


# --- where, and for whom --------------------------------------------------------------------------


def test_a_call_is_a_file_that_only_its_owner_may_read(tmp_path: Path) -> None:
    folder = tmp_path / "calls" / "2026"
    with capture_logs() as logs:
        recorder = Recorder(folder, most_mb=10)
        call = converse(cuts_in, tape=recorder.tape("sess_test"))
        recorder.close()
    (file,) = folder.iterdir()
    assert file.name.endswith("-sess_test.kaiwa")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert replay(read(file)).difference is None
    assert len(call.frames) > 10
    told = [line for line in logs if line["event"] == "calls_are_recorded"]
    assert [(line["folder"], line["log_level"]) for line in told] == [(str(folder), "warning")]
    files = [(line["session"], line["file"]) for line in logs if line["event"] == "call_recorded"]
    assert files == [("sess_test", str(file))]


def test_a_file_that_is_there_is_not_written_to(tmp_path: Path) -> None:
    taken, target = tmp_path / "taken", tmp_path / "target"
    taken.symlink_to(target)
    with pytest.raises(FileExistsError):
        create(taken)
    assert not target.exists()


def test_nothing_is_recorded_unless_a_folder_is_named() -> None:
    before = set(threading.enumerate())
    assert recorder_of(RecordConfig()) is None
    assert not set(threading.enumerate()) - before


def test_a_server_that_is_not_told_to_records_nothing(serving: Any, tmp_path: Path) -> None:
    served: Served = serving()
    with Caller(served.url) as caller:
        caller.ask("hello")
    assert "recorded" not in "".join(served.lines)


def test_a_server_says_that_it_records_and_where(serving: Any, tmp_path: Path) -> None:
    served: Served = serving(record={"folder": str(tmp_path / "calls")})
    with Caller(served.url) as caller:
        caller.ask("hello")
        session = caller.seen[0]["session"]["id"]
    served.signal(15)
    assert served.wait() == 0
    lines = "".join(served.lines)
    assert lines.count("calls_are_recorded") == 1 and str(tmp_path / "calls") in lines
    (file,) = (tmp_path / "calls").iterdir()
    assert session in file.name and str(file) in lines
    recording = read(file)
    assert not recording.incomplete and replay(recording).difference is None


@pytest.mark.parametrize("what", ["a file", "below a file", "not ours"])
def test_a_folder_that_cannot_be_used_is_told_at_once(what: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = {
        "a file": tmp_path / "file",
        "below a file": tmp_path / "file" / "calls",
        "not ours": Path("/proc/1/calls"),
    }[what]
    with pytest.raises(ConfigError, match=f"record.folder: {folder} cannot be used: .+"):
        recorder_of(RecordConfig(folder=str(folder)))


# --- bounds ---------------------------------------------------------------------------------------


def test_a_call_is_recorded_up_to_its_bound_and_goes_on(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, most_mb=1)
    recorder._most_bytes = 200_000
    with capture_logs() as logs:
        call = converse(cuts_in, tape=recorder.tape("sess_test"))
        recorder.close()
    (file,) = tmp_path.iterdir()
    assert 150_000 < file.stat().st_size <= 200_000
    recording = read(file)
    assert recording.incomplete == "it would be larger than 0.2 MB (record.most_mb)"
    assert stopped_for(logs) == [recording.incomplete]
    assert replay(recording).difference is None
    assert call.done() == [("cancelled", "turn_detected"), ("completed", "")]


# --- disks ----------------------------------------------------------------------------------------


@pytest.mark.real_time
def test_a_disk_that_hangs_holds_up_no_call(tmp_path: Path) -> None:
    """A pipe that nobody reads: to open it hangs for ever, as a network's folder may."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    recorder = Recorder(tmp_path, most_mb=1000, opened=lambda path: os.open(pipe, os.O_WRONLY))
    tape, other = recorder.tape("sess_test"), recorder.tape("sess_other")

    async def scenario(call: Call) -> None:
        await cuts_in(call)
        for _ in range(MOST_WAITING_BYTES // 1_000_000 + 2):
            call.session.hear(bytes(1_000_000))
            if tape.stopped:
                break
        await call.hush(1.0)

    with capture_logs() as logs:
        begun = time.monotonic()
        call = converse(scenario, tape=tape)
        took_s = time.monotonic() - begun
    assert took_s < 30, "it was never waited for"
    assert len(stopped_for(logs)) == 1 and "too slowly" in stopped_for(logs)[0]
    assert call.done()[:2] == [("cancelled", "turn_detected"), ("completed", "")]
    other.begin("sess_other", call.config, call.session._floor.defaults, WEBSOCKET)
    assert other.stopped, "and what waits is bounded for all calls together"
    recorder.close()  # bounded, too
    with open(pipe, "rb") as reader:  # the disk is back
        found = parsed(reader.read())
    assert "too slowly" in found.incomplete and len(found.wakes) > 600
    assert replay(found).difference is None


def test_a_full_disk_ends_the_recording_and_not_the_call(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, most_mb=10, opened=lambda path: os.open("/dev/full", os.O_WRONLY))
    tape = recorder.tape("sess_test")

    async def scenario(call: Call) -> None:
        await call.say(0.1)
        eventually(lambda: failed(logs), "that the disk is full")
        await cuts_in(call)

    with capture_logs() as logs:
        call = converse(scenario, tape=tape)
        recorder.close()
    assert call.done() == [("cancelled", "turn_detected"), ("completed", "")]
    assert failed(logs) == stopped_for(logs) != []
    assert os.strerror(errno.ENOSPC) in failed(logs)[0]


def failed(logs: list[Any]) -> list[str]:
    return [line["why"] for line in logs if line["event"] == "recording_failed"]


def test_a_file_that_could_not_grow_ends_with_a_whole_record(tmp_path: Path) -> None:
    reel = recorded(cuts_in)[1]
    spool = Spool(tmp_path / "call.kaiwa", "sess_test", Traffic(), create)
    for data in reel.pieces:
        assert spool.put(data) == ""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with capture_logs() as logs:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_001, limits[1]))
        try:
            spool.write()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    spool.close()
    assert os.strerror(errno.EFBIG) in failed(logs)[0]
    assert spool.put(b"more") == spool.problem != ""
    found = read(spool.path)
    assert 95_000 < spool.path.stat().st_size < 100_001
    assert found.incomplete.startswith("it breaks off behind a record")
    assert replay(found).difference is None


def test_a_folder_that_is_gone_ends_the_recording_and_not_the_call(tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    recorder = Recorder(folder, most_mb=10)
    folder.rmdir()
    with capture_logs() as logs:
        call = converse(cuts_in, tape=recorder.tape("sess_test"))
        recorder.close()
    assert len(call.done()) == 2
    assert os.strerror(errno.ENOENT) in failed(logs)[0]


def test_a_call_that_is_killed_leaves_what_was_said_before(serving: Any, tmp_path: Path) -> None:
    served: Served = serving(fresh=True, record={"folder": str(tmp_path)})
    with Caller(served.url) as caller:
        caller.ask("hello")
        (file,) = eventually(lambda: list(tmp_path.iterdir()), "the recording")
        eventually(lambda: b"response.done" in file.read_bytes(), "the answer in it")
        served.process.kill()
        served.wait()
    recording = read(file)
    assert "breaks off" in recording.incomplete
    assert replay(recording).difference is None


# --- the tape -------------------------------------------------------------------------------------


def test_a_fact_that_cannot_be_written_ends_the_recording_and_not_the_call() -> None:
    reel = Reel()

    async def scenario(call: Call) -> None:
        call.session.post(object())  # no fact of ours
        await cuts_in(call)

    with capture_logs() as logs:
        call = converse(scenario, tape=reel.tape)
    assert reel.tape.stopped and len(stopped_for(logs)) == 1
    assert reel.recording.incomplete == stopped_for(logs)[0]
    assert call.closings == 1


def test_a_tape_that_has_stopped_keeps_nothing() -> None:
    tape = Tape(lambda data: "" if data == MAGIC else "no room")
    call = converse(cuts_in, tape=tape)
    assert tape.stopped
    assert (tape._clock, tape._told, tape._out) == ([], [], [])
    assert len(call.done()) == 2
