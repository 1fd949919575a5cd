"""Whether somebody sounds as near as the caller does: their own voice's level, learnt turn by turn.

    level    caller's turns   ####  #####  ####        usual: of three turns, the one between
                                                       - 18 dB ------------------------------
    over an answer               ..... . ....          a television, somebody in the next room
                                 ####                  the caller

A microphone at the mouth hears a voice across the room 20 to 30 dB below its owner's; people who
speak softly are 10 dB below themselves. Only over an answer does it count: between answers a
distant voice may be the caller's, who has put the telephone down.
"""

from collections import deque
from math import log10

from providers.base import VAD_CHUNK_SAMPLES, VadFrame
from voice.endpoint import samples

KEPT_MS = 2000
RECENT_MS = 500
"""Of the sound in question: who begins to speak into a television's is near from then on."""
SHARE = 0.8
"""The loudest fifth of the chunks is left out: a click is loud as well."""
TURNS = 3
"""The newest: one shout, or one slammed door with a word in it, makes nobody far for long."""
FALLS = 0.5
"""Of what the newest turn is below that. Who moves away, or lowers the voice, is near again with
the next turn."""
FEWEST = 3
"""Chunks, 96 ms."""


class Nearness:
    """One call's."""

    def __init__(self) -> None:
        self._chunks: deque[tuple[int, float]] = deque(maxlen=KEPT_MS * 16 // VAD_CHUNK_SAMPLES)
        """(last sample, power) of those that may be speech."""
        self._turns_db: deque[float] = deque(maxlen=TURNS)
        self._usual_db: float | None = None

    def hear(self, frame: VadFrame) -> None:
        if frame.probability >= 0.5:
            power = sum(rms * rms for rms in frame.rms) / len(frame.rms)
            self._chunks.append((frame.end_sample, power))

    def learn(self, start: int, end: int) -> None:
        """Those samples were a turn of the caller's; of a long one, the last two seconds count."""
        level_db = self._level_db(start, end)
        if level_db is None:
            return
        self._turns_db.append(level_db)
        usual_db = sorted(self._turns_db)[(len(self._turns_db) - 1) // 2]
        self._usual_db = usual_db - FALLS * max(0.0, usual_db - level_db)

    def is_far(self, from_sample: int, far_db: float) -> bool:
        """Whether what sounds since then, its last half second at most, is that much below the
        caller's voice. 0: never."""
        if self._usual_db is None or not far_db or not self._chunks:
            return False
        newest = self._chunks[-1][0]
        level_db = self._level_db(max(from_sample, newest - samples(RECENT_MS)), newest)
        return level_db is not None and level_db < self._usual_db - far_db

    def _level_db(self, start: int, end: int) -> float | None:
        powers = sorted(power for at, power in self._chunks if start < at <= end)
        if len(powers) < FEWEST:
            return None
        return 10 * log10(powers[int(SHARE * (len(powers) - 1))] + 1)
