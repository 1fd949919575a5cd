"""A whole call at random, in virtual time: whatever happens in it, the life-cycle holds."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mocks.clock import VirtualLoop
from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM, Reply
from mocks.retriever import ScriptedRetriever
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from providers.base import Passage, ToolCall
from tests.driving import LOUD, PLAIN, SILENT, Call, check_legal
from voice import wire
from voice.config import SpeculationConfig
from voice.tape import Tape

REPLIES = [
    "Yes.",
    "We are open from nine until eight. On Sundays we are closed, and on holidays too.",
    Reply(text="Let me look.", tool_calls=(ToolCall("call_1", "look", '{"at": "it"}'),)),
    Reply(tool_calls=(ToolCall("call_2", "look", "{}"),)),
    "",
    "***",
    "はい、九時から八時までです。日曜日はお休みです。",
]
KINDS = st.sampled_from(["fail", "stall", "cut", "slow"])
ITEMS = st.sampled_from([-1, 0, 1, 3])

GARBAGE: list[dict[str, Any]] = [
    {"type": "input_audio_buffer.append", "audio": "AAA="},
    {"type": "input_audio_buffer.append", "audio": "not base64!"},
    {"type": "input_audio_buffer.append", "audio": ""},
    {"type": "conversation.item.truncate", "item_id": "nope", "audio_end_ms": -5},
    {"type": "conversation.item.delete", "item_id": "nope"},
    {"type": "conversation.item.retrieve", "item_id": ""},
    {"type": "response.cancel", "response_id": "nope"},
    {"type": "response.create", "response": {"conversation": "sideways"}},
    {"type": "response.create", "response": {"input": [{"type": "item_reference", "id": "x"}]}},
    {"type": "response.create", "response": {"metadata": {"a": 1}}},
    {"type": "session.update", "session": {"audio": {"input": {"format": {"rate": 7}}}}},
    {"type": "session.update", "session": {"output_modalities": ["smell"]}},
    {"type": "session.update", "session": {}},
    {"type": "kaiwa.playback.report", "item_id": "nope", "played_ms": 1e300},
    {"type": "conversation.item.create", "item": {"type": "message"}},
]


class Life(RuleBasedStateMachine):
    """One call; every rule does something and lets time pass."""

    tape: Tape | None = None
    config = PLAIN

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop(limit_s=1e9)
        self.closed = False
        self.sent = 0
        self.reporting = True
        self.call: Call = self.run(self._open())

    async def _open(self) -> Call:
        call = Call(
            stt=EchoSTT(["hello there", "", "what are your opening hours"]),
            llm=EchoLLM(),
            tts=ToneTTS(rtf=0.2),
            retriever=ScriptedRetriever([Passage(text="Nine to eight.", source="hours.md")]),
            tape=self.tape,
            config=self.config,
        )
        call.session.open()
        call.listen_at_16_khz()
        return call

    def run(self, coroutine: Any) -> Any:
        asyncio.set_event_loop(self.loop)
        try:
            return self.loop.run_until_complete(coroutine)
        finally:
            asyncio.set_event_loop(None)

    def act(self, deed: Callable[..., None], *args: Any, **fields: Any) -> None:
        """Done on the loop, as all that reaches a session is."""

        async def done() -> None:
            deed(*args, **fields)

        self.run(done())

    async def _audio(self, frame: bytes, frames: int) -> None:
        for number in range(frames):
            await asyncio.sleep(0.02)
            self.call.session.hear(frame)
            if self.reporting and number % 10 == 0:
                self._report()

    def _report(self) -> None:
        frames = self.call.frames
        if frames:
            mine = [f for f in frames if f.item_id == frames[-1].item_id]
            played_ms = (self.loop.time() - mine[0].at) * 1000
            self.call.report(frames[-1].item_id, min(played_ms, sum(f.ms for f in mine)))

    def _known(self) -> list[str]:
        return [str(item.id) for item in self.call.session.conversation]

    # --- the caller -------------------------------------------------------------------------------

    @rule(frames=st.integers(1, 80))
    def says(self, frames: int) -> None:
        self.run(self._audio(LOUD, frames))

    @rule(frames=st.sampled_from([1, 5, 12, 26, 30, 60, 150]))
    def is_silent(self, frames: int) -> None:
        self.run(self._audio(SILENT, frames))

    @rule(frames=st.integers(1, 20))
    def clicks(self, frames: int) -> None:
        for _ in range(frames):
            self.run(self._audio(LOUD, 1))
            self.run(self._audio(SILENT, 2))

    @rule(words=st.integers(15, 50), pause=st.sampled_from([40, 60, 120, 300]))
    def asks(self, words: int, pause: int) -> None:
        """What calls mostly consist of."""
        self.run(self._audio(LOUD, words))
        self.run(self._audio(SILENT, pause))

    @rule(seconds=st.sampled_from([0.005, 0.1, 1.0, 2.5, 30.0]))
    def sends_nothing(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))

    @rule(reporting=st.booleans())
    def client_reports(self, reporting: bool) -> None:
        self.reporting = reporting

    # --- the client -------------------------------------------------------------------------------

    @rule(event=st.sampled_from(GARBAGE))
    def client_sends_garbage(self, event: dict[str, Any]) -> None:
        self.act(self.call.session.post, wire.decode(json.dumps(event)))

    @rule(
        kind=st.sampled_from(
            [
                "input_audio_buffer.commit",
                "input_audio_buffer.clear",
                "response.create",
                "response.cancel",
            ]
        )
    )
    def client_orders(self, kind: str) -> None:
        self.act(self.call.tell, kind)

    @rule(
        options=st.fixed_dictionaries(
            {},
            optional={
                "conversation": st.sampled_from(["auto", "none"]),
                "output_modalities": st.sampled_from([["text"], ["audio"]]),
                "instructions": st.just("Be brief."),
                "metadata": st.just({"a": "b"}),
                "max_output_tokens": st.sampled_from([1, 5, "inf"]),
            },
        )
    )
    def client_asks_with_options(self, options: dict[str, Any]) -> None:
        self.act(self.call.tell, "response.create", response=options)

    @rule(text=st.sampled_from(["hello", "", "日本語"]), pause=st.sampled_from([0.0, 0.07, 1.0]))
    def client_writes(self, text: str, pause: float) -> None:
        self.act(self.call.write, text)
        self.act(self.call.tell, "response.create")
        self.run(asyncio.sleep(pause))

    @rule(kind=st.sampled_from(["delete", "retrieve", "truncate"]), place=st.integers(0, 99))
    def client_touches_an_item(self, kind: str, place: int) -> None:
        known = self._known()
        if known:
            more = {"audio_end_ms": place * 40} if kind == "truncate" else {}
            item_id = known[-1 - place % len(known)]
            self.act(self.call.tell, f"conversation.item.{kind}", item_id=item_id, **more)

    @rule(call_id=st.sampled_from(["call_1", "call_2", "call_3"]))
    def client_gives_a_result(self, call_id: str) -> None:
        output = {"type": "function_call_output", "call_id": call_id, "output": "fine"}
        self.act(self.call.tell, "conversation.item.create", item=output)

    @rule(
        detection=st.sampled_from(
            [
                None,
                {"type": "server_vad"},
                {"type": "server_vad", "interrupt_response": False},
                {"type": "server_vad", "create_response": False},
                {"type": "server_vad", "silence_duration_ms": 50, "threshold": 0.3},
                {"type": "semantic_vad"},
            ]
        )
    )
    def client_sets_turn_detection(self, detection: dict[str, Any] | None) -> None:
        self.act(self.call.update, audio={"input": {"turn_detection": detection}})

    @rule(
        change=st.sampled_from(
            [
                {"output_modalities": ["text"]},
                {"output_modalities": ["audio"]},
                {"audio": {"output": {"format": {"type": "audio/pcmu"}}}},
                {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 24000}}}},
                {"audio": {"input": {"transcription": {"language": "ja"}}}},
                {"audio": {"input": {"transcription": None}}},
                {"audio": {"input": {"transcription": {"model": "x"}}}},
            ]
        )
    )
    def client_changes_the_session(self, change: dict[str, Any]) -> None:
        self.act(self.call.update, **change)

    # --- the providers ----------------------------------------------------------------------------

    @rule(reply=st.sampled_from(REPLIES))
    def model_will_say(self, reply: str | Reply) -> None:
        self.call.llm.script(reply)

    @rule(
        slot=st.sampled_from(["stt", "llm", "tts", "retriever"]),
        kind=KINDS,
        item=ITEMS,
        request=st.integers(0, 2),
    )
    def provider_will_break(self, slot: str, kind: Any, item: int, request: int) -> None:
        fault = ScriptedFault(kind=kind, item=item, request=request)
        getattr(self.call, slot).faults.set(fault)

    @rule(
        slot=st.sampled_from(["stt", "llm", "tts", "retriever"]),
        kind=KINDS,
        item=ITEMS,
        frames=st.sampled_from([50, 100, 300]),
    )
    def asks_while_a_provider_breaks(self, slot: str, kind: Any, item: int, frames: int) -> None:
        self.provider_will_break(slot, kind, item, 1)
        self.asks(25, frames)

    @rule()
    def providers_are_mended(self) -> None:
        for slot in ("stt", "llm", "tts", "retriever"):
            getattr(self.call, slot).faults.set()

    # --- the end ----------------------------------------------------------------------------------

    @precondition(lambda self: not self.closed and len(self.call.client.log) > 150)
    @rule()
    def client_leaves(self) -> None:
        self._close()

    def _close(self) -> None:
        async def twice() -> float:
            began = self.loop.time()
            await asyncio.gather(self.call.session.close(), self.call.session.close())
            await self.call.session.close()
            return self.loop.time() - began

        assert self.run(twice()) <= 2.0
        self.closed = True
        self.sent = len(self.call.client.log)

    @invariant()
    def nobody_works_for_an_answer_that_is_over(self) -> None:
        for _ in range(5):  # a cancelled task's streams close within a few turns of the loop
            self.run(asyncio.sleep(0))
        answers = self.call.session._answers
        if answers.current is None and not answers.foresight._policy.trying:
            ahead = {"retriever"} if self.config.speculation.enabled else set()
            assert set(self.call.streams()) <= {"stt"} | ahead
        assert max(self.call.llm.running, self.call.tts.running) <= 1

    @invariant()
    def nothing_broke(self) -> None:
        assert self.call.client.ended == []
        if self.closed:
            assert self.call.streams() == {}
            assert len(self.call.client.log) == self.sent, "nothing is said behind the end"

    @invariant()
    def a_refusal_is_the_clients_doing(self) -> None:
        assert "internal_error" not in [code for _, code in self.call.done()]

    def teardown(self) -> None:
        call = self.call
        for ending in call.done():
            event(f"a response {' '.join(ending).strip()}")
        try:
            if not self.closed:
                self._settles()
                self._close()
            assert call.streams() == {}
            assert call.closings == 1
            check_legal(call)
            self._every_turn_has_one_record()
            left = [task for task in asyncio.all_tasks(self.loop) if not task.done()]
            assert left == []
            assert self.loop.callback_errors == []
        finally:
            self.loop.close()

    def _settles(self) -> None:
        """Left alone, every turn ends: by an answer, an apology or a limit."""
        self.providers_are_mended()
        self.run(asyncio.sleep(90.0))
        session = self.call.session
        assert not session.busy or not session._turns.rules.automatic
        assert self.call.llm.running == 0 and self.call.tts.running == 0
        assert len(session._floor.utterances._items) <= 2, "one open, one that may yet be asked for"
        opened = len(self.call.all("response.created"))
        assert opened == len(self.call.all("response.done"))

    def _every_turn_has_one_record(self) -> None:
        session = self.call.session
        assert session._floor.record._open == {}
        told = [entry.event["turn"] for entry in self.call.all("kaiwa.turn.timeline")]
        assert len(told) == len(set(told))
        answered = {e.event["response"]["kaiwa"]["turn"] for e in self.call.all("response.created")}
        assert answered <= set(told)
        assert self.call.figures.turns == session._turns._questions._turns


class EagerLife(Life):
    """Answers are begun before they are asked for."""

    config = msgspec.structs.replace(PLAIN, speculation=SpeculationConfig())


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestEagerLife = EagerLife.TestCase
TestEagerLife.settings = TestLife.settings
