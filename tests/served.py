"""Servers under test, and callers who do to them what the stock clients never would.

`serving(**sections)` is a `kaiwa serve` of its own process; `hosting(**sections)` runs the server
on a thread of this one, where its state can be looked at. Both on a free port of 127.0.0.1.
"""

import asyncio
import base64
import contextlib
import json
import os
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.sync.client import ClientConnection, connect

import voice.server
from voice.build import Built, build
from voice.config import load
from voice.desk import Desk
from voice.doors import listeners

LIMIT_S = 60.0
"""For whatever must come; nothing is waited for by sleeping. It only guards against hanging."""
SOON_S = 15.0
"""For what comes at once on any machine, and otherwise after a minute or never."""


def eventually(holds: Callable[[], Any], what: str, limit_s: float = LIMIT_S) -> Any:
    """Asks until it is true, at most `limit_s`.

    Returns:
        The first true answer.
    """
    ends_at = time.monotonic() + limit_s
    pause = threading.Event()
    while not (answer := holds()):
        assert time.monotonic() < ends_at, f"not within {limit_s:g} s: {what}"
        pause.wait(0.01)
    return answer


# --- audio ----------------------------------------------------------------------------------------


def loud(seconds: float, rate_hz: int = 24_000) -> bytes:
    """What the energy VAD takes for speech: a square wave of 200 Hz."""
    half = rate_hz // 400
    wave = struct.pack("<h", 9000) * half + struct.pack("<h", -9000) * half
    return wave * int(seconds * 200)


def silence(seconds: float, rate_hz: int = 24_000) -> bytes:
    return bytes(2 * int(seconds * rate_hz))


def append(pcm: bytes, **more: Any) -> dict[str, Any]:
    audio = base64.b64encode(pcm).decode()
    return {"type": "input_audio_buffer.append", "audio": audio, **more}


# --- callers --------------------------------------------------------------------------------------


