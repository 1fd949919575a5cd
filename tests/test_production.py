"""`kaiwa serve --profile production` against `kaiwa mocks`, by the variables that it prints.

    caller ─ws─▶ kaiwa serve ─▶ stt (sherpa-onnx's WebSocket) ─▶ llm (chat completions, SSE)
                      │                                          │
                      └◀── tts (Fish /v1/tts, 44.1 kHz PCM) ◀────┘
           documents: `kaiwa ingest` and the server ask embedding and reranker (TEI)

Every arrow is a socket, every box a process of its own.
"""

import base64
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served import Caller, Served, append, eventually, get, loud, silence

pytestmark = pytest.mark.real_time

QUESTION = "what are your opening hours"
PORTS = ("llm", "stt", "tts", "speech", "embedding", "reranker")
HOURS = "# Opening hours\n\nThe library is open from nine until eight on every weekday.\n"


class Mocks:
    """`kaiwa mocks`, and the variables it printed."""

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "voice.cli", "mocks", *arguments]
        self.variables: dict[str, str] = {}
        self._start([f"--{kind}-port=0" for kind in PORTS])

    def _start(self, ports: list[str]) -> None:
        self.process = subprocess.Popen(
            [*self._command, *ports],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("# ready"):
                return
            if not line.startswith("#"):
                name, _, value = line.strip().partition("=")
                self.variables[name] = shlex.split(value)[0]
        raise AssertionError(self.process.communicate()[1])

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()

    def again(self) -> None:
        """After `kill`, at the same addresses; only with a server of one kind."""
        port = self.variables["TTS_ENDPOINT"].rpartition(":")[2]
        self._start([f"--tts-port={port}"])

    def stop(self, number: int = signal.SIGINT) -> tuple[int, str]:
        if self.process.poll() is None:
            self.process.send_signal(number)
        said = self.process.communicate(timeout=15)[1]
        return self.process.returncode, said


@pytest.fixture(scope="module")
def mocks() -> Iterator[Callable[..., Mocks]]:
    started: list[Mocks] = []

    def start(*arguments: str) -> Mocks:
        started.append(Mocks(*arguments))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.kill()


def production(folder: Path, variables: dict[str, str], **sections: Any) -> Served:
    """A server of the production profile, with its documents made known through the same mocks."""
    settings = {"profile": "production", "vad": {"provider": "energy"}, **sections}
    settings["rag"] = {"index": str(folder / "index")}
    file = folder / "kaiwa.yaml"
    file.write_text(json.dumps(settings), "utf-8")
    documents = folder / "documents"
    documents.mkdir()
    (documents / "hours.md").write_text(HOURS, "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "voice.cli", "ingest", str(documents), "--config", str(file)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return Served(file, env=variables)


def say(caller: Caller, seconds: float = 1.0) -> None:
    for chunk in (loud(seconds), silence(1.2)):
        for start in range(0, len(chunk), 4800):
            caller.send(append(chunk[start : start + 4800]))


def sound_of(caller: Caller) -> bytes:
    """All audio that came, 24 kHz."""
    deltas = [event for event in caller.seen if event["type"] == "response.output_audio.delta"]
    return b"".join(base64.b64decode(event["delta"]) for event in deltas)


def loudness(pcm: bytes) -> float:
    samples = memoryview(pcm).cast("h")
    return max(map(abs, samples)) if len(samples) else 0.0


def health(served: Served) -> dict[str, Any]:
    body: dict[str, Any] = get(served.url, "/health").json
    return body


@pytest.fixture(scope="module")
def served(
    tmp_path_factory: pytest.TempPathFactory, mocks: Callable[..., Mocks]
) -> Iterator[tuple[Served, Mocks]]:
    servers = mocks("all")
    one = production(tmp_path_factory.mktemp("production"), servers.variables)
    yield one, servers
    one.stop()


def test_a_spoken_question_is_answered_aloud_through_every_server(
    served: tuple[Served, Mocks],
) -> None:
    one, servers = served
    with Caller(one.url) as caller:
        caller.update(include=["kaiwa.turn.sources"])
        say(caller)
        heard = caller.until("conversation.item.input_audio_transcription.completed")
        assert heard["transcript"] == QUESTION
        done = caller.until("response.done")["response"]
    assert done["status"] == "completed", done
    said = done["output"][0]["content"][0]["transcript"]
    assert said == f"You said: {QUESTION}."
    sources = next(e for e in caller.seen if e["type"] == "kaiwa.turn.sources")
    assert [source["source"] for source in sources["sources"]] == ["hours.md"]
    seconds = len(sound_of(caller)) / 48_000
    assert seconds == pytest.approx(len(said) * 0.065, rel=0.25), "a hum of the text's length"
    assert loudness(sound_of(caller)) > 1000
    assert counts(servers, "LLM_ENDPOINT")["finished"] >= 1
    assert counts(servers, "TTS_ENDPOINT")["finished"] >= 1


def counts(servers: Mocks, variable: str) -> dict[str, int]:
    address = servers.variables[variable].removesuffix("/v1")
    found: dict[str, int] = get(address, "/mock/state").json
    return found


def test_a_written_question_is_answered_aloud(served: tuple[Served, Mocks]) -> None:
    with Caller(served[0].url) as caller:
        done = caller.ask("when do you close")["response"]
    assert done["status"] == "completed"
    assert "when do you close" in done["output"][0]["content"][0]["transcript"]
    assert loudness(sound_of(caller)) > 1000


def test_health_names_every_server_and_that_nothing_limps(served: tuple[Served, Mocks]) -> None:
    one, servers = served
    body = eventually(
        lambda: (now := health(one))["status"] == "ok" and now, "all are asked and answer"
    )
    providers = body["providers"]
    assert {slot: status["provider"] for slot, status in providers.items()} == {
        "vad": "energy",
        "stt": "sherpa-server",
        "llm": "openai",
        "tts": "fish",
        "embedder": "tei",
        "reranker": "tei",
    }
    assert all(status["healthy"] for status in providers.values()), providers
    assert not any(status["fallback_count"] for status in providers.values())
    assert body["warnings"] == []
    remote = ("stt", "llm", "tts", "embedder", "reranker")
    told = {providers[slot]["endpoint"].removesuffix("/v1") for slot in remote}
    printed = {value for name, value in servers.variables.items() if "ENDPOINT" in name}
    assert told == {address.removesuffix("/v1") for address in printed}


def test_a_voice_killed_in_mid_answer_is_replaced_told_of_and_taken_back(
    tmp_path: Path, mocks: Callable[..., Mocks]
) -> None:
    others = mocks("llm", "stt", "embedding", "reranker")
    voice = mocks("tts", "--tts-rtf=0.5")
    one = production(tmp_path, others.variables | voice.variables)
    words = ". ".join(f"this is sentence number {n} of a long one" for n in range(1, 5))
    try:
        eventually(lambda: health(one)["status"] == "ok", "all are well before")
        with Caller(one.url) as caller:
            caller.write(words)
            caller.send({"type": "response.create"})
            caller.until("response.output_audio.delta")
            begun = time.monotonic()
            voice.kill()
            body = eventually(lambda: (b := health(one))["status"] == "degraded" and b, "told", 2)
            done = caller.until("response.done", 60)["response"]
            took_s = time.monotonic() - begun
        assert done["status"] == "completed", done
        assert "number 4" in done["output"][0]["content"][0]["transcript"]
        sound = sound_of(caller)
        assert loudness(sound[-48_000:]) > 1000, "the last second is spoken, too"
        assert took_s - len(sound) / 48_000 < 3, "nobody waits in silence for longer"
        assert any(warning.startswith("tts: fish") for warning in body["warnings"]), body
        tts = health(one)["providers"]["tts"]
        assert not tts["healthy"] and tts["fallback_count"] >= 1, tts
        assert get(one.url, "/ready").status == 200, "calls are answered all the same"
        voice.again()
        eventually(lambda: health(one)["status"] == "ok", "the repair is seen", 15)
        with Caller(one.url) as caller:
            assert caller.ask("are you back")["response"]["status"] == "completed"
        assert counts(voice, "TTS_ENDPOINT")["finished"] >= 1, "by the voice that was gone"
    finally:
        one.stop()


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_servers_end_quietly_when_told_to(number: int, mocks: Callable[..., Mocks]) -> None:
    status, said = mocks("all").stop(number)
    assert status == 0 and "Traceback" not in said, said


def test_only_the_named_servers_are_started_and_told_of(mocks: Callable[..., Mocks]) -> None:
    servers = mocks("speech", "llm", "--model=tiny", "--llm-dialect=gemini")
    assert set(servers.variables) == {
        "LLM_ENDPOINT", "LLM_MODEL", "TTS_PROVIDER", "TTS_ENDPOINT", "TTS_MODEL",
    }  # fmt: skip
    assert servers.variables["LLM_MODEL"] == servers.variables["TTS_MODEL"] == "tiny"
    assert servers.variables["LLM_ENDPOINT"].endswith("/v1beta/openai")
    assert servers.stop()[0] == 0


def test_a_taken_port_is_told_with_what_to_do(mocks: Callable[..., Mocks]) -> None:
    taken = mocks("tts").variables["TTS_ENDPOINT"].rpartition(":")[2]
    done = subprocess.run(
        [sys.executable, "-m", "voice.cli", "mocks", "tts", "--tts-port", taken],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert taken in done.stderr and "--tts-port" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("dance",), "dance"),
        (("llm", "--llm-dialect", "latin"), "--llm-dialect"),
        (("tts", "--fault", "tts={}"), "kind"),
        (("tts", "--fault", 'llm={"kind": "stall"}'), "tts="),
        (("stt", "--stt-model-dir", "/nowhere"), "--stt-model-dir"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(arguments: tuple[str, ...], named: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "voice.cli", "mocks", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert named in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_a_scripted_fault_happens_on_the_wire(mocks: Callable[..., Mocks]) -> None:
    servers = mocks("tts", "--fault", 'tts={"kind": "error", "request": 0}')
    address = servers.variables["TTS_ENDPOINT"]
    answer = get(address, "/v1/tts", "Content-Length: 0", method="POST")
    assert answer.status == 500
