"""Open JTalk, in the process that `providers._voice_process` starts.

Word timings are estimates: the engine does not tell its durations, but the number of morae of each
word, and Japanese spends nearly the same time on each.
"""

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from providers._tts_sanity import pcm_of_floats
from providers._voice_child import Listener, serve

LEAD_S = 0.02
TAIL_S = 0.05
"""Silence kept before the first sound and behind the last; the engine makes 300 ms each. Gaps
between clauses are the caller's."""
AUDIBLE = 100.0
"""Of 32767."""
PAUSE_MORAE = 2.5
"""What a comma takes; measured on the voice of the package."""


class OpenJTalkVoice:
    """Implements `providers._voice_child.Voice`."""

    voices = 1
    check_text = "はい。"

    def __init__(self) -> None:
        try:
            self._engine: Any = import_module("pyopenjtalk")
        except ImportError as error:
            raise ValueError(f"pyopenjtalk-plus is not installed ({error})") from None
        samples, rate_hz = self._synthesize(self._engine.run_frontend(self.check_text), 1.0)
        if not len(samples):
            raise ValueError("the engine makes no sound")
        self.rate_hz = int(rate_hz)

    def _synthesize(self, words: Any, speed: float) -> tuple[NDArray[np.float64], int]:
        samples, rate_hz = self._engine.synthesize(self._engine.make_label(words), speed=speed)
        return samples, rate_hz

    def speak(self, text: str, voice: str, speed: float, listener: Listener) -> None:
        words = self._engine.run_frontend(text)
        samples = trimmed(self._synthesize(words, speed)[0], self.rate_hz)
        pcm = pcm_of_floats(samples / 32768.0)
        spoken_s = len(samples) / self.rate_hz - LEAD_S - TAIL_S
        for start, end, share in shares(self._engine.g2p_mapping(text)):
            listener.mark(start, end, LEAD_S + share * max(0.0, spoken_s))
        listener.hear(pcm)


def trimmed(samples: NDArray[np.float64], rate_hz: int) -> NDArray[np.float64]:
    """Without the silence at both ends, but for LEAD_S and TAIL_S."""
    loud = np.abs(samples) > AUDIBLE
    if not loud.any():
        return samples
    first = int(loud.argmax()) - int(LEAD_S * rate_hz)
    last = len(samples) - int(loud[::-1].argmax()) + int(TAIL_S * rate_hz)
    return samples[max(0, first) : last]


def shares(words: list[dict[str, Any]]) -> list[tuple[int, int, float]]:
    """(start, end, how much of the speech comes before) of every word that is written in the text.

    Args:
        words: As `g2p_mapping` returns them.
    """
    weights = [_morae(word) for word in words]
    while weights and words[len(weights) - 1]["phonemes"] in (["pau"], []):
        weights.pop()  # the pause at the end has been cut off
    total = sum(weights) or 1.0
    marks, before, end_of_last = [], 0.0, 0
    for word, weight in zip(words, weights, strict=False):
        start, end = word["char_span"]
        if word["mora_count"] and end > start >= end_of_last:
            marks.append((int(start), int(end), before / total))
            end_of_last = end
        before += weight
    return marks


def _morae(word: dict[str, Any]) -> float:
    return PAUSE_MORAE if word["phonemes"] == ["pau"] else float(word["mora_count"])


if __name__ == "__main__":
    serve(OpenJTalkVoice)
