"""Who stands in is counted; stopping in good order: answers end, with a deadline."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mocks.tts import ToneTTS
from tests.served import (
    SIGTERM,
    SOON_S,
    Caller,
    Served,
    eventually,
    get,
    loud,
    measured,
    request,
    silence,
    upgrade,
    written,
)
from voice.build import build
from voice.chain import Chain
from voice.config import load
from voice.desk import Desk
from voice.metrics import FALLBACKS

Serve = Callable[..., Served]


def test_who_stands_in_is_counted_for_prometheus(tmp_path: Path) -> None:
    config = load(file=written(tmp_path, {}), environment={})
    chain: Any = Chain([ToneTTS(), ToneTTS()], now=lambda: 1.0)
    Desk(config, build(config).providers, {"tts": chain}, None)
    counted = FALLBACKS.labels("tts", "tone", "tone")
    before = counted._value.get()
    chain.served_by(chain.links[0])
    assert counted._value.get() == before
    chain.served_by(chain.links[1])
    assert counted._value.get() == before + 1


# --- stopping -------------------------------------------------------------------------------------


@pytest.mark.real_time
def test_an_answer_that_is_being_spoken_ends_before_the_server_does(serving: Serve) -> None:
    server = serving(fresh=True, server={"drain_s": 15.0})
    with Caller(server.url) as caller:
        caller.until("session.created")
        caller.write("one two three four five six seven eight nine ten")
        caller.send({"type": "response.create"})
        caller.until("response.output_audio.delta")
        server.signal(SIGTERM)
        server.logged("draining")
        refused = request(server.url, upgrade(server.url))
        assert (refused.status, refused.json["error"]["code"]) == (503, "stopping")
        assert "retry-after" in refused.headers
        assert get(server.url, "/ready").status == 503
        health = get(server.url, "/health")
        assert (health.status, health.json["status"]) == (200, "stopping")
        assert caller.until("response.done")["response"]["status"] == "completed"
        assert caller.close_code() == 1001
    assert server.wait() == 0


@pytest.mark.real_time
def test_who_has_spoken_and_waits_is_still_answered(serving: Serve) -> None:
    """Between the end of speech and the first word there is silence, but nobody is idle."""
    slow = {"llm_first_token_ms": 700.0, "stt_final_ms": 500.0, "stt_text": "yes"}
    for moment in ("input_audio_buffer.committed", "response.created"):
        server = serving(fresh=True, mock=slow)
        with Caller(server.url, "?audio=binary") as caller:
            caller.until("session.created")
            caller.send(loud(0.5))
            caller.send(silence(0.5))
            caller.until(moment)
            server.signal(SIGTERM)
            assert caller.until("response.done")["response"]["status"] == "completed"
            assert caller.close_code() == 1001
        assert server.wait() == 0


@pytest.mark.real_time
def test_a_server_that_nobody_speaks_to_stops_at_once(serving: Serve) -> None:
    server = serving(fresh=True, server={"drain_s": 120.0})
    with Caller(server.url) as caller:
        caller.until("session.created")
        with measured() as seconds:
            server.signal(SIGTERM)
            assert caller.close_code() == 1001
            assert server.wait() == 0
            assert seconds() < SOON_S


@pytest.mark.real_time
def test_draining_has_a_deadline(serving: Serve) -> None:
    server = serving(fresh=True, server={"drain_s": 1.0})
    with Caller(server.url) as caller:
        caller.until("session.created")
        caller.write("word " * 300)  # a minute and a half
        caller.send({"type": "response.create"})
        caller.until("response.output_audio.delta")
        with measured() as seconds:
            server.signal(SIGTERM)
            assert caller.close_code() == 1001
            assert server.wait() == 0
            assert 0.9 < seconds() < SOON_S


@pytest.mark.real_time
def test_the_second_signal_ends_at_once(serving: Serve) -> None:
    server = serving(fresh=True, server={"drain_s": 60.0})
    with Caller(server.url) as caller:
        caller.until("session.created")
        caller.write("word " * 300)
        caller.send({"type": "response.create"})
        caller.until("response.output_audio.delta")
        with measured() as seconds:
            server.signal(SIGTERM)
            server.logged("draining")
            server.signal(SIGTERM)
            server.wait()
            assert seconds() < SOON_S


def children(pid: int) -> list[int]:
    """Whichever of its threads started them."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for listed in lists for child in listed.read_text().split()]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks /proc")
@pytest.mark.parametrize("how", ["once", "twice", "killed"])
def test_no_worker_outlives_the_server(serving: Serve, how: str) -> None:
    """The recogniser's processes end with it, however it ends."""
    server = serving(fresh=True, stt={"provider": "pocketsphinx", "workers": 1})
    workers = children(server.process.pid)
    assert workers
    if how == "killed":
        server.process.kill()
    else:
        server.signal(SIGTERM)
        if how == "twice":
            server.signal(SIGTERM)
    server.wait()
    for worker in workers:
        gone(worker)


def gone(pid: int) -> None:
    def ended() -> bool:
        try:
            os.kill(pid, 0)
            return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
        except (ProcessLookupError, FileNotFoundError):
            return True

    eventually(ended, f"worker {pid} has ended")


def test_every_line_of_the_log_is_json(serving: Serve) -> None:
    server = serving(fresh=True)
    with Caller(server.url) as caller:
        caller.answers()
    server.signal(SIGTERM)
    server.wait()
    for line in server.lines:
        assert {"event", "level", "timestamp"} <= json.loads(line).keys()
