"""Where a turn's time went: spans that touch, on one clock, whose sum is the total.

    speech_end ──endpoint──┬─final─┬─retrieval─┬─llm─┬─clause─┬─tts─┬─tts_start─┬─heard

Stages that ran side by side are charged by the critical path: a span ends at its own stamp, or
where the span before it ended if that is later, so a stage nobody waited for costs nothing.
"""

from collections import deque
from enum import StrEnum
from math import ceil

import msgspec

GRID = 16
"""Times are kept in sixteenths of a millisecond: such fractions add up exactly as floats, in any
order and in any reader, which tenths or thousandths do not."""
MOST_OF_PAUSE_S = 2.1
"""With more, a word would break the silence at once (2.5 s, voice/speaker.py), and the answer would
have no chance to do it."""
AT_ONCE_S = 0.1


class Stage(StrEnum):
    """What is stamped. From `endpoint` on, the stages are the spans, in this order."""

    REQUEST = "request"
    """When a turn without speech was asked for."""
    SPEECH_START = "speech_start"
    SPEECH_END = "speech_end"
    PARTIAL = "partial"
    ENDPOINT = "endpoint"
    FINAL = "final"
    RETRIEVAL = "retrieval"
    LLM_FIRST_TOKEN = "llm_first_token"
    FIRST_CLAUSE = "first_clause"
    TTS_FIRST_AUDIO = "tts_first_audio"
    TTS_START = "tts_start"
    HEARD = "heard"


_STAGES = tuple(Stage)
SPANS = _STAGES[_STAGES.index(Stage.ENDPOINT) :]


class Outcome(StrEnum):
    """How a turn ended."""

    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    """The caller cut in."""
    CANCELLED = "cancelled"
    """The client asked for it."""
    NO_SPEECH = "no_speech"
    """Nothing was understood."""
    NO_REPLY = "no_reply"
    """None was asked for."""
    FAILED = "failed"


class Span(msgspec.Struct, frozen=True):
    """One stage's share of the turn."""

    name: Stage
    ms: float


class TurnRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A closed turn, as `kaiwa.turn.timeline` tells it."""

    turn: int
    request_id: str
    outcome: Outcome
    spans: tuple[Span, ...]
    total_ms: float
    """Exactly the sum of the spans."""
    lasted_ms: float
    """From the same origin to the turn's end: a failure's wait is in it, though no span reached."""
    partial_ms: float | None
    final_ms: float | None
    tts_start_ms: float | None
    """All three None where nothing was spoken: a typed question has neither speech nor silence."""
    cut_in_ms: float | None
    attempts: int = 0
    """So often the answer was begun before it was asked for."""
    lead_ms: float | None = None
    """How much of its way it had behind it then; None: no such attempt was adopted."""


class Timeline:
    """One turn's stamps. `at` is one monotonic clock in seconds; stamps may come in any order."""

    def __init__(self, turn: int, request_id: str) -> None:
        self.turn = turn
        self.request_id = request_id
        self._stamps: dict[Stage, float] = {}
        self.attempts = 0
        self.lead_ms: float | None = None

    def stamp(self, stage: Stage, at: float) -> None:
        """The first stamp of a stage is kept."""
        self._stamps.setdefault(stage, at)

    def close(self, outcome: Outcome, at: float, cut_in_ms: float | None = None) -> TurnRecord:
        """The record so far, measured from the end of speech, else from the request."""
        origin = self.origin(at)
        spans = []
        end_ms = 0.0
        for stage in SPANS:
            if (stamp := self._stamps.get(stage)) is not None:
                before_ms = end_ms
                end_ms = max(end_ms, _between_ms(origin, stamp))
                spans.append(Span(stage, end_ms - before_ms))
        return TurnRecord(
            turn=self.turn,
            request_id=self.request_id,
            outcome=outcome,
            spans=tuple(spans),
            total_ms=end_ms,
            lasted_ms=max(end_ms, _between_ms(origin, at)),
            partial_ms=self._from(Stage.SPEECH_START, Stage.PARTIAL),
            final_ms=self._from(Stage.SPEECH_END, Stage.FINAL),
            tts_start_ms=self._from(Stage.SPEECH_END, Stage.TTS_START),
            cut_in_ms=cut_in_ms,
            attempts=self.attempts,
            lead_ms=None if self.lead_ms is None else round(self.lead_ms * GRID) / GRID,
        )

    def origin(self, closed_at: float) -> float:
        """The end of speech, else the request: what all is measured from."""
        for stage in (Stage.SPEECH_END, Stage.REQUEST):
            if stage in self._stamps:
                return self._stamps[stage]
        return min((self._stamps[s] for s in SPANS if s in self._stamps), default=closed_at)

    def waits_since(self, at: float) -> float:
        """From when on the caller waits for us, where the answer begins at `at`: of the time that
        was left to them to go on, `MOST_OF_PAUSE_S` count at most; of a recogniser's delay all."""
        endpoint, final = (self._stamps.get(s, at) for s in (Stage.ENDPOINT, Stage.FINAL))
        late_s = max(0.0, final - endpoint) if at - final < AT_ONCE_S else 0.0
        return max(self.origin(at), at - late_s - MOST_OF_PAUSE_S)

    def _from(self, first: Stage, last: Stage) -> float | None:
        start, end = self._stamps.get(first), self._stamps.get(last)
        return None if start is None or end is None else _between_ms(start, end)


def _between_ms(start: float, end: float) -> float:
    return max(0.0, round((end - start) * 1000 * GRID) / GRID)


class Summary(msgspec.Struct, frozen=True):
    """Percentiles are values that occurred (nearest rank); None where there were none."""

    count: int
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class Percentiles:
    """The last values of one figure."""

    def __init__(self, size: int = 2048) -> None:
        self._values: deque[tuple[float, float]] = deque(maxlen=size)

    def add(self, value: float, at: float) -> None:
        self._values.append((at, value))

    def summary(self, now: float, window_s: float | None = None) -> Summary:
        """Args:
        window_s: Only values added so long before `now`; None: all that are kept.
        """
        since = None if window_s is None else now - window_s
        values = sorted(value for at, value in self._values if since is None or at >= since)
        if not values:
            return Summary(0)
        p50, p95, p99 = (values[ceil(len(values) * share) - 1] for share in (0.5, 0.95, 0.99))
        return Summary(len(values), p50, p95, p99)
