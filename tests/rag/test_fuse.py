import msgspec
import numpy as np
import pytest

from rag.fuse import E5, LEXICAL, MODEL, Calibration, calibration_of, fuse, likeness

HALF = Calibration(unrelated=0.5, same=0.9, share=0.5, floor=0.3)


def _fused(lexical: float, cosine: float) -> float:
    return float(fuse(np.array([lexical], np.float32), np.array([cosine], np.float32), HALF)[0])


def test_an_unrelated_cosine_adds_nothing() -> None:
    assert _fused(0.8, 0.5) == _fused(0.8, 0.1)
    assert abs(_fused(0.8, 0.5) - 0.4) < 1e-6


def test_full_agreement_is_one() -> None:
    assert abs(_fused(1.0, 0.95) - 1.0) < 1e-6


def test_meaning_alone_can_pass_the_floor() -> None:
    assert _fused(0.0, 0.85) > HALF.floor


PLAIN = np.array([0.02, 0.05, 0.1, 0.6], np.float32)
SAMPLE = np.linspace(-0.05, 0.15, 32, dtype=np.float32)


@pytest.mark.parametrize("common", [0.0, 0.5, 0.7, 0.85])
def test_what_all_texts_have_in_common_makes_no_difference(common: float) -> None:
    def moved(cosine: np.ndarray) -> np.ndarray:
        return np.asarray(common + (1 - common) * cosine, np.float32)

    found = likeness(moved(PLAIN), moved(SAMPLE), MODEL)
    assert np.allclose(found, likeness(PLAIN, SAMPLE, MODEL), atol=1e-5)
    assert abs(found[1]) < 0.01 and 0.55 < found[3] < 0.6


def test_in_a_small_index_the_models_usual_background_stands_in() -> None:
    alone = np.array([0.9], np.float32)
    assert abs(likeness(alone, alone, E5)[0] - (0.9 - 0.75) / 0.25) < 1e-5


def test_cosines_of_the_lexical_embedder_are_taken_as_they_are() -> None:
    assert likeness(PLAIN, SAMPLE, LEXICAL) is PLAIN


@pytest.mark.parametrize("cosine", [-1.0, 0.0, 1.0])
def test_an_index_of_equal_passages_gives_numbers_all_the_same(cosine: float) -> None:
    same = np.full(20, cosine, np.float32)
    assert np.isfinite(likeness(same, same, MODEL)).all()


def test_meaning_alone_passes_the_floor_and_words_alone_do_too() -> None:
    for lexical, cosine in ((0.0, 0.5), (0.9, 0.0)):
        pair = np.array([lexical], np.float32), np.array([cosine], np.float32)
        assert fuse(*pair, MODEL)[0] > MODEL.floor


@pytest.mark.parametrize(
    ("fingerprint", "calibration"),
    [
        ("lexical-2-1024", LEXICAL),
        ("mock-hash-1-256", LEXICAL),
        ("intfloat/multilingual-e5-base-768-0a1b2c3d", E5),
        ("cl-nagoya/ruri-v3-310m-768-0a1b2c3d", E5),
        ("text-embedding-3-small-1536-00000000", MODEL),
    ],
)
def test_a_fingerprint_tells_how_cosines_are_read(
    fingerprint: str, calibration: Calibration
) -> None:
    assert calibration_of(fingerprint) == calibration
    assert msgspec.structs.replace(E5, background=MODEL.background) == MODEL
