"""A far end of which nothing comes any more: its turn is closed, and nobody works for it."""

from voice.floor import Floor
from voice.handlers import drop_utterance, withdraw_reply
from voice.timeline import Outcome


def suspend(floor: Floor, at: float) -> None:
    """Nobody is there to hear an answer, or to finish a sentence; what was said stands."""
    floor.away = True
    if floor.turns.open_turn is not None:
        drop_utterance(floor, at)
    if floor.turns.reply_pending:
        withdraw_reply(floor, at)
    if floor.answers.current is not None:
        floor.answering.cut("client_cancelled", Outcome.CANCELLED, at)
