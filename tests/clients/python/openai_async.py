"""Conversations of an unmodified `AsyncOpenAI().realtime` with the server."""

import asyncio
from typing import Any

from async_call import calling  # type: ignore[import-not-found]  # beside this script
from openai import AsyncOpenAI  # type: ignore[import-not-found]  # in .venv-clients only
from scenarios import (  # type: ignore[import-not-found]  # beside this script
    ANSWER,
    DELTA,
    HEARD,
    SPOKEN_RESPONSE,
    UTTERANCE,
    VAD,
    WEATHER,
    WRITTEN_RESPONSE,
    audio_of,
    kinds,
    quiet_frame,
    serve,
    session,
    speech_frames,
    user_text,
)


async def spoken_turn_in_the_order_of_the_protocol(url: str) -> None:
    async with calling(url, form="pcm") as call:
        await call.configure(session())
        mark = len(call.events)
        call.speak()
        done = await call.until("response.done")
        events = call.since(mark)
    assert kinds(events, without=(DELTA,)) == UTTERANCE + SPOKEN_RESPONSE
    assert done.response.status == "completed"
    assert done.response.output[0].content[0].transcript == ANSWER
    by_kind = {event.type: event for event in events}
    completed = by_kind["conversation.item.input_audio_transcription.completed"]
    assert completed.transcript == HEARD
    assert "".join(event.delta for event in events if event.type == DELTA) == HEARD
    user, started = completed.item_id, by_kind["input_audio_buffer.speech_started"]
    assert started.item_id == by_kind["input_audio_buffer.committed"].item_id == user
    stopped = by_kind["input_audio_buffer.speech_stopped"]
    assert 550 < stopped.audio_end_ms - started.audio_start_ms < 2000
    added = [event for event in events if event.type == "conversation.item.added"]
    assert [event.previous_item_id for event in added] == [None, user]
    sound_ms = len(audio_of(events)) / 48
    assert abs(sound_ms - 65 * len(ANSWER)) < 150, sound_ms
    assert done.response.usage.output_tokens > 0


async def second_spoken_turn_follows_the_first(url: str) -> None:
    async with calling(url, form="pcm") as call:
        await call.configure(session(output_modalities=["text"]))
        call.speak()
        first = await call.until("response.done")
        mark = len(call.events)
        call.speak()
        second = await call.until("response.done")
        events = call.since(mark)
    assert kinds(events, without=(DELTA,)) == UTTERANCE + WRITTEN_RESPONSE
    committed = next(e for e in events if e.type == "input_audio_buffer.committed")
    assert committed.previous_item_id == first.response.output[0].id
    assert second.response.output[0].content[0].text == ANSWER


async def manual_turn_is_ended_by_commit_and_answered_on_request(url: str) -> None:
    async with calling(url) as call:
        updated = await call.configure(session(audio={"input": {"turn_detection": None}}))
        assert updated.audio.input.turn_detection is None
        mark = len(call.events)
        for audio in speech_frames():
            await call.connection.input_audio_buffer.append(audio=audio)
        await call.connection.input_audio_buffer.commit()
        await call.connection.response.create()
        await call.until("response.done")
        events = call.since(mark)
    said = [kind for kind in UTTERANCE if ".speech_st" not in kind]
    order = kinds(events, without=(DELTA,))
    assert [kind for kind in order if kind in said[:4]][:3] == said[:3]
    assert said[-1] in order and order[-len(SPOKEN_RESPONSE) :] == SPOKEN_RESPONSE
    assert not [kind for kind in order if ".speech_st" in kind]


async def committing_too_little_audio_is_an_error(url: str) -> None:
    async with calling(url) as call:
        await call.configure(session(audio={"input": {"turn_detection": None}}))
        await call.connection.input_audio_buffer.append(audio=quiet_frame())
        await call.connection.input_audio_buffer.commit(event_id="my_commit")
        error = (await call.until("error")).error
    assert (error.code, error.event_id) == ("input_audio_buffer_commit_empty", "my_commit")
    assert error.type == "invalid_request_error"


async def cleared_buffer_is_not_heard(url: str) -> None:
    async with calling(url) as call:
        await call.configure(session(audio={"input": {"turn_detection": None}}))
        for audio in speech_frames():
            await call.connection.input_audio_buffer.append(audio=audio)
        await call.connection.input_audio_buffer.clear()
        await call.until("input_audio_buffer.cleared")
        await call.connection.input_audio_buffer.commit(event_id="empty")
        error = (await call.until("error")).error
    assert (error.code, error.event_id) == ("input_audio_buffer_commit_empty", "empty")


