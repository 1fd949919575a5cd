import numpy as np

from rag.fuse import Calibration, fuse

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
