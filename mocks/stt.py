"""A recogniser that hears what the script says, at the pace of the audio."""

import re
from collections.abc import Iterable, Sequence
from itertools import chain, cycle

from mocks.faults import LAST, Course, Outbox, ScriptedFault
from mocks.provider import MockProvider
from providers.base import (
    LISTEN_RATE_HZ,
    Hypothesis,
    ProviderError,
    Slot,
    SttFailure,
    SttSink,
)

DEFAULT_TEXT = "what are your opening hours"
QUESTIONS = (
    "what are your opening hours on saturday",
    "how much does one family ticket cost",
)
"""As long as each other, word by word, and with no word in common: who asks one into the answer
that repeats the other is nobody's echo."""

# A word, or three characters of a script that puts no spaces between words.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]{1,3}|[^\s\u3040-\u30ff\u3400-\u9fff]+"
)


class EchoSTT(MockProvider):
    """One word more in the partial for every `word_ms` of audio fed; the whole text as the final.

    Args:
        texts: What is said, utterance by utterance, on every stream alike; "" is heard as nothing.
            An abandoned utterance does not use its text up. Behind the last comes `text`.
        turns: What is said instead of `text`, round and round.
        partial_delay_ms: From the audio of a word to its partial.
        final_delay_ms: From `end()` to the final.
    """

    def __init__(
        self,
        texts: Sequence[str] = (),
        *,
        text: str = DEFAULT_TEXT,
        turns: Sequence[str] = (),
        word_ms: float = 300.0,
        partial_delay_ms: float = 0.0,
        final_delay_ms: float = 20.0,
        jitter_ms: float = 0.0,
        faults: Iterable[ScriptedFault] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(Slot.STT, "echo", jitter_ms=jitter_ms, faults=faults, seed=seed)
        self.texts = tuple(texts)
        self.text = text
        self.turns = tuple(turns)
        self.word_ms = word_ms
        self.partial_delay_ms = partial_delay_ms
        self.final_delay_ms = final_delay_ms
        self.open_streams = self.opened = 0
        self.abandoned: list[int] = []
        """Utterances nobody wanted to the end, in order."""

    def open(
        self, sink: SttSink, *, language: str = "", hotwords: Sequence[str] = ()
    ) -> "EchoSttStream":
        return EchoSttStream(self, sink)


class _Utterance:
    """What has been heard of one utterance."""

    def __init__(self, number: int, text: str, course: Course) -> None:
        self.number = number
        self.text = text
        self.course = course
        self.word_ends = [match.end() for match in _WORD.finditer(text)]
        self.samples = 0
        self.words = 0
        self.is_lost = False


class EchoSttStream:
    """One caller's utterances. An utterance is a fault's request, a word its item."""

    def __init__(self, provider: EchoSTT, sink: SttSink) -> None:
        self._provider = provider
        self._outbox: Outbox[Hypothesis | SttFailure] = Outbox(sink)
        self._texts = chain(provider.texts, cycle(provider.turns))
        self._given_back: list[str] = []
        self._current: _Utterance | None = None
        self._open = True
        provider.open_streams += 1
        provider.opened += 1

    def begin(self, utterance: int) -> None:
        text = self._given_back.pop() if self._given_back else None
        if text is None:
            text = next(self._texts, self._provider.text)
        self._current = _Utterance(utterance, text, self._provider.faults.begin())

    def feed(self, pcm: bytes) -> None:
        current = self._current
        if current is None:
            return
        current.samples += len(pcm) // 2
        heard_ms = current.samples * 1000 / LISTEN_RATE_HZ
        words = min(int(heard_ms / self._provider.word_ms), len(current.word_ends))
        while current.words < words and self._goes(current, current.words):
            text = current.text[: current.word_ends[current.words]]
            current.words += 1
            partial = Hypothesis(utterance=current.number, text=text, is_final=False)
            self._outbox.put(partial, current.course.delay_s(self._provider.partial_delay_ms))

    def end(self) -> None:
        current, self._current = self._current, None
        if current is None or not self._goes(current, LAST):
            return
        final = Hypothesis(utterance=current.number, text=current.text, is_final=True)
        self._outbox.put(final, current.course.delay_s(self._provider.final_delay_ms))

    def abandon(self, utterance: int | None = None) -> None:
        current = self._current
        if current is not None and utterance in (None, current.number):
            self._current = None
            self._given_back.append(current.text)
            utterance = current.number
        if utterance is not None:
            self._provider.abandoned.append(utterance)
            self._outbox.drop(lambda event: event.utterance == utterance)

    def close(self) -> None:
        if self._open:
            self._provider.open_streams -= 1
        self._open = False
        self._current = None
        self._outbox.close()

    def _goes(self, current: _Utterance, item: int) -> bool:
        """Whether `item` of the utterance comes; if it fails, that is sent instead."""
        if current.is_lost:
            return False
        try:
            outcome = current.course.due(item)
        except ProviderError as error:
            current.is_lost = True
            self._outbox.put(SttFailure(utterance=current.number, error=error), 0.0)
            return False
        if outcome == "cut":
            current.text = current.text[: current.word_ends[item - 1]] if item > 0 else ""
            current.word_ends = current.word_ends[: max(item, 0)]
            return item == LAST
        current.is_lost = outcome == "stall"
        return outcome == "go"
