"""Speech that can be checked word by word: every word is a tone, every answer has its own words.

A recogniser that lost or doubled some audio gives another text, and whatever is said twice, or
comes from an older turn, shows by its words. None of these words stands in any log by chance.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import groupby, product
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from mocks.llm import EchoLLM, ReasoningDelta, Reply
from providers.base import LISTEN_RATE_HZ, LLMEvent, LLMRequest, TextDelta
from voice.prompt import GO_ON

FRAME_S = 0.02
WORD_FRAMES = 6
_SAMPLES = int(LISTEN_RATE_HZ * FRAME_S)
SILENT = bytes(2 * _SAMPLES)
_LOUD_RMS = 500.0
_CERTAIN = 3
"""Windows of one tone that make a word."""
_LOWEST_HZ, _STEP_HZ = 300, 100


class Exchange(msgspec.Struct, frozen=True):
    """What is asked, and the one right answer to it."""

    question: str
    answer: str


def _exchanges(count: int) -> tuple[Exchange, ...]:
    asked = map("".join, product("zv", "aou", "bgkmprt", "aeio"))
    # No letter in common with a question's word in the same place: it is no echo of the answer.
    told = map("".join, product("ndlj", "eiy", "fhsxwc", "uy"))
    made = []
    for _ in range(count):
        question = " ".join(next(asked) for _ in range(5))
        sentences = [" ".join(next(told) for _ in range(4)).capitalize() for _ in range(3)]
        made.append(Exchange(question, ". ".join(sentences) + "."))
    return tuple(made)


EXCHANGES = _exchanges(8)
_TONES = {word: k for k, word in enumerate(" ".join(e.question for e in EXCHANGES).split())}
_WORDS = tuple(_TONES)
_BY_QUESTION = {exchange.question: exchange.answer for exchange in EXCHANGES}
UNKNOWN = "Eh?"
"""The answer to anything else."""
PRIVATE = frozenset(
    word for e in EXCHANGES for word in f"{e.question} {e.answer}".lower().replace(".", "").split()
)
"""What callers and answers say; never for the log."""


def frames(text: str) -> list[bytes]:
    """20 ms pieces of it, at 16 kHz."""
    at = np.arange(WORD_FRAMES * _SAMPLES) / LISTEN_RATE_HZ
    pieces = []
    for word in text.split():
        tone = np.sin(2 * np.pi * (_LOWEST_HZ + _STEP_HZ * _TONES[word]) * at)
        pcm = (9000 * tone).astype("<i2").tobytes()
        pieces += [pcm[k : k + len(SILENT)] for k in range(0, len(pcm), len(SILENT))]
    return pieces


class ToneRecognizer:
    """Implements `mocks.recognizer.OnlineRecognizer`: hears the words that were really sent."""

    def create_stream(self) -> "ToneStream":
        return ToneStream()

    def is_ready(self, s: Any) -> bool:
        waiting = s.samples.size - s.at
        return bool(waiting >= (_SAMPLES if s.is_finished else 5 * _SAMPLES))

    def decode_streams(self, ss: list[Any]) -> None:
        for stream in ss:
            stream.decode()

    def get_result(self, s: Any) -> str:
        runs = [(tone, len(list(run))) for tone, run in groupby(s.tones)]
        return " ".join(_WORDS[tone] for tone, count in runs if tone >= 0 and count >= _CERTAIN)

    def is_endpoint(self, s: Any) -> bool:
        return False

    def reset(self, s: Any) -> None:
        raise AssertionError("it has no endpoints")


class ToneStream:
    def __init__(self) -> None:
        self.samples = np.zeros(0, np.float32)
        self.at = 0
        self.tones: list[int] = []
        """Of each window; -1: silence."""
        self.is_finished = False

    def accept_waveform(self, sample_rate: float, waveform: NDArray[np.float32]) -> None:
        self.samples = np.concatenate([self.samples, waveform])

    def input_finished(self) -> None:
        self.is_finished = True

    def decode(self) -> None:
        count = (self.samples.size - self.at) // _SAMPLES
        windows = self.samples[self.at : self.at + count * _SAMPLES].reshape(count, _SAMPLES)
        self.at += count * _SAMPLES
        rms = np.sqrt((windows**2).mean(axis=1)) * 32768
        peaks = np.abs(np.fft.rfft(windows, axis=1)).argmax(axis=1) * LISTEN_RATE_HZ / _SAMPLES
        tones = np.rint((peaks - _LOWEST_HZ) / _STEP_HZ).astype(int)
        known = (rms > _LOUD_RMS) & (tones >= 0) & (tones < len(_WORDS))
        self.tones += np.where(known, tones, -1).tolist()


class KnowingLLM(EchoLLM):
    """Gives the right answer; asked to go on with one, its rest, with the last word once more."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.given = 0
        """Pieces of answers so far."""

    async def play(self, request: LLMRequest) -> AsyncGenerator[LLMEvent | ReasoningDelta, None]:
        self._replies.appendleft(Reply(text=_right_answer(request)))
        async with aclosing(super().play(request)) as events:
            async for event in events:
                self.given += isinstance(event, TextDelta)
                yield event


def _right_answer(request: LLMRequest) -> str:
    asked = [m.content for m in request.messages if m.role == "user" and m.content != GO_ON]
    question = asked[-1].rpartition("\n\n")[2].strip() if asked else ""
    answer = _BY_QUESTION.get(question, UNKNOWN)
    if request.messages[-1].content != GO_ON:
        return answer
    said = request.messages[-2].content.rstrip()
    begun = said.rpartition(" ")[0]
    return answer[len(begun) :].lstrip() if answer.startswith(said) else answer
