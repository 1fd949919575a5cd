import asyncio
import base64
import contextlib
import itertools
import json
import os
import socket
import sys
from collections.abc import AsyncGenerator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests import wav_files
from voice.bench.check import measure_rounds
from voice.bench.compare import Baseline, ratios
from voice.bench.config import BenchConfig, BenchError, KnownDelays
from voice.bench.generator import Servers
from voice.bench.report import BenchReport
from voice.bench.run import Progress, measure
from voice.bench.server import http_url, known_delays, split_cores, websocket_url
from voice.bench.step import server_use
from voice.bench.turn import Outcome
from voice.bench.weight import Core, Weight, weigh, weigh_all

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="generators are pinned and weighed"),
    pytest.mark.real_time,
]

ENDPOINT_MS = 200
THINKING_MS = 60
TONE = base64.b64encode((8_000 * np.sin(np.arange(960) / 5)).astype("<i2").tobytes()).decode()


class ScriptedServer:
    """A server of the wire that hears by loudness and answers with 1.2 s of tone, 200 ms ahead."""

    def __init__(
        self, *, extra_ms: float = 0.0, dies_in_answer: int = 0, most_calls: int = 1_000
    ) -> None:
        self.extra_ms = extra_ms
        self.most_calls = most_calls
        """At a time; others are refused."""
        self.calls = 0
        self.dies_in_answer = dies_in_answer
        """Its number, from 1; 0: in none."""
        self.sockets: list[ServerConnection] = []
        self.ids = itertools.count()
        self.answers = 0
        self.truncations: list[int] = []
        self.close_codes: list[int | None] = []
        self.keys: set[str] = set()
        self.silences_ms: set[int | None] = set()

    def admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/api/bench/known-delays":
            known = {"endpoint_ms": ENDPOINT_MS, "llm_first_token_ms": THINKING_MS}
            return connection.respond(HTTPStatus.OK, json.dumps(known))
        self.keys.add(request.headers.get("Authorization", ""))
        if not request.path.startswith("/v1/realtime"):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "no")
        if request.path.startswith("/metrics"):
            return connection.respond(HTTPStatus.NOT_FOUND, "no")
        if self.calls >= self.most_calls:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full")
        return None

    async def serve_call(self, socket: ServerConnection) -> None:
        async def send(kind: str, **fields: Any) -> None:
            await socket.send(json.dumps({"type": kind, **fields}))

        self.sockets.append(socket)
        self.calls += 1
        with contextlib.suppress(ConnectionClosed, ExceptionGroup):
            await self.converse(socket, send)
        self.calls -= 1
        self.close_codes.append(None if socket.close_code == 1006 else socket.close_code)

    async def converse(self, socket: ServerConnection, send: Any) -> None:
        async with asyncio.TaskGroup() as group:
            await send("session.created", session={})
            speaking, quiet_ms, item, reply = False, 0, "", None
            async for text in socket:
                event = json.loads(text)
                if event["type"] == "session.update" and "include" in event["session"]:
                    refusal = {"message": "unknown include", "event_id": event["event_id"]}
                    await send("error", error=refusal)
                elif event["type"] == "session.update":
                    asked = event["session"]["audio"]["input"]["turn_detection"]
                    self.silences_ms.add(asked.get("silence_duration_ms"))
                    detection = {"type": "server_vad", "silence_duration_ms": ENDPOINT_MS}
                    session = {"audio": {"input": {"turn_detection": detection}}}
                    await send("session.updated", session=session)
                elif event["type"] == "conversation.item.truncate":
                    self.truncations.append(event["audio_end_ms"])
                elif _is_loud(event["audio"]):
                    quiet_ms = 0
                    if not speaking:
                        speaking, item = True, f"item_{next(self.ids)}"
                        await send("input_audio_buffer.speech_started", item_id=item)
                        if reply is not None:
                            reply.cancel()
                elif speaking:
                    quiet_ms += 20
                    if quiet_ms >= ENDPOINT_MS:
                        speaking = False
                        name = "conversation.item.input_audio_transcription"
                        await send(f"{name}.delta", item_id=item, delta="hello")
                        await send(f"{name}.completed", item_id=item, transcript="hello")
                        reply = group.create_task(self.reply(send, f"resp_{next(self.ids)}"))
            if reply is not None:
                reply.cancel()

    async def reply(self, send: Any, name: str) -> None:
        loop = asyncio.get_running_loop()
        status = "completed"
        self.answers += 1
        if self.answers == self.dies_in_answer:
            for socket in self.sockets:
                socket.transport.abort()
        await asyncio.sleep((THINKING_MS + self.extra_ms) / 1000)
        await send("response.created", response={"id": name, "status": "in_progress"})
        begun_at = loop.time()
        try:
            for frame in range(30):
                await asyncio.sleep(begun_at + frame * 0.04 - 0.2 - loop.time())
                await send(
                    "response.output_audio.delta", response_id=name, item_id=f"A{name}", delta=TONE
                )
        except asyncio.CancelledError:
            status = "cancelled"
        await send("response.done", response={"id": name, "status": status})


