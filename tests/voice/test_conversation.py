import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Message, ToolCall
from voice.conversation import MAX_ITEMS, ROOT, Conversation, text_of
from voice.errors import ClientError
from voice.wire import InputAudio, InputImage, InputText, Item, OutputAudio, OutputText


def user(item_id: str, text: str = "hello") -> Item:
    return Item(
        id=item_id, type="message", role="user", status="completed", content=(InputText(text),)
    )


def spoken(item_id: str, text: str) -> Item:
    return Item(
        id=item_id,
        type="message",
        role="assistant",
        status="completed",
        content=(OutputAudio(transcript=text),),
    )


def call(item_id: str, call_id: str, status: str = "completed") -> Item:
    return Item(
        id=item_id,
        type="function_call",
        status=status,  # type: ignore[arg-type]
        call_id=call_id,
        name="weather",
        arguments='{"city":"Kyoto"}',
    )


def result(item_id: str, call_id: str, output: str = "sunny") -> Item:
    return Item(id=item_id, type="function_call_output", call_id=call_id, output=output)


def of(*items: Item) -> Conversation:
    conversation = Conversation()
    for item in items:
        conversation.add(item)
    return conversation


def ids(conversation: Conversation) -> list[str]:
    return [str(item.id) for item in conversation]


# --- order ---------------------------------------------------------------------------------------


def test_items_are_added_at_the_end_and_told_what_is_before_them() -> None:
    conversation = Conversation()
    assert conversation.last_id is None
    assert conversation.add(user("a")) is None
    assert conversation.add(user("b")) == "a"
    assert conversation.last_id == "b"
    assert ids(conversation) == ["a", "b"]
    assert (conversation.previous("a"), conversation.previous("b")) == (None, "a")
    assert len(conversation) == 2


def test_an_item_can_be_put_at_the_beginning_or_behind_another() -> None:
    conversation = of(user("a"), user("b"))
    assert conversation.add(user("first"), ROOT) is None
    assert conversation.add(user("middle"), "a") == "a"
    assert conversation.add(user("last"), "b") == "b"
    assert ids(conversation) == ["first", "a", "middle", "b", "last"]


def test_the_beginning_of_an_empty_conversation_is_its_end() -> None:
    conversation = Conversation()
    assert conversation.add(user("a"), ROOT) is None
    assert ids(conversation) == ["a"]


def test_an_id_is_there_only_once() -> None:
    conversation = of(user("a"))
    with pytest.raises(ClientError, match="'a'") as refused:
        conversation.add(user("a", "other"))
    assert refused.value.code == "item_create_duplicate_item_id"
    assert refused.value.param == "item.id"
    assert text_of(conversation.retrieve("a")) == "hello"


def test_an_unknown_place_is_refused_and_nothing_is_added() -> None:
    conversation = of(user("a"))
    with pytest.raises(ClientError, match="'nowhere'") as refused:
        conversation.add(user("b"), "nowhere")
    assert refused.value.param == "previous_item_id"
    assert ids(conversation) == ["a"]


def test_an_unknown_item_cannot_be_deleted_or_retrieved() -> None:
    conversation = Conversation()
    with pytest.raises(ClientError) as refused:
        conversation.delete("a")
    assert (refused.value.code, refused.value.param) == ("item_delete_invalid_item_id", "item_id")
    with pytest.raises(ClientError) as refused:
        conversation.retrieve("a")
    assert refused.value.code == "item_retrieve_invalid_item_id"
    assert conversation.get("a") is None


def test_a_deleted_item_leaves_and_its_id_is_free_again() -> None:
    conversation = of(user("a"), user("b"))
    conversation.delete("a")
    assert ids(conversation) == ["b"]
    assert conversation.previous("b") is None
    assert conversation.add(user("a")) == "b"


def test_a_call_of_many_hours_stays_bounded() -> None:
    conversation = Conversation()
    for n in range(MAX_ITEMS + 5):
        conversation.add(user(f"i{n}"))
    assert len(conversation) == MAX_ITEMS
    assert conversation.get("i4") is None
    assert conversation.get("i5") is not None


@given(
    st.lists(st.tuples(st.sampled_from("abcdefg"), st.sampled_from(["", ROOT, *"abcdefg"]))),
)
def test_the_place_told_is_the_place_taken(steps: list[tuple[str, str]]) -> None:
    conversation = Conversation()
    for item_id, after in steps:
        if conversation.get(item_id) is not None:
            conversation.delete(item_id)
        try:
            before = conversation.add(user(item_id), after or None)
        except ClientError:
            assert after == item_id or conversation.get(after) is None
            continue
        assert conversation.previous(item_id) == before
        order = ids(conversation)
        at = order.index(item_id)
        assert (order[at - 1] if at else None) == before


