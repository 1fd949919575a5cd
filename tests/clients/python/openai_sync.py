"""Conversations of an unmodified `OpenAI().realtime`, the blocking client, with the server."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from openai import OpenAI  # type: ignore[import-not-found]  # in .venv-clients only
from scenarios import (  # type: ignore[import-not-found]  # beside this script
    ANSWER,
    DELTA,
    FRAME_MS,
    SPOKEN_RESPONSE,
    UTTERANCE,
    WEATHER,
    audio_of,
    kinds,
    quiet_frame,
    serve,
    session,
    speech_frames,
    user_text,
)


class _Call:
    """A connection that is read by the scenario itself; a thread is its microphone."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.events: list[Any] = []
        self._wanted: list[str] = []
        self._over = threading.Event()

    def until(self, kind: str) -> Any:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            event = self.connection.recv()
            self.events.append(event)
            if event.type == kind:
                return event
            assert event.type != "error", event.error
        raise AssertionError(f"no {kind} within 30 s")

    def speak(self) -> None:
        self._wanted += speech_frames()

    def microphone(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0.0, due - time.monotonic())):
            audio = self._wanted.pop(0) if self._wanted else quiet_frame()
            self.connection.input_audio_buffer.append(audio=audio)
            due += FRAME_MS / 1000

    def hang_up(self) -> None:
        self._over.set()


@contextmanager
def _call(url: str, *, microphone: bool = False) -> Iterator[_Call]:
    with OpenAI(api_key="none", base_url=f"{url}/v1") as client:
        with client.realtime.connect(model="kaiwa") as connection:
            call = _Call(connection)
            thread = threading.Thread(target=call.microphone)
            try:
                assert call.until("session.created").session.type == "realtime"
                connection.session.update(session=session())
                call.until("session.updated")
                if microphone:
                    thread.start()
                yield call
            finally:
                call.hang_up()
                if thread.ident is not None:
                    thread.join()


def spoken_turn_in_the_order_of_the_protocol(url: str) -> None:
    with _call(url, microphone=True) as call:
        mark = len(call.events)
        call.speak()
        done = call.until("response.done")
        events = call.events[mark:]
    assert kinds(events, without=(DELTA,)) == UTTERANCE + SPOKEN_RESPONSE
    assert done.response.output[0].content[0].transcript == ANSWER
    assert abs(len(audio_of(events)) / 48 - 65 * len(ANSWER)) < 150


def text_message_is_answered_aloud(url: str) -> None:
    with _call(url) as call:
        call.connection.conversation.item.create(item=user_text("good morning"))
        call.connection.response.create()
        done = call.until("response.done")
    assert done.response.output[0].content[0].transcript == "You said: good morning."
    assert len(audio_of(call.events)) > 48 * 1000


def barge_in_cancels_the_answer(url: str) -> None:
    with _call(url, microphone=True) as call:
        call.connection.conversation.item.create(item=user_text("tell me a story"))
        call.connection.response.create()
        first = call.until("response.output_audio.delta")
        call.speak()
        done = call.until("response.done")
        assert done.response.status_details.reason == "turn_detected"
        call.connection.conversation.item.truncate(
            item_id=first.item_id, content_index=0, audio_end_ms=200
        )
        assert call.until("conversation.item.truncated").audio_end_ms == 200
        assert call.until("response.done").response.status == "completed"


def tool_call_goes_to_the_client_and_its_result_is_spoken(url: str) -> None:
    with _call(url) as call:
        call.connection.session.update(session={"type": "realtime", "tools": [WEATHER]})
        call.connection.conversation.item.create(item=user_text("what is the weather"))
        call.connection.response.create()
        asked = call.until("response.done").response.output[0]
        assert (asked.type, asked.arguments) == ("function_call", '{"city": "Oslo"}')
        call.connection.conversation.item.create(
            item={"type": "function_call_output", "call_id": asked.call_id, "output": "sun"}
        )
        call.connection.response.create()
        done = call.until("response.done")
    assert done.response.output[0].content[0].transcript == "The tool says sun."


def iterating_ends_when_the_client_closes(url: str) -> None:
    with OpenAI(api_key="none", base_url=f"{url}/v1") as client:
        with client.realtime.connect(model="kaiwa") as connection:
            connection.conversation.item.create(item=user_text("hi"))
            connection.response.create()
            words: list[str] = []
            for event in connection:
                if event.type == "response.output_audio_transcript.delta":
                    words.append(event.delta)
                elif event.type == "response.done":
                    connection.close()
    assert "".join(words) == "You said: hi."


SCENARIOS: dict[str, Callable[[str], Any]] = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and name[0].islower()
}

if __name__ == "__main__":
    serve(SCENARIOS)
