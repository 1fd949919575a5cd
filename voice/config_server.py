"""The server's own settings: whom it serves, what it leaves out, logs and records."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from voice.config_kinds import Count, Seconds

Lag = Annotated[float, Meta(gt=0, le=60_000)]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class ServerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"
    """Any other address needs `api_keys`."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    api_keys: tuple[str, ...] = ()
    """Callers' keys; none: nobody is asked, which only 127.0.0.1 may do."""
    allowed_origins: tuple[str, ...] = ()
    """Origins whose pages may connect, beside the server's own: "https://voice.example.com"."""
    max_sessions: Count = 100
    max_frame_kib: Count = 2048
    """Largest WebSocket message; longer ones end the connection with 1009."""
    send_limit_s: Seconds = 5.0
    """A client that takes nothing for so long is dropped."""
    drain_s: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """How long a stopping server lets calls finish."""
    ping_s: Seconds = 20.0
    """Between two pings, and for the answer to one: who vanished without a word is noticed after
    at most twice as long."""


class LoadConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out while the server comes late; see voice/load.py."""

    lag_ms: tuple[Lag, Lag, Lag, Lag] = (5.0, 10.0, 15.0, 25.0)
    """The usual lateness of the event loop from which on there are fewer partials, no speculation,
    larger frames, no further calls (where there are 10 or more). 60000: never."""


class LogConfig(Struct, frozen=True, forbid_unknown_fields=True):
    level: LogLevel = "INFO"
    json: bool = True
    transcripts: bool = False
    """Whether what callers say may stand in the log."""


class RecordConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Whole calls as files, for `kaiwa replay`: they hold the caller's voice and words."""

    folder: str = ""
    """Where they are written; empty: nothing is recorded."""
    most_mb: Count = 200
    """Of one call, about half an hour; what comes after is not in its file."""
    keep_days: Annotated[float, Meta(ge=0, le=36_500)] = 30
    """What is older is deleted; 0: nothing is for its age."""
    keep_mb: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 20_000
    """Of all calls together: beyond it the oldest are deleted; 0: none are."""