def _is_loud(audio: str) -> bool:
    samples = np.frombuffer(base64.b64decode(audio), "<i2").astype(float)
    return bool(np.sqrt((samples**2).mean()) > 300)


@contextlib.asynccontextmanager
async def serving(server: ScriptedServer) -> AsyncGenerator[str, None]:
    listening = serve(
        server.serve_call,
        "127.0.0.1",
        0,
        process_request=server.admit,
        compression=None,
    )
    async with listening as sockets:
        port = next(iter(sockets.sockets)).getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1/realtime"


def said(folder: Path) -> Path:
    """0.8 s of tone."""
    tone = (8_000 * np.sin(np.arange(19_200) / 5)).astype("<i2")
    return wav_files.write(folder / "said.wav", tone.tobytes(), 24_000)


def test_a_run_measures_what_a_scripted_server_does(tmp_path: Path) -> None:
    server = ScriptedServer(extra_ms=100.0)
    wav = said(tmp_path)
    seen: list[Progress] = []

    async def go() -> BenchReport:
        async with serving(server) as url:
            config = BenchConfig(
                url=url,
                api_key="s3cret",
                wav=str(wav),
                callers=(2,),
                turns=2,
                warmup_turns=0,
                barge_in_every=2,
                barge_in_after_ms=200,
                gap_ms=400,
                ramp_s=0.1,
                processes=2,
                server_pid=os.getpid(),
                json_path=str(tmp_path / "bench.json"),
                html_path=str(tmp_path / "bench.html"),
                date="2026-01-01",
            )
            return await measure(config, seen.append)

    report = asyncio.run(go())
    (step,) = report.steps
    assert [turn.outcome for turn in step.turns] == [Outcome.CUT, Outcome.COMPLETED] * 2
    assert (step.counts.lost, step.counts.failed, step.counts.errors) == (0, 0, 0)
    assert step.counts.late_audio == step.counts.false_cuts == step.counts.extra_responses == 0

    # A busy machine adds to every figure and takes from none.
    assert report.known == KnownDelays(endpoint_ms=ENDPOINT_MS, llm_first_token_ms=THINKING_MS)
    assert step.figures["added_ms"].p50 >= 99
    final, wait = step.figures["final_ms"], step.figures["final_wait_ms"]
    assert final.p50 >= ENDPOINT_MS - 1
    assert wait.p50 == pytest.approx(final.p50 - ENDPOINT_MS)
    assert step.figures["partial_ms"].p50 >= 800 + ENDPOINT_MS - 25
    assert all(0 <= ms < 1_000 for ms in _values(report, "speech_started_ms"))
    assert len(_values(report, "barge_in_stop_ms")) == 2
    assert all(0 < ms < 1_000 for ms in _values(report, "barge_in_quiet_ms"))
    assert len(server.truncations) == 2
    assert all(0 < ms < 1_200 for ms in server.truncations)

    assert step.lag_ms.count > 2 * 50 * 3
    assert step.server is not None
    assert step.server.cpu_cores > 0
    assert seen[-1] == Progress(0, 1, 2, 4, 4)
    assert server.keys == {"Bearer s3cret"}
    assert server.silences_ms == {ENDPOINT_MS}, "known delays hold for the silence they name"
    assert server.close_codes == [1000, 1000, 1000]  # The first one weighs nothing.
    assert "s3cret" not in (tmp_path / "bench.json").read_text()
    assert "s3cret" not in (tmp_path / "bench.html").read_text()
    written = (tmp_path / "bench.json").read_bytes()
    assert msgspec.json.decode(written, type=BenchReport) == report


