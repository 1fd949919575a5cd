"""What Kaiwa adds to the wire: binary audio, and the kaiwa.* events, as docs/wire.md has them."""

import asyncio
import struct

from websockets import Subprotocol
from websockets.asyncio.client import connect

from tests.clients.kaiwa_server import STT_TEXT, KaiwaServer
from tests.clients.wire_client import TRANSCRIPTION_DELTA, VAD, calling

LISTEN = {"input": {"turn_detection": VAD}}
EVERYTHING = [
    "kaiwa.transcript.partial",
    "kaiwa.turn.timeline",
    "kaiwa.turn.sources",
    "kaiwa.speech.marks",
]
ANSWER = f"You said: {STT_TEXT}."
ANSWER_MS = 65 * len(ANSWER)


def test_nothing_of_ours_comes_unasked(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url, microphone=True) as client:
            await client.update(audio=LISTEN)
            client.speak()
            await client.until("response.done")
            assert not [kind for kind in client.kinds() if kind.startswith("kaiwa.")]
            assert client.frames == []

    asyncio.run(call())


def test_partials_are_whole_and_their_stable_part_is_what_deltas_carry(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url, microphone=True) as client:
            session = await client.update(audio=LISTEN, include=EVERYTHING)
            assert session["include"] == EVERYTHING
            client.speak()
            partial = await client.until("kaiwa.transcript.partial")
            stopped_yet = "input_audio_buffer.speech_stopped" in client.kinds()
            assert not stopped_yet, "the first partial comes while the caller speaks"
            await client.until("response.done")
            partials = client.of("kaiwa.transcript.partial")
            assert {event["item_id"] for event in partials} == {partial["item_id"]}
            carried = ""
            for event in client.events:
                if event["type"] == TRANSCRIPTION_DELTA:
                    carried += event["delta"]
                if event["type"] == "kaiwa.transcript.partial":
                    assert STT_TEXT.startswith(event["text"])
                    assert 0 <= event["stable_chars"] <= len(event["text"])
                    assert event["text"][: event["stable_chars"]].strip() == carried.strip()
            assert carried == STT_TEXT

    asyncio.run(call())


def test_the_timeline_of_a_turn_sums_to_its_total(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url, microphone=True) as client:
            await client.update(audio=LISTEN, include=EVERYTHING)
            client.speak()
            done = await client.until("response.done")
            sound = client.of("response.output_audio.delta")
            timeline = await client.until("kaiwa.turn.timeline")
            assert timeline["outcome"] == "completed" and timeline["turn"] == 1
            assert timeline["response_id"] == done["response"]["id"]
            [user] = client.of("input_audio_buffer.committed")
            assert timeline["item_id"] == user["item_id"]
            names = [span["name"] for span in timeline["spans"]]
            assert names == [
                "endpoint",
                "final",
                "retrieval",
                "llm_first_token",
                "first_clause",
                "tts_first_audio",
                "tts_start",
            ]
            total = sum(span["ms"] for span in timeline["spans"])
            assert abs(total - timeline["total_ms"]) < 0.2
            assert all(span["ms"] >= 0 for span in timeline["spans"])
            assert 200 <= timeline["spans"][0]["ms"] < 350, "the silence that was asked for"
            assert 0 < timeline["partial_ms"] < timeline["total_ms"] + 1000
            assert timeline["final_ms"] <= timeline["tts_start_ms"] <= timeline["total_ms"] + 0.1
            assert timeline["cut_in_ms"] is None and timeline["request_id"] and sound

    asyncio.run(call())


