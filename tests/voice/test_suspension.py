"""The far end has gone, and perhaps comes back: what stops, and what stands."""

from mocks.llm import EchoLLM
from mocks.stt import EchoSTT
from tests.driving import PLAIN, Call, converse, pass_time
from voice.config import AgentConfig, Config
from voice.facts import Resumed, Suspended

LONG = "This is an answer of some length, and it goes on for a good while. " * 3


def test_an_answer_that_nobody_hears_is_cut_and_what_was_heard_stands() -> None:
    async def story(call: Call) -> None:
        await call.say(0.6)
        await call.hush(2.0)
        call.session.post(Suspended())
        assert not call.session.busy
        heard = call.sound_ms()
        await pass_time(0.1)
        assert not {"llm", "tts"} & call.streams().keys()
        await pass_time(5.0)
        assert call.sound_ms() == heard

    call = converse(story, llm=EchoLLM([LONG]))
    assert call.done() == [("cancelled", "client_cancelled")]
    said = call.history()[-1]
    assert said[0] == "assistant" and 0 < len(said[1]) < len(LONG)


def test_a_sentence_that_was_not_finished_is_forgotten() -> None:
    async def story(call: Call) -> None:
        await call.say(0.6)
        assert call.session.busy
        call.session.post(Suspended())
        assert not call.session.busy
        await pass_time(5.0)

    call = converse(story)
    assert call.outcomes() == ["cancelled"]
    assert call.all("response.created") == []


def test_an_answer_that_waits_for_its_words_is_not_begun() -> None:
    async def story(call: Call) -> None:
        await call.say(0.6)
        await call.hush(0.6)
        assert call.session.busy
        call.session.post(Suspended())
        await pass_time(5.0)
        assert not call.session.busy

    call = converse(story, stt=EchoSTT(final_delay_ms=1000))
    assert call.all("response.output_audio.done") == []


def test_who_comes_back_goes_on_where_they_were() -> None:
    async def story(call: Call) -> None:
        call.session.post(Suspended())
        await pass_time(20.0)
        call.session.post(Resumed())
        await call.say(0.6)
        await call.hush(4.0)

    call = converse(story)
    assert call.outcomes() == ["completed"]


def test_nobody_is_asked_whether_they_are_still_there_who_is_not() -> None:
    config = Config(
        agent=AgentConfig(idle_after_s=5.0), tts=PLAIN.tts, speculation=PLAIN.speculation
    )

    async def story(call: Call) -> None:
        await call.say(0.6)
        await call.hush(2.0)
        before = len(call.all("response.created"))
        call.session.post(Suspended())
        await pass_time(60.0)
        assert len(call.all("response.created")) == before
        call.session.post(Resumed())
        await call.hush(8.0)
        assert len(call.all("response.created")) > before

    converse(story, config=config)
