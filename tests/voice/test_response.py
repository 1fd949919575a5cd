import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import ToolCallDelta
from voice import wire
from voice.conversation import Conversation, text_of
from voice.ids import Ids
from voice.response import COMPLETED, Ending, Events, Response, Stage
from voice.settings import Settings

TEXT = Settings(output_modalities=("text",))
CANCELLED = Ending(status="cancelled", reason="turn_detected")
FAILED = Ending(
    status="failed", error=wire.StatusError("server_error", "llm_timeout", "llm openai: nothing")
)
INCOMPLETE = Ending(status="incomplete", reason="max_output_tokens")


class Written:
    """One response, and all it sent, as JSON."""

    def __init__(self, settings: Settings | None = None, **more: Any) -> None:
        self.conversation = Conversation()
        self.response = Response(
            ids=Ids("s"),
            conversation=self.conversation,
            settings=settings or Settings(),
            turn=3,
            **more,
        )
        self.events: list[dict[str, Any]] = []
        self.take(self.response.begin())

    def take(self, events: Events) -> "Written":
        self.events += [json.loads(wire.encode(event)) for event in events]
        return self

    def say(self, text: str) -> "Written":
        return self.take(self.response.say(text))

    def sound(self) -> "Written":
        return self.take(self.response.sound())

    def call(self, *pieces: str, call_id: str = "c", name: str = "f") -> "Written":
        first = ToolCallDelta(0, pieces[0], call_id, name)
        return self.take(
            self.response.call([first, *(ToolCallDelta(0, piece) for piece in pieces[1:])])
        )

    def end(self, ending: Ending = COMPLETED) -> "Written":
        return self.take(self.response.end(ending))

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def done(self) -> dict[str, Any]:
        body: dict[str, Any] = self.events[-1]["response"]
        assert self.types[-1] == "response.done"
        return body


# --- the order -----------------------------------------------------------------------------------


def test_a_spoken_answer_in_the_order_that_clients_need() -> None:
    written = Written().say("We are ").sound().say("open.").sound().sound().end()
    assert written.types == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio_transcript.delta",
        "response.output_audio.delta",
        "response.output_audio.delta",
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert written.events[10]["transcript"] == "We are open."
    assert written.done["status"] == "completed"
    assert written.done["status_details"] is None
    assert written.done["output"][0]["content"] == [
        {"type": "output_audio", "transcript": "We are open."}
    ]
    assert [text_of(item) for item in written.conversation] == ["We are open."]


def test_a_written_answer() -> None:
    written = Written(TEXT).say("We are ").say("open.").end()
    assert written.types == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert written.events[3]["part"] == {"type": "text", "text": ""}
    assert written.events[6]["text"] == "We are open."
    assert "audio" not in written.done
    assert written.done["output"][0]["content"] == [{"type": "output_text", "text": "We are open."}]