def _values(report: BenchReport, name: str) -> list[float]:
    values = [getattr(turn, name) for step in report.steps for turn in step.turns]
    return [value for value in values if value is not None]


def test_no_server_is_an_error_that_says_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/v1/realtime"
        with pytest.raises(BenchError, match="is the server running there"):
            asyncio.run(measure(BenchConfig(url=url, known=KnownDelays())))


def test_a_server_that_dies_in_mid_run_is_an_error_that_says_so() -> None:
    async def go() -> None:
        async with serving(ScriptedServer(dies_in_answer=4)) as url:
            config = BenchConfig(
                url=url,
                callers=(2,),
                turns=3,
                warmup_turns=0,
                barge_in_every=0,
                gap_ms=100,
                ramp_s=0.1,
                known=KnownDelays(),
            )
            await measure(config)

    with pytest.raises(BenchError, match=r"ended every call, after [123] of 6 turns.*its log"):
        asyncio.run(go())


def test_a_server_that_cannot_start_is_told_with_its_last_words() -> None:
    with pytest.raises(BenchError, match=r"(?s)last words:.*there is no 'moon'"):
        asyncio.run(measure(BenchConfig(spawn=True, profile="moon")))


def weight(memory_mib: float, at: float = 0.0) -> Weight:
    return Weight(at=at, cpu=at / 10, memory=memory_mib * 1024 * 1024, processes=1)


def memory_each(idle: float, closed: float, callers: int, callers_before: int) -> float | None:
    is_most = callers > callers_before
    use = server_use(weight(idle), weight(idle), weight(closed, 1.0), callers, is_most=is_most)
    assert use is not None
    return use.memory_per_session_mb


def test_memory_is_counted_from_the_idle_server_and_only_where_no_earlier_step_hides_it() -> None:
    assert memory_each(100, 150, 25, 1) == 2.0
    assert memory_each(100, 150, 1, 25) is None, "what 25 callers left would be one caller's"
    assert memory_each(100, 150, 25, 25) is None
    assert memory_each(100, 99, 1, 0) is None, "no caller takes less than nothing"


def test_each_server_is_told_its_share_of_its_core_and_what_others_had_of_it() -> None:
    def both(at: float, *cores: Core) -> Weight:
        return Weight(
            at=at, cpu=sum(core.busy for core in cores), memory=1.0, processes=2, cores=cores
        )

    opened = both(10.0, Core(1.0, 0.5), Core(2.0, 0.5))
    closed = both(20.0, Core(10.0, 0.5), Core(7.0, 2.5))
    use = server_use(opened, opened, closed, 100, is_most=True)
    assert use is not None
    assert (use.busy, use.waited) == ((0.9, 0.5), (0.0, 0.2))
    assert use.cpu_cores == pytest.approx(1.4)


def test_who_wanted_a_core_that_others_had_is_seen_to_have_waited() -> None:
    burn = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nwhile True: pass"

    async def go() -> tuple[Core, ...]:
        both = [await asyncio.create_subprocess_exec(sys.executable, "-c", burn) for _ in range(2)]
        await asyncio.sleep(1.0)
        found = weigh_all([one.pid for one in both])
        for one in both:
            one.kill()
            await one.wait()
        assert found is not None
        return found.cores

    assert all(core.waited > 0.1 and core.busy > 0 for core in asyncio.run(go()))


def test_a_refused_key_is_an_error_that_says_so() -> None:
    async def go() -> None:
        async with serving(ScriptedServer()) as url:
            config = BenchConfig(url=url.replace("/v1", "/v2"), known=KnownDelays())
            await measure(config)

    with pytest.raises(BenchError, match="401.*give the server's API key"):
        asyncio.run(go())


