import asyncio

import numpy as np
import pytest

from mocks.clock import run_virtual
from mocks.embed import HashEmbedder
from mocks.faults import ScriptedFault
from mocks.rerank import IdentityReranker
from providers.base import Passage, ProviderError


def test_rows_have_length_one_and_zero_where_nothing_is_said() -> None:
    rows = run_virtual(HashEmbedder(dimensions=64).embed(["open hours", "…", "営業時間"], "query"))
    assert rows.shape == (3, 64) and rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 0, 1])


def test_texts_that_share_words_are_nearer() -> None:
    rows = run_virtual(
        HashEmbedder().embed(["opening hours", "Opening hours today", "refund"], "query")
    )
    assert rows[0] @ rows[1] > 0.7 > 0.3 > rows[0] @ rows[2]


def test_no_texts_give_no_rows() -> None:
    assert run_virtual(HashEmbedder().embed([], "passage")).shape == (0, 256)


def test_identity_keeps_the_order_and_faults_work() -> None:
    passages = [Passage(text=str(n), source="a.md") for n in range(3)]
    assert run_virtual(IdentityReranker(delay_ms=5).rank("q", passages)) == tuple(passages)
    with pytest.raises(ProviderError):
        run_virtual(IdentityReranker(faults=[ScriptedFault(kind="fail")]).rank("q", passages))


def test_the_mocks_run_in_real_time_too() -> None:
    assert asyncio.run(HashEmbedder(delay_ms=1).embed(["a"], "query")).shape == (1, 256)
