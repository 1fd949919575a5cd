"""The decoders of one process: how many there are, and when a head is decoded again."""

import numpy as np
import pytest

from providers._pocketsphinx_worker import HEAD_BYTES, Recogniser, mean_of_own, values_of
from providers._worker_child import STEP_BYTES
from providers._worker_wire import Begin

HEAD = (np.random.default_rng(1).standard_normal(HEAD_BYTES // 2) * 1000).astype("<i2").tobytes()


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    return Recogniser(most=2)


def again_after(recogniser: Recogniser, memory: str, pcm: bytes) -> tuple[bytes, str]:
    """What is to be fed again, and what the next utterance is told."""
    utterance = recogniser.begin(Begin(1, memory=memory))
    pieces = [pcm[at : at + STEP_BYTES] for at in range(0, len(pcm), STEP_BYTES)]
    again = b"".join(utterance.feed(piece) for piece in pieces) + utterance.last_again()
    if again:
        utterance.feed(again)
        assert utterance.last_again() == b""
    return again, utterance.finish()[1]


def test_a_head_is_decoded_again_when_its_mean_is_unknown_or_far(recogniser: Recogniser) -> None:
    again, mean = again_after(recogniser, "", HEAD)
    assert again == HEAD
    assert again_after(recogniser, mean, HEAD)[0] == b""
    near, *rest = values_of(mean)
    far = ",".join(map(str, [near + 60, *rest]))
    again, corrected = again_after(recogniser, far, HEAD)
    assert again == HEAD
    assert values_of(corrected)[0] == pytest.approx(near, abs=10)


def test_a_short_utterance_is_decoded_again_once_only_where_nothing_is_known(
    recogniser: Recogniser,
) -> None:
    short = HEAD[: HEAD_BYTES // 2]
    again, mean = again_after(recogniser, "", short)
    assert again == short
    assert again_after(recogniser, mean, short)[0] == b""
    again, learnt = again_after(recogniser, "", HEAD[:640])
    assert again == b"" and learnt == ""


def test_the_mean_of_what_was_heard_is_found_in_the_blend() -> None:
    assert mean_of_own([(500 * 50 + 100 * 20) / 600], [50], 100) == pytest.approx([20])


def test_decoders_are_loaded_ahead_of_need_but_never_more_than_can_be_used() -> None:
    recogniser = Recogniser(most=2)
    assert recogniser.has_free and recogniser.wants_rest
    recogniser.rest()
    assert not recogniser.wants_rest
    one, two = recogniser.begin(Begin(1)), recogniser.begin(Begin(2))
    assert not recogniser.has_free and not recogniser.wants_rest
    one.abandon()
    two.finish()
    assert recogniser.has_free and not recogniser.wants_rest


def test_a_memory_that_is_no_mean_costs_no_decoder(recogniser: Recogniser) -> None:
    with pytest.raises(ValueError, match="no numbers"):
        recogniser.begin(Begin(1, memory="no numbers"))
    assert recogniser.has_free