def test_a_report_that_cannot_be_written_is_refused_before_the_run() -> None:
    with pytest.raises(BenchError, match="folder does not exist"):
        asyncio.run(measure(BenchConfig(json_path="/nowhere/at/all.json")))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("http://h:1/v1/realtime?model=x", "ws://h:1/v1/realtime?model=x"),
        ("https://h/v1/realtime", "wss://h/v1/realtime"),
        ("wss://h/v1/realtime", "wss://h/v1/realtime"),
    ],
)
def test_addresses_are_taken_in_either_form(given: str, expected: str) -> None:
    assert websocket_url(given) == expected


def test_the_silence_asked_for_replaces_the_servers_own_in_the_known_delays() -> None:
    async def go(silence_ms: int) -> tuple[KnownDelays | None, str]:
        async with serving(ScriptedServer()) as url:
            return await known_delays(BenchConfig(silence_ms=silence_ms), url)

    known, source = asyncio.run(go(320))
    assert known == KnownDelays(endpoint_ms=320, llm_first_token_ms=THINKING_MS)
    assert "320 ms" in source
    assert asyncio.run(go(0))[0] == KnownDelays(
        endpoint_ms=ENDPOINT_MS, llm_first_token_ms=THINKING_MS
    )


def test_a_server_that_knows_no_delays_is_still_measured() -> None:
    async def go() -> tuple[KnownDelays | None, str]:
        async with serving(ScriptedServer()) as url:
            return await known_delays(BenchConfig(), url.replace("127.0.0.1", "localhost.invalid"))

    known, source = asyncio.run(go())
    assert known is None
    assert source.startswith("unknown: ")


def test_an_address_that_is_none_is_refused() -> None:
    for wrong in ("127.0.0.1:8000", "ftp://h/x", "ws:///v1"):
        with pytest.raises(BenchError, match="ws://host:port/v1/realtime"):
            websocket_url(wrong)
    assert http_url("wss://h:2/v1/realtime?model=x", "/ready") == "https://h:2/ready"


def test_server_and_generator_share_no_core() -> None:
    here = os.sched_getaffinity(0)
    (server,), generator = split_cores(())
    assert server.isdisjoint(generator)
    assert server | generator in (here, set())
    with pytest.raises(BenchError, match="server_cores"):
        split_cores((10_000,))


def test_a_process_is_weighed_with_its_children() -> None:
    async def go() -> tuple[int, int]:
        alone = weigh(os.getpid())
        child = await asyncio.create_subprocess_exec("sleep", "30")
        together = weigh(os.getpid())
        child.kill()
        await child.wait()
        assert alone is not None and together is not None
        assert together.memory > 0 and together.cpu > 0
        return alone.processes, together.processes

    alone, together = asyncio.run(go())
    assert together == alone + 1
    assert weigh(2**22 + 1) is None


def test_with_churn_calls_come_and_go_and_what_is_refused_is_counted() -> None:
    server = ScriptedServer(most_calls=9)

    async def go() -> BenchReport:
        async with serving(server) as url:
            config = BenchConfig(
                url=url,
                callers=(6,),
                turns=2,
                warmup_turns=0,
                churn=1.5,
                rude_share=0.5,
                barge_in_share=0.2,
                barge_in_after_ms=100,
                gap_ms=100,
                ramp_s=0.2,
                timeout_s=150,  # so that the plan, which covers it, is a long one
                known=KnownDelays(endpoint_ms=ENDPOINT_MS),
            )
            return await measure(config)

    report = asyncio.run(go())
    (step,) = report.steps
    assert step.calls > 6
    assert step.counts.hung_up > 0
    assert step.counts.lost == step.counts.failed == step.counts.closed == 0
    assert step.counts.planned == len(step.turns)
    assert 1 < step.mean_callers <= 9
    assert all(0 < ms < 5_000 for ms in _values(report, "connect_ms"))
    assert {turn.number for turn in step.turns if turn.connect_ms is not None} <= {1}
    # A rude caller says no goodbye: the server finds a reset, or nothing.
    assert 1000 in server.close_codes and None in server.close_codes
    if step.counts.refused:
        assert "503" in step.refused_texts[0]


