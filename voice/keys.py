"""What the keys of a caller's telephone do in a call: told to the client, collected, answered."""

from voice import metrics, wire
from voice.facts import KeyPressed
from voice.floor import Floor
from voice.keypad import KEYS, words_of
from voice.timeline import Outcome


def press(floor: Floor, fact: KeyPressed, at: float) -> None:
    """Other signs than a telephone's are passed over."""
    if len(fact.key) != 1 or fact.key not in KEYS:
        return
    floor.send(wire.KeyReceived(event=fact.key, received_at=fact.received_at))
    if floor.config.keypad.interrupts and floor.answers.current is not None:
        metrics.BARGE_INS.labels("key").inc()
        floor.answering.cut("turn_detected", Outcome.INTERRUPTED, at)
    _answer(floor, floor.keypad.press(fact.key, at), at)


def tick(floor: Floor, at: float) -> None:
    """What time alone has made due."""
    _answer(floor, floor.keypad.tick(at), at)


def _answer(floor: Floor, keys: str, at: float) -> None:
    if keys:
        floor.carry_out(floor.turns.typed(words_of(keys), at), at)
