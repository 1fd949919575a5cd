"""What words mean for one session's turns: in its language, as its caller pauses."""

from collections.abc import Callable

from voice.completeness import is_backchannel, is_echo, is_short_answer
from voice.endpointing import Delays, Endpointing
from voice.nods import call_in, may_be_backchannel, plain, without_nods
from voice.scripts import words


class SpokenWords:
    """The turn-taker's `Words`.

    Args:
        language: BCP 47 tag of what the caller speaks, as it is now.
    """

    def __init__(self, language: Callable[[], str], delays: Delays) -> None:
        self._language = language
        self._endpointing = Endpointing(delays)

    def set_delays(self, delays: Delays) -> None:
        """What was learnt of the caller is kept."""
        self._endpointing.delays = delays

    def delay_ms(self, text: str, *, is_final: bool, sounds_complete: float | None = None) -> int:
        return self._endpointing.delay_ms(
            text, self._language(), is_final=is_final, audio_score=sounds_complete
        )

    def settles(self, text: str) -> bool:
        return is_short_answer(text, self._language())

    def is_backchannel(self, text: str, *, is_final: bool = True) -> bool:
        nods = is_backchannel if is_final else may_be_backchannel
        return nods(text, self._language())

    def is_echo(self, text: str, spoken: str) -> bool:
        return is_echo(text, spoken)

    def is_nod_in_echo(self, text: str, spoken: str, *, is_final: bool) -> bool:
        known = set(words(spoken))
        rests = without_nods(text, self._language(), known, is_final=is_final)
        return any(is_echo(rest, spoken) for rest in rests)

    def calls_for_floor(self, text: str, spoken: str) -> bool:
        call = call_in(text, self._language())
        return bool(call) and not any(call in plain(spoken, language) for language in ("en", "zh"))

    def went_on(self, pause_ms: float) -> None:
        self._endpointing.paused(pause_ms)

    def was_cut_short(self, gap_ms: float) -> None:
        self._endpointing.cut_off(gap_ms)

    def turn_ended(self) -> None:
        self._endpointing.ended()
