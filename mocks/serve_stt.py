"""sherpa-onnx's Python and C++ streaming servers, reply for reply, on a real socket.

Behind them a scripted transcript, or a real `sherpa_onnx.OnlineRecognizer`.

    dialect  reads while it decodes  after "Done"                    then
    python   no                      0.3 s of silence, one reply     closes
    c++      yes                     0.8 s of silence, is_eof,       leaves it open: further audio
                                     "Done!"                         is a new utterance

Source: sherpa-onnx, python-api-examples/streaming_server.py and
sherpa-onnx/csrc/online-websocket-server-impl.cc.
"""

import asyncio
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from http import HTTPStatus
from typing import Literal

import msgspec
import numpy as np
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from mocks.recognizer import OnlineRecognizer, ScriptedRecognizer
from mocks.socket_faults import AT_HANDSHAKE, Gone, SocketFault, reset
from mocks.stt_hearing import Hearing, cpp_result
from providers.base import LISTEN_RATE_HZ

_DONE = "Done"
_LOOP_INTERVAL_S = 0.01
_TAIL_S = {"python": 0.3, "c++": 0.8}
_PLAIN = {"python": HTTPStatus.NOT_FOUND, "c++": HTTPStatus.UPGRADE_REQUIRED}
"""To a GET that is no handshake: the one looks for a page, the other is websocketpp."""
_BUSY = "The server is busy. Please retry later."


class Dialect(StrEnum):
    PYTHON = "python"
    CPP = "c++"


