"""The client against both servers' protocols on real sockets, and against all that goes wrong."""

import asyncio
import gc
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import uvloop
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection, serve

from mocks.clock import Sockets as ClockSockets
from mocks.clock import run_virtual
from mocks.recognizer import ScriptedRecognizer, ScriptedStream, load_recognizer
from mocks.serve_stt import STTServer
from mocks.socket_faults import SocketFault
from providers._sherpa_socket import Endpoint, Sockets
from providers._sherpa_utterance import as_float32
from providers.base import STT, Fault, Hypothesis, ProviderError, Slot, SttFailure
from providers.stt_sherpa_server import SherpaServerSTT
from tests.cancels import cancels
from tests.providers.tiny_models import nemo_ctc

Dialect = Literal["python", "c++"]
Result = Hypothesis | SttFailure
FRAME = 640
"""2,000 in a thorough run."""

both = pytest.mark.parametrize("dialect", ["python", "c++"])


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(30):
            await main()

    run_virtual(limited(), sockets=ClockSockets.OURS)


async def until(condition: Callable[[], bool]) -> None:
    """For what happens in the server: nobody calls us when it has."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


class Call:
    """One stream and what came back from it."""

    def __init__(self, stt: SherpaServerSTT) -> None:
        self.results: list[Result] = []
        self._changed = asyncio.Event()
        self.stream = stt.open(self._receive)

    def _receive(self, result: Result) -> None:
        self.results.append(result)
        self._changed.set()

    async def until(self, wanted: Callable[[Result], bool]) -> Result:
        while True:
            for result in self.results:
                if wanted(result):
                    return result
            self._changed.clear()
            await self._changed.wait()

    async def outcome(self, utterance: int = 1) -> Result:
        return await self.until(lambda result: result.utterance == utterance and is_outcome(result))

    async def partial(self, text: str) -> None:
        await self.until(lambda result: isinstance(result, Hypothesis) and result.text == text)

    def speak(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.stream.feed(bytes(FRAME))

    async def say(self, utterance: int = 1, seconds: float = 1.3) -> Result:
        self.stream.begin(utterance)
        self.speak(seconds)
        self.stream.end()
        return await self.outcome(utterance)

    @property
    def partials(self) -> list[str]:
        return [
            result.text
            for result in self.results
            if isinstance(result, Hypothesis) and not result.is_final
        ]

    @property
    def outcomes(self) -> list[Result]:
        return [result for result in self.results if is_outcome(result)]


def is_outcome(result: Result) -> bool:
    return isinstance(result, SttFailure) or result.is_final


def final(text: str, utterance: int = 1) -> Hypothesis:
    return Hypothesis(utterance=utterance, text=text, is_final=True)


def fault_of(result: Result) -> Fault:
    assert isinstance(result, SttFailure), result
    return result.error.fault


@asynccontextmanager
async def calling(url: str, **settings: Any) -> AsyncIterator[Call]:
    stt = SherpaServerSTT(url, **settings)
    call = Call(stt)
    try:
        yield call
    finally:
        call.stream.close()
        await stt.aclose()


class Recorder(ScriptedRecognizer):
    """Keeps what each utterance brought."""

    def __init__(self, text: str) -> None:
        super().__init__(text=text)
        self.heard: list[list[NDArray[np.float32]]] = []

    def create_stream(self) -> "RecorderStream":
        return RecorderStream(self)


class RecorderStream(ScriptedStream):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder)
        self.pieces: list[NDArray[np.float32]] = []
        recorder.heard.append(self.pieces)

    def accept_waveform(self, sample_rate: float, waveform: NDArray[np.float32]) -> None:
        self.pieces.append(waveform)
        super().accept_waveform(sample_rate, waveform)


# --- what is heard ------------------------------------------------------------------------------


@both
def test_partials_grow_and_the_final_has_all_words(dialect: Dialect) -> None:
    async def main() -> None:
        recognizer = ScriptedRecognizer(text="we are open today")
        async with STTServer(recognizer, dialect=dialect) as server:
            async with calling(server.url) as call:
                assert await call.say() == final("we are open today")
                assert call.partials[:2] == ["we", "we are"]
                assert call.outcomes == [final("we are open today")]

    run(main)


@both
def test_segments_of_the_servers_own_endpointing_become_one_text(dialect: Dialect) -> None:
    async def main() -> None:
        recognizer = ScriptedRecognizer(["hello there | how are you", "今日 | は"])
        async with STTServer(recognizer, dialect=dialect) as server:
            async with calling(server.url) as call:
                assert await call.say(1, seconds=2.0) == final("hello there how are you")
                assert "hello there how" in call.partials
                assert await call.say(2, seconds=2.0) == final("今日は", 2)

    run(main)


@both
def test_silence_has_an_empty_final_and_no_partial(dialect: Dialect) -> None:
    async def main() -> None:
        async with STTServer(ScriptedRecognizer(text=""), dialect=dialect) as server:
            async with calling(server.url) as call:
                assert await call.say() == final("")
                assert call.partials == []

    run(main)


@pytest.mark.parametrize("seconds", [0.0, 0.02])
@both
def test_an_utterance_of_next_to_nothing_has_its_final_too(
    dialect: Dialect, seconds: float
) -> None:
    async def main() -> None:
        async with STTServer(ScriptedRecognizer(text="yes"), dialect=dialect) as server:
            async with calling(server.url) as call:
                assert await call.say(seconds=seconds) == final("yes")

    run(main)


def test_the_server_hears_float32_samples_and_silence_behind_them() -> None:
    pcm = np.arange(-16000, 16000, 2, dtype="<i2")

    async def main() -> None:
        recorder = Recorder("yes")
        async with STTServer(recorder) as server, calling(server.url, tail_ms=200) as call:
            call.stream.begin(1)
            call.stream.feed(pcm.tobytes())
            call.stream.end()
            await call.outcome()
        heard = np.concatenate(recorder.heard[0])
        assert heard.tolist() == [*(pcm / 32768).tolist(), *[0.0] * (3200 + 4800)]

    run(main)


def test_float32_samples_stay_within_one() -> None:
    samples = np.frombuffer(as_float32(np.array([-32768, 0, 32767], "<i2").tobytes()), "<f4")
    assert samples.tolist() == pytest.approx([-1.0, 0.0, 32767 / 32768])


def test_the_cpp_server_is_sent_no_tail_once_it_is_known() -> None:
    async def main() -> None:
        recorder = Recorder("yes we are")
        async with STTServer(recorder, dialect="c++") as server, calling(server.url) as call:
            call.stream.begin(1)
            call.speak(0.64)
            await call.partial("yes we")
            call.stream.end()
            await call.outcome()
        assert sum(map(len, recorder.heard[0])) == 16000 * (0.64 + 0.8)

    run(main)


@both
def test_two_utterances_of_a_call_may_overlap(dialect: Dialect) -> None:
    async def main() -> None:
        recognizer = ScriptedRecognizer(["first one", "second one"])
        async with STTServer(recognizer, dialect=dialect, final_ms=50) as server:
            async with calling(server.url) as call:
                call.stream.begin(1)
                call.speak(0.64)
                await call.partial("first one")
                call.stream.end()
                assert await call.say(2) == final("second one", 2)
                assert await call.outcome(1) == final("first one")

    run(main)


def test_done_without_is_eof_is_an_end_too() -> None:
    async def main() -> None:
        recognizer = ScriptedRecognizer(text="one two three")
        async with STTServer(recognizer, dialect="c++", tail_s=0.0) as server:
            async with calling(server.url) as call:
                call.stream.begin(1)
                call.speak(0.32)
                await call.partial("one")
                call.stream.end()
                assert await call.outcome() == final("one")

    run(main)


@both
def test_a_real_recogniser_hears_through_the_server_what_it_hears_at_home(
    dialect: Dialect, tmp_path: Path
) -> None:
    nemo_ctc(tmp_path)
    recognizer = load_recognizer(tmp_path)
    pcm = np.random.default_rng(5).normal(0, 2000, 3 * 16000).astype("<i2").tobytes()
    alone = recognizer.create_stream()
    alone.accept_waveform(16000, np.frombuffer(as_float32(pcm), "<f4"))
    # Never more than the server's tail: random weights hear words in silence too.
    alone.accept_waveform(16000, np.zeros(4800 if dialect == "python" else 12800, np.float32))
    alone.input_finished()
    while recognizer.is_ready(alone):
        recognizer.decode_streams([alone])
    expected = recognizer.get_result(alone).lower()

    async def main() -> None:
        async with STTServer(recognizer, dialect=dialect, in_threads=True) as server:
            async with calling(server.url, tail_ms=0) as call:
                call.stream.begin(1)
                for start in range(0, len(pcm), FRAME):
                    call.stream.feed(pcm[start : start + FRAME])
                call.stream.end()
                assert await call.outcome() == final(expected)
                assert expected and len(call.partials) > 1

    run(main)


def test_a_done_that_overtakes_the_last_text_does_not_cut_it_off() -> None:
    async def swapped(connection: ServerConnection) -> None:
        await until_done(connection)
        await connection.send("Done!")
        await connection.send('{"text": "all of it", "segment": 0, "is_eof": true}')
        await connection.wait_closed()

    async def main() -> None:
        async with serving(swapped) as url, calling(url) as call:
            assert await call.say() == final("all of it")

    run(main)


# --- connections --------------------------------------------------------------------------------


def spares(stt: SherpaServerSTT) -> int:
    return len(stt.sockets._spares)


def test_the_next_connection_is_opened_ahead_and_taken() -> None:
    async def main() -> None:
        async with STTServer() as server:
            stt = SherpaServerSTT(server.url)
            call = Call(stt)
            await until(lambda: spares(stt) == 1)
            assert server.connections_made == 1
            call.stream.begin(1)
            await asyncio.sleep(0)
            assert spares(stt) == 0
            call.speak(1)
            call.stream.end()
            await call.outcome()
            await until(lambda: spares(stt) == 1)
            assert server.connections_made == 2
            call.stream.close()
            await until(lambda: server.connections == 0)
            await stt.aclose()

    run(main)


def test_many_calls_share_a_few_spare_connections() -> None:
    async def main() -> None:
        async with STTServer() as server:
            stt = SherpaServerSTT(server.url)
            calls = [Call(stt) for _ in range(20)]
            await until(lambda: spares(stt) == 4)
            outcomes = await asyncio.gather(*(call.say() for call in calls))
            assert set(outcomes) == {final("what are your opening hours")}
            await until(lambda: server.connections == 4)
            await stt.aclose()
            await until(lambda: server.connections == 0)

    run(main)


def test_an_old_spare_connection_is_replaced() -> None:
    async def main() -> None:
        async with STTServer() as server:
            sockets = Sockets(Endpoint(server.url), connect_limit_s=2, spare_age_s=0.05)
            sockets.want(1)
            await until(lambda: server.connections_made >= 3)
            await until(lambda: server.connections <= 1)
            await sockets.aclose()

    run(main)


def test_calls_that_come_and_go_at_once_leave_no_connection() -> None:
    async def main() -> None:
        async with STTServer() as server:
            stt = SherpaServerSTT(server.url)
            for _ in range(20):
                call = Call(stt)
                await asyncio.sleep(0)
                call.stream.close()
            await until(lambda: spares(stt) == server.connections == 0)
            Call(stt)
            await until(lambda: spares(stt) == 1)
            await stt.aclose()

    run(main)


def test_audio_that_comes_while_connecting_is_kept() -> None:
    async def main() -> None:
        recorder = Recorder("kept it all")
        async with STTServer(recorder, handshake_ms=100) as server:
            async with calling(server.url, tail_ms=0) as call:
                assert await call.say() == final("kept it all")
        assert sum(map(len, recorder.heard[0])) == 16000 * (1.3 + 0.3)

    run(main)


# --- lost connections ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["reset", "cut", "close"])
@both
def test_an_utterance_whose_connection_dies_is_heard_again(
    dialect: Dialect, kind: Literal["reset", "cut", "close"]
) -> None:
    async def main() -> None:
        recorder = Recorder("one two three four")
        fault = SocketFault(kind=kind, reply=2)
        async with STTServer(recorder, dialect=dialect, faults=[fault]) as server:
            async with calling(server.url, tail_ms=0) as call:
                assert await call.say() == final("one two three four")
                assert call.partials[:2] == ["one", "one two"]
                assert call.partials == sorted(call.partials, key=len), "a text was told shorter"
                assert server.utterances == 2
        tail_s = 0.3 if dialect == "python" else 0.8
        assert sum(map(len, recorder.heard[-1])) == 16000 * (1.3 + tail_s)

    run(main)


@both
def test_a_connection_that_dies_instead_of_the_final_is_opened_again(dialect: Dialect) -> None:
    async def main() -> None:
        fault = SocketFault(kind="reset", reply=-1)
        async with STTServer(dialect=dialect, faults=[fault]) as server:
            async with calling(server.url) as call:
                assert await call.say() == final("what are your opening hours")

    run(main)


@both
def test_a_server_that_is_restarted_under_an_utterance_hears_it_again(dialect: Dialect) -> None:
    async def main() -> None:
        recognizer = ScriptedRecognizer(text="one two three four")
        server = STTServer(recognizer, dialect=dialect)
        await server.start()
        port = int(server.url.rpartition(":")[2])
        async with calling(server.url) as call:
            call.stream.begin(1)
            call.speak(0.7)
            await call.partial("one two")
            server.drop_connections()
            await server.aclose()
            call.speak(0.3)
            await asyncio.sleep(0.25)  # so long it is gone: connecting is refused
            await server.start(port=port)
            call.speak(0.3)
            call.stream.end()
            assert await call.outcome() == final("one two three four")
        await server.aclose()

    run(main)


def test_spare_connections_that_died_unnoticed_cost_the_utterance_nothing() -> None:
    async def main() -> None:
        # The spare one dies with its first reply, the next on its way, the third lives.
        faults = [SocketFault(kind="reset", reply=0), SocketFault(kind="reset", request=2, reply=2)]
        async with STTServer(faults=faults) as server:
            stt = SherpaServerSTT(server.url)
            call = Call(stt)
            await until(lambda: spares(stt) == 1)
            assert await call.say() == final("what are your opening hours")
            await stt.aclose()

    run(main)


def test_a_connection_lost_twice_is_a_failure_told_once() -> None:
    async def main() -> None:
        fault = SocketFault(kind="reset", request=0, reply=1)
        async with STTServer(faults=[fault]) as server, calling(server.url) as call:
            result = await call.say()
            assert fault_of(result) is Fault.BROKEN
            assert "connection lost twice" in str(result)
            assert call.outcomes == [result]

    run(main)


def test_an_utterance_over_a_minute_is_not_kept_and_so_not_repeated() -> None:
    async def main() -> None:
        fault = SocketFault(kind="reset", reply=-1)
        async with STTServer(faults=[fault]) as server, calling(server.url) as call:
            result = await call.say(seconds=63)
            assert fault_of(result) is Fault.BROKEN
            assert server.utterances == 1

    run(main)


def test_a_failed_utterance_is_over_and_the_next_is_not_harmed() -> None:
    async def main() -> None:
        fault = SocketFault(kind="malformed", reply=0)
        async with STTServer(faults=[fault]) as server, calling(server.url) as call:
            call.stream.begin(1)
            call.speak(0.4)
            assert fault_of(await call.outcome()) is Fault.BROKEN
            call.speak(0.4)
            call.stream.end()
            assert await call.say(2) == final("what are your opening hours", 2)
            assert len(call.outcomes) == 2

    run(main)


# --- servers that are not there, or not well ------------------------------------------------------


def test_nobody_there_is_unreachable_and_says_what_to_look_at() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = unused.getsockname()[1]
        async with calling(f"ws://127.0.0.1:{port}") as call:
            result = await call.say()
            assert fault_of(result) is Fault.UNREACHABLE
            assert f"ws://127.0.0.1:{port} running? (STT_ENDPOINT)" in str(result)

    run(main)


def test_a_server_that_takes_the_connection_and_never_answers_is_a_timeout() -> None:
    async def main() -> None:
        fault = SocketFault(kind="hang", request=0)
        async with STTServer(faults=[fault]) as server:
            async with calling(server.url, connect_limit_s=0.1) as call:
                assert fault_of(await call.say()) is Fault.TIMEOUT

    run(main)


def test_a_busy_server_is_overloaded_in_its_own_words() -> None:
    async def main() -> None:
        async with STTServer(max_active_connections=0) as server, calling(server.url) as call:
            result = await call.say()
            assert fault_of(result) is Fault.OVERLOADED
            assert "The server is busy" in str(result) and "--max-active-connections" in str(result)

    run(main)


def test_an_error_at_the_handshake_is_broken() -> None:
    async def main() -> None:
        fault = SocketFault(kind="error", request=0)
        async with STTServer(faults=[fault]) as server, calling(server.url) as call:
            assert fault_of(await call.say()) is Fault.BROKEN

    run(main)


def test_another_http_server_is_refused() -> None:
    async def main() -> None:
        def hello(connection: ServerConnection, _: Any) -> Any:
            return connection.respond(200, "hello")

        async with serve(until_done, "127.0.0.1", 0, process_request=hello) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            async with calling(f"http://127.0.0.1:{port}") as call:
                result = await call.say()
                assert fault_of(result) is Fault.REFUSED and "STT_ENDPOINT" in str(result)

    run(main)


@pytest.mark.parametrize(
    ("greeting", "fault"), [(b"-ERR unknown\r\n\r\n", Fault.BROKEN), (b"", Fault.UNREACHABLE)]
)
def test_what_speaks_no_http_or_hangs_up_is_told_apart(greeting: bytes, fault: Fault) -> None:
    async def main() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(greeting)
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with calling(f"ws://127.0.0.1:{port}") as call:
                result = await call.say()
                assert fault_of(result) is fault and "STT_ENDPOINT" in str(result)

    run(main)


def test_tls_with_a_server_that_has_none_says_so() -> None:
    async def main() -> None:
        async with STTServer() as server, calling(server.url.replace("ws:", "wss:")) as call:
            result = await call.say()
            assert fault_of(result) is Fault.UNREACHABLE and "TLS" in str(result)

    run(main)


def test_a_host_without_an_address_is_unreachable() -> None:
    async def main() -> None:
        async with calling("ws://nowhere.invalid:6006") as call:
            result = await call.say()
            assert fault_of(result) is Fault.UNREACHABLE and "no address" in str(result)

    run(main)


@both
@pytest.mark.parametrize("kind", ["malformed", "not_utf8", "binary"])
def test_what_is_no_reply_is_broken(
    dialect: Dialect, kind: Literal["malformed", "not_utf8", "binary"]
) -> None:
    async def main() -> None:
        fault = SocketFault(kind=kind, reply=1)
        async with STTServer(dialect=dialect, faults=[fault]) as server:
            async with calling(server.url) as call:
                result = await call.say()
                assert fault_of(result) is Fault.BROKEN and "STT_ENDPOINT" in str(result)

    run(main)


@both
@pytest.mark.parametrize("reply", [0, 1, -1])
def test_a_server_that_falls_silent_is_a_timeout(dialect: Dialect, reply: int) -> None:
    async def main() -> None:
        fault = SocketFault(kind="stall", reply=reply)
        async with STTServer(dialect=dialect, faults=[fault]) as server:
            async with calling(server.url, stall_limit_s=0.2) as call:
                assert fault_of(await call.say()) is Fault.TIMEOUT
                assert len(call.outcomes) == 1

    run(main)


@both
def test_a_server_that_falls_silent_is_noticed_while_the_caller_still_speaks(
    dialect: Dialect,
) -> None:
    async def main() -> None:
        fault = SocketFault(kind="stall", reply=1)
        async with STTServer(dialect=dialect, faults=[fault]) as server:
            async with calling(server.url, stall_limit_s=0.2) as call:
                call.stream.begin(1)
                call.speak(0.4)
                await call.partial("what")
                call.speak(2)
                assert fault_of(await call.outcome()) is Fault.TIMEOUT

    run(main)


def test_a_caller_who_pauses_in_mid_utterance_is_no_silent_server() -> None:
    async def main() -> None:
        limits = {"stall_limit_s": 0.1, "max_unsent_s": 0.1}
        async with STTServer() as server, calling(server.url, **limits) as call:
            call.stream.begin(1)
            await asyncio.sleep(0.3)
            call.speak(1)
            await asyncio.sleep(0.5)
            call.stream.end()
            assert await call.outcome() == final("what are your opening hours")

    run(main)


def test_replies_that_drip_are_a_timeout() -> None:
    async def main() -> None:
        fault = SocketFault(kind="drip", reply=1, drip_ms=50)
        async with STTServer(faults=[fault]) as server:
            async with calling(server.url, stall_limit_s=0.3) as call:
                assert fault_of(await call.say()) is Fault.TIMEOUT

    run(main)


def test_a_server_that_answers_ever_later_is_overloaded() -> None:
    async def main() -> None:
        async with STTServer(decode_ms=60) as server:
            async with calling(server.url, stall_limit_s=0.1) as call:
                assert fault_of(await call.say(seconds=8)) is Fault.OVERLOADED

    run(main)


async def deaf(connection: ServerConnection) -> None:
    await connection.wait_closed()


def test_a_server_that_reads_slower_than_is_spoken_is_overloaded() -> None:
    async def main() -> None:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            listener.bind(("127.0.0.1", 0))
            async with serving(deaf, sock=listener, max_queue=1) as url:
                async with calling(url, stall_limit_s=60, max_unsent_s=0.2) as call:
                    call.stream.begin(1)
                    call.speak(20)
                    result = await call.outcome()
                    assert fault_of(result) is Fault.OVERLOADED and "slower" in str(result)

    run(main)


def test_no_more_than_a_minute_waits_for_a_server_that_does_not_read() -> None:
    async def main() -> None:
        async with serving(deaf, max_queue=1) as url:
            async with calling(url, stall_limit_s=60, max_unsent_s=60) as call:
                call.stream.begin(1)
                call.speak(120)
                assert fault_of(await call.outcome()) is Fault.OVERLOADED

    run(main)


def test_a_burst_of_speech_is_no_overload_while_the_server_keeps_up() -> None:
    async def main() -> None:
        async with STTServer(decode_ms=20) as server:
            async with calling(server.url, max_unsent_s=0.1) as call:
                assert await call.say(seconds=20) == final("what are your opening hours")

    run(main)


# --- the stream's and the provider's manners ----------------------------------------------------


@both
def test_abandoning_is_silent_and_frees_the_server(dialect: Dialect) -> None:
    async def main() -> None:
        async with STTServer(dialect=dialect) as server, calling(server.url) as call:
            call.stream.begin(1)
            call.speak(0.4)
            await call.partial("what")
            call.stream.abandon()
            await until(lambda: server.aborted == 1)
            call.stream.end()
            call.stream.begin(2)
            call.stream.begin(3)
            call.speak(1)
            call.stream.end()
            assert await call.outcome(3) == final("what are your opening hours", 3)
            assert call.outcomes == [final("what are your opening hours", 3)]
            assert call.partials[0] == "what" and call.results[1].utterance == 3

    run(main)


@both
def test_an_ended_utterance_that_is_given_up_frees_the_server_and_only_it(dialect: Dialect) -> None:
    async def main() -> None:
        async with (
            STTServer(dialect=dialect, final_ms=300) as server,
            calling(server.url) as call,
        ):
            for number in (1, 2):
                call.stream.begin(number)
                call.speak(1)
                call.stream.end()
            await until(lambda: server.utterances == 2)
            call.stream.abandon(1)
            call.stream.abandon(7)
            await until(lambda: server.aborted == 1)
            assert await call.outcome(2) == final("what are your opening hours", 2)
            assert call.outcomes == [final("what are your opening hours", 2)]

    run(main)


def test_a_sink_that_abandons_hears_no_more() -> None:
    async def main() -> None:
        heard: list[Result] = []

        def sink(result: Result) -> None:
            heard.append(result)
            stream.abandon()

        async with STTServer() as server:
            stt = SherpaServerSTT(server.url)
            stream = stt.open(sink)
            stream.begin(1)
            stream.feed(bytes(FRAME * 60))
            await until(lambda: server.aborted == 1)
            assert len(heard) == 1
            await stt.aclose()

    run(main)


def test_closing_silences_what_is_still_awaited_and_may_be_done_twice() -> None:
    async def main() -> None:
        async with STTServer(final_ms=20) as server:
            stt = SherpaServerSTT(server.url)
            call = Call(stt)
            call.stream.begin(1)
            call.speak(0.3)
            call.stream.end()
            call.stream.begin(2)
            call.stream.close()
            call.stream.close()
            call.stream.begin(3)
            call.speak(1)
            call.stream.end()
            await until(lambda: server.connections == 0)
            assert call.results == []
            await stt.aclose()
            await stt.aclose()
            with pytest.raises(ProviderError):
                stt.open(call.results.append)

    run(main)


def test_an_utterance_begun_after_the_provider_was_closed_fails() -> None:
    async def main() -> None:
        async with STTServer() as server:
            stt = SherpaServerSTT(server.url)
            call = Call(stt)
            await stt.aclose()
            assert fault_of(await call.say()) is Fault.CRASHED
            call.stream.close()

    run(main)


def test_half_a_sample_is_refused() -> None:
    async def main() -> None:
        async with STTServer() as server, calling(server.url) as call:
            call.stream.begin(1)
            with pytest.raises(ValueError, match="whole 16-bit samples, got 3 bytes"):
                call.stream.feed(bytes(3))

    run(main)


@both
def test_a_check_has_the_server_hear_something(dialect: Dialect) -> None:
    async def main() -> None:
        async with STTServer(dialect=dialect) as server:
            stt = SherpaServerSTT(server.url)
            await stt.start()
            await stt.check()
            await until(lambda: server.finished == 2 and server.connections == 0)
            await stt.aclose()

    run(main)


def test_a_check_raises_what_a_caller_would_get() -> None:
    async def main() -> None:
        faults = [SocketFault(kind="stall")]
        async with STTServer(faults=faults) as server:
            stt = SherpaServerSTT(server.url, stall_limit_s=0.1)
            with pytest.raises(ProviderError) as caught:
                await stt.check()
            assert (caught.value.slot, caught.value.fault) == (Slot.STT, Fault.TIMEOUT)
            await stt.check()
            await stt.aclose()

    run(main)


def test_language_and_hotwords_are_accepted_without_effect() -> None:
    async def main() -> None:
        async with STTServer() as server:
            stt = SherpaServerSTT(server.url)
            listening: STT = stt
            stream = listening.open(lambda _: None, language="de")
            stt.open(lambda _: None, hotwords=["Kaiwa"]).close()
            stream.close()
            await stt.aclose()

    run(main)


@pytest.mark.parametrize(
    ("endpoint", "shown"),
    [
        ("ws://gpu:6006", "ws://gpu:6006"),
        (" http://gpu:6006/ ", "ws://gpu:6006/"),
        ("https://me:secret@asr.example/a?key=secret", "wss://asr.example/a"),
    ],
)
def test_the_endpoint_is_shown_without_its_secrets(endpoint: str, shown: str) -> None:
    info = SherpaServerSTT(endpoint).info
    assert (info.slot, info.provider, info.endpoint) == (Slot.STT, "sherpa-server", shown)


@pytest.mark.parametrize(
    "endpoint",
    ["", "gpu:6006", "ftp://gpu", "ws://", "ws://gpu:x", "ws://[::1", "ws://me:secret@:1"],
)
def test_an_endpoint_that_is_none_is_refused_by_name(endpoint: str) -> None:
    with pytest.raises(ValueError, match="STT_ENDPOINT must be like ws://") as caught:
        SherpaServerSTT(endpoint)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"connect_limit_s": 0},
        {"stall_limit_s": -1},
        {"max_unsent_s": float("nan")},
        {"tail_ms": -1},
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        SherpaServerSTT("ws://gpu:6006", **settings)


# --- nothing is left over -----------------------------------------------------------------------


@pytest.mark.cancels
@both
@pytest.mark.parametrize("loop", ["virtual", "uvloop"])
def test_cancels_at_random_moments_leak_nothing(dialect: Dialect, loop: str) -> None:
    def sockets_open() -> int:
        links = [f"/proc/self/fd/{name}" for name in os.listdir("/proc/self/fd")]
        return sum(os.path.exists(link) or os.path.islink(link) for link in links)

    async def main() -> None:
        chance = random.Random(1)
        async with STTServer(dialect=dialect, decode_ms=1, jitter_ms=3) as server:
            stt = SherpaServerSTT(server.url)
            await stt.check()
            await until(lambda: server.connections == 0)
            tasks_before, files_before = len(asyncio.all_tasks()), sockets_open()

            async def cancelled(number: int) -> None:
                call = Call(stt)
                call.stream.begin(1)
                for _ in range(chance.randrange(1, 6)):
                    call.speak(0.2)
                    await asyncio.sleep(chance.random() * 0.006)
                if chance.random() < 0.6:
                    call.stream.end()
                    await asyncio.sleep(chance.random() * 0.03)
                if chance.random() < 0.5:
                    call.stream.abandon()
                call.stream.close()

            for start in range(0, cancels(150), 10):
                await asyncio.gather(*(cancelled(number) for number in range(start, start + 10)))
            await until(lambda: server.connections == 0)
            assert server.utterances == server.finished + server.aborted
            # In real time it is the machine's affair how many had got so far.
            assert server.aborted > (cancels(150) / 10 if loop == "virtual" else 0)
            await until(lambda: len(asyncio.all_tasks()) <= tasks_before)
            gc.collect()
            await until(lambda: sockets_open() <= files_before)
            await stt.aclose()

    if loop == "uvloop":
        uvloop.run(main())
    else:
        run_virtual(main(), sockets=ClockSockets.OURS)


# --- servers of our own -------------------------------------------------------------------------


async def until_done(connection: ServerConnection) -> None:
    while await connection.recv() != "Done":
        pass


@asynccontextmanager
async def serving(
    handler: Callable[[ServerConnection], Awaitable[None]], **options: Any
) -> AsyncIterator[str]:
    where: dict[str, Any] = {} if "sock" in options else {"host": "127.0.0.1", "port": 0}
    async with serve(handler, **where, **options, close_timeout=0.1) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
