"""pocketsphinx in a worker process: `python -m providers._pocketsphinx_worker`.

Its live cepstral mean is what decides its accuracy: the model expects the mean of this microphone
and voice, and the decoder's own estimate weighs its start value like 5 s of audio. So the first
utterance of a call is decoded twice over its first second: at once, for an early partial, and from
the start again with the mean of that second. Later utterances begin with the call's own mean.
"""

import re

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
SEED = "50,0,-3,10,-5,0,0,0,0,0,0,0,0"
"""A speaker near a microphone, where nothing is known yet."""

_ALTERNATIVE = re.compile(r"\(\d+\)$")


def words_only(hypothesis: str) -> str:
    """Without `<s>`, `<sil>`, `[NOISE]` and the numbers of alternative pronunciations."""
    words = (_ALTERNATIVE.sub("", word) for word in hypothesis.split())
    return " ".join(word for word in words if not word.startswith(("<", "[", "++")))


class Recogniser:
    """The decoders of this process: 95 MB and 0.4 s each, so they are made on demand and kept."""

    def __init__(self) -> None:
        self._free = [self._load()]
        decoder = self._free[0]
        decoder.start_utt()
        decoder.process_raw(bytes(RATE_HZ // 5))
        decoder.end_utt()

    def begin(self, message: Begin) -> "Utterance":
        decoder = self._free.pop() if self._free else self._load()
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
        return Decoder(samprate=RATE_HZ, fwdflat=False, loglevel="FATAL")


class Utterance:
    """Implements `providers._worker_child.Recognition`."""

    def __init__(self, recogniser: Recogniser, decoder: Decoder, mean: str) -> None:
        self._recogniser = recogniser
        self._decoder = decoder
        self._head: bytearray | None = None if mean else bytearray()
        """Audio since the start while the mean is unknown."""
        mean = mean or SEED
        for value in mean.split(","):
            float(value)  # raises; the decoder itself would take what is no number for 0
        decoder.set_cmn(mean)
        decoder.start_utt()

    def feed(self, pcm: bytes) -> None:
        self._decoder.process_raw(pcm)
        if self._head is not None:
            self._head += pcm
            if len(self._head) >= HEAD_BYTES:
                self._start_again()

    def text(self) -> str:
        hypothesis = self._decoder.hyp()
        return words_only(hypothesis.hypstr) if hypothesis else ""

    def finish(self) -> tuple[str, str]:
        known = self._head is None
        if self._head is not None and len(self._head) >= LEAST_BYTES:
            self._start_again()
            known = True
        self._decoder.end_utt()
        mean = self._decoder.get_cmn(False) if known else ""
        text = self.text()
        self._recogniser.take_back(self._decoder)
        return text, mean

    def abandon(self) -> None:
        self._decoder.end_utt()
        self._recogniser.take_back(self._decoder)

    def _start_again(self) -> None:
        head = bytes(self._head or b"")
        self._head = None
        self._decoder.end_utt()
        self._decoder.set_cmn(_mean_of(self._decoder, head))
        self._decoder.start_utt()
        self._decoder.process_raw(head)


def _mean_of(decoder: Decoder, pcm: bytes) -> str:
    """The cepstral mean of `pcm` itself: what the decoder estimates, its start value taken out."""
    decoder.set_cmn(SEED)
    decoder.start_utt()
    decoder.process_raw(pcm, no_search=True)
    decoder.get_cmn(True)
    decoder.end_utt()
    frames = len(pcm) / 2 / RATE_HZ * FRAMES_S
    seed = [float(value) for value in SEED.split(",")]
    blended = [float(value) for value in decoder.get_cmn(False).split(",")]
    mean = [
        (b * (PRIOR_FRAMES + frames) - s * (PRIOR_FRAMES - SHRINK_FRAMES))
        / (frames + SHRINK_FRAMES)
        for b, s in zip(blended, seed, strict=True)
    ]
    return ",".join(f"{value:.4f}" for value in mean)


if __name__ == "__main__":
    serve(Recogniser().begin)
