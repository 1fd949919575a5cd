import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers._reasoning import SpokenText
from providers._sse import SseParser

STREAM = (
    "\ufeff: hello\r\n\r\ndata: one\n\ndata:two\rdata: 行\r\revent: x\r\nid: 3\r\n"
    "data: three\r\n\r\n: ping\n\n\n\ndata\n\ndata: [DONE]\n\ndata: lost"
).encode()
PAYLOADS = [b"one", "two\n行".encode(), b"three", b"", b"[DONE]"]


def test_every_line_end_comments_and_many_data_lines_are_understood() -> None:
    assert SseParser().feed(STREAM) == PAYLOADS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12))
def test_it_makes_no_difference_how_the_bytes_are_split(cuts: list[int]) -> None:
    parser, edges = SseParser(), [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    assert [payload for piece in pieces for payload in parser.feed(piece)] == PAYLOADS


def test_byte_by_byte_is_the_same() -> None:
    parser = SseParser()
    assert [p for byte in STREAM for p in parser.feed(bytes([byte]))] == PAYLOADS


@pytest.mark.parametrize("flood", [b"data: " + b"x" * 99 + b"\n", b"x" * 100])
def test_an_event_without_end_is_an_error(flood: bytes) -> None:
    parser = SseParser(max_event_bytes=1000)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        for _ in range(20):
            parser.feed(flood)


def test_keep_alive_comments_may_go_on_for_ever() -> None:
    parser = SseParser(max_event_bytes=100)
    for _ in range(1000):
        assert parser.feed(b": keep-alive\n") == []
    assert parser.feed(b"data: x\n\n") == [b"x"]


def spoken(*pieces: str) -> str:
    text = SpokenText()
    return "".join([text.feed(piece) for piece in pieces]) + text.end()


THOUGHT = "<think>He asks for < 3 hours.</think>\n\nWe open at 9 <b>, a < b."


@given(st.lists(st.integers(0, len(THOUGHT)), max_size=8))
def test_thoughts_are_taken_out_wherever_the_text_is_split(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(THOUGHT)]
    pieces = [THOUGHT[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    assert spoken(*pieces) == "We open at 9 <b>, a < b."


def test_an_unfinished_thought_is_not_spoken_and_an_unfinished_tag_is() -> None:
    assert spoken("<think>never en", "ding") == ""
    assert spoken("a <thi") == "a <thi"
    assert spoken("lone </thi", "nk> tag") == "lone  tag"
    assert spoken("", "") == ""


def test_only_what_could_begin_a_tag_is_held_back() -> None:
    text = SpokenText()
    assert text.feed("one <") == "one "
    assert text.feed("two") == "<two"
