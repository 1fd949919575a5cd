"""One timeline a turn, closed once, told to all who want it."""

import pytest
import structlog

from voice import metrics, wire
from voice.record import Closing, Record
from voice.timeline import Outcome, Stage


def recording(*, log_words: bool = False) -> tuple[Record, list[wire.ServerEvent], metrics.Figures]:
    sent: list[wire.ServerEvent] = []
    figures = metrics.Figures()
    return (
        Record("sess_1", figures=figures, send=sent.append, log_words=log_words),
        sent,
        figures,
    )


def test_a_turn_is_closed_once_and_told_with_all_that_is_known() -> None:
    record, sent, figures = recording()
    record.timeline(7).stamp(Stage.SPEECH_END, 1.0)
    record.timeline(7).stamp(Stage.ENDPOINT, 1.5)
    closing = Closing(item_id="item_1", response_id="resp_1")
    record.close(7, Outcome.COMPLETED, 2.0, closing, tell=True)
    record.close(7, Outcome.FAILED, 3.0, closing, tell=True)
    assert figures.turns == 1
    (event,) = sent
    assert isinstance(event, wire.TurnTimeline)
    told = event.record
    assert (told["turn"], told["outcome"], told["total_ms"]) == (7, "completed", 500.0)
    assert (told["item_id"], told["response_id"]) == ("item_1", "resp_1")
    assert told["request_id"] == "sess_1-7"


def test_a_turn_nobody_knew_of_is_not_recorded() -> None:
    record, sent, figures = recording()
    record.close(1, Outcome.COMPLETED, 2.0, Closing(), tell=True)
    assert (sent, figures.turns) == ([], 0)
    assert not record.is_open(1)


@pytest.mark.parametrize("log_words", [False, True])
def test_words_stand_in_the_log_only_where_the_operator_allows_it(log_words: bool) -> None:
    record, _, _ = recording(log_words=log_words)
    with structlog.testing.capture_logs() as logs:
        record = Record("s", figures=metrics.Figures(), send=print, log_words=log_words)
        record.timeline(1)
        closing = Closing(asked="a secret", answered="another", problem="retrieval was slow")
        record.close(1, Outcome.COMPLETED, 2.0, closing, tell=False)
    assert ("a secret" in str(logs)) is log_words
    assert logs[0]["problem"] == "retrieval was slow"


def test_at_the_end_of_the_call_every_open_turn_is_closed_in_silence() -> None:
    record, sent, figures = recording()
    record.timeline(1)
    record.timeline(2)
    record.close_all(Outcome.CANCELLED, 5.0)
    record.close_all(Outcome.CANCELLED, 6.0)
    assert figures.turns == 2
    assert sent == [] and not record.is_open(1) and not record.is_open(2)
