"""What LiveKit Agents' openai plugin 1.8 needs, at the wire.

Sound for an item it has not been told of is lost; a creation or deletion that is not confirmed
within 5 s, or an answer whose client_event_id does not come back, fails the call.
Source: livekit/agents/llm/_realtime/openai.py.
"""

import asyncio
from typing import Any

from tests.clients.kaiwa_server import KaiwaServer
from tests.clients.wire_client import VAD, WireClient, calling

CONFIRM_S = 30.0


def follows(client: WireClient, response_id: str, *kinds: str) -> None:
    """These types come in this order within the response; others may lie between."""
    own = [
        event["type"]
        for event in client.events
        if response_id in (event.get("response_id"), event.get("response", {}).get("id"))
    ]
    places = [own.index(kind) for kind in kinds]
    assert places == sorted(places), own
    assert own[-1] == kinds[-1] == "response.done"


def test_a_spoken_response_opens_its_streams_before_it_fills_them(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            metadata = {"client_event_id": "response_create_1"}
            await client.ask("good morning", response={"metadata": metadata})
            created = await client.until("response.created")
            assert created["response"]["metadata"] == metadata
            done = await client.until("response.done")
            assert done["response"]["metadata"] == metadata
            follows(
                client,
                done["response"]["id"],
                "response.created",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_audio_transcript.delta",
                "response.output_audio.delta",
                "response.output_item.done",
                "response.done",
            )
            [part] = client.of("response.content_part.added")
            assert part["part"]["type"] == "audio"
            known = client.of("response.output_item.added")[0]["item"]["id"]
            sounds = client.of("response.output_audio.delta")
            assert {sound["item_id"] for sound in sounds} == {known}

    asyncio.run(call())


def test_a_written_response_says_so_by_its_first_part(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            await client.update(output_modalities=["text"])
            await client.ask("good morning")
            done = await client.until("response.done")
            follows(
                client,
                done["response"]["id"],
                "response.created",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_text.delta",
                "response.output_text.done",
                "response.output_item.done",
                "response.done",
            )
            [part] = client.of("response.content_part.added")
            assert part["part"]["type"] == "text"

    asyncio.run(call())


def test_words_come_before_or_with_their_sound_in_a_barge_in_too(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url, microphone=True) as client:
            await client.update(audio={"input": {"turn_detection": VAD}})
            await client.ask("tell me a story")
            await client.until("response.output_audio.delta")
            client.speak()
            done = await client.until("response.done")
            assert done["response"]["status"] == "cancelled"
            follows(
                client,
                done["response"]["id"],
                "response.created",
                "response.output_item.added",
                "response.content_part.added",
                "response.output_audio.delta",
                "response.output_item.done",
                "response.done",
            )
            added = {e["item"]["id"] for e in client.of("conversation.item.added")}
            await client.until("response.done")
            finished = {e["item"]["id"] for e in client.of("conversation.item.done")}
            assert added <= finished, "every added has its done, also when cut"

    asyncio.run(call())


def message(item_id: str, role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {
        "id": item_id,
        "type": "message",
        "role": role,
        "content": [{"type": kind, "text": text}],
    }


def test_a_context_is_replayed_item_by_item_under_its_own_ids(server: KaiwaServer) -> None:
    """After a reconnect: every kind of item, each behind the one before it."""
    items = [
        message("item_system", "system", "Be brief."),
        message("item_user", "user", "What is the weather?"),
        {
            "id": "item_call",
            "type": "function_call",
            "call_id": "call_1",
            "name": "get_weather",
            "arguments": '{"city": "Oslo"}',
        },
        {
            "id": "item_output",
            "type": "function_call_output",
            "call_id": "call_1",
            "output": "rain",
        },
        message("item_assistant", "assistant", "It rains."),
    ]

    async def call() -> None:
        async with calling(server.ws_url) as client:
            before: str | None = None
            for item in items:
                after = {"previous_item_id": before or "root"}
                await client.send("conversation.item.create", item=item, **after)
                added = await client.until("conversation.item.added", limit_s=CONFIRM_S)
                assert added["item"]["id"] == item["id"]
                assert added["item"]["type"] == item["type"]
                assert added["previous_item_id"] == before
                before = str(item["id"])
            await client.ask("say tool")
            done = await client.until("response.done")
            assert done["response"]["status"] == "completed"

    asyncio.run(call())


def test_insertions_and_deletions_are_confirmed_in_their_places(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            for item_id, after, before in (
                ("item_b", None, None),
                ("item_d", None, "item_b"),
                ("item_a", "root", None),
                ("item_c", "item_b", "item_b"),
                ("item_e", "item_d", "item_d"),
            ):
                fields = {} if after is None else {"previous_item_id": after}
                item = message(item_id, "user", item_id)
                await client.send("conversation.item.create", item=item, **fields)
                added = await client.until("conversation.item.added", limit_s=CONFIRM_S)
                assert (added["item"]["id"], added["previous_item_id"]) == (item_id, before)
            await client.send("conversation.item.delete", item_id="item_c")
            deleted = await client.until("conversation.item.deleted", limit_s=CONFIRM_S)
            assert deleted["item_id"] == "item_c"
            await client.ask("hi", response={"output_modalities": ["text"]})
            answer = await client.until("response.output_item.added")
            added = await client.until(
                "conversation.item.added", lambda e: e["item"]["id"] == answer["item"]["id"]
            )
            question = client.of("conversation.item.added")[-2]["item"]["id"]
            assert added["previous_item_id"] == question

    asyncio.run(call())


def test_what_cannot_be_done_is_an_error_with_the_event_id(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            await client.create_item("one", event_id="first")
            item = (await client.until("conversation.item.added"))["item"]
            for code, kind, fields in (
                (
                    "item_create_duplicate_item_id",
                    "conversation.item.create",
                    {"item": message(item["id"], "user", "again")},
                ),
                (
                    "item_create_invalid_previous_item_id",
                    "conversation.item.create",
                    {"item": message("x", "user", "x"), "previous_item_id": "nowhere"},
                ),
                (
                    "item_delete_invalid_item_id",
                    "conversation.item.delete",
                    {"item_id": "nowhere"},
                ),
                ("input_audio_buffer_commit_empty", "input_audio_buffer.commit", {}),
                ("response_cancel_not_active", "response.cancel", {}),
            ):
                event_id = await client.send(kind, **fields)
                error = await client.error()
                assert (error["code"], error["event_id"]) == (code, event_id)
            assert error["message"].startswith("Cancellation failed")

    asyncio.run(call())


def test_an_answer_asked_for_while_one_is_given_fails_at_once(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            await client.ask("tell me a story")
            active = (await client.until("response.created"))["response"]["id"]
            event_id = await client.send("response.create", response={"metadata": {"a": "b"}})
            error = await client.error()
            assert error["code"] == "conversation_already_has_active_response"
            assert error["event_id"] == event_id and active in error["message"]

    asyncio.run(call())
