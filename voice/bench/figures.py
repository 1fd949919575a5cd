"""Times of one turn to milliseconds, many turns to distributions and counts."""

from collections.abc import Sequence

import msgspec

from voice.bench.config import KnownDelays
from voice.bench.distribution import Distribution, distribution
from voice.bench.turn import Outcome, Turn

MEANINGS = {
    "connect_ms": "a call was due → its session is configured; first turns of calls",
    "partial_ms": "first frame of speech → first partial transcript",
    "final_ms": "end of speech → final transcript",
    "final_wait_ms": "end of the silence that ends a turn → final transcript; below 0: before it",
    "tts_start_ms": "end of speech → first audio of the answer",
    "tts_wait_ms": "end of the silence that ends a turn → first audio of the answer",
    "added_ms": "tts_start minus the delays known beforehand",
    "response_done_ms": "end of speech → response.done of an answer nobody cut off",
    "speech_started_ms": "first frame of speech → speech_started",
    "barge_in_stop_ms": "first sample of the interruption → last audio of the answer it cuts off",
    "barge_in_duck_ms": "first sample of the interruption → the answer is held back, for good",
    "barge_in_cut_ms": "first sample of the interruption → speech_started: the cut is certain",
    "barge_in_quiet_ms": "first sample of the interruption → a stock player is silent",
}
"""Every figure of a turn, in the order it is shown, and what it measures."""


class TurnFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One measured turn. A figure is None when the turn never got there."""

    caller: int
    number: int
    at_s: float
    """When its speech began, from the opening of the window."""
    outcome: Outcome
    connect_ms: float | None = None
    partial_ms: float | None = None
    final_ms: float | None = None
    final_wait_ms: float | None = None
    tts_start_ms: float | None = None
    tts_wait_ms: float | None = None
    added_ms: float | None = None
    response_done_ms: float | None = None
    speech_started_ms: float | None = None
    barge_in_stop_ms: float | None = None
    barge_in_duck_ms: float | None = None
    barge_in_cut_ms: float | None = None
    barge_in_quiet_ms: float | None = None
    audio_ms: float = 0.0
    """Length of the answer that arrived."""
    underruns: int = 0
    dry_ms: float = 0.0
    late_audio: int = 0
    false_cuts: int = 0
    extra_responses: int = 0
    missed_cut: bool = False
    spans: dict[str, float] = {}
    """The server's own account, where it gives one."""


def turn_figures(
    turn: Turn,
    *,
    caller: int,
    opened_at: float,
    silence_ms: float | None = None,
    connect_ms: float | None = None,
) -> TurnFigures:
    """Figures of a turn that is over; `added_ms` comes later (`with_added`).

    Args:
        connect_ms: Of the call; its first turn shows it.
        silence_ms: After the end of speech, for a turn to be over; None: the server tells of none.
    """
    final_ms, tts_start_ms = _ms(turn.end, turn.final), _ms(turn.end, turn.first_audio)
    return TurnFigures(
        caller=caller,
        number=turn.number,
        at_s=round(turn.onset - opened_at, 4),
        outcome=turn.outcome or Outcome.LOST,
        connect_ms=connect_ms if turn.number == 1 else None,
        partial_ms=_ms(turn.onset, turn.partial),
        final_ms=final_ms,
        final_wait_ms=_after(final_ms, silence_ms),
        tts_start_ms=tts_start_ms,
        tts_wait_ms=_after(tts_start_ms, silence_ms),
        response_done_ms=_ms(turn.end, turn.done) if turn.outcome is Outcome.COMPLETED else None,
        speech_started_ms=_ms(turn.onset, turn.speech_started),
        barge_in_stop_ms=_at_least_0(_ms(turn.cut_at, turn.last_audio)),
        barge_in_duck_ms=_ms(turn.cut_at, turn.ducked),
        barge_in_cut_ms=_ms(turn.cut_at, turn.confirmed),
        barge_in_quiet_ms=_at_least_0(_ms(turn.cut_at, turn.player.silent_from())),
        audio_ms=round(turn.player.received * 1000, 3),
        underruns=turn.player.underruns,
        dry_ms=round(turn.player.dry * 1000, 3),
        late_audio=turn.late_audio,
        false_cuts=turn.false_cuts,
        extra_responses=turn.extra_responses,
        missed_cut=turn.missed_cut,
        spans={span.name: span.ms for span in turn.spans},
    )


def _ms(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else round((end - start) * 1000, 3)


def _after(ms: float | None, silence_ms: float | None) -> float | None:
    return None if ms is None or silence_ms is None else round(ms - silence_ms, 3)


def _at_least_0(ms: float | None) -> float | None:
    """0 when the whole answer had arrived before: a server that sends faster than real time."""
    return None if ms is None else max(0.0, ms)


def with_added(turn: TurnFigures, known: KnownDelays) -> TurnFigures:
    """The same turn with what the server added to the known delays."""
    if turn.tts_start_ms is None:
        return turn
    return msgspec.structs.replace(turn, added_ms=round(turn.tts_start_ms - known.total_ms, 3))


def distributions(turns: Sequence[TurnFigures]) -> dict[str, Distribution]:
    """Every figure that has at least one value."""
    found = {name: distribution(getattr(turn, name) for turn in turns) for name in MEANINGS}
    return {name: value for name, value in found.items() if value is not None}


def span_distributions(turns: Sequence[TurnFigures]) -> dict[str, Distribution]:
    """The server's spans, in the order they were sent."""
    names = dict.fromkeys(name for turn in turns for name in turn.spans)
    found = {name: distribution(turn.spans.get(name) for turn in turns) for name in names}
    return {name: value for name, value in found.items() if value is not None}


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What happened how often. Everything below `hung_up` should be 0."""

    planned: int
    completed: int
    cut: int
    hung_up: int = 0
    """The caller broke off in mid-answer, as planned."""
    lost: int
    """No answer in time, the connection gone, or never begun because of that."""
    failed: int
    """Stalled, without audio, or not completed although nobody cut in."""
    underruns: int
    late_audio: int
    false_cuts: int
    extra_responses: int
    """Second answers to one question, and answers begun while the caller still spoke."""
    missed_cuts: int
    errors: int
    closed: int
    """Connections that ended during the run."""
    refused: int = 0
    """Calls that got no session."""


def count(
    turns: Sequence[TurnFigures],
    *,
    planned: int,
    unasked: int,
    errors: int,
    closed: int,
    refused: int = 0,
) -> Counts:
    """Sums over measured turns; a planned turn that never came to be counts as lost."""
    outcomes = [turn.outcome for turn in turns]
    lost = outcomes.count(Outcome.LOST) + planned - len(turns)
    completed, cut = outcomes.count(Outcome.COMPLETED), outcomes.count(Outcome.CUT)
    hung_up = outcomes.count(Outcome.HUNG_UP)
    return Counts(
        planned=planned,
        completed=completed,
        cut=cut,
        lost=lost,
        hung_up=hung_up,
        failed=planned - completed - cut - hung_up - lost,
        underruns=sum(turn.underruns for turn in turns),
        late_audio=sum(turn.late_audio for turn in turns),
        false_cuts=sum(turn.false_cuts for turn in turns),
        extra_responses=sum(turn.extra_responses for turn in turns) + unasked,
        missed_cuts=sum(turn.missed_cut for turn in turns),
        errors=errors,
        closed=closed,
        refused=refused,
    )