def test_a_function_call() -> None:
    written = Written().call("", '{"city":', '"Kyoto"}', call_id="call_1", name="weather").end()
    assert written.types == [
        "response.created",
        "response.output_item.added",
        "conversation.item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert written.events[1]["item"]["status"] == "in_progress"
    done = written.events[5]
    assert (done["call_id"], done["name"]) == ("call_1", "weather")
    assert done["arguments"] == '{"city":"Kyoto"}'
    assert written.events[7]["item"] == {
        "id": "item_s00001",
        "object": "realtime.item",
        "type": "function_call",
        "status": "completed",
        "call_id": "call_1",
        "name": "weather",
        "arguments": '{"city":"Kyoto"}',
    }


def test_a_call_that_came_without_an_id_is_given_one() -> None:
    written = Written().call("{}", call_id="").end()
    assert written.done["output"][0]["call_id"]


def test_words_then_two_calls_are_three_items_each_done_before_the_next() -> None:
    written = Written().say("Let me see.").call("{}", call_id="c0").call("{}", call_id="c1").end()
    items = [
        (event["type"].rpartition(".")[2], event["output_index"])
        for event in written.events
        if event["type"].startswith("response.output_item.")
    ]
    assert items == [(verb, index) for index in range(3) for verb in ("added", "done")]
    output = written.done["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]
    assert output[0]["content"][0]["transcript"] == "Let me see."
    assert {item["status"] for item in output} == {"completed"}


def test_an_answer_of_nothing_has_no_item() -> None:
    written = Written().end()
    assert written.types == ["response.created", "response.done"]
    assert written.done["output"] == []


def test_items_are_told_what_stands_before_them() -> None:
    written = Written()
    written.conversation.add(wire.Item(id="u", type="message", role="user", content=()))
    written.say("Hi.").call("{}").end()
    before = [
        e["previous_item_id"] for e in written.events if e["type"] == "conversation.item.added"
    ]
    first = written.done["output"][0]["id"]
    assert before == ["u", first]
    assert [
        e["previous_item_id"] for e in written.events if e["type"] == "conversation.item.done"
    ] == ["u", first]


# --- ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [CANCELLED, FAILED, INCOMPLETE], ids=lambda e: e.status)
def test_an_answer_that_is_cut_closes_all_it_opened(ending: Ending) -> None:
    written = Written().say("We are ").sound().end(ending)
    assert written.types[-6:] == [
        "response.output_audio.done",
        "response.output_audio_transcript.done",
        "response.content_part.done",
        "conversation.item.done",
        "response.output_item.done",
        "response.done",
    ]
    assert written.done["status"] == ending.status
    assert written.done["output"][0]["status"] == "incomplete"


def test_the_reason_of_a_cut_is_told() -> None:
    assert Written().end(CANCELLED).done["status_details"] == {
        "type": "cancelled",
        "reason": "turn_detected",
    }
    assert Written().end(FAILED).done["status_details"] == {
        "type": "failed",
        "error": {
            "type": "server_error",
            "code": "llm_timeout",
            "message": "llm openai: nothing",
        },
    }


def test_after_its_end_nothing_more_is_said() -> None:
    written = Written().say("Hi.").end()
    sent = len(written.events)
    written.say("more").sound().call("{}").end().end(CANCELLED)
    assert len(written.events) == sent
    assert written.response.stage is Stage.DONE


def test_what_was_cut_in_the_history_stays_cut() -> None:
    written = Written().say("We are open from nine.")
    written.conversation.heard(written.response.message_id, "We are open")
    written.end(CANCELLED)
    [item] = written.conversation
    assert text_of(item) == "We are open"


def test_an_item_that_the_client_deleted_meanwhile_stays_deleted() -> None:
    written = Written().say("We are open.")
    written.conversation.delete(written.response.message_id)
    written.end()
    assert len(written.conversation) == 0
    assert written.types[-1] == "response.done"


def test_a_response_beside_the_conversation_leaves_no_trace_in_it() -> None:
    written = Written(keep=False).say("Hi.").call("{}").end()
    assert len(written.conversation) == 0
    assert not [kind for kind in written.types if kind.startswith("conversation.")]
    assert len(written.done["output"]) == 2


# --- what the bodies carry -----------------------------------------------------------------------


def test_metadata_and_turn_come_back() -> None:
    written = Written(metadata={"client_event_id": "7"}).end()
    for event in (written.events[0], written.events[-1]):
        assert event["response"]["metadata"] == {"client_event_id": "7"}
        assert event["response"]["kaiwa"] == {"turn": 3}
        assert event["response"]["id"] == written.response.id


def test_the_first_body_has_no_output_and_is_in_progress() -> None:
    created = Written().events[0]["response"]
    assert (created["status"], created["output"], created["usage"]) == ("in_progress", [], None)
    assert created["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert isinstance(created["audio"]["output"]["voice"], str)


def test_usage_is_always_there_in_the_end() -> None:
    usage = Written().end().done["usage"]
    assert usage["total_tokens"] == 0
    assert usage["input_token_details"]["text_tokens"] == 0
    assert usage["output_token_details"] == {"text_tokens": 0, "audio_tokens": 0}


# --- at random -----------------------------------------------------------------------------------

Step = Callable[[Written], Written]
ENDINGS = st.sampled_from([COMPLETED, CANCELLED, FAILED, INCOMPLETE])
END: st.SearchStrategy[Step] = ENDINGS.map(lambda ending: lambda w: w.end(ending))
WORDS: st.SearchStrategy[Step] = st.one_of(
    st.text(min_size=1, max_size=5).map(lambda text: lambda w: w.say(text)),
    st.just(lambda w: w.sound()),
    END,
)
CALLS: st.SearchStrategy[Step] = st.one_of(
    st.text(max_size=3).map(lambda arguments: lambda w: w.call(arguments)), END
)


@given(
    words=st.lists(WORDS, max_size=8),
    calls=st.lists(CALLS, max_size=4),
    ending=ENDINGS,
    keep=st.booleans(),
    spoken=st.booleans(),
)
def test_whatever_happens_the_order_is_legal(
    words: list[Step], calls: list[Step], ending: Ending, keep: bool, spoken: bool
) -> None:
    written = Written(Settings() if spoken else TEXT, keep=keep)
    for step in [*words, *calls]:
        step(written)
    written.end(ending)
    assert_legal(written, keep=keep)


def assert_legal(written: Written, *, keep: bool) -> None:
    types = written.types
    assert types[0] == "response.created" and types.count("response.created") == 1
    assert types[-1] == "response.done" and types.count("response.done") == 1
    open_items: dict[str, dict[str, Any]] = {}
    closed: list[dict[str, Any]] = []
    open_parts: set[str] = set()
    announced: set[str] = set()
    said: dict[str, str] = {}
    for event in written.events[1:-1]:
        kind = event["type"]
        item_id = event.get("item_id") or event["item"]["id"]
        match kind:
            case "response.output_item.added":
                assert event["output_index"] == len(open_items) + len(closed)
                assert event["item"]["status"] == "in_progress"
                open_items[item_id] = event
                said[item_id] = ""
            case "conversation.item.added":
                assert keep and item_id in open_items
                announced.add(item_id)
            case "response.content_part.added":
                assert not keep or item_id in announced
                open_parts.add(item_id)
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                assert item_id in open_parts
                said[item_id] += event["delta"]
            case "response.output_audio.delta" | "response.output_audio.done":
                assert item_id in open_parts
            case "response.output_audio_transcript.done" | "response.output_text.done":
                assert said[item_id] == event.get("transcript", event.get("text"))
            case "response.function_call_arguments.delta":
                assert item_id in open_items
                said[item_id] += event["delta"]
            case "response.function_call_arguments.done":
                assert said[item_id] == event["arguments"]
            case "response.content_part.done":
                open_parts.remove(item_id)
            case "conversation.item.done":
                assert item_id in announced and item_id not in open_parts
            case "response.output_item.done":
                added = open_items.pop(item_id)
                assert added["output_index"] == event["output_index"]
                assert event["item"]["status"] in ("completed", "incomplete")
                closed.append(event)
            case _:
                raise AssertionError(kind)
        if kind.startswith("response."):
            assert event["response_id"] == written.response.id
            index = event["output_index"]
            assert (open_items.get(item_id) or closed[-1])["output_index"] == index
    assert not open_items and not open_parts
    output = written.done["output"]
    by_index = sorted(closed, key=lambda event: event["output_index"])
    assert output == [event["item"] for event in by_index]
    kept = [json.loads(msgspec.json.encode(item)) for item in written.conversation]
    assert kept == (output if keep else [])
