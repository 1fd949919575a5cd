"""The log: one JSON object a line, whoever writes it, whatever was said."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from tests.served import eventually
from voice.logs import EXIT_LIMIT_S, SPOOL_LINES, Spool, behind_the_log

PROGRAM = """
import logging, sys
import structlog
from voice.config import LogConfig
from voice.logs import configure
configure(LogConfig(level={level!r}, json={json}))
log = structlog.get_logger()
log.debug("quiet")
log.info("turn", words="one\\ntwo \\x1b[31m \\u4f1a\\u8a71", session="s")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broke")
logging.getLogger("library").warning("careful %s", "now")
logging.getLogger("library").info("chatter")
logging.getLogger("uvicorn.error").info("GET /?key=secret")
"""


def lines(level: str = "INFO", json: bool = True) -> list[str]:
    program = PROGRAM.format(level=level, json=json)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def parsed(level: str = "INFO") -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(level)]


def test_every_line_is_one_object_with_event_level_and_time() -> None:
    events = parsed()
    assert [event["event"] for event in events] == ["turn", "broke", "careful now"]
    for event in events:
        assert event["timestamp"].endswith("Z") and event["level"]


def test_what_callers_say_cannot_start_a_line_or_colour_a_terminal() -> None:
    raw = lines()
    assert json.loads(raw[0])["words"] == "one\ntwo \x1b[31m 会話"
    assert "\x1b" not in "".join(raw)


def test_a_traceback_stays_inside_its_line() -> None:
    assert "ZeroDivisionError" in parsed()[1]["exception"]


def test_libraries_only_speak_up_when_something_is_wrong() -> None:
    for level in ("DEBUG", "INFO"):
        text = "\n".join(lines(level))
        assert "chatter" not in text and "secret" not in text


def test_the_level_is_the_operators() -> None:
    assert [event["event"] for event in parsed("ERROR")] == ["broke"]
    assert parsed("DEBUG")[0]["event"] == "quiet"


def test_people_may_have_it_without_json() -> None:
    raw = "\n".join(lines(json=False))
    assert "turn" in raw and "{" not in raw.splitlines()[0]


# --- who reads the log, and how fast --------------------------------------------------------------

FLOOD = """
import asyncio, os, sys, time
import structlog
from voice.config import LogConfig
from voice.logs import configure
configure(LogConfig())
log = structlog.get_logger()

async def calls():
    loop = asyncio.get_running_loop()
    late = 0.0
    for number in range(20_000):
        log.info("turn", number=number)
        if number % 100 == 0:
            due = loop.time() + 0.001
            await asyncio.sleep(0.001)
            late = max(late, loop.time() - due)
    return late