def test_who_cuts_into_an_answer_of_the_mock_profile_is_taken_for_no_echo_and_cuts_it() -> None:
    config = BenchConfig(spawn=True, callers=(2,), turns=2, warmup_turns=0, barge_in_every=2)
    (step,) = asyncio.run(measure(config)).steps
    cut = [turn for turn in step.turns if turn.outcome is Outcome.CUT]
    assert (len(cut), step.counts.completed, step.counts.extra_responses) == (2, 2, 0)
    for turn in cut:
        assert turn.barge_in_duck_ms is not None and turn.barge_in_cut_ms is not None
        assert turn.barge_in_duck_ms <= turn.barge_in_cut_ms


def test_a_full_server_refuses_in_a_ramp_and_the_ramp_says_so() -> None:
    async def go() -> BenchReport:
        async with serving(ScriptedServer(most_calls=2)) as url:
            config = BenchConfig(
                url=url,
                callers=(2, 3),
                turns=1,
                warmup_turns=0,
                barge_in_every=0,
                gap_ms=100,
                ramp_s=0.1,
                ramp=True,
                slo="lost=0,refused=0",
                known=KnownDelays(),
            )
            return await measure(config)

    report = asyncio.run(go())
    assert report.ramp is not None
    assert (report.ramp.held, report.ramp.broke) == (2, 3)
    assert report.ramp.why == ("lost 1 > 0", "refused 1 > 0")
    assert report.ramp.is_decided
    assert "503" in report.steps[-1].refused_texts[0]


def test_callers_are_shared_out_over_several_servers() -> None:
    one, other = ScriptedServer(), ScriptedServer()

    async def go() -> BenchReport:
        async with serving(one) as url, serving(other) as second:
            config = BenchConfig(
                url=f"{url}, {second}",
                callers=(4,),
                turns=1,
                warmup_turns=0,
                barge_in_every=0,
                gap_ms=100,
                ramp_s=0.1,
                processes=2,
                known=KnownDelays(),
            )
            return await measure(config)

    report = asyncio.run(go())
    assert report.steps[0].counts.completed == 4
    assert (len(one.sockets), len(other.sockets)) == (2, 2)


def test_the_next_caller_takes_the_server_with_the_fewest() -> None:
    servers = Servers(("a", "b", "c"), worker=1)
    taken = [servers.take() for _ in range(4)]
    assert [url for url, _ in taken] == ["b", "c", "a", "b"]
    taken[2][1]()
    assert servers.take()[0] == "a"


def test_each_server_has_its_own_core_and_the_generator_what_is_left() -> None:
    here = sorted(os.sched_getaffinity(0))
    if len(here) > 1:
        assert split_cores((), 2)[0] == [{here[0]}, {here[1]}]
        assert split_cores((), 2)[1] == (set(here[2:]) or set(here))
    assert split_cores((), len(here) + 1) == ([set()] * (len(here) + 1), set())
    with pytest.raises(BenchError, match="a core for each of 2 servers"):
        split_cores((here[0],), 2)


def test_callers_begin_as_strangers_do_spread_over_the_length_of_a_turn() -> None:
    async def go() -> BenchReport:
        async with serving(ScriptedServer()) as url:
            config = BenchConfig(
                url=url,
                callers=(3,),
                turns=1,
                warmup_turns=0,
                barge_in_every=0,
                gap_ms=400,
                known=KnownDelays(),
            )
            return await measure(config)

    turns = asyncio.run(go()).steps[0].turns
    # A turn is 2 s of speech, 0.3 s until the answer, 1.2 s of it, and the gap.
    first, second, third = sorted(turn.at_s for turn in turns)
    assert second - first > 0.6 and third - second > 0.6


def test_few_and_many_take_turns_in_a_check(tmp_path: Path) -> None:
    async def go() -> dict[str, float]:
        async with serving(ScriptedServer(extra_ms=30)) as url:
            config = BenchConfig(url=url, server_pid=os.getpid(), wav=str(said(tmp_path)))
            plan = Baseline(few=1, many=2, rounds=1)
            rounds = await measure_rounds(plan, config, seen.append)
            assert [(one.few.callers, one.many.callers) for one in rounds] == [(1, 2)]
            return ratios(rounds)

    seen: list[Progress] = []
    found = asyncio.run(go())
    assert found["troubles"] == 0
    assert found["cpu_per_call"] > 0
    assert [(one.step, one.callers) for one in seen if one.turns_over == 0] == [(0, 1), (1, 2)]
