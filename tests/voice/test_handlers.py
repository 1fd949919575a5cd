"""What a client asks for is refused by the field's name, or done as the operator set it."""

from typing import Any

import msgspec
import pytest

from tests.driving import PLAIN, Call, converse
from voice.config import TurnConfig


@pytest.mark.parametrize(
    ("kind", "fields", "param"),
    [
        ("conversation.item.truncate", {"audio_end_ms": -1}, "audio_end_ms"),
        ("conversation.item.truncate", {"audio_end_ms": 5, "content_index": -1}, "content_index"),
        ("conversation.item.truncate", {"audio_end_ms": 5, "content_index": 1}, "content_index"),
        ("kaiwa.playback.report", {"played_ms": -0.5}, "played_ms"),
    ],
)
def test_a_number_that_cannot_be_is_refused_by_its_name_and_changes_nothing(
    kind: str, fields: dict[str, Any], param: str
) -> None:
    async def scenario(call: Call) -> None:
        call.write("good morning")
        call.tell("response.create")
        await call.hush(1.0)
        call.tell(kind, item_id=call.frames[0].item_id, event_id="mine", **fields)
        await call.hush(4.0)

    call = converse(scenario)
    error = call.one("error").event["error"]
    assert (error["code"], error["param"], error["event_id"]) == ("invalid_value", param, "mine")
    assert error["message"].startswith(param)
    assert call.history()[1] == ("assistant", "You said: good morning.")
    assert call.all("conversation.item.truncated") == []


@pytest.mark.parametrize("voice", ["alloy", "marin", "nobody's voice", {"id": "voice_1"}])
def test_a_voice_that_the_tts_may_not_have_is_taken_and_passed_on(voice: Any) -> None:
    async def scenario(call: Call) -> None:
        call.update(audio={"output": {"voice": voice}})
        call.write("good morning")
        call.tell("response.create")
        await call.hush(4.0)

    call = converse(scenario)
    named = voice["id"] if isinstance(voice, dict) else voice
    echoed = call.last("session.updated").event["session"]["audio"]["output"]["voice"]
    assert (echoed, call.errors(), call.done()) == (named, [], [("completed", "")])


def test_turn_detection_switched_off_and_on_again_waits_as_long_as_the_operator_set() -> None:
    async def scenario(call: Call) -> None:
        call.update(audio={"input": {"turn_detection": None}})
        call.update(audio={"input": {"turn_detection": {"type": "server_vad"}}})
        await call.say(1.0)
        await call.hush(3.0)

    config = msgspec.structs.replace(PLAIN, turn=TurnConfig(silence_ms=900))
    call = converse(scenario, config=config)
    detection = call.last("session.updated").event["session"]["audio"]["input"]["turn_detection"]
    assert detection["silence_duration_ms"] == 900
    assert call.one("input_audio_buffer.committed").at == pytest.approx(1.9)
