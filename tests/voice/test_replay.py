"""A call replayed is the same call, whatever happened in it; under other rules it is not."""

import time
from math import nan
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings

from mocks.clock import now
from mocks.tts import ToneTTS
from mocks.turn import ScriptedTurnModel
from tests.driving import PLAIN, Call
from tests.recorded_calls import Reel, asks_twice, cuts_in, recorded, writes_and_is_called_back
from tests.served import Caller, Hosted, append, eventually, loud, silence
from tests.voice.test_session_life import EagerLife, Life
from voice.config import AgentConfig, Config, SpeculationConfig, TurnConfig
from voice.errors import KaiwaError
from voice.recording import HungUp, Recording, Remembered, SentEvent, SentFrame, parsed, read
from voice.replay import Sent, replay, sent
from voice.reply_facts import Marked


def identical(recording: Recording) -> bool:
    """And not only what went out: each wake is the same, clock and timer included."""
    replayed = replay(recording)
    assert replayed.difference is None
    assert replayed.again.wakes == recording.wakes
    return replayed.again.closed == recording.closed


MANUAL = {"off": True}
CASES = [
    (cuts_in, {}),
    (cuts_in, {"type": "semantic_vad"}),
    (asks_twice, {"interrupt_response": False}),
    (asks_twice, MANUAL),
    (writes_and_is_called_back, {}),
    (writes_and_is_called_back, MANUAL),
]


@pytest.mark.parametrize(("scenario", "detection"), CASES)
def test_a_call_replays_identically(scenario: Any, detection: dict[str, Any]) -> None:
    assert identical(recorded(scenario, detection=detection)[1].recording)


def test_what_the_turn_model_said_is_replayed_without_it() -> None:
    semantic = {"type": "semantic_vad"}
    heard = ScriptedTurnModel(0.02, 0.02)
    call, reel = recorded(asks_twice, detection=semantic, turn=heard)
    assert identical(reel.recording)
    without, _ = recorded(asks_twice, detection=semantic)
    committed = "input_audio_buffer.committed"
    waits = [[sent.at for sent in one.all(committed)] for one in (call, without)]
    assert waits[0][0] > waits[1][0] + 0.2, "it was heard at all"


def test_a_call_that_the_agent_ends_is_ended_in_the_replay_at_the_same_time() -> None:
    agent = AgentConfig(greeting="Hello.", idle_after_s=2.0, max_call_s=8.0)

    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(15.0)

    call, reel = recorded(scenario, config=msgspec.structs.replace(PLAIN, agent=agent))
    assert [code for _, code, _ in call.client.ended] == [1000]
    assert identical(reel.recording)


