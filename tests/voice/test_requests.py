from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Message
from voice.conversation import Conversation
from voice.errors import ClientError
from voice.ids import Ids
from voice.requests import MAX_TEXT_CHARS, ReplyOptions, received, reply_options
from voice.settings import Defaults, initial
from voice.wire import InputAudio, InputImage, InputText, Item, OutputAudio, OutputText

SESSION = initial("sess_1", Defaults(instructions="Be kind.", voice="en"))


def conversation() -> Conversation:
    known = Conversation()
    known.add(
        Item(id="item_1", type="message", role="user", content=(InputText("What is Kaiwa?"),))
    )
    return known


def options(**asked: Any) -> ReplyOptions:
    return reply_options(SESSION, asked, conversation())


def user(*content: Any, **fields: Any) -> Item:
    return Item(**{"type": "message", "role": "user", "content": content, **fields})


# --- one response's own settings -----------------------------------------------------------------


def test_what_a_response_leaves_out_is_the_sessions() -> None:
    plain = options()
    assert plain.settings.instructions == "Be kind."
    assert plain.settings.spoken
    assert (plain.metadata, plain.keep, plain.messages, plain.question) == (None, True, None, "")


def test_a_response_has_its_own_settings() -> None:
    own = options(
        instructions="Be brief.",
        output_modalities=["text"],
        max_output_tokens=9,
        tools=[{"type": "function", "name": "f"}],
        tool_choice="none",
        audio={"output": {"voice": "ja"}},
        metadata={"client_event_id": "1"},
        conversation="none",
    )
    assert own.settings.instructions == "Be brief."
    assert not own.settings.spoken
    assert own.settings.max_output_tokens == 9
    assert own.settings.tools[0].name == "f"
    assert own.settings.audio.output.voice == "ja"
    assert own.metadata == {"client_event_id": "1"}
    assert not own.keep


def test_a_response_does_not_change_the_session() -> None:
    before = initial("sess_1", Defaults(instructions="Be kind.", voice="en"))
    options(instructions="Be brief.", audio={"output": {"voice": "ja"}})
    assert before == SESSION


def test_a_response_is_asked_about_its_own_input() -> None:
    own = options(
        input=[
            {"type": "item_reference", "id": "item_1"},
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "In short?"}],
            },
        ]
    )
    assert own.messages == (
        Message(role="user", content="What is Kaiwa?"),
        Message(role="user", content="In short?"),
    )
    assert own.question == "In short?"


def test_an_empty_input_is_an_empty_context() -> None:
    assert options(input=[]).messages == ()
    assert options(input=None).messages is None


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"instructions": 5}, "response.instructions"),
        ({"output_modalities": ["smell"]}, "response.output_modalities[0]"),
        ({"output_modalities": ["text", "audio"]}, "response.output_modalities"),
        ({"max_output_tokens": 0}, "response.max_output_tokens"),
        ({"tools": [{"type": "function"}]}, "response.tools"),
        ({"audio": {"output": {"speed": 9}}}, "response.audio.output.speed"),
        ({"conversation": "other"}, "response.conversation"),
        ({"conversation": ["none"]}, "response.conversation"),
        ({"metadata": "x"}, "response.metadata"),
        ({"metadata": {"a": 1}}, "response.metadata"),
        ({"metadata": {str(n): "" for n in range(17)}}, "response.metadata"),
        ({"input": "hello"}, "response.input"),
        ({"input": [{"type": "item_reference", "id": "no"}]}, "response.input[0].id"),
        ({"input": [{"type": "item_reference"}]}, "response.input[0].id"),
        ({"input": [{"type": "zzz"}]}, "response.input[0]"),
        ({"input": [5]}, "response.input[0]"),
    ],
)
def test_a_response_that_cannot_be_is_refused_by_its_path(
    asked: dict[str, Any], param: str
) -> None:
    with pytest.raises(ClientError) as refused:
        options(**asked)
    assert refused.value.param is not None
    assert refused.value.param.startswith(param)
    assert refused.value.message.startswith("response")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "id", "role", "content", "output", "voice", "text"]), inner
        )
    ),
    max_leaves=10,
)
ASKED = st.dictionaries(
    st.sampled_from(["input", "metadata", "conversation", "audio", "tools", "instructions"]), JSON
)


@given(ASKED)
def test_any_request_is_understood_or_refused_with_its_path(asked: dict[str, Any]) -> None:
    try:
        options(**asked)
    except ClientError as error:
        assert error.param is not None and error.param.startswith("response")


# --- items ---------------------------------------------------------------------------------------


def test_a_clients_item_keeps_its_id_or_is_given_one() -> None:
    ids = Ids("seed")
    assert received(user(InputText("hi"), id="mine"), ids).id == "mine"
    given_one = received(user(InputText("hi")), ids)
    assert given_one.id == Ids("seed").new("item")
    assert given_one.status == "completed"
    assert received(user(InputText("hi"), id=""), ids).id != ""


@pytest.mark.parametrize(
    "item",
    [
        user(InputText("hi")),
        user(InputAudio(transcript="hi")),
        user(InputAudio(audio="AAAA", transcript="hi")),
        user(InputText("be brief"), role="system"),
        user(OutputText("hello"), role="assistant"),
        user(OutputAudio("hello"), role="assistant"),
        user(),
        Item(type="function_call", call_id="c", name="f", arguments="{}"),
        Item(type="function_call_output", call_id="c", output=""),
    ],
)
def test_items_of_the_right_shape_are_received(item: Item) -> None:
    assert received(item, Ids("seed")).type == item.type


@pytest.mark.parametrize(
    ("item", "code", "param"),
    [
        (user(id="x" * 65), "invalid_value", "item.id"),
        (Item(type="message", content=()), "missing_required_parameter", "item.role"),
        (Item(type="message", role="user"), "missing_required_parameter", "item.content"),
        (user(OutputText("x")), "invalid_value", "item.content[0].type"),
        (
            user(InputText("x"), OutputText("x"), role="assistant"),
            "invalid_value",
            "item.content[0].type",
        ),
        (user(InputAudio("x"), role="system"), "invalid_value", "item.content[0].type"),
        (user(InputText("x"), InputImage()), "unsupported_content", "item.content[1]"),
        (user(InputAudio(audio="AAAA")), "unsupported_content", "item.content[0]"),
        (
            user(InputText("x" * (MAX_TEXT_CHARS + 1))),
            "string_above_max_length",
            "item.content",
        ),
        (Item(type="function_call", name="f"), "missing_required_parameter", "item.call_id"),
        (Item(type="function_call", call_id="c"), "missing_required_parameter", "item.name"),
        (
            Item(type="function_call_output", output="x"),
            "missing_required_parameter",
            "item.call_id",
        ),
        (
            Item(type="function_call_output", call_id="c"),
            "missing_required_parameter",
            "item.output",
        ),
    ],
)
def test_an_item_of_a_wrong_shape_is_refused_by_its_path(item: Item, code: str, param: str) -> None:
    with pytest.raises(ClientError) as refused:
        received(item, Ids("seed"))
    assert (refused.value.code, refused.value.param) == (code, param)
    assert param in refused.value.message


def test_text_may_be_as_long_as_the_limit() -> None:
    received(user(InputText("x" * MAX_TEXT_CHARS)), Ids("seed"))