class STTServer:
    """Args:
    recognizer: What hears; default: a ScriptedRecognizer.
    in_threads: Decodes off the event loop, as the real servers do; for real recognisers.
    decode_ms: What a decode step of all ready streams takes besides.
    final_ms: Pause before the last reply.
    handshake_ms: Pause before the answer to a handshake.
    """

    def __init__(
        self,
        recognizer: OnlineRecognizer | None = None,
        *,
        dialect: Dialect | Literal["python", "c++"] = Dialect.PYTHON,
        in_threads: bool = False,
        decode_ms: float = 0.0,
        final_ms: float = 0.0,
        handshake_ms: float = 0.0,
        jitter_ms: float = 0.0,
        tail_s: float | None = None,
        max_active_connections: int = 500,
        faults: Iterable[SocketFault] = (),
        seed: int = 0,
    ) -> None:
        self.recognizer: OnlineRecognizer = recognizer or ScriptedRecognizer()
        self.dialect = Dialect(dialect)
        self.faults = tuple(faults)
        self.connections_made = self.connections = 0
        """All so far, and the open ones; refused ones are in neither."""
        self.utterances = self.finished = self.aborted = self.refused = 0
        self.pings = 0
        """Connections that ended without audio, and questions without a WebSocket."""
        self._decode_ms, self._final_ms, self._jitter_ms = decode_ms, final_ms, jitter_ms
        self._handshake_ms = handshake_ms
        self._tail = np.zeros(
            int((_TAIL_S[self.dialect] if tail_s is None else tail_s) * LISTEN_RATE_HZ), np.float32
        )
        self._most = max_active_connections
        self._random = random.Random(seed)
        self._in_threads = in_threads
        self._pool: ThreadPoolExecutor | None = None
        self._ready: asyncio.Queue[tuple[Hearing, asyncio.Future[None]]] = asyncio.Queue()
        self._decoder: asyncio.Task[None] | None = None
        self._server: Server | None = None
        self._attempts = 0
        self._sockets: set[ServerConnection] = set()
        self._hanging: set[ServerConnection] = set()
        """In the handshake, where closing the server would wait for them."""
        self.url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        if self._in_threads:
            self._pool = ThreadPoolExecutor(1, "stt mock")
        self._decoder = asyncio.create_task(self._decode(), name="stt mock decoder")
        self._server = await serve(
            self._handle,
            host,
            port,
            compression=None,
            max_size=1 << 20,
            max_queue=32,
            close_timeout=0.5,
            process_request=self._greet,
        )
        address = next(iter(self._server.sockets)).getsockname()
        self.url = f"ws://{address[0]}:{address[1]}"

    async def aclose(self) -> None:
        """May be started again, on the same port too."""
        if self._server is not None:
            self._server.close()
            for connection in self._hanging:
                connection.transport.abort()
            await self._server.wait_closed()
        if self._decoder is not None:
            self._decoder.cancel()
            await asyncio.wait((self._decoder,))
        if self._pool is not None:
            self._pool.shutdown()

    async def __aenter__(self) -> "STTServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def drop_connections(self) -> None:
        """Every open connection gets an RST, as from a server that was killed."""
        for connection in self._sockets:
            reset(connection)

    # --- the handshake --------------------------------------------------------------------------

    async def _greet(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/mock/state":
            return connection.respond(HTTPStatus.OK, msgspec.json.encode(self._state()).decode())
        is_socket = "Sec-WebSocket-Key" in request.headers
        self._attempts += is_socket
        self.pings += not is_socket
        kinds = {one.kind for one in self.faults if one.hits(self._attempts if is_socket else 0)}
        if "hang" in kinds:
            self._hanging.add(connection)
            await connection.wait_closed()
            self._hanging.discard(connection)
        await self._pause(self._handshake_ms)
        if "error" in kinds:
            return connection.respond(HTTPStatus.INTERNAL_SERVER_ERROR, "scripted fault")
        if "busy" in kinds or (is_socket and self.connections >= self._most):
            self.refused += is_socket
            response = connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, _BUSY)
            response.headers["Hint"] = "The server is overloaded. Please retry later."
            return response
        return None if is_socket else connection.respond(_PLAIN[self.dialect], "Speak WebSocket.\n")

    def _state(self) -> dict[str, int]:
        return {
            "connections": self.connections,
            "connections_made": self.connections_made,
            "refused": self.refused,
            "utterances": self.utterances,
            "finished": self.finished,
            "aborted": self.aborted,
            "pings": self.pings,
        }

    async def _handle(self, connection: ServerConnection) -> None:
        self.connections += 1
        self.connections_made += 1
        self._sockets.add(connection)
        try:
            if self.dialect is Dialect.PYTHON:
                await self._hear_python(connection)
            else:
                await self._hear_cpp(connection)
        except (ConnectionClosed, Gone):
            pass
        finally:
            self.connections -= 1
            self._sockets.discard(connection)

    # --- the dialects ---------------------------------------------------------------------------

    async def _hear_python(self, connection: ServerConnection) -> None:
        hearing: Hearing | None = None
        try:
            while (message := await connection.recv()) != _DONE:
                if hearing is None:
                    hearing = self._begin(connection)
                hearing.accept(message)
                while hearing.is_ready:
                    await self._step(hearing)
                    reply = {"text": hearing.text, "segment": hearing.segment}
                    hearing.end_segment(count_empty=True)
                    await hearing.reply(reply)
            if hearing is None:
                hearing = self._begin(connection)
            hearing.finish(self._tail)
            while hearing.is_ready:
                await self._step(hearing)
            await self._pause(self._final_ms)
            await hearing.reply({"text": hearing.text, "segment": hearing.segment}, is_last=True)
        finally:
            self._count(hearing)

    async def _hear_cpp(self, connection: ServerConnection) -> None:
        hearing: Hearing | None = None
        answering: asyncio.Task[None] | None = None
        try:
            async for message in connection:
                if hearing is None or hearing.is_over:
                    if answering is not None:
                        await answering
                        self._count(hearing)
                    hearing = self._begin(connection)
                    answering = asyncio.create_task(self._answer_cpp(hearing))
                if message == _DONE:
                    hearing.finish(self._tail)
                elif isinstance(message, bytes):
                    hearing.accept(message)
        finally:
            if answering is not None:
                answering.cancel()
                await asyncio.wait((answering,))
            self._count(hearing)

    async def _answer_cpp(self, hearing: Hearing) -> None:
        try:
            while True:
                await asyncio.sleep(_LOOP_INTERVAL_S)
                if not hearing.is_ready:
                    if hearing.is_finished:
                        await hearing.reply("Done!")
                        hearing.is_answered = hearing.is_over = True
                        return
                    hearing.heard.clear()
                    await hearing.heard.wait()
                    continue
                await self._step(hearing)
                is_eof = hearing.is_finished and not hearing.is_ready
                if is_eof:
                    await self._pause(self._final_ms)
                reply = cpp_result(hearing)
                reply["is_final"] = hearing.end_segment(count_empty=False) or is_eof
                reply["is_eof"] = is_eof
                await hearing.reply(reply, is_last=is_eof)
        except (ConnectionClosed, Gone):
            return

    def _begin(self, connection: ServerConnection) -> Hearing:
        self.utterances += 1
        faults = [
            fault
            for fault in self.faults
            if fault.kind not in AT_HANDSHAKE and fault.hits(self.utterances)
        ]
        return Hearing(self.recognizer, connection, faults)

    def _count(self, hearing: Hearing | None) -> None:
        """At the end of an utterance, or of a connection without one."""
        if hearing is None:
            self.pings += 1
            return
        self.finished += hearing.is_answered
        self.aborted += not hearing.is_answered

    # --- decoding -------------------------------------------------------------------------------

    async def _step(self, hearing: Hearing) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ready.put_nowait((hearing, done))
        await done
        await asyncio.sleep(self._decode_ms / 1000 * (hearing.factor - 1))

    async def _decode(self) -> None:
        """All streams that are ready go through one decode step together."""
        while True:
            batch = [await self._ready.get()]
            while not self._ready.empty():
                batch.append(self._ready.get_nowait())
            await self._pause(self._decode_ms)
            streams = [hearing.stream for hearing, _ in batch]
            if self._pool is None:
                self.recognizer.decode_streams(streams)
            else:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._pool, self.recognizer.decode_streams, streams)
            for _, done in batch:
                if not done.done():
                    done.set_result(None)

    async def _pause(self, pause_ms: float) -> None:
        if pause_ms or self._jitter_ms:
            await asyncio.sleep((pause_ms + self._random.uniform(0, self._jitter_ms)) / 1000)
