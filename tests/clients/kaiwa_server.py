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

import yaml
from scripted_model import ScriptedModel

from mocks.serve_llm import LLMServer

START_LIMIT_S = 30.0
STT_TEXT = "hello there my friend"
"""What the mock recogniser hears, whatever is said."""

CONFIG = {
    "profile": "mock",
    "mock": {"stt_text": STT_TEXT, "stt_partial_ms": 150, "tts_first_audio_ms": 5},
    "llm": {"provider": "openai", "model": "mock"},
    "turn": {"silence_ms": 300, "final_after_ms": 100},
}


class KaiwaServer:
    """Where it listens, and the model behind it."""

    def __init__(self, url: str, model: ScriptedModel, log: Path) -> None:
        self.http_url = url.rstrip("/")
        self.ws_url = self.http_url.replace("http", "ws", 1) + "/v1/realtime?model=kaiwa"
        self.model = model
        self._log = log

    def problems(self) -> list[str]:
        """What the server itself complained about so far, by its log."""
        return [
            line
            for line in self._log.read_text().splitlines()
            if '"level": "error"' in line or "Traceback" in line
        ]


@contextmanager
def running_server(folder: Path) -> Iterator[KaiwaServer]:
    with _running_model() as (model, model_url):
        config = folder / "kaiwa.yaml"
        llm = {**CONFIG["llm"], "endpoint": f"{model_url}/v1"}  # type: ignore[dict-item]
        config.write_text(yaml.safe_dump({**CONFIG, "llm": llm}))
        log = folder / "server.log"
        command = [sys.executable, "-m", "voice.cli", "serve", "--config", str(config)]
        plain = {key: value for key, value in os.environ.items() if not key.startswith("KAIWA_")}
        with log.open("wb") as stderr:
            process = subprocess.Popen([*command, "--port", "0"], stderr=stderr, env=plain)
            try:
                server = KaiwaServer(_ready_url(process, log), model, log)
                yield server
                assert server.problems() == []
            finally:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                print(log.read_text()[-20_000:])  # pytest shows it where a test failed


def _ready_url(process: subprocess.Popen[bytes], log: Path) -> str:
    """Follows the log until the server says where it listens."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    follow = subprocess.Popen(
        ["tail", "-n", "+1", "-f", f"--pid={process.pid}", str(log)], stdout=subprocess.PIPE
    )
    assert follow.stdout is not None
    stdout = follow.stdout

    def read() -> None:
        for line in stdout:
            lines.put(line.decode())
        lines.put(None)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        while True:
            line = lines.get(timeout=START_LIMIT_S)
            if line is None:
                raise AssertionError(f"the server ended before it was ready:\n{log.read_text()}")
            if '"ready"' in line:
                url: str = json.loads(line)["url"]
                return url
    finally:
        follow.kill()
        follow.wait()
        reader.join(5)
        stdout.close()


@contextmanager
def _running_model() -> Iterator[tuple[ScriptedModel, str]]:
    """An OpenAI-compatible server in a thread; the server under test is a client of it."""
    model = ScriptedModel(first_token_ms=10, token_ms=2)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    http = LLMServer(model)
    try:
        asyncio.run_coroutine_threadsafe(http.start(), loop).result(10)
        yield model, http.url
    finally:
        asyncio.run_coroutine_threadsafe(http.aclose(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
