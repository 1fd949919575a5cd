"""What a run measures, and the delays that are known beforehand."""

from typing import Literal

import msgspec


class BenchError(Exception):
    """The run cannot be made; the text says what to do."""


class KnownDelays(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a turn must take because the providers are mocks (or slept) that long.

    speech end |--endpoint--|-stt final-|--llm first token--|-tokens x token-|--tts first--| audio
    """

    endpoint_ms: float = 0.0
    """Silence the server waits for; counted from the true end of speech."""
    stt_final_ms: float = 0.0
    """What the final takes *after* the endpointing silence; 0 if it is hidden in it."""
    llm_first_token_ms: float = 0.0
    """Request to first token."""
    llm_token_ms: float = 0.0
    """Between one token and the next."""
    tokens_to_first_clause: float = 0.0
    """Tokens that must follow the first one before the first clause can be spoken."""
    tts_first_audio_ms: float = 0.0
    """Clause to first audio."""

    @property
    def total_ms(self) -> float:
        return (
            self.endpoint_ms
            + self.stt_final_ms
            + self.llm_first_token_ms
            + self.tokens_to_first_clause * self.llm_token_ms
            + self.tts_first_audio_ms
        )


class BenchConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run: for each number of callers a step with its own connections."""

    url: str = "ws://127.0.0.1:8000/v1/realtime?model=kaiwa"
    """The realtime endpoint; ws, wss, http or https. Several with commas between them: each caller
    takes the one with the fewest. Not used with `spawn`."""
    transport: Literal["websocket", "twilio"] = "websocket"
    """How callers come in: as clients of the realtime wire, or by telephone."""
    twilio_auth_token: str = ""
    """Of the server's account; never written into a report. With `spawn` one is made."""
    twilio_account_sid: str = "AC00000000000000000000000000000000"
    public_url: str = ""
    """How the server's settings call it, where callers come by telephone; empty: its address."""
    api_key: str = ""
    """Sent as `Authorization: Bearer`; never written into a report."""
    callers: tuple[int, ...] = (1,)
    """Concurrent callers of each step; several numbers make a sweep."""
    turns: int = 20
    """Measured turns of each caller; with `churn`, of each place in the load, on average."""
    warmup_turns: int = 2
    """Turns of each caller that are thrown away first."""
    wav: str = ""
    """What callers say: a PCM WAV file of any rate. Empty: 2 s of speech made by the script."""
    barge_in_every: int = 5
    """Every n-th turn of a caller begins while the answer before it is playing; 0: never."""
    barge_in_share: float | None = None
    """Share of turns, drawn by chance, that begin so. None: as `barge_in_every` says."""
    barge_in_after_ms: float = 600.0
    """Into the answer's audio, as the caller hears it, at which the cutting-in begins."""
    churn: float = 0.0
    """Mean turns of a call, which then hangs up; new calls arrive meanwhile, at a rate that does
    not ask how the server is doing. 0: callers stay for the whole step."""
    rude_share: float = 0.0
    """Share of calls that break the connection off in the middle of an answer. Needs `churn`."""
    arrivals: Literal["poisson", "even"] = "poisson"
    """How calls arrive, with `churn`."""
    ramp: bool = False
    """Stop at the first step that breaks `slo`, twice over. A single number of callers is raised
    by itself until that comes."""
    slo: str = "added_p95_ms=20,lost=0,failed=0,underruns=0"
    """Ceilings that a step must keep to be held; see `voice.bench.slo`."""
    gap_ms: float = 600.0
    """From the end of an answer to the next question; each gap varies by a quarter either way."""
    silence_ms: int = 0
    """`silence_duration_ms` to ask the server for; 0: the server's own."""
    noise_dbfs: float = -70.0
    """Level of what the microphone sends between turns; at -120 and below digital silence."""
    frame_ms: int = 20
    """Audio in one append event."""
    start_buffer_ms: float = 60.0
    """What a caller's player holds back before it starts; running dry after that is an underrun."""
    timeout_s: float = 15.0
    """From the end of speech to first audio, or from one piece of an answer to the next."""
    ramp_s: float | None = None
    """Over which the callers of a step connect. None: the length of a turn, so that they are
    spread over it as strangers are; when all begin at once, all are answered at once."""
    known: KnownDelays | None = None
    """Delays known beforehand. None: asked of the server's `GET /api/bench/known-delays`."""
    extensions: bool = True
    """Ask for `kaiwa.*` events. A server that does not know them refuses; that is no error."""
    knocking: float = 0.0
    """Calls a second that come on top and find no line free, for 2 s out of 4."""
    processes: int = 1
    """Generator processes the callers are spread over."""
    seed: int = 1
    """Of gaps, frame phases and background noise."""
    server_pid: int = 0
    """Process whose CPU and memory (children included) are measured; 0: none."""
    spawn: bool = False
    """Start `kaiwa serve` for this run, pinned to `server_cores`, and stop it afterwards."""
    profile: str = "mock"
    """Profile of the server that is started."""
    settings: str = ""
    """Settings file of the server that is started; empty: none."""
    servers: int = 1
    """How many are started; each caller takes the one with the fewest."""
    server_cores: tuple[int, ...] = ()
    """A core for each server that is started; the generator gets the others. Empty: the first
    ones."""
    json_path: str = ""
    """Where the report is written as JSON; empty: nowhere."""
    html_path: str = ""
    """Where the report is written as one HTML page; empty: nowhere."""
    date: str = ""
    """Written into the report as it is."""

    def __post_init__(self) -> None:
        limits: dict[str, tuple[float, float, float]] = {
            "turns": (self.turns, 1, 1_000_000),
            "warmup_turns": (self.warmup_turns, 0, 1_000),
            "barge_in_every": (self.barge_in_every, 0, 1_000_000),
            "barge_in_after_ms": (self.barge_in_after_ms, 0, 60_000),
            "gap_ms": (self.gap_ms, 0, 600_000),
            "silence_ms": (self.silence_ms, 0, 10_000),
            "frame_ms": (self.frame_ms, 5, 1_000),
            "start_buffer_ms": (self.start_buffer_ms, 0, 5_000),
            "timeout_s": (self.timeout_s, 0.1, 600),
            "ramp_s": (self.ramp_s or 0, 0, 3_600),
            "processes": (self.processes, 1, 64),
            "barge_in_share": (self.barge_in_share or 0, 0, 1),
            "churn": (self.churn, 0, 10_000),
            "rude_share": (self.rude_share, 0, 1),
            "servers": (self.servers, 1, 64),
            "knocking": (self.knocking, 0, 10_000),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise BenchError(f"{name} must be {low}..{high}, got {value}")
        if not self.callers or min(self.callers) < 1:
            raise BenchError(f"callers must be one or more numbers >= 1, got {self.callers}")
        if self.spawn and self.server_pid:
            raise BenchError("server_pid and spawn exclude each other: spawn knows its pid")
        if self.servers > 1 and not self.spawn:
            raise BenchError(
                "servers are started by the run; for yours, give url several addresses"
            )
        if self.knocking and (self.churn or self.ramp or len(self.callers) > 1 or self.servers > 1):
            raise BenchError(
                "knocking needs one server that is full: one number of callers, no churn, no ramp"
            )
        if self.transport != "websocket":
            self._check_phones()
        if 0 < self.churn < 1:
            raise BenchError(f"churn must be 0, or at least 1 turn a call, got {self.churn}")
        if self.rude_share and not self.churn:
            raise BenchError("rude_share needs churn: callers who stay do not hang up")

    def _check_phones(self) -> None:
        if self.silence_ms or self.knocking:
            raise BenchError("silence_ms and knocking are for transport websocket")
        if self.frame_ms != 20:
            raise BenchError(f"frame_ms: telephones send 20 ms at a time, got {self.frame_ms}")
        if not self.spawn and not self.twilio_auth_token:
            raise BenchError(
                "twilio_auth_token: that of the server's account is needed; set TWILIO_AUTH_TOKEN"
            )
