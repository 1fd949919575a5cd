"""What a session's settings ask of the turn-taker."""

from msgspec import Struct


class TurnRules(Struct, frozen=True, kw_only=True):
    automatic: bool = True
    silence_ms: int = 500
    """Ends a turn; exact, unless `adaptive`."""
    adaptive: bool = False
    """The words so far say how long the silence is."""
    prefix_ms: int = 300
    create_response: bool = True
    interrupt_response: bool = True
    final_after_ms: int = 200
    """Silence after which the recogniser is asked for its final, so that it is there in time."""
    final_limit_s: float = 2.0
    max_utterance_s: float = 60.0
    stall_s: float = 1.5
    confirm_ms: int = 600
    """Speech over an answer that is so long cuts it; without a word at times twice that, see
    barge_in.py; 0: any does, at once."""
    confirm_hypotheses: int = 2
    """So many in a row that begin alike, with words that take the floor, cut it sooner. A final
    needs no second."""
    resume_ms: int = 1000
    """So long after a pause the answer goes on, where no word came by then; a later final that has
    some still cuts it."""
    echo_likeness: float = 0.5
    """Sound over an answer that is so much like what is played is our own voice."""
    far_db: float = 18.0
    """Sound over an answer that is so far below the caller's voice is somebody else's; 0: none is.
    """
    protected_ms: int = 0
    """From an answer's first sound: speech in there needs words to cut it."""
