"""The values of a report, and its JSON."""

import msgspec

from voice.bench.config import BenchConfig, KnownDelays
from voice.bench.distribution import Distribution
from voice.bench.figures import Counts, TurnFigures
from voice.bench.knocking import Knocks
from voice.bench.scrape import LoopLag

LAG_LIMIT_MS = 5.0
"""p99 of the generator's own lateness above which its figures say more about it than the server."""


class ServerUse(msgspec.Struct, frozen=True, kw_only=True):
    """What the server took, its child processes included."""

    cpu_per_session_s: float
    """Seconds of CPU for each second of each session."""
    cpu_cores: float
    """Cores busy on average while the window was open."""
    busy: tuple[float, ...] = ()
    """Of each server: the share of its core that it used."""
    waited: tuple[float, ...] = ()
    """Of each: the share of time in which it had something to do and others had the core."""
    memory_before_mb: float
    """Before the run's first caller, after a call that is not counted."""
    memory_mb: float
    """At the end of the window, with all of them."""
    memory_per_session_mb: float | None
    """MiB; the difference shared out. None behind a step of as many callers or more, whose memory
    is used again, and where the server took none at all."""
    processes: int


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One number of callers."""

    callers: int
    window_s: float
    """From the moment all callers were connected to the last measured turn."""
    mean_callers: float = 0.0
    """That were there, over the window."""
    calls: int = 0
    """That were there at some time in the window."""
    figures: dict[str, Distribution]
    spans: dict[str, Distribution]
    """The server's own account of its turns, where it gives one."""
    counts: Counts
    lag_ms: Distribution
    """How late the generator sent its frames."""
    server: ServerUse | None
    loop_lag: LoopLag | None = None
    """The server's own account of its loop, where it gives one."""
    knocks: Knocks | None = None
    load_average: float = 0.0
    """Of the whole machine over the last minute, at the end of the window."""
    error_texts: tuple[str, ...]
    closed_texts: tuple[str, ...]
    refused_texts: tuple[str, ...] = ()
    turns: tuple[TurnFigures, ...]

    @property
    def name(self) -> str:
        return "1 caller" if self.callers == 1 else f"{self.callers} callers"

    @property
    def is_trusted(self) -> bool:
        return self.lag_ms.p99 <= LAG_LIMIT_MS


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """Where it was measured."""

    system: str
    processor: str
    cores: int
    python: str
    versions: dict[str, str]
    server_cores: tuple[int, ...]
    """What the server was pinned to; empty: nothing, or it was not started by the run."""
    generator_cores: tuple[int, ...]


class Ramp(msgspec.Struct, frozen=True, kw_only=True):
    """What a ramp found."""

    slo: str
    held: int
    """The most callers of a step that kept it; 0: none did."""
    broke: int | None
    """The first step that did not, twice over; None: all did."""
    why: tuple[str, ...]
    is_decided: bool
    """False: the step that broke had a generator that was late itself."""

    def __str__(self) -> str:
        held = f"Held up to {self.held} callers" if self.held else "Not even the first step held"
        if self.broke is None:
            return f"{held}, the last step; it may hold more. ({self.slo})"
        if not self.is_decided:
            return (
                f"{held}; at {self.broke} the generator was late itself, so that nothing can be "
                f"said of the server. ({self.slo})"
            )
        return f"{held}; {self.broke} broke twice: {'; '.join(self.why)}. ({self.slo})"


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    date: str
    url: str
    speech: str
    """What was said."""
    speech_ms: float
    cut_lead_ms: float
    """Silence taken off the recording's ends; the end of speech is the last sample that is left."""
    cut_tail_ms: float
    known: KnownDelays | None
    known_source: str
    known_total_ms: float | None
    config: BenchConfig
    """Without the key."""
    environment: Environment
    figures: dict[str, Distribution]
    """Of all steps together."""
    steps: tuple[Step, ...]
    ramp: Ramp | None = None
    warnings: tuple[str, ...]
    """What a reader must know before believing a figure."""

    @property
    def is_trusted(self) -> bool:
        return all(step.is_trusted for step in self.steps)


def to_json(report: BenchReport) -> bytes:
    return msgspec.json.format(msgspec.json.encode(report), indent=1)
