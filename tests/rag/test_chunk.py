from hypothesis import given
from hypothesis import strategies as st

from rag.chunk import LONGEST, chunks
from rag.sentences import spoken_length
from rag.types import Document, Heading


def _document(*blocks: tuple[int, str], title: str = "") -> Document:
    text = "\n\n".join(text for _, text in blocks)
    headings, at = [], 0
    for level, block in blocks:
        if level:
            headings.append(Heading(at, at + len(block), level, block))
        at += len(block) + 2
    return Document(
        path="/d/a.md", source="a.md", sha256="", text=text, title=title, headings=tuple(headings)
    )


def test_a_chunk_stays_under_its_heading() -> None:
    found = chunks(
        _document(
            (1, "Hours"),
            (2, "Weekdays"),
            (0, "From nine."),
            (3, "Evenings"),
            (0, "Until eight."),
            (2, "Weekend"),
            (0, "Closed."),
            title="Hours",
        )
    )
    assert [(chunk.heading, chunk.text) for chunk in found] == [
        ("Weekdays", "From nine."),
        ("Weekdays › Evenings", "Until eight."),
        ("Weekend", "Closed."),
    ]


def test_long_sections_are_cut_between_sentences() -> None:
    sentence = "This sentence has some sixty letters so that ten are too many. "
    found = chunks(_document((0, (sentence * 20).strip())))
    assert len(found) > 1
    assert all(chunk.text.endswith("too many.") for chunk in found)
    assert all(150 <= len(chunk.text) <= LONGEST for chunk in found)


def test_japanese_without_spaces_is_cut_too() -> None:
    found = chunks(_document((0, "図書館は午前九時から午後八時まで開いています。" * 40)))
    assert all(chunk.text.endswith("。") for chunk in found)
    assert all(spoken_length(chunk.text) <= LONGEST for chunk in found)


def test_a_short_rest_joins_the_chunk_before() -> None:
    found = chunks(_document((0, "word " * 98 + "end. And a rest.")))
    assert [chunk.text[-6:] for chunk in found] == [" rest."]


def test_the_same_document_gives_the_same_ids() -> None:
    document = _document((0, "One. Two."), (0, "Three."))
    assert [c.id for c in chunks(document)] == [c.id for c in chunks(document)]


_block = st.tuples(
    st.sampled_from([0, 0, 0, 1, 2, 3]),
    st.text(alphabet="ab .,。、\n館", min_size=1, max_size=900).map(str.strip).filter(bool),
)


@given(st.lists(_block, min_size=1, max_size=8))
def test_offsets_point_at_the_text_and_nothing_but_headings_is_left_out(
    blocks: list[tuple[int, str]],
) -> None:
    document = _document(*blocks)
    found = chunks(document)
    assert all(document.text[c.start : c.end] == c.text for c in found)
    assert all(a.end <= b.start for a, b in zip(found, found[1:], strict=False))
    assert all(spoken_length(c.text) <= LONGEST for c in found)
    chunked = "".join("".join(chunk.text.split()) for chunk in found)
    assert chunked == "".join("".join(text.split()) for level, text in blocks if not level)