async def text_message_is_answered_aloud(url: str) -> None:
    async with calling(url) as call:
        mark = len(call.events)
        await call.ask("good morning")
        done = await call.until("response.done")
        events = call.since(mark)
    created = ["conversation.item.added", "conversation.item.done"]
    assert kinds(events) == created + SPOKEN_RESPONSE
    assert done.response.output[0].content[0].transcript == "You said: good morning."
    assert done.response.conversation_id is None or isinstance(done.response.conversation_id, str)
    assert len(audio_of(events)) > 48 * 1000


async def text_only_output_has_no_sound(url: str) -> None:
    async with calling(url) as call:
        await call.configure(session(output_modalities=["text"]))
        mark = len(call.events)
        await call.ask("good morning")
        done = await call.until("response.done")
        events = call.since(mark)
    assert kinds(events)[2:] == WRITTEN_RESPONSE
    part = done.response.output[0].content[0]
    assert (part.type, part.text) == ("output_text", "You said: good morning.")
    parts = [e.part.type for e in events if e.type.startswith("response.content_part")]
    assert parts == ["text", "text"]


async def one_response_may_be_text_in_a_spoken_session(url: str) -> None:
    async with calling(url) as call:
        await call.ask("good morning", output_modalities=["text"], metadata={"topic": "greeting"})
        created = await call.until("response.created")
        assert created.response.metadata == {"topic": "greeting"}
        done = await call.until("response.done")
        assert done.response.metadata == {"topic": "greeting"}
        assert done.response.output[0].content[0].type == "output_text"
        await call.ask("good night")
        done = await call.until("response.done")
        assert done.response.output[0].content[0].type == "output_audio"


async def barge_in_cancels_and_truncate_keeps_what_was_heard(url: str) -> None:
    async with calling(url, form="pcm") as call:
        await call.configure(session())
        await call.ask("tell me a story")
        first = await call.until("response.output_audio.delta")
        await asyncio.sleep(1.2)
        mark = len(call.events)
        call.speak()
        done = await call.until("response.done")
        details = done.response.status_details
        assert done.response.status == "cancelled"
        assert (details.type, details.reason) == ("cancelled", "turn_detected")
        await call.connection.conversation.item.truncate(
            item_id=first.item_id, content_index=0, audio_end_ms=1000
        )
        truncated = await call.until("conversation.item.truncated")
        assert (truncated.item_id, truncated.audio_end_ms) == (first.item_id, 1000)
        await call.connection.conversation.item.retrieve(item_id=first.item_id)
        item = (await call.until("conversation.item.retrieved")).item
        kept = item.content[0].transcript
        assert "Sentence number".startswith(kept[:15]) and 5 < len(kept) < 30, kept
        order = kinds(call.since(mark), without=("(words and sound)",))
        started = order.index("input_audio_buffer.speech_started")
        assert started < order.index("response.done")
        again = await call.until("response.done")
        assert again.response.status == "completed"
        assert again.response.output[0].content[0].transcript == ANSWER
    cut = [e for e in call.since(mark) if getattr(e, "response_id", "") == done.response.id]
    finished = cut.index(next(e for e in cut if e.type == "response.output_item.done"))
    assert finished == len(cut) - 1, "nothing follows the end of a cancelled response"


async def truncating_beyond_the_end_is_clamped(url: str) -> None:
    async with calling(url) as call:
        await call.ask("hi")
        done = await call.until("response.done")
        item = done.response.output[0]
        await call.connection.conversation.item.truncate(
            item_id=item.id, content_index=0, audio_end_ms=60_000
        )
        truncated = await call.until("conversation.item.truncated")
        assert 0 < truncated.audio_end_ms <= 2000
        await call.connection.conversation.item.retrieve(item_id=item.id)
        kept = (await call.until("conversation.item.retrieved")).item
        assert kept.content[0].transcript == item.content[0].transcript == "You said: hi."


async def response_is_cancelled_on_request(url: str) -> None:
    async with calling(url) as call:
        await call.ask("tell me a story")
        await call.until("response.output_audio.delta")
        await call.connection.response.cancel()
        done = await call.until("response.done")
        details = done.response.status_details
        assert done.response.status == "cancelled"
        assert (details.type, details.reason) == ("cancelled", "client_cancelled")
        assert done.response.output[0].status == "incomplete"
        await call.ask("good night")
        done = await call.until("response.done")
        assert done.response.status == "completed"


async def cancelling_nothing_is_an_error_clients_know(url: str) -> None:
    async with calling(url) as call:
        await call.connection.response.cancel(event_id="my_cancel")
        error = (await call.until("error")).error
    assert error.code == "response_cancel_not_active"
    assert error.message.startswith("Cancellation failed")
    assert error.event_id == "my_cancel"


