"""What a generator process is told, and what it tells."""

import msgspec

from voice.bench.config import BenchConfig
from voice.bench.distribution import Tally
from voice.bench.figures import TurnFigures
from voice.bench.schedule import Call


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """The share of one process in one step."""

    config: BenchConfig
    calls: tuple[Call, ...]
    of: int
    """Callers of the whole step."""
    urls: tuple[str, ...]
    worker: int = 0
    """Number of the process."""
    window_s: float = 0.0
    """How long turns may begin that are measured; 0: until each caller has its number of them."""
    may_be_refused: bool = False
    """A call that gets no session is counted. Else it ends the run, and says what to do."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the callers of one process saw."""

    turns: tuple[TurnFigures, ...]
    lags: Tally
    """How late each frame of the window was sent."""
    session_s: float
    """Seconds in the window that callers were connected, all together."""
    calls: int
    """That were connected at some time in the window."""
    errors: int
    error_texts: tuple[str, ...]
    unasked: int
    closed: tuple[str, ...]
    """Why connections ended that should not have."""
    refused: tuple[str, ...]
    """Why calls got no session."""


class Message(msgspec.Struct, frozen=True):
    """From the worker to its parent."""

    kind: str
    message: str = ""
    result: Result | None = None
