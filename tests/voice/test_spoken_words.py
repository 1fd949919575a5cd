"""Whole calls whose silences are as long as the words ask for."""

from typing import Any

import pytest

from mocks.stt import EchoSTT
from mocks.turn import ScriptedTurnModel
from tests.driving import RATE_HZ, Call, converse
from voice.endpointing import Delays
from voice.metrics import TURN_OPINIONS
from voice.spoken_words import SpokenWords

COMMITTED = "input_audio_buffer.committed"


def waited_ms(
    text: str,
    *,
    final_delay_ms: float = 20.0,
    turn: ScriptedTurnModel | None = None,
    load_level: int = 0,
    **detection: Any,
) -> float:
    """From the last sound of an utterance to its commit."""

    async def scenario(call: Call) -> None:
        await call.say(2.0)
        await call.hush(5.0)

    stt = EchoSTT([text], word_ms=200, final_delay_ms=final_delay_ms)
    call = converse(
        scenario,
        stt=stt,
        turn=turn,
        load_level=lambda: load_level,
        detection={"type": "semantic_vad", **detection},
    )
    return (call.one(COMMITTED).at - 2.0) * 1000


@pytest.mark.parametrize(
    ("whole", "open_", "language"),
    [
        ("what time do you close", "i'd like to book a table for", "en"),
        ("営業時間は何時までですか", "予約したいんですけど", "ja"),
        ("몇 시에 문을 닫나요", "예약을 하고 싶은데", "ko"),
        ("你们几点关门", "我想订一张桌子因为", "zh"),
    ],
)
def test_a_whole_sentence_is_waited_for_less_than_one_in_the_air(
    whole: str, open_: str, language: str
) -> None:
    assert waited_ms(whole) <= 500
    assert waited_ms(open_) >= waited_ms(whole) + 300


def test_eagerness_shortens_it_all() -> None:
    text = "i'd like to book a table for"
    waits = [waited_ms(text, eagerness=name) for name in ("low", "auto", "high")]
    assert waits == sorted(waits, reverse=True) and len(set(waits)) == 3


def test_a_short_answer_ends_at_the_least() -> None:
    assert waited_ms("yes", eagerness="high") <= 260
    assert waited_ms("yes") <= 360


def test_a_pause_inside_an_open_sentence_makes_no_second_turn() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.5)
        await call.hush(0.8)
        await call.say(1.0)
        await call.hush(9.0)

    stt = EchoSTT(["i'd like to book a table for", "two people tonight"], word_ms=150)
    call = converse(scenario, stt=stt, detection={"type": "semantic_vad"})
    assert call.outcomes() == ["completed"]
    assert call.history()[0] == ("user", "i'd like to book a table for two people tonight")


def test_with_server_vad_the_words_move_nothing() -> None:
    for text in ("what time do you close", "i'd like to book a table for"):
        waits = waited_ms(text, type="server_vad", silence_duration_ms=700)
        assert waits == pytest.approx(700, abs=25)


def test_the_final_is_there_when_the_least_silence_ends() -> None:
    prompt = waited_ms("what time do you close", final_delay_ms=20)
    slower = waited_ms("what time do you close", final_delay_ms=100)
    assert prompt == slower


def test_the_language_and_the_bounds_are_those_of_now() -> None:
    language = "en"
    words = SpokenWords(lambda: language, Delays(300, 1500))
    assert words.is_backchannel("mm-hm") and not words.is_backchannel("no wait")
    language = "ja"
    assert words.is_backchannel("うん")
    words.set_delays(Delays(700, 700))
    assert words.delay_ms("それで", is_final=False) == 700


def test_a_stop_is_a_call_unless_the_agent_says_it() -> None:
    english = SpokenWords(lambda: "en", Delays(300, 1500))
    japanese = SpokenWords(lambda: "ja", Delays(300, 1500))
    assert english.calls_for_floor("no wait", "we are open from nine")
    assert not english.calls_for_floor("wait", "please wait a moment")
    assert not english.calls_for_floor("and where", "we are open")
    assert japanese.calls_for_floor("待って", "平日は九時からです")
    assert not japanese.calls_for_floor("待って", "少し待ってください")


def test_a_caller_who_pauses_long_is_given_longer() -> None:
    words = SpokenWords(lambda: "en", Delays(300, 1500))
    before = words.delay_ms("i'd like to book a table for", is_final=True)
    for _ in range(20):
        words.went_on(900)
    after = words.delay_ms("i'd like to book a table for", is_final=True)
    assert after > before
    sooner = SpokenWords(lambda: "en", Delays(300, 1500))
    for _ in range(3):
        sooner.was_cut_short(1200)
    assert sooner.delay_ms("we open at nine", is_final=True) > words.delay_ms(
        "we open at nine", is_final=True
    )


# --- a turn model ---------------------------------------------------------------------------------

UNCLEAR = "i'd like a table"


def test_what_sounds_complete_is_waited_for_less_and_what_does_not_for_longer() -> None:
    worded_ms = waited_ms(UNCLEAR)
    assert waited_ms(UNCLEAR, turn=ScriptedTurnModel(0.99)) < worded_ms - 60
    assert waited_ms(UNCLEAR, turn=ScriptedTurnModel(0.01)) > worded_ms + 200
    assert waited_ms(UNCLEAR, turn=ScriptedTurnModel()) == worded_ms, "it never answered"


def test_no_sound_makes_an_open_sentence_a_whole_one() -> None:
    open_ms = waited_ms("i'd like to book a table for", turn=ScriptedTurnModel(1.0))
    assert open_ms > waited_ms("what time do you close") + 400


def test_an_opinion_that_comes_behind_the_end_of_the_turn_is_counted_as_late() -> None:
    def late() -> float:
        return float(TURN_OPINIONS.labels("late")._value.get())

    before, worded_ms = late(), waited_ms("what time do you close")
    slow = ScriptedTurnModel(0.01, delay_ms=400)
    assert waited_ms("what time do you close", turn=slow) == worded_ms and late() == before + 1


def test_it_hears_the_utterance_from_before_its_first_sound_to_the_silence_behind_it() -> None:
    model = ScriptedTurnModel(0.9)
    waited_ms(UNCLEAR, turn=model)
    (pcm,) = model.heard
    assert len(pcm) / 2 / RATE_HZ == pytest.approx(2.18, abs=0.04)
    assert pcm[-2 * RATE_HZ // 10 :].count(0) == 2 * RATE_HZ // 10, "100 ms of it are silent"


@pytest.mark.parametrize(
    ("text", "load_level", "detection"),
    [
        ("yes", 0, {}),
        (UNCLEAR, 2, {}),
        (UNCLEAR, 0, {"type": "server_vad", "silence_duration_ms": 500}),
    ],
)
def test_it_is_not_asked_about_short_answers_nor_under_load_nor_where_silence_is_set(
    text: str, load_level: int, detection: dict[str, Any]
) -> None:
    model = ScriptedTurnModel(0.01)
    waited = waited_ms(text, turn=model, load_level=load_level, **detection)
    assert model.heard == [] and waited == waited_ms(text, **detection)
