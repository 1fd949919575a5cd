import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from providers.embed_lexical import LexicalEmbedder


def _embed(*texts: str, dimensions: int = 1024) -> NDArray[np.float32]:
    return asyncio.run(LexicalEmbedder(dimensions).embed(texts, "passage"))


def test_rows_have_length_one_and_nothing_has_none() -> None:
    rows = _embed("opening hours", "", "?!", "開館時間")
    assert rows.shape == (4, 1024) and rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), [1, 0, 0, 1])


def test_the_same_text_is_the_same_point_in_every_process() -> None:
    row = _embed("hours", dimensions=64)[0]
    assert np.flatnonzero(row).tolist() == [5, 12, 14, 15, 16, 17, 18, 25, 26, 28, 36, 44, 57, 63]
    assert LexicalEmbedder(64).fingerprint == "lexical-2-64"


@pytest.mark.parametrize(
    ("question", "near", "far"),
    [
        ("opening hours", "our opening ours", "parking costs"),
        ("the library card", "library guard", "the fire alarm"),
        ("membership", "member ship", "wheelchair"),
        ("開館時間は", "図書館の開館時間です", "駐車場は無料です"),
        ("도서관 시간", "도서관은 아홉 시에", "주차장 요금"),
        ("часы работы", "часы работы библиотеки", "стоянка бесплатно"),
    ],
)
def test_what_sounds_or_looks_alike_lies_near_in_any_script(
    question: str, near: str, far: str
) -> None:
    rows = _embed(question, near, far)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.15


def test_many_long_texts_come_out_as_each_alone() -> None:
    texts = [f"This is the text number {n} about opening hours. " * 5 for n in range(40)]
    assert np.allclose(_embed(*texts)[7], _embed(texts[7])[0])


def test_too_few_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="dimensions must be 64 or more, got 3"):
        LexicalEmbedder(3)