async def second_response_create_is_refused_while_one_is_active(url: str) -> None:
    async with calling(url) as call:
        await call.ask("tell me a story")
        created = await call.until("response.created")
        await call.connection.response.create(event_id="too_early")
        error = (await call.until("error")).error
        assert error.code == "conversation_already_has_active_response"
        assert error.message.startswith("Conversation already has an active response in progress")
        assert created.response.id in error.message
        assert error.event_id == "too_early"
        await call.connection.response.cancel()
        assert (await call.until("response.done")).response.id == created.response.id


async def tool_call_goes_to_the_client_and_its_result_is_spoken(url: str) -> None:
    async with calling(url) as call:
        await call.configure(session(tools=[WEATHER], tool_choice="auto"))
        mark = len(call.events)
        await call.ask("what is the weather")
        done = await call.until("response.done")
        asked = done.response.output[0]
        assert (asked.type, asked.name, asked.status) == (
            "function_call",
            "get_weather",
            "completed",
        )
        assert asked.arguments == '{"city": "Oslo"}' and asked.call_id == "call_oslo"
        assert kinds(call.since(mark))[2:] == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        deltas = [e for e in call.since(mark) if e.type.endswith("arguments.delta")]
        assert "".join(event.delta for event in deltas) == asked.arguments
        await call.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": asked.call_id, "output": "sun"}
        )
        await call.connection.response.create()
        done = await call.until("response.done")
        assert done.response.output[0].content[0].transcript == "The tool says sun."


async def words_before_a_tool_call_are_spoken_and_stay_before_it(url: str) -> None:
    async with calling(url) as call:
        await call.configure(session(tools=[WEATHER]))
        mark = len(call.events)
        await call.ask("what is the forecast")
        done = await call.until("response.done")
        events = call.since(mark)
        said, asked = done.response.output
        assert (said.type, asked.type) == ("message", "function_call")
        preamble = "Let me look. One moment please."
        assert said.content[0].transcript == preamble
        sounds = [e for e in events if e.type == "response.output_audio.delta"]
        words = [e for e in events if e.type == "response.output_audio_transcript.delta"]
        assert {event.item_id for event in (*sounds, *words)} == {said.id}
        assert abs(len(audio_of(events)) / 48 - 65 * len(preamble)) < 300
        added = [e.item.id for e in events if e.type == "conversation.item.added"]
        assert added[1:] == [said.id, asked.id]
        await call.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": asked.call_id, "output": "sun"}
        )
        output = await call.until(
            "conversation.item.added", lambda e: e.item.type == "function_call_output"
        )
        assert output.previous_item_id == asked.id, "models want the result right behind the call"


async def response_beside_the_conversation_leaves_no_trace(url: str) -> None:
    async with calling(url) as call:
        mark = len(call.events)
        await call.connection.response.create(
            response={
                "conversation": "none",
                "output_modalities": ["text"],
                "metadata": {"purpose": "label"},
                "input": [user_text("a greeting")],
            }
        )
        done = await call.until("response.done")
        assert done.response.metadata == {"purpose": "label"}
        assert done.response.output[0].content[0].text == "You said: a greeting."
        assert "conversation.item.added" not in kinds(call.since(mark))
        await call.connection.conversation.item.retrieve(
            item_id=done.response.output[0].id, event_id="never_kept"
        )
        assert (await call.until("error")).error.event_id == "never_kept"


async def answer_cut_short_by_its_token_limit_is_incomplete(url: str) -> None:
    async with calling(url) as call:
        await call.ask("tell me a story", max_output_tokens=4, output_modalities=["text"])
        done = await call.until("response.done")
    assert done.response.status == "incomplete"
    assert done.response.status_details.reason == "max_output_tokens"


async def turns_are_only_answered_on_request_where_create_response_is_false(url: str) -> None:
    async with calling(url, form="pcm") as call:
        detection = {**VAD, "create_response": False}
        await call.configure(session(audio={"input": {"turn_detection": detection}}))
        call.speak()
        await call.until("conversation.item.input_audio_transcription.completed")
        await asyncio.sleep(0.3)
        assert "response.created" not in kinds(call.events)
        await call.connection.response.create(response={"output_modalities": ["text"]})
        done = await call.until("response.done")
        assert done.response.output[0].content[0].text == ANSWER


async def speech_does_not_cut_the_answer_where_interrupt_response_is_false(url: str) -> None:
    async with calling(url, form="pcm") as call:
        detection = {**VAD, "interrupt_response": False, "create_response": False}
        await call.configure(session(audio={"input": {"turn_detection": detection}}))
        await call.ask("good morning to everybody here")
        await call.until("response.output_audio.delta")
        call.speak()
        done = await call.until("response.done")
        assert "input_audio_buffer.speech_started" in kinds(call.events)
        assert done.response.status == "completed"


