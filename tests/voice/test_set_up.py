"""Settings that a call comes with: they hold before the client is told anything."""

import asyncio
from typing import Any

from mocks.llm import EchoLLM
from tests.driving import Call, converse
from tests.recorded_calls import recorded
from voice.replay import replay

KEY = "sk-of-the-clients-own-tools-server"
SETTINGS: dict[str, Any] = {
    "type": "realtime",
    "instructions": "Speak slowly.",
    "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}, "output": {"speed": 1.2}},
    "tools": [{"type": "mcp", "server_label": "x", "authorization": KEY}],
}


async def talks(call: Call) -> None:
    await call.say(1.0)
    await call.hush(3.0)


def test_the_first_event_tells_them() -> None:
    call = converse(talks, settings=SETTINGS)
    first = call.sent[0]
    assert first.type == "session.created"
    session = first.event["session"]
    assert session["instructions"] == "Speak slowly."
    assert session["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"
    assert session["audio"]["output"]["speed"] == 1.2
    assert session["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert call.errors() == []


def test_the_model_is_told_by_them_and_no_update_is_confirmed() -> None:
    llm = EchoLLM()
    call = converse(talks, settings={"instructions": "Answer in rhymes."}, llm=llm)
    assert len(call.all("session.updated")) == 1, "the one of the scenario's own"
    assert any("Answer in rhymes." in str(request) for request in llm.requests)


def test_without_any_a_call_is_as_the_operator_has_it() -> None:
    settings: list[dict[str, Any] | None] = [None, {}]
    for nothing in settings:
        call = converse(talks, settings=nothing)
        assert call.sent[0].event["session"]["instructions"] != "Speak slowly."


def test_such_a_call_replays_identically_and_its_keys_are_not_recorded() -> None:
    call, reel = recorded(talks, settings=SETTINGS)
    assert KEY in str(call.sent[0].event), "the client itself gets its own back"
    assert KEY.encode() not in reel.data
    assert b"Speak slowly." in reel.data
    replayed = replay(reel.recording)
    assert replayed.difference is None
    assert replayed.again.wakes == reel.recording.wakes


def test_settings_do_not_wait_for_a_client_to_speak_first() -> None:
    """A greeting waits for the client's own settings or sound, not for those of the set-up."""

    async def silent(call: Call) -> None:
        await asyncio.sleep(0)

    assert converse(silent, settings=SETTINGS).sent[0].type == "session.created"