def test_marks_lie_within_the_answer_and_precede_their_sound(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            await client.update(include=EVERYTHING)
            await client.ask("good morning")
            done = await client.until("response.done")
            text = done["response"]["output"][0]["content"][0]["transcript"]
            marks = [mark for event in client.of("kaiwa.speech.marks") for mark in event["marks"]]
            assert marks == sorted(marks) and len(marks) >= 3
            assert marks[-1][0] == len(text)
            assert abs(marks[-1][1] - 65 * len(text)) <= 20
            kinds = client.kinds()
            assert kinds.index("kaiwa.speech.marks") < kinds.index("response.output_audio.delta")

    asyncio.run(call())


def test_reports_of_playback_give_the_turn_its_heard(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            await client.update(include=EVERYTHING)
            await client.ask("good morning")
            sound = await client.until("response.output_audio.delta")
            item_id = sound["item_id"]
            await asyncio.sleep(0.1)
            await client.send("kaiwa.playback.report", item_id=item_id, played_ms=60)
            timeline = await client.until("kaiwa.turn.timeline")
            heard = timeline["spans"][-1]
            assert heard["name"] == "heard" and 90 < heard["ms"] < 400
            assert abs(sum(span["ms"] for span in timeline["spans"]) - timeline["total_ms"]) < 0.2

    asyncio.run(call())


def test_a_cut_keeps_what_was_reported_as_heard(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url, microphone=True) as client:
            await client.update(audio=LISTEN, include=EVERYTHING)
            await client.ask("tell me a story")
            item_id = (await client.until("response.output_audio.delta"))["item_id"]
            await asyncio.sleep(1.0)
            await client.send("kaiwa.playback.report", item_id=item_id, played_ms=300)
            client.speak()
            await client.until("input_audio_buffer.speech_started")
            await client.send("kaiwa.playback.report", item_id=item_id, played_ms=300)
            timeline = await client.until("kaiwa.turn.timeline")
            assert timeline["outcome"] == "interrupted"
            assert 250 <= timeline["cut_in_ms"] < 1000
            await client.send("conversation.item.retrieve", item_id=item_id)
            item = (await client.until("conversation.item.retrieved"))["item"]
            kept = item["content"][0]["transcript"]
            assert len(kept) * 65 < 1000 and "Sentence".startswith(kept[:8])

    asyncio.run(call())


def test_binary_frames_carry_turn_position_and_the_same_sound(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url, microphone=True, is_binary=True) as client:
            await client.update(audio=LISTEN, include=["kaiwa.turn.timeline"])
            client.speak()
            created = await client.until("response.created")
            await client.until("response.done")
            kinds = client.kinds()
            assert "response.output_audio.delta" not in kinds
            assert kinds.count("response.output_audio.done") == 1
            turn = created["response"]["kaiwa"]["turn"]
            sound_ms = 0.0
            for frame in client.frames:
                frame_turn, at_ms = struct.unpack_from("<II", frame)
                assert frame_turn == turn
                assert abs(at_ms - sound_ms) < 1
                assert len(frame) % 2 == 0
                sound_ms += (len(frame) - 8) / 48
            assert abs(sound_ms - ANSWER_MS) < 150
            timeline = await client.until("kaiwa.turn.timeline")
            assert timeline["turn"] == turn

    asyncio.run(call())


def test_binary_audio_of_half_a_sample_is_an_error_not_an_end(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url, is_binary=True) as client:
            await client.append(b"\0\0\0")
            assert (await client.error())["code"] == "invalid_audio"
            await client.ask("hi", response={"output_modalities": ["text"]})
            assert (await client.until("response.done"))["response"]["status"] == "completed"

    asyncio.run(call())


def test_browsers_get_the_subprotocol_realtime_and_others_none(server: KaiwaServer) -> None:
    async def call() -> None:
        offered = [
            Subprotocol("realtime"),
            Subprotocol("openai-insecure-api-key.none"),
            Subprotocol("openai-agents-sdk.0.20.0"),
        ]
        async with connect(server.ws_url, subprotocols=offered) as connection:
            assert connection.subprotocol == "realtime"
        async with connect(server.ws_url) as connection:
            assert connection.subprotocol is None

    asyncio.run(call())
