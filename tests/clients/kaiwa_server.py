"""The real server as a process of its own, with mock providers and a scripted model over HTTP."""

import asyncio
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from mocks.serve_llm import LLMServer
from tests.clients.scripted_model import ScriptedModel
from voice.config import ENVIRONMENT

START_LIMIT_S = 60.0
STT_TEXT = "hi there"
"""What the mock recogniser hears, whatever is said."""

CONFIG: dict[str, Any] = {
    "profile": "mock",
    "mock": {"stt_text": STT_TEXT, "stt_partial_ms": 120, "tts_first_audio_ms": 5},
    "llm": {"provider": "openai", "model": "mock"},
    "turn": {"silence_ms": 200, "final_after_ms": 100},
    "load": {"lag_ms": [60_000] * 4},
}


KAIWA = [sys.executable, "-m", "voice.cli"]


def plain_environment() -> dict[str, str]:
    """Without settings of the person who runs the tests."""
    return {key: value for key, value in os.environ.items() if key not in ENVIRONMENT}


class KaiwaServer:
    """Where it listens, and the model behind it."""

    def __init__(self, url: str, model: LLMServer, log: "_Log") -> None:
        self.http_url = url.rstrip("/")
        self.ws_url = self.http_url.replace("http", "ws", 1) + "/v1/realtime?model=kaiwa"
        self._model = model
        self._log = log
        self._told = 0

    def new_problems(self) -> str:
        """What the server logged as errors of its own since the last time."""
        problems = self._log.problems()
        told, self._told = self._told, len(problems)
        return "\n".join(problems[told:]).replace("\\n", "\n")

    def last_request(self) -> Any:
        """What the model was asked last."""
        return json.loads(self._model.bodies[-1])


@contextmanager
def running_server(folder: Path, changes: dict[str, Any] | None = None) -> Iterator[KaiwaServer]:
    """Args:
    changes: Sections of the configuration that this server has in the place of CONFIG's.
    """
    with _running_model() as model:
        file = folder / "kaiwa.yaml"
        llm = {**CONFIG["llm"], "endpoint": f"{model.url}/v1"}
        file.write_text(yaml.safe_dump({**CONFIG, "llm": llm, **(changes or {})}))
        process = subprocess.Popen(
            [*KAIWA, "serve", "--config", str(file), "--port", "0"],
            stderr=subprocess.PIPE,
            env=plain_environment(),
            text=True,
        )
        log = _Log(process)
        try:
            yield KaiwaServer(log.ready_url(), model, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()


class _Log:
    """What the server writes to stderr, read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        self._stderr = process.stderr
        self._lines: list[str] = []
        self._url: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stderr:
            self._lines.append(line.rstrip("\n"))
            if '"event": "ready"' in line:
                self._url.put(json.loads(line)["url"])
        self._url.put("")

    def ready_url(self) -> str:
        try:
            url = self._url.get(timeout=START_LIMIT_S)
        except queue.Empty:
            url = ""
        if not url:
            raise AssertionError("the server did not start:\n" + "\n".join(self._lines))
        return url

    def problems(self) -> list[str]:
        return [line for line in self._lines if '"level": "error"' in line or "Traceback" in line]

    def close(self) -> None:
        self._reader.join(60)
        self._stderr.close()


@contextmanager
def _running_model() -> Iterator[LLMServer]:
    """An OpenAI-compatible server in a thread; the server under test is a client of it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    http = LLMServer(ScriptedModel(first_token_ms=10, token_ms=2))
    try:
        asyncio.run_coroutine_threadsafe(http.start(), loop).result(60)
        yield http
    finally:
        asyncio.run_coroutine_threadsafe(http.aclose(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