print(asyncio.run(calls()), flush=True)
sys.stdin.readline()
log.info("at last")
"""


def flooding() -> subprocess.Popen[str]:
    """20,000 lines into a pipe nobody reads; ends its life when a line comes in."""
    return subprocess.Popen(
        [sys.executable, "-c", FLOOD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_line_of(running: subprocess.Popen[str], limit_s: float = 60.0) -> str:
    """What it prints, before the limit."""
    assert running.stdout is not None
    killer = threading.Timer(limit_s, running.kill)
    killer.start()
    try:
        return running.stdout.readline()
    finally:
        killer.cancel()


@pytest.mark.real_time
def test_a_log_nobody_reads_holds_up_no_call() -> None:
    with flooding() as running:
        latest_s = first_line_of(running)
        running.kill()
    assert latest_s, "it hung in a write"
    assert float(latest_s) < 0.25


def test_lines_that_found_no_room_are_counted() -> None:
    with flooding() as running:
        assert first_line_of(running)
        _, written = running.communicate("\n", timeout=60)
    events = [json.loads(line) for line in written.splitlines()]
    seen = [event["number"] for event in events if event["event"] == "turn"]
    assert seen == sorted(seen) and seen[0] == 0
    notices = [event for event in events if event["event"] == "log_lines_dropped"]
    assert sum(notice["count"] for notice in notices) == 20_001 - (len(events) - len(notices)) > 0
    assert {"timestamp", "level"} <= notices[0].keys()


@pytest.mark.real_time
def test_a_log_nobody_reads_does_not_keep_the_process_from_ending() -> None:
    with flooding() as running:
        assert first_line_of(running)
        assert running.stdin is not None
        running.stdin.close()
        begun = time.monotonic()
        assert running.wait(60) == 0
    assert time.monotonic() - begun < EXIT_LIMIT_S + 10.0


class Gate(io.RawIOBase):
    """Lets as many lines through as it is told to."""

    def __init__(self) -> None:
        self.through = threading.Semaphore(0)
        self.lines: list[str] = []

    def write(self, data: Any) -> int:
        assert self.through.acquire(timeout=60.0), "nobody waits so long for the other side"
        self.lines.append(bytes(data).decode())
        return len(data)


def test_how_many_are_missing_is_said_where_they_are_missing_and_once() -> None:
    gate = Gate()
    spool = Spool(gate, lost=lambda count: f"{count} lost")
    held = SPOOL_LINES + 1  # one is in the thread's hand
    spool.write("first")
    eventually(lambda: spool.waiting == 0, "the thread holds the first line")
    for number in range(1, held + 10):
        spool.write(f"line {number}")
    gate.through.release(10)
    eventually(lambda: len(gate.lines) == 10, "some room again")
    spool.write("too early: most of it is still full")
    gate.through.release(SPOOL_LINES // 2)
    eventually(lambda: len(gate.lines) == 10 + SPOOL_LINES // 2, "much room again")
    spool.write("after")
    gate.through.release(2 * SPOOL_LINES)
    spool.drain(60.0)
    assert gate.lines[-3:] == [f"line {held - 1}", "11 lost", "after"]
    assert len(gate.lines) == held + 2


@pytest.mark.real_time
def test_a_crashs_traceback_waits_for_the_lines_before_it() -> None:
    gate = Gate()
    spool = Spool(gate, lost=lambda count: f"{count} lost")
    before: list[int] = []
    show = behind_the_log(spool, lambda *crash: before.append(len(gate.lines)))
    for number in range(3):
        spool.write(f"line {number}")
    slowly = threading.Timer(0.1, gate.through.release, [3])
    slowly.start()
    show(RuntimeError, RuntimeError("a crash"), None)
    slowly.join()
    assert before == [3]


CRASH = """
import structlog, sys
from voice.config import LogConfig
from voice.logs import configure
configure(LogConfig())
log = structlog.get_logger()
for number in range(3000):
    log.info("turn", number=number)
{end}
"""


@pytest.mark.real_time
@pytest.mark.parametrize("end", ["sys.exit(0)", "raise RuntimeError('a crash')"])
def test_the_last_lines_before_the_end_are_written(end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CRASH.format(end=end)], capture_output=True, text=True, timeout=60
    )
    lines = done.stderr.splitlines()
    assert [json.loads(line)["number"] for line in lines[:3000]] == list(range(3000))
    assert lines[3000:][-1:] == (["RuntimeError: a crash"] if "raise" in end else [])


@pytest.mark.real_time
def test_a_full_stderr_that_does_not_block_is_waited_for_without_work() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(reader, "rb", buffering=0) as read, open(writer, "wb", buffering=0) as out:
        spool = Spool(out, lost=lambda count: f"{count} lost")
        for number in range(3000):
            spool.write(f"{number:0100}")
        eventually(lambda: spool.waiting < 3000, "the pipe takes some")
        before = time.process_time()
        threading.Event().wait(0.5)
        assert time.process_time() - before < 0.25, "the log's thread spins"
        taken = b""
        while len(taken) < 300_000:
            taken += read.read(65_536)
        assert taken == b"".join(b"%0100d" % number for number in range(3000))


def test_a_server_without_a_stderr_runs_without_a_log() -> None:
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -c "$0" 2>&-', CRASH.format(end="print('lives')")],
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert done.stdout == "lives\n"


LATER = """
import structlog
from voice.config import LogConfig
from voice.logs import configure, set_level
configure(LogConfig(level="INFO"))
log = structlog.get_logger().bind(kept=True)
log.debug("never")
log.info("first")
set_level("WARNING")
log.info("hushed")
log.error("second")
set_level("DEBUG")
log.debug("third")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("fourth")
"""


def test_the_level_can_be_changed_for_loggers_that_are_in_use() -> None:
    done = subprocess.run([sys.executable, "-c", LATER], capture_output=True, text=True, check=True)
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events == ["first", "second", "third", "fourth"]
