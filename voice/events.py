"""What happens in a call, and what is to be done about it: the turn-taker's two vocabularies.

Facts are in the past tense, commands imperative. Positions are samples at 16 kHz since the call
began: audio time. Everything outbound carries the turn it belongs to.
"""

from msgspec import Struct

# --- Commands of the turn-taker -----------------------------------------------------------------


class OpenUtterance(Struct, frozen=True):
    """The caller began to speak: turn `turn` begins."""

    turn: int
    sample: int


class Interrupt(Struct, frozen=True):
    """The caller speaks over the answer: cut it."""


class Duck(Struct, frozen=True):
    """The caller may be speaking over the answer: no further sound of it until that is known."""


class Unduck(Struct, frozen=True):
    """The answer goes on where it stopped."""


class Dismiss(Struct, frozen=True):
    """What sounded over the answer was no turn: forget it."""

    text: str
    echo: bool
    """It was our own voice."""
    far: bool = False
    """It was somebody else's, across the room."""


class BeginSegment(Struct, frozen=True):
    """Recognise from `sample` on, as a further piece of the turn's utterance."""

    turn: int
    """0: it is not sure that it is one."""
    segment: int
    sample: int


class EndSegment(Struct, frozen=True):
    """Ask for the final hypothesis of the piece; the caller may still go on."""

    segment: int


class JudgePause(Struct, frozen=True):
    """Ask whether the pause at `sample` sounds like the end; the answer may come, late or never."""

    sample: int
    start: int
    """Where the utterance began, by its sound."""


class AbandonSegment(Struct, frozen=True):
    """Nothing of it is wanted any more."""

    segment: int


class CommitUtterance(Struct, frozen=True):
    """The utterance is over; it becomes an item of the conversation."""

    turn: int
    sample: int
    """Where the caller's words ended (a committed buffer: where it ended)."""
    forced: bool = False
    """It was too long, or the audio stopped coming."""


class Understood(Struct, frozen=True):
    """All finals are in."""

    turn: int
    text: str


class Misheard(Struct, frozen=True):
    """The recogniser failed, and there is not even a partial."""

    turn: int


class Typed(Struct, frozen=True):
    """The whole of a turn, by keys."""

    turn: int
    text: str


class StartReply(Struct, frozen=True):
    """Answer."""

    turn: int
    lost: bool = False
    """There is nothing to answer: the recogniser lost it, so ask for it again."""
    wordless: bool = False
    """The same, since it cut an answer and had no word: nobody would say anything any more."""
    say: str = ""
    """Nothing was asked: the agent says this by itself."""


class SkipReply(Struct, frozen=True):
    """The turn ends without an answer: nothing was said, or none was asked for."""

    turn: int
    no_speech: bool


Command = (
    OpenUtterance
    | Interrupt
    | Duck
    | Unduck
    | Dismiss
    | BeginSegment
    | EndSegment
    | JudgePause
    | AbandonSegment
    | CommitUtterance
    | Understood
    | Misheard
    | Typed
    | StartReply
    | SkipReply
)
