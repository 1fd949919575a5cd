"""The values of a call: what a caller plans, and what happened in each turn."""

from enum import StrEnum

import msgspec

from voice.bench.player import Player
from voice.bench.wire_events import Span

EXTENSIONS_EVENT_ID = "bench-extensions"
"""Of the session.update that asks for `kaiwa.*`; an error that answers it is expected."""


class Outcome(StrEnum):
    """How a turn ended, seen by the caller."""

    COMPLETED = "completed"
    CUT = "cut"
    """The caller's next question cut the answer off, as planned."""
    HUNG_UP = "hung_up"
    """The caller broke the connection off in the middle of the answer, as planned."""
    LOST = "lost"
    """No audio within the timeout, or the connection went away."""
    STALLED = "stalled"
    """The answer began and neither went on nor ended within the timeout."""
    SILENT = "silent"
    """An answer without audio."""
    FAILED = "failed"
    """An answer that did not end as completed although nobody cut in."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller is going to do."""

    turns: int
    """Measured at most."""
    warmup_turns: int
    speech_frames: int
    gaps: tuple[float, ...]
    """Seconds before each question, used round and round."""
    cuts: tuple[bool, ...] = ()
    """Which questions cut into the answer before them, used round and round from number 0 on."""
    barge_in_after: float = 0.6
    frame_s: float = 0.0
    """Of audio in a frame, which is due at its end."""
    start_buffer: float = 0.06
    timeout: float = 15.0
    hangs_up_after: int = 0
    """Turns of the call; 0: the caller stays until told to go."""
    is_rude: bool = False
    """Breaks the connection off in the middle of the last answer."""
    bytes_per_second: int = 48_000
    """Of the answer's audio format."""

    def cuts_in(self, number: int) -> bool:
        """Whether the question of that number begins while the answer before it is playing."""
        return bool(self.cuts) and self.cuts[number % len(self.cuts)]


def every(nth: int) -> tuple[bool, ...]:
    """The cuts of a caller whose every n-th question cuts in; 0: none does."""
    return (True, *[False] * (nth - 1)) if nth else ()


class Turn(msgspec.Struct, kw_only=True):
    """What happened in one turn; times are None until it did."""

    number: int
    measured: bool
    onset: float
    """When the first frame of speech was due."""
    player: Player
    end: float | None = None
    """When the last one was: the end of speech."""
    item_ids: list[str] = msgspec.field(default_factory=list)
    """The utterance; several if the server split it."""
    speech_started: float | None = None
    partial: float | None = None
    final: float | None = None
    response_id: str = ""
    answer_item_id: str = ""
    first_audio: float | None = None
    last_audio: float | None = None
    last_news: float | None = None
    done: float | None = None
    status: str = ""
    cut_at: float | None = None
    """When the next question began that cut this answer off: its first sample."""
    ducked: float | None = None
    """When the answer was held back, if it did not come back."""
    confirmed: float | None = None
    """When the server was sure that it is cut off."""
    missed_cut: bool = False
    """The answer was over before the caller could cut in."""
    false_cuts: int = 0
    """Times the server heard the caller speak into the answer although they were silent."""
    extra_responses: int = 0
    late_audio: int = 0
    """Pieces of audio after the answer's audio was done or cancelled."""
    outcome: Outcome | None = None
    spans: tuple[Span, ...] = ()

    def outcome_of_done(self) -> Outcome:
        """By how its response ended."""
        if self.status != "completed":
            return Outcome.FAILED
        return Outcome.SILENT if self.first_audio is None else Outcome.COMPLETED
