"""Our own voice on the caller's line: what sounds now, and what of it may come back.

played   we are open from nine|          |<- ECHO_TAIL_MS ->|
heard         we are open from nine                          an echo, by its words or its sound
heard                              |nine|                    its end, behind the answer's
heard                                 |------ nine ------|   the caller: an echo would be over
"""

from typing import Protocol

from voice.endpoint import samples

ECHOES = 2
"""So often our own voice came back in a call, until only words make the agent stop."""
ECHO_TAIL_MS = 600
"""So long behind an answer's end its last words may still come back: the client's buffer, the room,
and what of its way we do not know. A listener who answers in one word is at it for longer: they
begin 200 ms behind the end at the earliest, and a word takes 300."""


class OwnSound(Protocol):
    """What is played, against what comes in."""

    def likeness(self, from_sample: int) -> float:
        """Of what came in since `from_sample`: 1 an echo, 0 somebody else, or too little to say."""


class NothingPlayed:
    def likeness(self, from_sample: int) -> float:
        return 0.0


class OwnVoice:
    """One call's. The fields are to be told, of the answer in hand."""

    def __init__(self) -> None:
        self.sounding_at: float | None = None
        """Loop time at which it began to sound; None: not yet."""
        self.spoken = ""
        """What the agent says about now."""
        self.voiced = True
        """It is spoken. One in writing cannot be held back."""
        self._over_at, self._last_words = -samples(ECHO_TAIL_MS), ""
        self._times = self._turn = 0

    def over(self, position: int, last_words: str) -> None:
        """The caller has heard it up to its end, or to where it was stopped."""
        if self.sounding_at is not None:
            self._over_at, self._last_words = position, last_words
        self.sounding_at = None

    def cut(self) -> None:
        """The caller has the floor."""
        self.sounding_at = None

    def is_heard_at(self, at: float) -> bool:
        return self.sounding_at is not None and at >= self.sounding_at

    def is_protected_at(self, at: float, protected_ms: int) -> bool:
        """Whether that is in its first part."""
        return self.is_heard_at(at) and not self.is_heard_at(at - protected_ms / 1000)

    # --- echo -------------------------------------------------------------------------------------

    def came_back(self, turn: int) -> None:
        self._times, self._turn = self._times + 1, turn

    def comes_back(self, turn: int) -> bool:
        """Whether sound during the answer `turn` is likely to be its own."""
        return self._times >= ECHOES or (self._times > 0 and self._turn == turn)

    def may_end_at(self, sample: int) -> bool:
        """Whether sound that begins there may be the end of the last answer."""
        return self._times > 0 and not self._is_past(sample)

    def words_in(self, start: int, end: int, *, replying: bool) -> str:
        """Of ours, that may be in what is heard from sample `start` to `end`."""
        if replying:
            return self.spoken if self.sounding_at is not None else ""
        if self._is_past(end):
            return ""
        return self._last_words if start >= self._over_at else self.spoken

    def _is_past(self, sample: int) -> bool:
        return sample > self._over_at + samples(ECHO_TAIL_MS)