class Caller:
    """A client that can say anything at all."""

    def __init__(self, url: str, query: str = "", **options: Any) -> None:
        self._connect = connect(
            realtime(url) + query, compression=None, max_size=None, open_timeout=LIMIT_S, **options
        )
        self.socket: ClientConnection
        self.seen: list[dict[str, Any]] = []

    def __enter__(self) -> "Caller":
        self.socket = self._connect.__enter__()
        return self

    def __exit__(self, *how: Any) -> None:
        self._connect.__exit__(*how)

    def send(self, event: Any) -> None:
        self.socket.send(event if isinstance(event, str | bytes) else json.dumps(event))

    def next(self, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """The next event; binary frames come as {"type": "binary"}."""
        frame = self.socket.recv(timeout=limit_s)
        event: dict[str, Any] = (
            json.loads(frame) if isinstance(frame, str) else {"type": "binary", "data": frame}
        )
        self.seen.append(event)
        return event

    def until(self, kind: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
        ends_at = time.monotonic() + limit_s
        while True:
            event = self.next(ends_at - time.monotonic())
            if event["type"] == kind:
                return event

    def update(self, **session: Any) -> dict[str, Any]:
        self.send({"type": "session.update", "session": {"type": "realtime", **session}})
        return self.until("session.updated")

    def ask(self, words: str) -> dict[str, Any]:
        """One written turn.

        Returns:
            `response.done`.
        """
        self.write(words)
        self.send({"type": "response.create"})
        return self.until("response.done")

    def write(self, words: str) -> None:
        content = [{"type": "input_text", "text": words}]
        item = {"type": "message", "role": "user", "content": content}
        self.send({"type": "conversation.item.create", "item": item})

    def answers(self) -> None:
        """Fails unless the session still works: a written message is answered in words."""
        self.send({"type": "response.cancel"})
        self.write("still there")
        self.send({"type": "response.create", "response": {"output_modalities": ["text"]}})
        done = self.until("response.done")
        while done["response"]["status"] == "cancelled":
            done = self.until("response.done")
        assert done["response"]["status"] == "completed", done

    def close_code(self, limit_s: float = LIMIT_S) -> int:
        """Reads to the end."""
        from websockets.exceptions import ConnectionClosed

        try:
            while True:
                self.next(limit_s)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 1006


def realtime(url: str) -> str:
    return url.replace("http://", "ws://").rstrip("/") + "/v1/realtime"


def upgrade(url: str, *headers: str, path: str = "/v1/realtime") -> bytes:
    """A handshake, written by hand; Host is the right one unless it is among `headers`."""
    place = address(url)
    lines = [
        f"GET {path} HTTP/1.1",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        *headers,
    ]
    if not any(header.lower().startswith("host:") for header in headers):
        lines.insert(1, f"Host: {place[0]}:{place[1]}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").rstrip("/").rsplit(":", 1)
    return host, int(port)


class Answer(msgspec.Struct):
    """Of a request written by hand."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def request(url: str, data: bytes, limit_s: float = LIMIT_S) -> Answer:
    """Sends `data` as it is; reads the head and, by its length, the body."""
    with socket.create_connection(address(url), timeout=limit_s) as raw:
        raw.sendall(data)
        got = b""
        while b"\r\n\r\n" not in got:
            more = raw.recv(65_536)
            assert more, f"closed without an answer: {got!r}"
            got += more
        head, _, body = got.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines[1:])
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        left = 0 if data.startswith(b"HEAD") else int(headers.get("content-length", 0)) - len(body)
        while left > 0 and (more := raw.recv(65_536)):
            body += more
            left -= len(more)
    return Answer(int(lines[0].split()[1]), headers, body)


def get(
    url: str, path: str, *headers: str, method: str = "GET", limit_s: float = LIMIT_S
) -> Answer:
    host, port = address(url)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}:{port}", "Connection: close", *headers]
    return request(url, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"), limit_s)


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame, masked with zeros."""
    first = bytes([(0x80 if fin else 0) | opcode])
    size = len(payload)
    if size < 126:
        return first + bytes([0x80 | size]) + bytes(4) + payload
    if size < 65_536:
        return first + bytes([0x80 | 126]) + size.to_bytes(2, "big") + bytes(4) + payload
    return first + bytes([0x80 | 127]) + size.to_bytes(8, "big") + bytes(4) + payload


def raw_call(url: str, *headers: str, path: str = "/v1/realtime", rcvbuf: int = 0) -> socket.socket:
    """An open call on a plain socket, for what no client library would do."""
    raw = socket.socket()
    if rcvbuf:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    raw.settimeout(LIMIT_S)
    raw.connect(address(url))
    raw.sendall(upgrade(url, *headers, path=path))
    got = b""
    while b"\r\n\r\n" not in got:
        more = raw.recv(1)
        assert more, f"refused: {got!r}"
        got += more
    assert got.startswith(b"HTTP/1.1 101"), got
    return raw


def read_until(raw: socket.socket, what: bytes) -> bytes:
    """All that comes, up to the piece that ends with `what` in it."""
    seen = bytearray()
    while seen.find(what, max(0, len(seen) - 65_536 - len(what))) < 0:
        more = raw.recv(65_536)
        assert more, f"closed before {what!r}: {bytes(seen[-200:])!r}"
        seen += more
    return bytes(seen)


def reset(raw: socket.socket) -> None:
    """Vanishes without a word: TCP RST."""
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


# --- a server of its own process ------------------------------------------------------------------

QUICK: dict[str, Any] = {
    "vad": {"provider": "energy"},
    "mock": {"stt_partial_ms": 50, "stt_final_ms": 5, "llm_first_token_ms": 5, "llm_token_ms": 1},
    "turn": {"silence_ms": 200, "final_after_ms": 100},
    "load": {"lag_ms": [60_000] * 4},
}
"""The mock profile with little to wait for, and alike on a machine that is busy."""


class Served:
    """`kaiwa serve`, and what it logs."""

    def __init__(
        self,
        config: Path,
        *arguments: str,
        env: dict[str, str] | None = None,
        within: Sequence[str] = (),
    ) -> None:
        """
        Args:
            within: A command that starts it where it is to run, such as a network namespace.
        """
        command = [*within, sys.executable, "-m", "voice.cli", "serve", "--config", str(config)]
        self.process = subprocess.Popen(
            [*command, "--port", "0", *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
        )
        self.lines: list[str] = []
        self._new: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url: str = self.logged("ready")["url"]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            self._new.put(line)

    def logged(self, event: str, limit_s: float = LIMIT_S, **holding: Any) -> dict[str, Any]:
        """Waits for a log line that holds these values, too."""
        ends_at = time.monotonic() + limit_s
        while True:
            try:
                line = self._new.get(timeout=max(0.01, ends_at - time.monotonic()))
            except queue.Empty:
                raise AssertionError(
                    f"no {event!r} {holding or ''} in:\n{''.join(self.lines)}"
                ) from None
            found: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
            if found.get("event") == event and holding.items() <= found.items():
                return found

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, limit_s: float = LIMIT_S) -> int:
        return self.process.wait(limit_s)

    def rss_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(LIMIT_S)
        assert self.process.stderr is not None
        self.process.stderr.close()


def written(folder: Path, sections: dict[str, Any]) -> Path:
    file = folder / "kaiwa.yaml"
    merged = {"profile": "mock", **QUICK}
    for name, values in sections.items():
        merged[name] = {**merged.get(name, {}), **values}
    file.write_text(json.dumps(merged), "utf-8")
    return file


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """Servers by their settings; the same ones give the same server."""
    running: dict[str, Served] = {}

    def start(*, fresh: bool = False, **sections: Any) -> Served:
        key = json.dumps(sections, sort_keys=True) + (str(len(running)) if fresh else "")
        if key not in running:
            running[key] = Served(written(tmp_path_factory.mktemp("served"), sections))
        return running[key]

    yield start
    for served in running.values():
        served.stop()


# --- a server on a thread of this process ---------------------------------------------------------


class Hosted:
    """The real server, with its desk and its providers in reach."""

    def __init__(self, config: Path) -> None:
        self.config = load(file=config, environment={})
        self.url = ""
        self.desk: Desk
        self.built: Built
        self.server: voice.server.Server
        self.ports: list[Any] = []
        """What is open beside HTTP: voice/doors.py."""
        self.loop: asyncio.AbstractEventLoop
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(LIMIT_S) and self.url, "the server did not start"

    def _run(self) -> None:
        import uvloop

        try:
            uvloop.run(self._serve())
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.built = build(self.config)
        await self.built.start()
        self.desk = Desk(self.config, self.built.providers, self.built.by_slot, None)
        self.server = voice.server.server_for(self.desk)
        listener = socket.create_server(("127.0.0.1", 0))
        async with contextlib.AsyncExitStack() as open_ports:
            self.ports = [await open_ports.enter_async_context(p) for p in listeners(self.desk)]
            serving = asyncio.create_task(self.server.serve(sockets=[listener]))
            while not self.server.started and not serving.done():  # noqa: ASYNC110  # tells nobody
                await asyncio.sleep(0.01)
            self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            self._ready.set()
            await serving
        await self.built.aclose()

    def ask(self, question: Callable[[], Any]) -> Any:
        """The answer, found on the server's own loop."""

        async def answer() -> Any:
            return question()

        return asyncio.run_coroutine_threadsafe(answer(), self.loop).result(LIMIT_S)

    def tasks(self) -> int:
        return int(self.ask(lambda: len(asyncio.all_tasks())))

    def stop(self) -> None:
        self.server.should_exit = True
        self._thread.join(LIMIT_S)


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Hosted]]:
    running: dict[str, Hosted] = {}

    def start(**sections: Any) -> Hosted:
        key = json.dumps(sections, sort_keys=True)
        if key not in running:
            running[key] = Hosted(written(tmp_path_factory.mktemp("hosted"), sections))
        return running[key]

    yield start
    for hosted in running.values():
        hosted.stop()


@contextlib.contextmanager
def measured() -> Iterator[Callable[[], float]]:
    """Seconds since it was entered."""
    begun = time.monotonic()
    yield lambda: time.monotonic() - begun


SIGTERM = signal.SIGTERM
