"""How a call comes in: what holds where the server plays the sound, whatever clients set."""

from tests.driving import SILENT, Call, converse
from voice.carrier import Carrier
from voice.settings import AudioFormat, Settings

PLAYED = Carrier(
    name="test",
    listens=AudioFormat(rate=16_000),
    speaks=AudioFormat(type="audio/pcmu"),
    plays=True,
)


def buffer_events(call: Call) -> list[str]:
    return [e.type.rpartition(".")[2] for e in call.sent if e.type.startswith("output_audio_b")]


def test_formats_of_the_carrier_hold_whatever_the_client_sets_and_sees() -> None:
    async def scenario(call: Call) -> None:
        call.update(audio={"input": {"format": {"type": "audio/pcm", "rate": 48_000}}})
        await call.say(1.0)
        await call.hush(4.0)

    call = converse(scenario, carrier=PLAYED)
    assert call.done() == [("completed", "")], "it was heard at 16 kHz"
    assert {frame.form.type for frame in call.frames} == {"audio/pcmu"}
    echoed = call.last("session.updated").event["session"]["audio"]
    assert echoed["input"]["format"]["rate"] == 48_000
    assert echoed["output"]["format"] == {"type": "audio/pcm", "rate": 24_000}


def test_other_carriers_leave_the_settings_alone() -> None:
    chosen = Settings()
    assert Carrier().fixed(chosen) == chosen


def test_the_client_is_told_when_the_sound_begins_and_ends() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(5.0)

    call = converse(scenario, carrier=PLAYED)
    assert buffer_events(call) == ["started", "stopped"]
    response = call.one("response.done").event["response"]
    for kind in ("started", "stopped"):
        assert call.one(f"output_audio_buffer.{kind}").event["response_id"] == response["id"]
    last = call.frames[-1]
    assert call.one("output_audio_buffer.started").at <= call.frames[0].at
    stopped_at = call.one("output_audio_buffer.stopped").at
    assert stopped_at >= last.at + last.ms / 1000, "only when it has been heard"
    assert stopped_at > call.one("response.done").at


def test_an_answer_that_is_spoken_over_is_cleared_and_truncated_for_the_client() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(1.2)
        await call.say(1.0)
        await call.hush(5.0)

    call = converse(scenario, carrier=PLAYED)
    assert buffer_events(call) == ["started", "cleared", "started", "stopped"]
    assert call.done()[0] == ("cancelled", "turn_detected")
    cleared, truncated = (
        call.one("output_audio_buffer.cleared"),
        call.one("conversation.item.truncated"),
    )
    assert call.client.cleared_at == [cleared.at] and truncated.at == cleared.at
    assert truncated.event["audio_end_ms"] == call.sound_ms(1), "held back first, then cut"


def test_what_is_given_ahead_is_the_carriers_to_say() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        await call.hush(4.0)

    call = converse(scenario, carrier=Carrier(lead_ms=100))
    begun = call.frames[0].at
    ahead = [s.frame.at_ms + s.ms - (s.at - begun) * 1000 for s in call.frames]
    assert 60 <= max(ahead) <= 101


def test_the_client_may_clear_the_sound_also_behind_the_end_of_the_response() -> None:
    async def scenario(call: Call) -> None:
        await call.say(1.0)
        while not call.all("response.done"):
            await call.hush(0.02)
        call.tell("output_audio_buffer.clear")
        await call.hush(2.0)

    call = converse(scenario, carrier=PLAYED)
    assert buffer_events(call) == ["started", "cleared"]
    assert call.done() == [("completed", "")] and len(call.client.cleared_at) == 1


def test_the_client_may_not_append_audio_beside_the_track() -> None:
    async def scenario(call: Call) -> None:
        call.tell("input_audio_buffer.append", audio="AAAA")
        call.session.hear(SILENT)

    call = converse(scenario, carrier=PLAYED)
    assert call.errors() == ["invalid_event_for_transport"]


def test_a_client_that_plays_itself_cannot_have_its_sound_cleared() -> None:
    async def scenario(call: Call) -> None:
        call.tell("output_audio_buffer.clear")

    assert converse(scenario).errors() == ["invalid_event_for_transport"]
    assert buffer_events(converse(scenario)) == []
