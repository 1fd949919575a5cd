"""What is done unasked: a greeting, a word into a silence, what the model ordered, the end."""

from providers.base import Message
from voice.carrier import Target
from voice.facts import Returned, TransferEnded
from voice.floor import Floor
from voice.house import Report, Transfer
from voice.initiative import HangUp, Say


def take_initiative(floor: Floor, at: float) -> None:
    """Does what is due."""
    house, initiative = floor.house, floor.initiative
    if floor.over or not (initiative.watches or house.is_busy):
        return
    floor.tell_model()
    answering = floor.answers.current is not None or floor.keypad.waits
    quiet = floor.turns.quiet and not answering and not floor.away
    act = house.tick(at, quiet=quiet)
    match act or initiative.tick(at, quiet=quiet and not house.is_busy):
        case HangUp(why=why):
            floor.over = why
        case Say(text=text):
            floor.carry_out(floor.turns.speak_up(text), at)
        case Transfer(target=name):
            floor.transfer(Target(name, floor.config.telephony.transfer[name]))
        case Report():
            floor.carry_out(floor.turns.request_reply(), at)


def returned(floor: Floor, fact: Returned) -> None:
    """The model is told, and tells the caller."""
    what = (
        f"The caller was just transferred to somebody else, who did not take the call "
        f"({fact.why}), and is back with you. Say so, and ask how else you can help."
    )
    floor.conversation.note("", [Message(role="system", content=what)])
    floor.house.reports()


def transferred(floor: Floor, fact: TransferEnded) -> None:
    """The carrier says what became of it."""
    if gone := floor.house.transferred(fact.problem):
        floor.over = gone.why
