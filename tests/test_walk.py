"""Microphone bytes to speaker bytes, in virtual time: what comes when, exactly."""

import asyncio
from itertools import pairwise

import msgspec
import pytest

from mocks.llm import EchoLLM, tokens
from mocks.retriever import ScriptedRetriever
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from providers.base import Passage
from tests.driving import LOUD, PLAIN, Call, converse, spoken
from voice.config import AgentConfig

QUESTION = "what are your opening hours"
ANSWER = "We are open from nine until eight. On Sundays we are closed, and on holidays too."
HOURS = Passage(text="We are open from nine until eight.", source="hours.md", score=0.7)

SPEECH_S, SILENCE_S = 1.0, 0.5
RETRIEVAL_S, FIRST_TOKEN_S, TOKEN_S, FIRST_AUDIO_S = 0.005, 0.05, 0.01, 0.03
ENDPOINT = SPEECH_S + SILENCE_S
FIRST_CLAUSE = len(tokens("We are open from nine until eight.")) - 1
"""Tokens behind the first one until the clause is complete."""
SOUND = ENDPOINT + RETRIEVAL_S + FIRST_TOKEN_S + FIRST_CLAUSE * TOKEN_S + FIRST_AUDIO_S


async def _one_turn(call: Call) -> None:
    await call.say(SPEECH_S)
    await call.hush(8.0)


@pytest.fixture(scope="module")
def walk() -> Call:
    return converse(_one_turn, llm=EchoLLM([ANSWER]), retriever=ScriptedRetriever([HOURS]))


def test_the_events_come_in_the_order_of_the_protocol(walk: Call) -> None:
    kinds = [line.split(" ", 1)[1] for line in walk.story(leave_out=r"session\.|.*\.delta|kaiwa")]
    assert kinds[:11] == [
        "input_audio_buffer.speech_started 0 ms",
        "input_audio_buffer.speech_stopped 1480 ms",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"conversation.item.input_audio_transcription.completed '{QUESTION}'",
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        kinds[10],
    ]
    assert "sound" in kinds[10]
    assert kinds[11:] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done completed",
    ]
    shown = [entry.type for entry in walk.sent]
    assert shown[:2] == ["session.created", "session.updated"]
    assert shown[-1] == "kaiwa.turn.timeline"
    assert shown.index("kaiwa.turn.sources") < shown.index("response.output_item.added")


def test_every_event_comes_exactly_when_it_must(walk: Call) -> None:
    assert walk.one("input_audio_buffer.speech_started").at == pytest.approx(0.04)
    assert walk.all("kaiwa.transcript.partial")[0].at == pytest.approx(0.32)
    assert walk.one("input_audio_buffer.committed").at == pytest.approx(ENDPOINT)
    assert walk.one("response.created").at == pytest.approx(ENDPOINT)
    assert walk.one("kaiwa.turn.sources").at == pytest.approx(ENDPOINT + RETRIEVAL_S)
    assert walk.frames[0].at == pytest.approx(SOUND)


def test_frames_never_run_further_ahead_than_the_lead_and_never_dry(walk: Call) -> None:
    lead_ms, frame_ms = walk.config.playout.lead_ms, walk.config.playout.frame_ms
    sent_ms = 0.0
    for frame in walk.frames:
        heard_ms = (frame.at - SOUND) * 1000
        assert heard_ms <= sent_ms + 1e-6, "the caller heard a gap"
        assert frame.frame.at_ms == round(sent_ms)
        sent_ms += frame.ms
        assert sent_ms - heard_ms <= lead_ms + frame_ms + 1e-6
    assert all(before.at <= after.at for before, after in pairwise(walk.frames))
    assert walk.one("response.done").at == pytest.approx(walk.frames[-1].at)


def test_the_answer_is_sounded_whole_no_gap_and_nothing_twice(walk: Call) -> None:
    assert "".join(walk.tts.texts) == ANSWER
    assert walk.sound() == asyncio.run(spoken(walk.tts, *walk.tts.texts))
    said = "".join(e.event["delta"] for e in walk.all("response.output_audio_transcript.delta"))
    assert said == walk.one("response.output_audio_transcript.done").event["transcript"] == ANSWER
    assert walk.history() == [("user", QUESTION), ("assistant", ANSWER)]


def test_the_words_shown_while_spoken_add_up_to_the_transcript(walk: Call) -> None:
    kind = "conversation.item.input_audio_transcription"
    assert "".join(entry.event["delta"] for entry in walk.all(f"{kind}.delta")) == QUESTION
    partials = [entry.event["text"] for entry in walk.all("kaiwa.transcript.partial")]
    assert partials == ["what", "what are", "what are your"]


def test_the_timeline_sums_to_the_total_and_names_each_delay(walk: Call) -> None:
    record = walk.one("kaiwa.turn.timeline").event
    spans = {span["name"]: span["ms"] for span in record["spans"]}
    assert spans == {
        "endpoint": SILENCE_S * 1000,
        "final": 0.0,
        "retrieval": RETRIEVAL_S * 1000,
        "llm_first_token": FIRST_TOKEN_S * 1000,
        "first_clause": FIRST_CLAUSE * TOKEN_S * 1000,
        "tts_first_audio": FIRST_AUDIO_S * 1000,
        "tts_start": 0.0,
    }
    assert sum(spans.values()) == record["total_ms"] == record["tts_start_ms"]
    assert record["total_ms"] == pytest.approx((SOUND - SPEECH_S) * 1000)
    assert record["outcome"] == "completed" and record["cut_in_ms"] is None
    assert record["item_id"] == walk.one("input_audio_buffer.committed").event["item_id"]
    assert record["response_id"] == walk.one("response.done").event["response"]["id"]


