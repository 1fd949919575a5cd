"""pocketsphinx in a worker process: `python -m providers._pocketsphinx_worker PLACES`.

Its live cepstral mean is what decides its accuracy: the model expects the mean of this microphone
and voice, and the decoder's own estimate weighs its start value like 5 s of audio. So an utterance
begins with the mean of the call's last one and, after its first second, is compared with it:

    first of its call          decoded again from the start, with the mean of that second
    mean far from the call's   likewise: another microphone, another voice, or noise came first
    near                       goes on
"""

import math
import re
import sys

from pocketsphinx import Decoder

from providers._worker_child import serve
from providers._worker_wire import Begin

RATE_HZ = 16_000
HEAD_BYTES = 2 * RATE_HZ
"""One second, from which the mean is estimated."""
LEAST_BYTES = 2 * RATE_HZ * 3 // 10
"""Less than 300 ms says nothing about the mean."""
FRAMES_S = 100
PRIOR_FRAMES = 500
"""CMN_WIN of pocketsphinx: how many frames its start value counts for."""
SHRINK_FRAMES = 20
"""How many frames it shall count for instead."""
FAR = 50.0
"""Distance of two means. Measured between utterances of one caller 14..39, from a near microphone
to a telephone 83."""
SPARE = 1
"""Decoders beyond the most that were ever needed at a time."""
SEED = "50,0,-3,10,-5,0,0,0,0,0,0,0,0"
"""A speaker near a microphone, where nothing is known yet."""

_ALTERNATIVE = re.compile(r"\(\d+\)$")


def words_only(hypothesis: str) -> str:
    """Without `<s>`, `<sil>`, `[NOISE]` and the numbers of alternative pronunciations."""
    words = (_ALTERNATIVE.sub("", word) for word in hypothesis.split())
    return " ".join(word for word in words if not word.startswith(("<", "[", "++")))


def mean_of_own(blended: list[float], start: list[float], frames: float) -> list[float]:
    """The mean of the `frames` heard, out of the decoder's estimate that began with `start`."""
    return [
        (b * (PRIOR_FRAMES + frames) - s * PRIOR_FRAMES) / frames
        for b, s in zip(blended, start, strict=True)
    ]


def values_of(mean: str) -> list[float]:
    """Raises ValueError, where the decoder itself would take what is no number for 0."""
    return [float(value) for value in mean.split(",")]


class Recogniser:
    """The decoders of this process: 95 MB and 0.4 s each, in which nothing else is decoded.

    So they are loaded while nobody speaks (`rest`), one more than were ever needed at a time, and
    kept. A crowd that grows faster than that is the only one that waits for loading.
    """

    def __init__(self, most: int) -> None:
        """Args:
        most: Decoders that can be in use at a time; no spare one beyond them.
        """
        self._most = most
        self._free = [self._load()]
        self._loaded = 1
        self._most_used = 1

    @property
    def has_free(self) -> bool:
        return bool(self._free)

    @property
    def wants_rest(self) -> bool:
        return self._loaded < min(self._most, self._most_used + SPARE)

    def rest(self) -> None:
        """Loads one decoder for later."""
        self._free.append(self._load())
        self._loaded += 1

    def begin(self, message: Begin) -> "Utterance":
        if not self._free:
            self.rest()
        decoder = self._free.pop()
        self._most_used = max(self._most_used, self._loaded - len(self._free))
        try:
            return Utterance(self, decoder, message.memory)
        except Exception:
            self.take_back(decoder)
            raise

    def take_back(self, decoder: Decoder) -> None:
        self._free.append(decoder)

    def _load(self) -> Decoder:
        # fwdflat is a second pass: 240 ms at the end of an utterance and, measured on read speech,
        # more errors than without.
        decoder = Decoder(samprate=RATE_HZ, fwdflat=False, loglevel="FATAL")
        decoder.start_utt()  # the first one ever takes 20 ms longer
        decoder.process_raw(bytes(RATE_HZ // 5))
        decoder.end_utt()
        return decoder


class Utterance:
    """Implements `providers._worker_child.Recognition`."""

    def __init__(self, recogniser: Recogniser, decoder: Decoder, memory: str) -> None:
        self._recogniser = recogniser
        self._decoder = decoder
        self._is_mean_known = bool(memory)
        self._start_mean = values_of(memory or SEED)
        self._head: bytearray | None = bytearray()
        """Audio since the start, until it is compared."""
        decoder.set_cmn(memory or SEED)
        decoder.start_utt()

    def feed(self, pcm: bytes) -> bytes:
        self._decoder.process_raw(pcm)
        if self._head is not None:
            self._head += pcm
            if len(self._head) >= HEAD_BYTES:
                return self._compare()
        return b""

    def text(self) -> str:
        hypothesis = self._decoder.hyp()
        return words_only(hypothesis.hypstr) if hypothesis else ""

    def last_again(self) -> bytes:
        if self._is_mean_known or self._head is None or len(self._head) < LEAST_BYTES:
            return b""
        return self._compare()

    def finish(self) -> tuple[str, str]:
        self._decoder.end_utt()
        mean = self._decoder.get_cmn(False) if self._is_mean_known else ""
        text = self.text()
        self._recogniser.take_back(self._decoder)
        return text, mean

    def abandon(self) -> None:
        self._decoder.end_utt()
        self._recogniser.take_back(self._decoder)

    def _compare(self) -> bytes:
        """What is to be decoded again."""
        head = bytes(self._head or b"")
        self._head = None
        frames = len(head) / 2 / RATE_HZ * FRAMES_S
        # True: the estimate up to here. It costs nothing, while pocketsphinx's no_search only puts
        # the whole search off until end_utt.
        own = mean_of_own(values_of(self._decoder.get_cmn(True)), self._start_mean, frames)
        if self._is_mean_known and math.dist(own, self._start_mean) <= FAR:
            return b""
        self._is_mean_known = True
        mean = [
            (o * frames + s * SHRINK_FRAMES) / (frames + SHRINK_FRAMES)
            for o, s in zip(own, values_of(SEED), strict=True)
        ]
        self._decoder.end_utt()
        self._decoder.set_cmn(",".join(f"{value:.4f}" for value in mean))
        self._decoder.start_utt()
        return head


if __name__ == "__main__":
    serve(Recogniser(most=int(sys.argv[1])))
