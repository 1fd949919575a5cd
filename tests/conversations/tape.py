"""Sound that carries its own words, and the recogniser that reads them off it.

Every loud frame has a number for its amplitude, every sample of it alike:

    silence 0      quiet 620…1019      loud 9000…11999      an echo: 40 to 8800, as what is played

so that the recogniser knows what is spoken in the audio it is fed, wherever a segment begins and
however the audio was cut, as a real one does; and what is not fed it does not hear.
"""

from collections.abc import Sequence

import msgspec
import numpy as np

from mocks.faults import Outbox
from mocks.provider import MockProvider
from providers.base import LISTEN_RATE_HZ, Hypothesis, Slot, SttFailure, SttSink
from tests.conversations.script import Line, words_of
from tests.driving import FRAME_MS, RATE_HZ
from voice.turn import join_words

SAMPLES = RATE_HZ * FRAME_MS // 1000
_SIGNS = np.where(np.arange(SAMPLES) % 2, -1, 1)
LOUD, LOUD_COUNT = 9000, 3000
ECHO_LEAST, ECHO_MOST = 40, 8300
"""Neighbouring frames differ, by 5 % and by one, so that each is known from the next."""
QUIET, QUIET_COUNT = 620, 400
"""Twice and half again the threshold of LoudnessVAD: speech to it, but not at a glance."""


class Word(msgspec.Struct, frozen=True):
    """A word ends in this frame, or what is believed of a source's words changes."""

    source: int
    text: str
    is_all: bool = False
    """`text` is all that is believed of the source so far, not one word more."""


class Source(msgspec.Struct, frozen=True):
    """What the recogniser will say of one line in the end."""

    final_text: str = ""
    final_after: float = 0.0


class Tape:
    """The frames of one call's microphone, as they are spoken."""

    def __init__(self) -> None:
        self.sources: dict[int, Source] = {}
        self._said: dict[int, tuple[Word, ...]] = {}
        self._counts = [0, 0]
        self._echoes = 0

    def frame(self, words: Sequence[Word], *, quiet: bool) -> bytes:
        """20 ms of sound in which `words` end."""
        first, size = (QUIET, QUIET_COUNT) if quiet else (LOUD, LOUD_COUNT)
        code = first + self._counts[quiet] % size
        self._counts[quiet] += 1
        return self._sound(code, words)

    def echo(self, words: Sequence[Word], rms: float) -> bytes:
        """20 ms of what is played, as loud as it comes back."""
        code = max(ECHO_LEAST, min(round(rms), ECHO_MOST))
        code += code // 20 * (self._echoes % 2) + self._echoes // 2 % 2
        self._echoes += 1
        return self._sound(code, words)

    def _sound(self, code: int, words: Sequence[Word]) -> bytes:
        self._said[code] = tuple(words)
        return (_SIGNS * code).astype("<i2").tobytes()

    def read(self, pcm: bytes) -> list[tuple[int, int]]:
        """(code, samples) of each frame that sounds in there, in order."""
        codes = np.abs(np.frombuffer(pcm, "<i2").astype(np.int32))
        places = np.flatnonzero(np.diff(codes)) + 1
        starts = [0, *places.tolist()]
        ends = [*places.tolist(), len(codes)]
        runs = zip(starts, ends, strict=True)
        return [(int(codes[start]), end - start) for start, end in runs if end > start]

    def said(self, code: int) -> tuple[Word, ...]:
        return self._said.get(code, ())


def schedule(number: int, line: Line) -> list[tuple[float, Word]]:
    """(seconds into the line, word): as it was written, or word for word."""
    if line.beliefs:
        return [(belief.at, Word(number, belief.text, True)) for belief in line.beliefs]
    length = max(len(line.text), 1)
    spoken = [(match.end() / length, match.group()) for match in words_of(line.text)]
    return [(share * line.lasts, Word(number, text)) for share, text in spoken]


