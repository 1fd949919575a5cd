import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers._reasoning import SpokenText


def spoken(*pieces: str) -> str:
    text = SpokenText()
    return "".join([text.feed(piece) for piece in pieces]) + text.end()


HARMONY = (
    "<|channel|>analysis<|message|>He asks for < 3 hours.<|end|>"
    "<|start|>assistant<|channel|>commentary<|message|>Let me look. <|end|>"
    '<|start|>assistant<|channel|>commentary to=functions.book <|constrain|>json<|message|>{"a": 1}'
    "<|call|><|start|>assistant<|channel|>final<|message|>We open at 9.<|return|>"
)


@given(st.lists(st.integers(0, len(HARMONY)), max_size=8))
def test_of_harmony_only_what_is_for_the_caller_is_spoken(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(HARMONY)]
    pieces = [HARMONY[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    assert spoken(*pieces) == "Let me look. We open at 9."


@pytest.mark.parametrize(
    "thought",
    [
        "<think>{}</think>",
        "<thinking>{}</thinking>",
        "<thought>{}</thought>",
        "[THINK]{}[/THINK]",
        "◁think▷{}◁/think▷",
        "<seed:think>{}</seed:think>",
    ],
)
def test_every_models_tags_are_known(thought: str) -> None:
    assert spoken(thought.format("a </b> <think [x]"), " Yes.") == "Yes."


def test_another_models_tag_does_not_close_a_thought() -> None:
    assert spoken("<think>a</thought>b</think>c") == "c"


@given(st.text(alphabet="<|[◁thinkmesag>]/ a", max_size=60), st.integers(1, 7))
def test_it_makes_no_difference_how_the_text_is_split(text: str, size: int) -> None:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert spoken(*pieces) == spoken(text)


@given(st.text(max_size=60).filter(lambda text: "<" not in text and "[" not in text))
def test_text_without_tags_is_spoken_as_it_is(text: str) -> None:
    text = text.replace("◁", "")
    assert spoken(text) == text.lstrip()


def test_a_header_without_end_is_no_memory() -> None:
    text = SpokenText()
    text.feed("<|channel|>")
    for _ in range(1000):
        assert text.feed("x" * 1000) == ""
    assert len(text._head) <= 200
