"""What a reply is to answer, and what it tells of it: facts, posted in the order they come true.

One that was begun before it was asked for posts `Foreseen` facts, until it is adopted.
"""

from msgspec import Struct

from providers.base import Finish, LLMRequest, Passage, ProviderError, ToolCallDelta
from voice.patience import Patience
from voice.settings import Settings


class Retrieved(Struct, frozen=True, tag=True):
    turn: int
    passages: tuple[Passage, ...]
    problem: str = ""
    """Why there may be fewer than there should be."""


class Thought(Struct, frozen=True, tag=True):
    """The first token came."""

    turn: int


class Phrased(Struct, frozen=True, tag=True):
    """The first clause is complete."""

    turn: int


class Said(Struct, frozen=True, tag=True):
    """The next words of the answer: their sound begins, or they are all there is of it."""

    turn: int
    text: str
    holds: bool = False
    """It only breaks a silence: what was asked for still has to come."""


class Sounded(Struct, frozen=True, tag=True):
    """The next sound, s16le at the wire's rate."""

    turn: int
    pcm: bytes


class Marked(Struct, frozen=True, tag=True):
    """The answer's words up to offset `chars` end at `at_ms` of its sound."""

    turn: int
    chars: int
    at_ms: float


class Called(Struct, frozen=True, tag=True):
    turn: int
    delta: ToolCallDelta


class Failed(Struct, frozen=True, tag=True):
    """A provider gave up; an apology may follow."""

    turn: int
    error: ProviderError


class Broke(Struct, frozen=True, tag=True):
    """Our bug; `what` is the exception's name."""

    turn: int
    what: str


class Ended(Struct, frozen=True, tag=True):
    """Nothing more comes."""

    turn: int
    finish: Finish


Fact = Retrieved | Thought | Phrased | Said | Sounded | Marked | Called | Failed | Broke | Ended


class LeftOut(Struct, frozen=True, tag=True):
    """The reply was not begun: something spoke against it. Told for the tape, as a replay does not
    know what."""

    turn: int


class Foreseen(Struct, frozen=True):
    """A fact of a reply that nobody has asked for yet: the session's `number`th such reply."""

    number: int
    fact: Fact | LeftOut


class Task(Struct, frozen=True, kw_only=True):
    """What is to be answered, as things stood when the answer was asked for."""

    turn: int
    request: LLMRequest
    instructions: str
    settings: Settings
    language: str
    retrieve: bool
    context_tokens: int
    retrieval_limit_s: float
    tokens: Patience
    audio: Patience
    max_speech_s: float
    quiet_since: float
    """Loop time from which on the caller has heard nothing; inf: nothing was asked yet."""
    hold_after_s: float
    """Silence for so long is broken by a word; 0: never."""
    say: str = ""
    """What is said instead of an answer."""
    sentence_gap_ms: int
    clause_gap_ms: int
