"""What is told of the documents, and stopping in good order: answers end, with a deadline."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog

from mocks.retriever import ScriptedRetriever
from mocks.tts import ToneTTS
from providers.base import Fault, ProviderError, ProviderInfo, Slot
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
from voice.http import application
from voice.metrics import FALLBACKS, PROVIDER_ERRORS

Serve = Callable[..., Served]


# --- documents ------------------------------------------------------------------------------------


class ScriptedLibrary(ScriptedRetriever):
    """One that can be asked about itself."""

    documents, chunks, version = 3, 12, "v1"
    warning = ""
    most_passages = 4

    on_failed: Callable[[ProviderError], None]
    on_missed: Callable[[Slot], None]
    question: Callable[[], object | None]
    missed: ClassVar[dict[Slot, int]] = {Slot.EMBEDDER: 3}

    def source_text(self, source: str) -> str | None:
        return None


def asked(app: Any, path: str) -> dict[str, Any]:
    """The body of an answer, without a socket in between."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8000")],
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    body: dict[str, Any] = json.loads(b"".join(message.get("body", b"") for message in sent))
    return body


@pytest.fixture
def library() -> ScriptedLibrary:
    return ScriptedLibrary()


@pytest.fixture
def app(library: ScriptedLibrary, tmp_path: Path) -> Any:
    config = load(file=written(tmp_path, {}), environment={})
    return application(Desk(config, build(config).providers, {}, library))


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_what_the_library_warns_of_is_told_for_as_long_as_it_is_so(
    app: Any, library: ScriptedLibrary, path: str
) -> None:
    assert (asked(app, path)["status"], asked(app, path)["warnings"]) == ("ok", [])
    library.warning = "the index is gone; run: kaiwa ingest"
    body = asked(app, path)
    assert body["status"] == "degraded"
    assert body["warnings"] == ["rag: the index is gone; run: kaiwa ingest"]
    library.warning = ""
    assert asked(app, path)["status"] == "ok"


def test_a_new_warning_of_the_library_is_logged_once(app: Any, library: ScriptedLibrary) -> None:
    with structlog.testing.capture_logs() as logged:
        library.warning = "the index is gone"
        for _ in range(3):
            asked(app, "/health")
        library.warning = ""
        for _ in range(3):
            asked(app, "/health")
    assert [(line["event"], line.get("problem")) for line in logged] == [
        ("documents_unhealthy", "the index is gone"),
        ("documents_recovered", None),
    ]


def test_what_a_search_goes_on_without_is_counted_and_logged_and_told(
    library: ScriptedLibrary, tmp_path: Path
) -> None:
    config = load(file=written(tmp_path, {}), environment={})
    embedder = Absent()
    desk = Desk(config, build(config).providers, {"embedder": embedder}, library)
    counted = PROVIDER_ERRORS.labels("embedder", "absent", "unreachable")
    before = counted._value.get()
    with structlog.testing.capture_logs() as logged:
        library.on_failed(embedder.error)
    assert counted._value.get() == before + 1
    assert {line["event"] for line in logged} == {"provider_failed", "provider_unhealthy"}
    assert "embedder: absent: refused" in desk.health().warnings
    assert desk.health().providers["embedder"].fallback_count == 3


def test_a_question_that_goes_on_without_a_slot_is_counted_for_prometheus(
    library: ScriptedLibrary, tmp_path: Path
) -> None:
    config = load(file=written(tmp_path, {}), environment={})
    Desk(config, build(config).providers, {"embedder": Absent()}, library)
    counted = FALLBACKS.labels("embedder", config.embedder.provider, "none")
    before = counted._value.get()
    library.on_missed(Slot.EMBEDDER)
    assert counted._value.get() == before + 1


def test_what_a_chain_has_told_of_a_search_is_not_told_again(
    library: ScriptedLibrary, tmp_path: Path
) -> None:
    config = load(file=written(tmp_path, {}), environment={})
    chain: Any = Chain([Absent(), Absent()], now=lambda: 1.0)
    desk = Desk(config, build(config).providers, {"embedder": chain}, library)
    counted = PROVIDER_ERRORS.labels("embedder", "absent", "unreachable")
    before = counted._value.get()
    error = ProviderError(Slot.EMBEDDER, "absent", Fault.UNREACHABLE, "refused")
    with structlog.testing.capture_logs() as logged:
        chain.fail(chain.links[0], chain.links[0].breaker.enter(1.0), error)
        library.on_failed(error)
    assert counted._value.get() == before + 1
    assert [line["event"] for line in logged] == ["provider_failed"]
    chain.served_by(chain.links[1])
    assert desk.health().providers["embedder"].fallback_count == 3 + 1


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


class Absent:
    """An embedder that is not there."""

    error = ProviderError(Slot.EMBEDDER, "absent", Fault.UNREACHABLE, "refused")
    info = ProviderInfo(slot=Slot.EMBEDDER, provider="absent")

    async def start(self) -> None: ...

    async def check(self) -> None:
        raise self.error

    async def aclose(self) -> None: ...


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
