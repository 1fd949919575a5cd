"""What a session's turn-taker asks about words; it knows no language itself."""

from typing import Protocol


class Words(Protocol):
    """The words' rules, for one session: they know its language, and learn how it speaks."""

    def delay_ms(self, text: str, *, is_final: bool, sounds_complete: float | None = None) -> int:
        """The silence that ends a turn which says `text` so far.

        Args:
            sounds_complete: What the turn model makes of this pause, where it was asked.
        """

    def settles(self, text: str) -> bool:
        """Whether these words end a turn, however they sound."""

    def is_backchannel(self, text: str, *, is_final: bool = True) -> bool:
        """Whether the caller only says that they listen; of a partial, whether that may be so."""

    def is_echo(self, text: str, spoken: str) -> bool:
        """Whether `text` is our own voice, which says `spoken` about now."""

    def is_nod_in_echo(self, text: str, spoken: str, *, is_final: bool) -> bool:
        """Whether `text` is our own voice, and a backchannel of the caller's in it."""

    def calls_for_floor(self, text: str, spoken: str) -> bool:
        """Whether it asks for the floor outright, in words that we do not say."""

    def went_on(self, pause_ms: float) -> None:
        """The caller paused inside a turn, and it was not ended."""

    def was_cut_short(self, gap_ms: float) -> None:
        """A turn was ended, and the caller went on before an answer sounded."""

    def turn_ended(self) -> None:
        """A turn with words is over."""


class NoWords:
    """Any word is a turn's, and every silence is as long as the next."""

    def __init__(self, silence_ms: int = 500) -> None:
        self._silence_ms = silence_ms

    def delay_ms(self, text: str, *, is_final: bool, sounds_complete: float | None = None) -> int:
        return self._silence_ms

    def settles(self, text: str) -> bool:
        return False

    def is_backchannel(self, text: str, *, is_final: bool = True) -> bool:
        return False

    def is_echo(self, text: str, spoken: str) -> bool:
        return False

    def is_nod_in_echo(self, text: str, spoken: str, *, is_final: bool) -> bool:
        return False

    def calls_for_floor(self, text: str, spoken: str) -> bool:
        return False

    def went_on(self, pause_ms: float) -> None:
        pass

    def was_cut_short(self, gap_ms: float) -> None:
        pass

    def turn_ended(self) -> None:
        pass
