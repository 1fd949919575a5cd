"""What pipecat 1.14's OpenAIRealtimeLLMService needs, at the wire.

A known event that fails its models, or an error whose code it does not know, ends its connection.
Source: pipecat/services/openai/realtime/events.py and llm.py.
"""

import asyncio
from typing import Any

from tests.clients.kaiwa_server import STT_TEXT, KaiwaServer
from tests.clients.wire_client import (
    TRANSCRIPTION_COMPLETED,
    TRANSCRIPTION_DELTA,
    VAD,
    WireClient,
    calling,
)

WHERE = {"response_id": str, "item_id": str, "output_index": int}
PART = {**WHERE, "content_index": int}
NEEDED: dict[str, dict[str, type]] = {
    "error": {"error": dict},
    "session.created": {"session": dict},
    "session.updated": {"session": dict},
    "input_audio_buffer.speech_started": {"audio_start_ms": int, "item_id": str},
    "input_audio_buffer.speech_stopped": {"audio_end_ms": int, "item_id": str},
    "input_audio_buffer.committed": {"item_id": str},
    "input_audio_buffer.cleared": {},
    "conversation.item.added": {"item": dict},
    "conversation.item.done": {"item": dict},
    "conversation.item.retrieved": {"item": dict},
    "conversation.item.truncated": {"item_id": str, "content_index": int, "audio_end_ms": int},
    TRANSCRIPTION_DELTA: {"item_id": str, "content_index": int, "delta": str},
    TRANSCRIPTION_COMPLETED: {"item_id": str, "content_index": int, "transcript": str},
    "response.created": {"response": dict},
    "response.output_item.added": {"response_id": str, "output_index": int, "item": dict},
    "response.output_item.done": {"response_id": str, "output_index": int, "item": dict},
    "response.content_part.added": {**PART, "part": dict},
    "response.content_part.done": {**PART, "part": dict},
    "response.output_audio_transcript.delta": {**PART, "delta": str},
    "response.output_audio_transcript.done": {**PART, "transcript": str},
    "response.output_audio.delta": {**PART, "delta": str},
    "response.output_audio.done": PART,
    "response.function_call_arguments.delta": {**WHERE, "call_id": str, "delta": str},
    "response.function_call_arguments.done": {**WHERE, "call_id": str, "arguments": str},
    "response.done": {"response": dict},
}
"""Its required fields; every event needs `event_id` too."""

TOOL = {"type": "function", "name": "get_weather", "description": "", "parameters": {}}


def needs_are_met(client: WireClient) -> None:
    for event in client.events:
        for field, kind in {"event_id": str, **NEEDED[event["type"]]}.items():
            assert isinstance(event[field], kind), (field, event)
        if event["type"].startswith("session."):
            session_is_readable(event["session"])
        if event["type"] == "error":
            assert isinstance(event["error"]["type"], str)
            assert isinstance(event["error"]["message"], str)
    ids = [event["event_id"] for event in client.events]
    assert len(set(ids)) == len(ids) and all(ids)


def session_is_readable(session: dict[str, Any]) -> None:
    spoken_in, spoken_out = session["audio"]["input"], session["audio"]["output"]
    for side in (spoken_in, spoken_out):
        if side["format"]["type"] == "audio/pcm":
            assert side["format"].get("rate", 24000) == 24000
    assert isinstance(spoken_out["voice"], str)
    assert session["tool_choice"] in ("auto", "none", "required")
    assert set(spoken_in["transcription"] or {}) <= {"model", "language", "prompt"}
    assert session["type"] == "realtime" and session["object"] == "realtime.session"
    assert isinstance(session.get("expires_at"), int | None)
    detection = spoken_in["turn_detection"]
    assert detection is None or detection["type"] in ("server_vad", "semantic_vad")