# --- what is changed afterwards ------------------------------------------------------------------


def test_the_words_of_an_audio_item_come_with_its_final() -> None:
    item = Item(id="a", type="message", role="user", status="completed", content=(InputAudio(),))
    conversation = of(item, user("b"))
    conversation.transcribed("a", "what are your hours")
    assert conversation.retrieve("a").content == (InputAudio(transcript="what are your hours"),)
    assert ids(conversation) == ["a", "b"]


def test_news_of_an_item_that_was_deleted_meanwhile_brings_it_not_back() -> None:
    conversation = of(user("a"))
    conversation.delete("a")
    conversation.transcribed("a", "x")
    conversation.heard("a", "x")
    conversation.replace(user("a"))
    assert len(conversation) == 0
    assert not conversation.is_cut("a")


def test_history_keeps_only_what_was_heard_and_marks_the_cut() -> None:
    conversation = of(user("a"), spoken("b", "We are open from nine until eight."))
    conversation.heard("b", "We are open from")
    assert conversation.is_cut("b")
    assert text_of(conversation.retrieve("b")) == "We are open from"
    assert conversation.messages()[-1] == Message(role="assistant", content="We are open from —")


def test_an_answer_of_which_nothing_was_heard_was_never_said() -> None:
    conversation = of(user("a"), spoken("b", "We are open."))
    conversation.heard("b", "")
    assert [message.role for message in conversation.messages()] == ["user"]


def test_an_id_used_again_is_not_cut() -> None:
    conversation = of(spoken("a", "one"))
    conversation.heard("a", "o")
    conversation.delete("a")
    conversation.add(spoken("a", "two"))
    assert not conversation.is_cut("a")


# --- what the model is shown ---------------------------------------------------------------------


def test_the_model_sees_roles_and_words_in_order() -> None:
    system = Item(id="s", type="message", role="system", content=(InputText("Be brief."),))
    conversation = of(system, user("a", "Hi"), spoken("b", "Hello."), user("c", "Hours?"))
    assert conversation.messages() == [
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hi"),
        Message(role="assistant", content="Hello."),
        Message(role="user", content="Hours?"),
    ]


def test_what_has_no_words_is_not_shown() -> None:
    silent = Item(id="a", type="message", role="user", content=(InputAudio(),))
    picture = Item(id="b", type="message", role="user", content=(InputImage(),))
    assert of(silent, picture, spoken("c", "")).messages() == []


def test_a_function_call_is_shown_with_its_result() -> None:
    conversation = of(user("a"), call("b", "c1"), result("d", "c1"))
    assert conversation.messages()[1:] == [
        Message(role="assistant", tool_calls=(ToolCall("c1", "weather", '{"city":"Kyoto"}'),)),
        Message(role="tool", content="sunny", tool_call_id="c1"),
    ]


def test_call_and_result_stand_together_whatever_came_between() -> None:
    conversation = of(
        call("a", "c1"), call("b", "c2"), user("u"), result("d", "c2", "2"), result("e", "c1", "1")
    )
    shown = [(m.role, m.content, m.tool_call_id) for m in conversation.messages()]
    assert shown == [
        ("assistant", "", ""),
        ("tool", "1", "c1"),
        ("assistant", "", ""),
        ("tool", "2", "c2"),
        ("user", "hello", ""),
    ]


def test_a_call_without_result_and_a_result_without_call_are_not_shown() -> None:
    assert of(user("a"), call("b", "c1"), result("d", "c9")).messages() == [
        Message(role="user", content="hello")
    ]


@pytest.mark.parametrize("status", ["in_progress", "incomplete"])
def test_a_call_that_was_cut_is_not_shown(status: str) -> None:
    assert of(call("b", "c1", status), result("d", "c1")).messages() == []


def test_the_question_is_the_last_thing_the_user_said() -> None:
    assert Conversation().question() == ("", "")
    conversation = of(user("a", "one"), user("b", "two"), spoken("c", "three"))
    assert conversation.question() == ("b", "two")


def test_the_words_of_a_message_are_those_of_all_its_parts() -> None:
    item = Item(
        type="message",
        role="user",
        content=(InputText("one"), InputAudio(), InputAudio(transcript="two"), InputImage()),
    )
    assert text_of(item) == "one two"
    assert text_of(Item(type="message", content=(OutputText("a"), OutputAudio("b")))) == "a b"
    assert text_of(Item(type="message")) == ""
