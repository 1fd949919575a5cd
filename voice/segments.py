"""The pieces in which one caller's audio is given to the recogniser, one at a time.

audio     |###############################################|
segments     |---- 1 ----|      |------- 2 -------|          none begins before the end
                                                             of what an earlier one heard
"""

from voice.endpoint import AudioClock, samples
from voice.events import AbandonSegment, BeginSegment, Command, EndSegment
from voice.utterance import Utterance


class Segments:
    def __init__(self, clock: AudioClock) -> None:
        self._clock = clock
        self._count = 0
        self._live: int | None = None
        self._live_from = self._heard_to = 0

    @property
    def is_live(self) -> bool:
        """Whether one is being heard, whose final is not asked for yet."""
        return self._live is not None

    def start_for(self, sample: int, prefix_ms: int) -> int:
        """Where speech that was noticed at `sample` is recognised from."""
        return max(self._heard_to, sample - samples(prefix_ms), 0)

    def begin(self, utterance: Utterance, start: int) -> Command:
        self._count += 1
        self._live, self._live_from = self._count, start
        utterance.begin(self._count)
        return BeginSegment(utterance.turn, self._count, start)

    def end(self) -> list[Command]:
        """Asks for its final, if there is one."""
        if self._live is None:
            return []
        ended, self._live = self._live, None
        self.forget(self._clock.judged)
        return [EndSegment(ended)]

    def abandon(self) -> list[Command]:
        live, self._live = self._live, None
        return [] if live is None else [AbandonSegment(live)]

    def forget(self, to_sample: int) -> None:
        """Nothing before that is heard again."""
        self._heard_to = max(self._heard_to, to_sample)

    def roll_over(self, utterance: Utterance, start: int, longest_s: float) -> list[Command]:
        """A buffer that the client lets grow is recognised piece by piece, from `start` on."""
        if self._clock.position - self._live_from < samples(longest_s * 1000):
            return []
        return [*self.end(), self.begin(utterance, start)]