def test_what_load_left_out_is_left_out_in_the_replay() -> None:
    """Partials, early answers and small frames, for 0.7 s each."""
    config = msgspec.structs.replace(PLAIN, speculation=SpeculationConfig())
    call, reel = recorded(asks_twice, config=config, load_level=lambda: int(now() // 0.7 + 1) % 4)
    assert {frame.ms for frame in call.frames} >= {40, 80}
    assert identical(reel.recording)


def test_an_answer_that_load_kept_from_being_begun_early_is_not_begun_in_the_replay() -> None:
    config = msgspec.structs.replace(PLAIN, speculation=SpeculationConfig())
    call, reel = recorded(asks_twice, config=config, load_level=lambda: 2)
    records = [sent.event for sent in call.all("kaiwa.turn.timeline")]
    assert [record["attempts"] for record in records] == [0, 0]
    assert identical(reel.recording)


def test_the_replay_of_a_replay_is_the_same_file() -> None:
    data = recorded(cuts_in)[1].data
    again = replay(parsed(data)).again
    assert again == parsed(data)


def test_what_was_told_to_the_session_from_outside_is_replayed() -> None:
    async def scenario(call: Call) -> None:
        await call.say(0.5)
        call.session.hear(b"odd")
        call.session.hang_up(1001, "the server is stopping")
        await call.hush(0.2)

    reel = recorded(scenario)[1]
    assert identical(reel.recording)
    assert b"the server is stopping" in reel.data and b"invalid_audio" in reel.data


def test_a_call_that_broke_breaks_again() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.0)
        call.session.post(Marked(turn=1, chars=1, at_ms=nan))
        await call.say(0.5)

    reel = recorded(scenario)[1]
    assert HungUp(1011, "internal error") in [one.out for one in sent(reel.recording)]
    assert identical(reel.recording)


def test_a_call_whose_end_was_not_recorded_replays_as_far_as_it_goes() -> None:
    recording = recorded(cuts_in)[1].recording
    begun = [wake for wake in recording.wakes if wake.at < 2.1]  # in the middle of an answer
    recording = msgspec.structs.replace(recording, wakes=begun, closed=None)
    replayed = replay(recording)
    assert replayed.difference is None
    assert replayed.again.wakes == recording.wakes and replayed.again.closed is None


def test_what_is_remembered_is_compared_too() -> None:
    call, reel = recorded(cuts_in)
    found = [one.out for one in sent(reel.recording) if isinstance(one.out, Remembered)]
    assert [[(m.role, m.content) for m in out.messages] for out in found] == [call.history()]
    assert call.history()[1] == ("assistant", "You —")


def test_times_are_compared_to_the_microsecond() -> None:
    one, other = Sent(1.0, HungUp(1000, "")), Sent(1.000002, HungUp(1000, ""))
    assert one.matches(one, settings_changed=False)
    assert not one.matches(other, settings_changed=False)


# --- other rules ----------------------------------------------------------------------------------


def event(one: Sent | None) -> dict[str, Any]:
    assert one is not None and isinstance(one.out, SentEvent)
    found: dict[str, Any] = msgspec.json.decode(one.out.data)
    return found


def test_a_shorter_silence_is_told_where_the_turn_ends_now() -> None:
    call, reel = recorded(cuts_in)
    difference = replay(reel.recording, [("turn.silence_ms", 300)]).difference
    assert difference is not None
    then, now = difference.then, difference.now
    assert event(then)["type"] == event(now)["type"] == "input_audio_buffer.speech_stopped"
    stopped = call.all("input_audio_buffer.speech_stopped")[0].at
    assert then is not None and then.at == pytest.approx(stopped)
    assert now is not None and now.at == pytest.approx(stopped - 0.2) == difference.at


def test_a_longer_silence_is_waited_for_by_a_timer_that_is_not_on_the_tape() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(0.52)
        call.tell("session.update", session={"type": "realtime"})

    reel = recorded(scenario)[1]
    difference = replay(reel.recording, [("turn.stall_s", 0.01)]).difference
    assert difference is not None and difference.now is not None
    assert difference.now.at == pytest.approx(0.05), "20 ms of audio, 20 ms of nothing"


def test_frames_under_another_lead_differ_in_their_times() -> None:
    reel = recorded(cuts_in, tts=ToneTTS(rtf=0))[1]
    difference = replay(reel.recording, [("playout.lead_ms", 340)]).difference
    assert difference is not None and difference.now is not None
    early = difference.now.out
    assert isinstance(early, SentFrame) and early.at_ms == 280, "one frame more in the first burst"
    frames = [one for one in sent(reel.recording) if isinstance(one.out, SentFrame)]
    assert frames[7].at - difference.now.at == pytest.approx(0.02), "then it came behind it"


def test_settings_that_matter_to_nobody_change_nothing() -> None:
    reel = recorded(cuts_in)[1]
    assert replay(reel.recording, [("turn.silence_ms", 500)]).difference is None
    assert replay(reel.recording, [("turn.max_utterance_s", 59)]).difference is None


def test_less_and_more_than_went_out_are_differences_too() -> None:
    recording = recorded(cuts_in)[1].recording
    assert recording.closed is not None
    last_words = recording.closed.out
    more = msgspec.structs.replace(recording.closed, out=(*last_words, SentEvent(b"{}")))
    difference = replay(msgspec.structs.replace(recording, closed=more)).difference
    assert difference is not None and difference.now is None
    assert difference.then is not None and difference.then.out == SentEvent(b"{}")
    less = msgspec.structs.replace(recording.closed, out=())
    difference = replay(msgspec.structs.replace(recording, closed=less)).difference
    assert difference is not None and difference.then is None
    assert difference.now is not None and difference.now.out == last_words[-1]


def test_a_setting_that_cannot_be_is_named() -> None:
    recording = recorded(cuts_in)[1].recording
    with pytest.raises(KaiwaError, match="--set turn.patience: there is no such setting"):
        replay(recording, [("turn.patience", 3)])
    with pytest.raises(KaiwaError, match="--set turn.silence_ms: must be"):
        replay(recording, [("turn.silence_ms", 1)])


def test_settings_that_are_gone_are_left_out_and_told() -> None:
    recording = recorded(cuts_in)[1].recording
    config = {**recording.start.config}
    config["turn"] = {**config["turn"], "charm": 7}
    start = msgspec.structs.replace(recording.start, config=config)
    replayed = replay(msgspec.structs.replace(recording, start=start))
    assert replayed.unknown_settings == ("turn.charm",)
    assert replayed.difference is None


def test_the_settings_of_the_call_are_those_of_the_replay() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(2.0)

    config = Config(turn=TurnConfig(silence_ms=900))
    call, reel = recorded(scenario, config=config)
    assert call.one("input_audio_buffer.speech_stopped").at == pytest.approx(1.9)
    assert identical(reel.recording)


# --- at random, and in real time ------------------------------------------------------------------


class RecordedLife(Life):
    """Any conversation at all, and then once more."""

    def __init__(self) -> None:
        self.reel = Reel()
        self.tape = self.reel.tape
        super().__init__()

    def teardown(self) -> None:
        super().teardown()
        assert identical(self.reel.recording)


class RecordedEagerLife(EagerLife, RecordedLife):
    """With answers that are begun before they are asked for."""


TestRecordedLife = RecordedLife.TestCase
TestRecordedLife.settings = settings(
    max_examples=25,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


TestRecordedEagerLife = RecordedEagerLife.TestCase
TestRecordedEagerLife.settings = TestRecordedLife.settings


def converse_over(url: str, disturb: Any) -> Caller:
    """Three turns in real time; the caller cuts into the first two answers."""
    with Caller(url) as caller:
        caller.update(include=["kaiwa.turn.timeline", "kaiwa.transcript.partial"])
        for seconds in (0.6, 0.4, 0.5):
            speak(caller, loud(seconds))
            disturb()
            speak(caller, silence(0.4))
            caller.until("response.created")
            caller.until("response.output_audio.delta")
        caller.send("this is no event")
        caller.until("error")
        caller.until("response.done")
        return caller


def speak(caller: Caller, pcm: bytes) -> None:
    """At the pace of speech: 20 ms by 20 ms."""
    begun = time.monotonic()
    for number, start in enumerate(range(0, len(pcm), 960), 1):
        caller.send(append(pcm[start : start + 960]))
        left_s = begun + number * 0.02 - time.monotonic()
        if left_s > 0:
            time.sleep(left_s)


@pytest.mark.real_time
def test_a_call_over_the_real_server_replays_identically(tmp_path: Path, hosting: Any) -> None:
    """With real timers, a loop that is held up now and then, and a real client."""
    hosted: Hosted = hosting(record={"folder": str(tmp_path)})

    def hold_up() -> None:
        for delay_s in (0.0, 0.1, 0.2, 0.3):
            hosted.loop.call_soon_threadsafe(hosted.loop.call_later, delay_s, time.sleep, 0.03)

    caller = converse_over(hosted.url, hold_up)
    (file,) = eventually(lambda: list(tmp_path.iterdir()), "the recording")
    recording = eventually(lambda: complete(file), "its end")
    assert identical(recording)
    out = [one.out for one in sent(recording)]
    told = [msgspec.json.decode(one.data) for one in out if isinstance(one, SentEvent)]
    seen = [one for one in caller.seen if one["type"] != "response.output_audio.delta"]
    heard = [one["event_id"] for one in caller.seen if one not in seen]
    assert told[: len(seen)] == seen, "what the client got is what stands in it"
    frames = [one.event_id for one in out if isinstance(one, SentFrame)]
    assert len(heard) > 10 and frames[: len(heard)] == heard
    late = [wake.clock[0] - wake.due for wake in recording.wakes if wake.due]
    assert max(late) > 0.005, "a timer that came late is on the tape as it was"


def complete(file: Path) -> Recording | None:
    recording = read(file)
    return recording if recording.closed is not None else None