def test_every_event_of_a_whole_call_fits_its_models(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url, microphone=True) as client:
            await client.update(
                tools=[TOOL],
                tool_choice="auto",
                audio={
                    "input": {
                        "format": {"type": "audio/pcm", "rate": 24000},
                        "transcription": {"model": "gpt-realtime-whisper"},
                        "turn_detection": VAD,
                        "noise_reduction": {"type": "near_field"},
                    },
                    "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"},
                },
            )
            client.speak()
            await client.until("response.done")
            await client.ask("what is the weather")
            await client.until("response.done")
            await client.ask("tell me a story")
            delta = await client.until("response.output_audio.delta")
            await asyncio.sleep(0.3)
            client.speak()
            await client.until("input_audio_buffer.speech_started")
            await client.send(
                "conversation.item.truncate",
                item_id=delta["item_id"],
                content_index=0,
                audio_end_ms=400,
            )
            await client.until("conversation.item.truncated")
            await client.until("response.done", lambda e: e["response"]["status"] == "completed")
            await client.send("response.cancel")
            await client.error()
            needs_are_met(client)
            heard = [event["transcript"] for event in client.of(TRANSCRIPTION_COMPLETED)]
            assert heard == [STT_TEXT, STT_TEXT]
            kinds = client.kinds()
            call_added = next(
                number
                for number, event in enumerate(client.events)
                if event["type"] == "conversation.item.added"
                and event["item"]["type"] == "function_call"
            )
            assert call_added < kinds.index("response.function_call_arguments.done")

    asyncio.run(call())


def test_the_echo_keeps_what_other_clients_sent_out_of_the_session(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            transcription = {"model": "whisper-1", "languages": ["en"], "keywords": [], "delay": 1}
            session = await client.update(
                audio={
                    "input": {"transcription": transcription},
                    "output": {"voice": {"id": "voice_1"}},
                },
            )
            session_is_readable(session)
            assert session["audio"]["output"]["voice"] == "voice_1"
            session = await client.update(
                audio={"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}
            )
            assert session["audio"]["input"]["format"] == {"type": "audio/pcmu"}

    asyncio.run(call())


def test_a_barge_in_of_its_own_meets_no_fatal_error(server: KaiwaServer) -> None:
    """turn_detection off: on a start of speech it clears, cancels and truncates, active or not."""

    async def call() -> None:
        async with calling(server.ws_url) as client:
            session = await client.update(audio={"input": {"turn_detection": None}})
            assert session["audio"]["input"]["turn_detection"] is None
            await client.send("input_audio_buffer.clear")
            await client.until("input_audio_buffer.cleared")
            event_id = await client.send("response.cancel")
            error = await client.error()
            assert error["code"] == "response_cancel_not_active"
            assert error["event_id"] == event_id
            client.speak()
            microphone = asyncio.create_task(client.microphone())
            await asyncio.sleep(1.0)
            microphone.cancel()
            await client.send("input_audio_buffer.commit")
            await client.send("response.create")
            delta = await client.until("response.output_audio.delta")
            await client.send("input_audio_buffer.clear")
            await client.send("response.cancel")
            for audio_end_ms in (60_000, 200):  # it may overshoot, and may say it twice
                await client.send(
                    "conversation.item.truncate",
                    item_id=delta["item_id"],
                    content_index=0,
                    audio_end_ms=audio_end_ms,
                )
            done = await client.until("response.done")
            assert done["response"]["status_details"]["reason"] == "client_cancelled"
            first = await client.until("conversation.item.truncated")
            second = await client.until("conversation.item.truncated")
            assert first["audio_end_ms"] < 2000 and second["audio_end_ms"] <= 200

    asyncio.run(call())


def test_errors_it_survives_have_the_codes_it_knows(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            await client.send("conversation.item.retrieve", item_id="no", event_id="rci_no")
            error = await client.error()
            assert error["code"] == "item_retrieve_invalid_item_id"
            assert error["event_id"] == "rci_no"
            await client.ask("tell me a story")
            await client.until("response.created")
            event_id = await client.send("response.create")
            error = await client.error()
            assert error["code"] == "conversation_already_has_active_response"
            assert error["event_id"] == event_id

    asyncio.run(call())
