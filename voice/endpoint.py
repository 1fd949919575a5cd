"""When silence has lasted long enough: counted in audio time, met in loop time.

Silence is samples, so a burst of late packets neither ends a turn nor stretches it. But samples
come in frames, and waiting for the frame that carries the last needed sample costs up to a frame
on every turn. So the clock may run ahead of the audio, by at most one frame, while every whole
chunk that has come was judged silent, the last one perhaps excepted: it may wait for a batch.

    audio    |-- frame --|-- frame --|-- frame --|  . . . next frame on its way
    judged   |---- chunk ----|---- chunk ----|
    silence              |<----- 500 ms ----->|x   ends here, not when the next frame lands
"""

from providers.base import LISTEN_RATE_HZ, VAD_CHUNK_SAMPLES

UNJUDGED_SAMPLES = 2 * VAD_CHUNK_SAMPLES
"""Less than this may be unjudged: a chunk that VAD is at, and a part of the next one. Who begins to
speak in there is heard as if 50 ms later: as an interruption."""
MAX_AHEAD_S = 0.12
"""Clients send 10 to 100 ms frames; further ahead than that a missing frame is a stall."""


class AudioClock:
    """How far one caller's audio has come, and when that was."""

    def __init__(self) -> None:
        self.position = 0
        """Samples that have arrived."""
        self.judged = 0
        """Samples that VAD has judged."""
        self.arrived_at = 0.0
        self._frame_s = 0.0

    def arrive(self, samples: int, now: float, delay_s: float = 0.0) -> None:
        """Args:
        delay_s: By so much these samples were spoken before the newest that came.
        """
        self.position += samples
        self.arrived_at = now - delay_s
        self._frame_s = min(samples / LISTEN_RATE_HZ, MAX_AHEAD_S)

    def judge(self, sample: int) -> None:
        self.judged = max(self.judged, sample)

    def spoken_at(self, sample: int) -> float:
        """Loop time at which the caller's `sample` was spoken, as far as we can know."""
        return self.arrived_at - (self.position - sample) / LISTEN_RATE_HZ

    def stalls(self, now: float, limit_s: float) -> bool:
        """Whether no audio came for so long."""
        return now >= self.arrived_at + limit_s

    @property
    def _is_judged(self) -> bool:
        return self.position - self.judged < UNJUDGED_SAMPLES

    def when(self, sample: int) -> float | None:
        """Loop time at which `sample` is reached; None while only more audio can tell."""
        if self.judged >= sample:
            return self.arrived_at
        if not self._is_judged:
            return None
        ahead_s = max(0, sample - self.position) / LISTEN_RATE_HZ
        return self.arrived_at + ahead_s if ahead_s <= self._frame_s else None

    def reached(self, sample: int, now: float) -> bool:
        due = self.when(sample)
        # The timer that brought us here may be a rounding error early.
        return due is not None and now >= due - 1e-6


def samples(ms: float) -> int:
    return round(ms * LISTEN_RATE_HZ / 1000)


def milliseconds(count: int) -> float:
    return count * 1000 / LISTEN_RATE_HZ
