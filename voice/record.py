"""The record of turns: one timeline each, closed exactly once, told to all who want it."""

from collections.abc import Callable

import msgspec
import structlog
from msgspec import Struct

from voice import metrics, wire
from voice.timeline import Outcome, Timeline


class Closing(Struct, frozen=True, kw_only=True):
    """What is known of a turn beside its times."""

    item_id: str | None = None
    response_id: str | None = None
    cut_in_ms: float | None = None
    problem: str = ""
    """What a provider could not do for it."""
    asked: str = ""
    answered: str = ""
    """Words; logged only where the operator allows it."""


class Record:
    """One session's turns.

    Args:
        send: Takes `kaiwa.turn.timeline`; called only where the client asked for it.
    """

    def __init__(
        self,
        session_id: str,
        *,
        figures: metrics.Figures,
        send: Callable[[wire.ServerEvent], None],
        log_words: bool,
    ) -> None:
        self._session_id = session_id
        self.figures, self._send, self._log_words = figures, send, log_words
        self._open: dict[int, Timeline] = {}
        self._log = structlog.get_logger().bind(session=session_id)

    def timeline(self, turn: int) -> Timeline:
        """The turn's own; made when it is first asked for."""
        if turn not in self._open:
            self._open[turn] = Timeline(turn, f"{self._session_id}-{turn}")
        return self._open[turn]

    def is_open(self, turn: int) -> bool:
        return turn in self._open

    def close(
        self, turn: int, outcome: Outcome, at: float, closing: Closing, *, tell: bool
    ) -> None:
        timeline = self._open.pop(turn, None)
        if timeline is None:
            return
        record = timeline.close(outcome, at, closing.cut_in_ms)
        self.figures.record(record, at)
        fields = msgspec.to_builtins(record)
        fields["item_id"], fields["response_id"] = closing.item_id, closing.response_id
        words = {"asked": closing.asked, "answered": closing.answered} if self._log_words else {}
        if closing.problem:
            words["problem"] = closing.problem
        self._log.info("turn", **fields, **words)
        if tell:
            self._send(wire.TurnTimeline(record=fields))

    def close_all(self, outcome: Outcome, at: float) -> None:
        """The call is over; nobody is there to be told."""
        for turn in list(self._open):
            self.close(turn, outcome, at, Closing(), tell=False)
