"""What is told of the documents, and of what searches went without."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog

from mocks.retriever import ScriptedRetriever
from providers.base import Fault, ProviderError, ProviderInfo, Slot
from tests.served import written
from voice.build import build
from voice.chain import Chain
from voice.config import load
from voice.desk import Desk
from voice.http import application
from voice.metrics import FALLBACKS, PROVIDER_ERRORS


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


class Absent:
    """An embedder that is not there."""

    error = ProviderError(Slot.EMBEDDER, "absent", Fault.UNREACHABLE, "refused")
    info = ProviderInfo(slot=Slot.EMBEDDER, provider="absent")

    async def start(self) -> None: ...

    async def check(self) -> None:
        raise self.error

    async def aclose(self) -> None: ...


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