async def ulaw_both_ways(url: str) -> None:
    await _g711(url, "ulaw", "audio/pcmu")


async def alaw_both_ways(url: str) -> None:
    await _g711(url, "alaw", "audio/pcma")


async def _g711(url: str, form: str, kind: str) -> None:
    sides = {"input": {"format": {"type": kind}, "turn_detection": VAD}}
    async with calling(url) as call:
        chosen = session(audio={**sides, "output": {"format": {"type": kind}}})
        updated = await call.configure(chosen)
        assert updated.audio.input.format.type == updated.audio.output.format.type == kind
        mark = len(call.events)
        microphone = asyncio.create_task(call.microphone(form))
        call.speak(form)
        done = await call.until("response.done")
        microphone.cancel()
        events = call.since(mark)
    assert done.response.output[0].content[0].transcript == ANSWER
    stopped = next(e for e in events if e.type == "input_audio_buffer.speech_stopped")
    started = next(e for e in events if e.type == "input_audio_buffer.speech_started")
    assert 550 < stopped.audio_end_ms - started.audio_start_ms < 2000
    sound_ms = len(audio_of(events)) / 8
    assert abs(sound_ms - 65 * len(ANSWER)) < 150, sound_ms


async def items_are_created_retrieved_and_deleted_where_asked(url: str) -> None:
    async with calling(url) as call:
        create = call.connection.conversation.item.create
        await create(item={**user_text("two"), "id": "item_two"})
        first = await call.until("conversation.item.added")
        assert first.previous_item_id is None and first.item.id == "item_two"
        await create(item={**user_text("four"), "id": "item_four"})
        assert (await call.until("conversation.item.added")).previous_item_id == "item_two"
        await create(item={**user_text("three"), "id": "item_three"}, previous_item_id="item_two")
        assert (await call.until("conversation.item.added")).previous_item_id == "item_two"
        await create(item={**user_text("one"), "id": "item_one"}, previous_item_id="root")
        assert (await call.until("conversation.item.added")).previous_item_id is None
        await call.connection.conversation.item.retrieve(item_id="item_three")
        assert (await call.until("conversation.item.retrieved")).item.content[0].text == "three"
        await call.connection.conversation.item.delete(item_id="item_three")
        assert (await call.until("conversation.item.deleted")).item_id == "item_three"
        await call.connection.conversation.item.retrieve(item_id="item_three", event_id="gone")
        error = (await call.until("error")).error
        assert (error.code, error.event_id) == ("item_retrieve_invalid_item_id", "gone")
        await create(item={**user_text("five"), "id": "item_four"}, event_id="twice")
        error = (await call.until("error")).error
        assert (error.code, error.event_id) == ("item_create_duplicate_item_id", "twice")


async def errors_name_the_field_and_echo_the_event_id(url: str) -> None:
    async with calling(url) as call:
        before = await call.configure(session())
        wrong = session(audio={"input": {"format": {"type": "audio/pcm", "rate": 44}}})
        await call.connection.session.update(session=wrong, event_id="wrong_rate")
        error = (await call.until("error")).error
        assert error.event_id == "wrong_rate"
        assert error.param == "session.audio.input.format.rate"
        await call.connection.input_audio_buffer.append(audio="!!!", event_id="no_base64")
        assert (await call.until("error")).error.event_id == "no_base64"
        await call.connection.send({"type": "no.such.event", "event_id": "unknown"})
        assert (await call.until("error")).error.event_id == "unknown"
        after = await call.configure(session())
        assert after.audio.input.format == before.audio.input.format


async def dispatched_events_reach_their_handlers(url: str) -> None:
    """The SDK's own loop: handlers by type, no error without a handler."""
    words: list[str] = []
    async with AsyncOpenAI(api_key="none", base_url=f"{url}/v1") as client:
        async with client.realtime.connect(model="kaiwa") as connection:

            @connection.on("response.output_audio_transcript.delta")  # type: ignore[untyped-decorator]
            async def on_words(event: Any) -> None:
                words.append(event.delta)

            @connection.on("response.done")  # type: ignore[untyped-decorator]
            async def on_done(event: Any) -> None:
                await connection.close()

            await connection.conversation.item.create(item=user_text("hi"))
            await connection.response.create()
            async with asyncio.timeout(10):
                await connection.dispatch_events()
    assert "".join(words) == "You said: hi."


if __name__ == "__main__":
    serve({name: value for name, value in globals().items() if asyncio.iscoroutinefunction(value)})
