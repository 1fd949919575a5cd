"""The mock against a bare client: what a program written for the real servers would see."""

import asyncio
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK, InvalidStatus

from mocks.clock import Sockets, run_virtual
from mocks.recognizer import ScriptedRecognizer, ScriptedStream, load_recognizer
from mocks.serve_stt import STTServer
from mocks.socket_faults import SocketFault
from tests.providers.tiny_models import nemo_ctc, transducer

CHUNK = 5120
"""Samples of one decode step: 320 ms."""


def silence(samples: int) -> bytes:
    return np.zeros(samples, "<f4").tobytes()


def talk(server: STTServer, client: Callable[[ClientConnection], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(10), server, connect(server.url, compression=None) as socket:
            return await client(socket)

    return run_virtual(main(), sockets=Sockets.OURS)


async def say(socket: ClientConnection, chunks: int) -> list[Any]:
    """That many decode steps, then Done; everything that comes back."""
    for _ in range(chunks):
        await socket.send(silence(CHUNK))
    await socket.send("Done")
    replies: list[Any] = []
    async for message in socket:
        replies.append(message if message == "Done!" else msgspec.json.decode(message))
        if message == "Done!":
            break
    return replies


def test_the_python_server_replies_per_step_and_once_after_done_then_closes() -> None:
    async def client(socket: ClientConnection) -> tuple[list[Any], int | None]:
        return await say(socket, 3), socket.close_code

    replies, close_code = talk(STTServer(ScriptedRecognizer(text="a b c d e")), client)
    assert replies == [
        {"text": "a", "segment": 0},
        {"text": "a b", "segment": 0},
        {"text": "a b c", "segment": 0},
        {"text": "a b c d e", "segment": 0},
    ]
    assert close_code == 1000


def test_the_cpp_server_marks_the_end_says_done_and_leaves_the_socket_open() -> None:
    async def client(socket: ClientConnection) -> tuple[list[Any], list[Any]]:
        return await say(socket, 1), await say(socket, 1)

    recognizer = ScriptedRecognizer(["one two three", "four five"])
    server = STTServer(recognizer, dialect="c++")
    first, second = talk(server, client)
    assert first.pop() == second.pop() == "Done!"
    assert [reply["is_eof"] for reply in first][-2:] == [False, True]
    assert first[-1]["is_final"] and first[-1]["text"] == "one two three"
    assert second[-1]["text"] == "four five"
    assert set(first[0]) == {
        *("text", "tokens", "timestamps", "ys_probs", "lm_probs", "context_scores", "segment"),
        *("words", "start_time", "is_final", "is_eof"),
    }
    assert (server.connections_made, server.utterances, server.finished) == (1, 2, 2)


def test_without_tail_the_cpp_server_may_say_done_without_is_eof() -> None:
    async def client(socket: ClientConnection) -> list[Any]:
        await socket.send(silence(CHUNK))
        first = msgspec.json.decode(await socket.recv())
        await socket.send("Done")
        return [first["text"], await socket.recv()]

    server = STTServer(ScriptedRecognizer(text="one two"), dialect="c++", tail_s=0.0)
    assert talk(server, client) == ["one", "Done!"]


@pytest.mark.parametrize("dialect", ["python", "c++"])
def test_endpointing_begins_a_new_segment_with_its_own_text(
    dialect: Literal["python", "c++"],
) -> None:
    async def client(socket: ClientConnection) -> list[Any]:
        replies = []
        for _ in range(3):
            await socket.send(silence(CHUNK))
            replies.append(msgspec.json.decode(await socket.recv()))
        return [(reply["segment"], reply["text"]) for reply in replies]

    server = STTServer(ScriptedRecognizer(text="a b | c d"), dialect=dialect)
    assert talk(server, client) == [(0, "a"), (0, "a b"), (1, "c")]


def test_the_python_server_refuses_more_connections_than_it_may_have() -> None:
    async def client(_: ClientConnection) -> InvalidStatus:
        with pytest.raises(InvalidStatus) as caught:
            await connect(server.url)
        return caught.value

    server = STTServer(max_active_connections=1)
    response = talk(server, client).response
    assert (response.status_code, bytes(response.body)) == (
        503,
        b"The server is busy. Please retry later.",
    )
    assert server.refused == 1


def test_the_state_is_told_over_http() -> None:
    async def client(socket: ClientConnection) -> Any:
        await socket.send(silence(CHUNK))
        await socket.recv()
        state_url = server.url.replace("ws:", "http:") + "/mock/state"

        def get() -> bytes:
            with urllib.request.urlopen(state_url) as response:
                body: bytes = response.read()
                return body

        return msgspec.json.decode(await asyncio.to_thread(get))

    server = STTServer()
    state = talk(server, client)
    assert state["connections"] == state["utterances"] == 1
    assert state["finished"] == state["aborted"] == 0
    assert (server.connections, server.aborted) == (0, 1)


def test_a_recogniser_passed_in_hears_the_samples_that_were_sent() -> None:
    class Recorder(ScriptedRecognizer):
        def create_stream(self) -> "RecorderStream":
            return RecorderStream(self)

    class RecorderStream(ScriptedStream):
        def accept_waveform(self, sample_rate: float, waveform: NDArray[np.float32]) -> None:
            recorded.append((sample_rate, waveform))
            super().accept_waveform(sample_rate, waveform)

    async def client(socket: ClientConnection) -> list[Any]:
        return await say(socket, 1)

    recorded: list[tuple[float, NDArray[np.float32]]] = []
    server = STTServer(Recorder(text="a b"), in_threads=True)
    assert talk(server, client)[-1]["text"] == "a b"
    assert [(rate, len(waveform)) for rate, waveform in recorded] == [(16000, CHUNK), (16000, 4800)]


@pytest.mark.parametrize("dialect", ["python", "c++"])
def test_a_real_recogniser_may_stand_behind_it(
    dialect: Literal["python", "c++"], tmp_path: Path
) -> None:
    async def client(socket: ClientConnection) -> list[Any]:
        for start in range(0, len(noise), CHUNK):
            await socket.send(noise[start : start + CHUNK].tobytes())
        await socket.send("Done")
        texts = []
        async for message in socket:
            if message == "Done!":
                break
            texts.append(msgspec.json.decode(message)["text"])
        return texts

    nemo_ctc(tmp_path)
    recognizer = load_recognizer(tmp_path)
    noise = np.random.default_rng(3).normal(0, 0.1, 2 * 16000).astype("<f4")
    texts = talk(STTServer(recognizer, dialect=dialect, in_threads=True), client)

    alone = recognizer.create_stream()
    alone.accept_waveform(16000, noise)
    alone.accept_waveform(16000, np.zeros(4800 if dialect == "python" else 12800, np.float32))
    alone.input_finished()
    while recognizer.is_ready(alone):
        recognizer.decode_streams([alone])
    assert texts[-1] == recognizer.get_result(alone) != ""
    assert len(texts) > 2


def test_a_folder_without_a_model_says_what_it_must_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold tokens\.txt"):
        load_recognizer(tmp_path)


def test_a_transducer_is_told_by_its_files(tmp_path: Path) -> None:
    transducer(tmp_path)
    stream = load_recognizer(tmp_path).create_stream()
    stream.accept_waveform(16000, np.zeros(16000, np.float32))


def test_faults_strike_the_utterance_and_reply_they_name() -> None:
    async def end_of(socket: ClientConnection) -> int | None:
        with pytest.raises(ConnectionClosed):
            await say(socket, 2)
            await socket.recv()
        assert socket.close_code is not None
        return socket.close_code

    async def client(socket: ClientConnection) -> list[int | None]:
        codes = [await end_of(socket)]
        for _ in range(3):
            async with connect(server.url) as another:
                codes.append(await end_of(another))
        return codes

    server = STTServer(
        faults=[
            SocketFault(kind="reset", request=2, reply=1),
            SocketFault(kind="close", request=3, reply=-1),
            SocketFault(kind="cut", request=4),
        ]
    )
    assert talk(server, client) == [1000, 1006, 1011, 1006]
    assert (server.finished, server.aborted) == (1, 3)


def test_it_ends_at_once_though_a_client_hangs_in_the_handshake() -> None:
    async def main() -> None:
        async with asyncio.timeout(5):
            async with STTServer(faults=[SocketFault(kind="hang")]) as server:
                reader, writer = await asyncio.open_connection(*server.url[5:].split(":"))
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
                writer.write(b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n")
                writer.write(b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
                await writer.drain()
                async with connect(server.url) as second:  # the first has arrived by now
                    await say(second, 1)
            await reader.read()
            writer.close()

    run_virtual(main(), sockets=Sockets.OURS)


def test_it_can_be_started_again_on_its_port() -> None:
    async def main() -> None:
        server = STTServer(ScriptedRecognizer(text="again"))
        async with asyncio.timeout(10):
            await server.start()
            port = int(server.url.rpartition(":")[2])
            async with connect(server.url) as socket:
                server.drop_connections()
                with pytest.raises(ConnectionClosed) as caught:
                    await socket.recv()
                assert not isinstance(caught.value, ConnectionClosedOK)
            await server.aclose()
            await server.start(port=port)
            async with connect(server.url) as socket:
                assert (await say(socket, 1))[-1]["text"] == "again"
            await server.aclose()

    run_virtual(main(), sockets=Sockets.OURS)


def bare_get(server: STTServer) -> int:
    try:
        with urllib.request.urlopen(server.url.replace("ws:", "http:"), timeout=0.5) as response:
            status: int = response.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("dialect", ["python", "c++"])
def test_who_comes_without_audio_is_counted_as_a_ping(dialect: Literal["python", "c++"]) -> None:
    async def client(socket: ClientConnection) -> int:
        async with connect(server.url) as ping:
            await (await ping.ping())
        assert await asyncio.to_thread(bare_get, server) == (404 if dialect == "python" else 426)
        return len(await say(socket, 1))

    server = STTServer(dialect=dialect)
    assert talk(server, client)
    assert (server.pings, server.utterances, server.finished) == (2, 1, 1)


def test_a_question_without_a_websocket_meets_what_every_handshake_meets() -> None:
    async def main() -> None:
        server = STTServer(faults=[SocketFault(kind="error", request=1)])
        async with asyncio.timeout(10), server:
            assert await asyncio.to_thread(bare_get, server) == 404
            with pytest.raises(InvalidStatus):  # the fault was left for the first handshake
                await connect(server.url)
            server.faults = (SocketFault(kind="error", request=0),)
            assert await asyncio.to_thread(bare_get, server) == 500
            server.faults = (SocketFault(kind="busy", request=0),)
            assert await asyncio.to_thread(bare_get, server) == 503
            server.faults = (SocketFault(kind="hang", request=0),)
            with pytest.raises(TimeoutError):
                await asyncio.to_thread(bare_get, server)
            assert (server.pings, server.refused) == (4, 0)

    run_virtual(main(), sockets=Sockets.OURS)
