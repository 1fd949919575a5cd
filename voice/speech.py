"""From judged chunks to where speech began and ended.

    loudness     ____####_######__###ss____________      4 ms blocks
    probability  ....|  |████████████████|██|  |....     32 ms chunks, late at both ends
                     ^started                ^here it falls …
                                        ^paused: … and here, by loudness, speech had ended

The detector decides *whether* by the probability and *where* by the loudness, because silence is
counted from where speech ended: Silero goes on for one to three chunks behind a voice.
"""

from collections import deque
from math import log10, sqrt

import msgspec

from providers.base import LISTEN_RATE_HZ, VAD_BLOCK_SAMPLES, VAD_CHUNK_SAMPLES, VadFrame

HYSTERESIS = 0.15
"""Speech goes on down to so much below the threshold; Silero's own rule."""
SURE = 0.9
"""One chunk so probable, and loud, begins speech without waiting for a second: measured, 12 ms
sooner in the median, and no start more on clicks, bursts, beeps, buzzes and noise."""
LOOK_BACK_MS = 200
"""How far behind the judgement an end or a beginning may be placed."""
QUIET = 0.3
"""Chunks below this probability tell the noise floor."""
NOISE_MS = 1_000
NOISE_RATIO = 1.6
"""Blocks so much above the noise are loud: 4 dB over its 90th percentile, where the blocks of
steady noise do not come."""
FLOOR_RMS = 12.0
"""-69 dBFS: below this nothing is heard, whatever the ratio says."""
VOICE_RATIO = 0.02
"""Blocks 34 dB below the voice are loud still: so far down lie a last "s" and the burst of a "k".
At 30 dB the "k" of "park" was cut off."""
DECAY_MS_PER_DB = 3.0
"""How long a voice takes to die away by 1 dB: what of its end the noise hides is guessed by it.
Measured on synthetic speech at 10 dB: the median end is 14 ms late with it, 61 ms early without."""
TAIL_MS = 96
"""So long an end waits while it stays loud: a last "s" is no voice to Silero, but to the ear."""
TAIL_BLOCKS = 3
RUN_GAP_MS = 40
"""A shorter silence, as before a stop's release, does not part the beginning of a word from it."""

_CHUNK_MS = VAD_CHUNK_SAMPLES * 1000 // LISTEN_RATE_HZ
_BLOCK_MS = VAD_BLOCK_SAMPLES * 1000 // LISTEN_RATE_HZ


class SpeechStarted(msgspec.Struct, frozen=True):
    """Somebody speaks, since `sample`; no padding before it."""

    sample: int


class SpeechPaused(msgspec.Struct, frozen=True):
    """Nobody speaks any more, since `sample`. Whether the turn is over is not decided here."""

    sample: int


class SpeechDetector:
    """One caller's chunks, in order."""

    def __init__(self, *, threshold: float = 0.5, min_speech_ms: int = 64) -> None:
        """Args:
        threshold: Probability from which on a chunk is speech.
        min_speech_ms: How long it must stay so before it counts.
        """
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {threshold}")
        self._threshold = threshold
        self._release = max(threshold - HYSTERESIS, 0.01)
        self._min_chunks = max(1, -(-min_speech_ms // _CHUNK_MS))
        self._above = 0
        self._below = 0
        self._began = 0
        self._ended = 0
        self._voice_rms = 0.0
        self._noise: deque[float] = deque(maxlen=NOISE_MS // _BLOCK_MS)
        self._recent: deque[float] = deque(
            maxlen=(LOOK_BACK_MS + min_speech_ms + 2 * _CHUNK_MS) // _BLOCK_MS
        )
        self.judged = 0
        self.speaking = False

    def receive(self, frame: VadFrame) -> list[SpeechStarted | SpeechPaused]:
        """What the next chunk makes certain; mostly nothing."""
        self.judged = frame.end_sample
        self._recent.extend(frame.rms)
        rms = sqrt(sum(block * block for block in frame.rms) / len(frame.rms))
        if self.speaking:
            return self._while_speaking(frame, rms)
        return self._while_silent(frame, rms)

    def _while_silent(self, frame: VadFrame, rms: float) -> list[SpeechStarted | SpeechPaused]:
        if frame.probability < self._threshold:
            self._above = 0
            self._voice_rms = 0.0
            if frame.probability < QUIET:
                self._noise.extend(frame.rms)
            return []
        self._above += 1
        self._voice_rms = max(self._voice_rms, rms)
        sure = frame.probability >= SURE and rms > self._loud_rms()
        if self._above < self._min_chunks and not sure:
            return []
        began = frame.end_sample - self._above * VAD_CHUNK_SAMPLES
        self._began = max(self._beginning(began), self._ended)
        self._above = 0
        self.speaking = True
        return [SpeechStarted(self._began)]

    def _while_speaking(self, frame: VadFrame, rms: float) -> list[SpeechStarted | SpeechPaused]:
        if frame.probability >= self._release:
            self._below = 0
            self._voice_rms = max(self._voice_rms, rms)
            return []
        self._below += 1
        loud = min(frame.rms[-TAIL_BLOCKS:]) > self._loud_rms()
        if loud and self._below <= TAIL_MS // _CHUNK_MS:
            return []
        self._ended = max(self._end(), self._began)
        self._below = 0
        self._voice_rms = 0.0
        self.speaking = False
        return [SpeechPaused(self._ended)]

    # --- loudness ------------------------------------------------------------------------------

    def _noise_rms(self) -> float:
        """What the blocks of steady noise do not exceed."""
        noise = sorted(self._noise)[len(self._noise) * 9 // 10] if self._noise else 0.0
        return max(FLOOR_RMS, noise * NOISE_RATIO)

    def _loud_rms(self) -> float:
        """What a block must exceed to be part of the voice."""
        return max(self._noise_rms(), self._voice_rms * VOICE_RATIO)

    def _end(self) -> int:
        """Behind the last loud block and what noise hides, at most `LOOK_BACK_MS` ago."""
        loud = self._loud_rms()
        blocks = list(self._recent)[-LOOK_BACK_MS // _BLOCK_MS :]
        quiet = next((n for n, block in enumerate(reversed(blocks)) if block > loud), len(blocks))
        hidden_db = 20 * log10(loud / max(self._voice_rms * VOICE_RATIO, FLOOR_RMS))
        hidden_ms = max(0.0, hidden_db) * DECAY_MS_PER_DB
        quiet_ms = max(0.0, quiet * _BLOCK_MS - hidden_ms)
        return self.judged - int(quiet_ms * LISTEN_RATE_HZ / 1000)

    def _beginning(self, began: int) -> int:
        """The first block of the loud run that reaches into the first chunk of speech."""
        loud = self._loud_rms()
        blocks = list(self._recent)
        oldest = self.judged - len(blocks) * VAD_BLOCK_SAMPLES
        place = (began - oldest) // VAD_BLOCK_SAMPLES
        first = next((n for n in range(max(place, 0), len(blocks)) if blocks[n] > loud), None)
        if first is None:
            return began
        limit = max(0, place - LOOK_BACK_MS // _BLOCK_MS)
        for n in range(first - 1, limit - 1, -1):
            if first - n > RUN_GAP_MS // _BLOCK_MS:
                break
            if blocks[n] > loud:
                first = n
        return oldest + first * VAD_BLOCK_SAMPLES
