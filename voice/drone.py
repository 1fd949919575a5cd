"""Sound that goes on without a word, a hoover or music: nobody is kept waiting by it for long.

sound   ~~~words~~~|------------ WORDLESS_S ------------|~~~~~~~~~~~~~~~~~~~~~~~~~
                   ^the newest word, or its beginning   ^EndSegment, BeginSegment: is that all?
turn                                                      |final: it is. CommitUtterance, forced
answer                                                      |######### over the sound, which is
                                                                       a turn by words only
"""

from voice.endpoint import samples
from voice.scripts import words

WORDLESS_S = 5.0
"""No word is so long, nor is any recogniser's so late."""
MARGIN_S = 0.2
"""What comes in frames comes by so much sooner and later."""
SAME_SOUND_MS = 500
"""VAD, which is asked afresh, has found it again within this."""


class Drone:
    """One caller's."""

    def __init__(self) -> None:
        self.news = 0
        """Sample at which the newest word came, or the utterance began."""
        self._news_at = 0.0
        self._words: list[str] = []
        self.asked = False
        """A final was asked for since."""
        self._found_at = -samples(SAME_SOUND_MS)

    def begin(self, sample: int, at: float) -> None:
        """An utterance. Args: at: the loop time."""
        self.news, self._news_at, self._words, self.asked = sample, at, [], False

    def hear(self, text: str, sample: int, at: float) -> None:
        """What is made of it so far."""
        said = words(text)
        if said != self._words:
            self.begin(sample, at)
            self._words = said

    def wait(self, seconds: float) -> None:
        """The recogniser is behind by so much: there can be no news from it."""
        self.news, self._news_at = self.news + samples(seconds * 1000), self._news_at + seconds

    def is_wordless_at(self, sample: int, at: float) -> bool:
        """By its sound, and by the time: what comes faster than it is spoken has its words late."""
        long = sample - self.news >= samples(WORDLESS_S * 1000)
        return long and at - self._news_at >= WORDLESS_S - MARGIN_S

    def found(self, sample: int) -> None:
        """It is one, up to there at least."""
        self._found_at = sample

    def is_found_at(self, sample: int) -> bool:
        """Whether sound that begins there is the same one, going on."""
        return 0 <= sample - self._found_at < samples(SAME_SOUND_MS)