class TapeSTT(MockProvider):
    """Partials word by word, as the tape has them; finals with what is heard of each line.

    Args:
        every_ms: One partial after so much audio, with the words until then; 0: with each word.
    """

    def __init__(
        self,
        tape: Tape,
        *,
        partial_ms: float = 120.0,
        final_ms: float = 60.0,
        every_ms: float = 0.0,
    ) -> None:
        super().__init__(Slot.STT, "tape")
        self.tape = tape
        self.partial_ms, self.final_ms, self.every_ms = partial_ms, final_ms, every_ms
        self.open_streams = 0
        self.finals: list[str] = []
        """All that were given, or would have been."""

    def open(
        self, sink: SttSink, *, language: str = "", hotwords: Sequence[str] = ()
    ) -> "TapeStream":
        return TapeStream(self, sink)


class TapeStream:
    def __init__(self, provider: TapeSTT, sink: SttSink) -> None:
        self._provider = provider
        self._partials: Outbox[Hypothesis | SttFailure] = Outbox(sink)
        self._finals: list[Outbox[Hypothesis | SttFailure]] = []
        self._sink = sink
        self._utterance: int | None = None
        self._heard: dict[int, list[str]] = {}
        self._run = (0, 0)
        """The last code that was read, and how many samples of it in a row."""
        self._fed_ms = self._shown_ms = 0.0
        self._shown = ""
        self._is_open = True
        provider.open_streams += 1

    def begin(self, utterance: int) -> None:
        self._utterance, self._heard, self._run = utterance, {}, (0, 0)
        self._fed_ms, self._shown_ms, self._shown = 0.0, 0.0, ""

    def feed(self, pcm: bytes) -> None:
        if self._utterance is None:
            return
        for code, count in self._provider.tape.read(pcm):
            before = self._run[1] if code == self._run[0] else 0
            self._run = (code, before + count)
            if before < SAMPLES // 2 <= before + count:
                self._hear(self._provider.tape.said(code))
        self._fed_ms += len(pcm) / 2 / LISTEN_RATE_HZ * 1000
        if self._fed_ms >= self._shown_ms + self._provider.every_ms:
            self._shown_ms = self._fed_ms
            self._show()

    def _hear(self, words: Sequence[Word]) -> None:
        assert self._utterance is not None
        for word in words:
            heard = self._heard.setdefault(word.source, [])
            if word.is_all:
                heard.clear()
            heard.append(word.text)
        if words and not self._provider.every_ms:
            self._show()

    def _show(self) -> None:
        assert self._utterance is not None
        text = join_words([join_words(heard) for heard in self._heard.values()])
        if text != self._shown:
            self._shown = text
            partial = Hypothesis(utterance=self._utterance, text=text, is_final=False)
            self._partials.put(partial, self._provider.partial_ms / 1000)

    def end(self) -> None:
        utterance, self._utterance = self._utterance, None
        if utterance is None:
            return
        pieces, after = [], 0.0
        for number, heard in self._heard.items():
            source = self._provider.tape.sources.get(number, Source())
            pieces.append(source.final_text or join_words(heard))
            after = max(after, source.final_after)
        self._provider.finals.append(join_words(pieces))
        if after == float("inf"):
            return
        final = Hypothesis(utterance=utterance, text=join_words(pieces), is_final=True)
        # Each by itself: a late one holds up no other utterance's.
        outbox: Outbox[Hypothesis | SttFailure] = Outbox(self._sink)
        self._finals.append(outbox)
        self._partials.drop(lambda event: event.utterance == utterance)
        outbox.put(final, self._provider.final_ms / 1000 + after)

    def abandon(self, utterance: int | None = None) -> None:
        if utterance in (None, self._utterance):
            utterance, self._utterance = self._utterance, None
        self._partials.drop(lambda event: event.utterance == utterance)

    def close(self) -> None:
        if self._is_open:
            self._provider.open_streams -= 1
        self._is_open = False
        for outbox in (self._partials, *self._finals):
            outbox.close()