def test_the_turn_ends_when_the_caller_has_heard_it(walk: Call) -> None:
    assert walk.one("kaiwa.turn.timeline").at == pytest.approx(SOUND + walk.sound_ms() / 1000)


def test_marks_lie_where_the_words_do(walk: Call) -> None:
    marks = [mark for e in walk.all("kaiwa.speech.marks") for mark in e.event["marks"]]
    assert marks == sorted(marks)
    assert marks[-1] == [len(ANSWER), round(len(ANSWER) * walk.tts.ms_per_char)]
    for chars, ms in marks:
        assert ms == pytest.approx(chars * walk.tts.ms_per_char, abs=1)


def test_playback_reports_become_the_heard_span() -> None:
    async def scenario(call: Call) -> None:
        await call.say(SPEECH_S)
        await call.hush_until(ENDPOINT + 0.5)
        assert call.frames
        item_id = call.frames[0].item_id
        call.report(item_id, 0)
        await call.hush_until(ENDPOINT + 0.54)
        call.report(item_id, 80)
        await call.hush(6.0)

    call = converse(scenario)
    record = call.one("kaiwa.turn.timeline").event
    heard = {span["name"]: span["ms"] for span in record["spans"]}["heard"]
    assert heard == pytest.approx((ENDPOINT + 0.54 - call.frames[0].at) * 1000, abs=0.1)
    assert sum(span["ms"] for span in record["spans"]) == record["total_ms"]
    assert record["tts_start_ms"] == pytest.approx(record["total_ms"] - heard)


def test_a_late_final_is_charged_to_the_recogniser() -> None:
    call = converse(_one_turn, stt=EchoSTT(final_delay_ms=700))
    record = call.one("kaiwa.turn.timeline").event
    spans = {span["name"]: span["ms"] for span in record["spans"]}
    # The final was asked for 200 ms into the silence, when VAD was sure of that: on a chunk's end.
    assert 1.2 + 0.7 <= 1.0 + record["final_ms"] / 1000 < 1.232 + 0.7
    assert spans["endpoint"] == 500.0
    assert spans["final"] == record["final_ms"] - 500.0


@pytest.mark.parametrize("rate", [8000, 16_000, 24_000, 48_000])
def test_what_rate_the_caller_sends_at_moves_nothing_by_more_than_a_frame(rate: int) -> None:
    async def scenario(call: Call) -> None:
        call.update(audio={"input": {"format": {"type": "audio/pcm", "rate": rate}}})
        loud = (b"\xa8\x1c" * (rate // 1000) + b"\x58\xe3" * (rate // 1000)) * 10
        for frame in [loud] * 50 + [bytes(rate // 50 * 2)] * 150:
            await asyncio.sleep(0.02)
            call.session.hear(frame)

    call = converse(scenario)
    assert call.one("input_audio_buffer.committed").at == pytest.approx(ENDPOINT, abs=0.02)
    assert call.done() == [("completed", "")]


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_a_telephone_gets_the_answer_at_its_own_rate(kind: str) -> None:
    async def scenario(call: Call) -> None:
        form = {"type": kind}
        call.update(audio={"input": {"format": form}, "output": {"format": form}})
        call.write("hello")
        call.tell("response.create")
        await asyncio.sleep(4.0)

    call = converse(scenario)
    assert {sent.form.type for sent in call.frames} == {kind}
    assert call.sound_ms() == pytest.approx(len("You said: hello.") * 65, abs=2)


def test_a_burst_of_late_audio_neither_ends_nor_stretches_a_turn() -> None:
    """300 ms of packets come late and all at once, in mid-word."""

    async def scenario(call: Call) -> None:
        await call.say(0.4)
        await asyncio.sleep(0.3)
        for _ in range(15):
            call.session.hear(LOUD)
        await call.say(0.3)
        await call.hush(5.0)

    call = converse(scenario)
    assert call.one("input_audio_buffer.committed").at == pytest.approx(1.5, abs=0.001)
    assert call.done() == [("completed", "")]


def test_silence_alone_makes_no_turn_and_wakes_nobody() -> None:
    async def scenario(call: Call) -> None:
        await call.hush(60.0)

    call = converse(scenario)
    assert [entry.type for entry in call.sent] == ["session.created", "session.updated"]


def test_a_long_answer_waits_in_store_instead_of_being_made_at_once() -> None:
    async def scenario(call: Call) -> None:
        call.write("tell me all")
        call.tell("response.create")
        await call.hush(5.0)
        assert call.session._answers.current is not None  # noqa: SLF001
        assert call.session._answers.current.playout.queued_ms < 11_000
        await call.hush(40.0)

    answer = " ".join(f"This is sentence number {n} of a rather long story." for n in range(12))
    call = converse(scenario, llm=EchoLLM([answer]))
    assert call.done() == [("completed", "")]
    assert call.sound() == asyncio.run(spoken(call.tts, *call.tts.texts))
    assert "".join(call.tts.texts) == answer


def test_an_answer_is_no_longer_than_the_operator_allows() -> None:
    config = msgspec.structs.replace(PLAIN, agent=AgentConfig(max_reply_s=5.0))
    answer = " ".join(f"This is sentence number {n} of a rather long story." for n in range(30))

    async def scenario(call: Call) -> None:
        call.write("tell me all")
        call.tell("response.create")
        await call.hush(30.0)

    call = converse(scenario, llm=EchoLLM([answer]), config=config, tts=ToneTTS())
    assert call.done() == [("incomplete", "max_output_tokens")]
    assert 5000 <= call.sound_ms() < 5000 + 220 * 65
