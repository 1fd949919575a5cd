"""The Protocols every provider answers to, and the values that cross them.

Two shapes, by who sets the pace:

    pushed  VAD, STT,      audio arrives when it arrives: `feed()` never blocks, results come back
            turn model     through a sink that is called on the event loop, in order
    pulled  LLM, TTS       we ask and iterate: an async generator, under `contextlib.aclosing`;
                           closing it stops the work behind it, down to the HTTP response

All PCM is signed 16-bit little-endian mono. What goes to VAD, STT and turn models is 16 kHz.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from enum import StrEnum
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

LISTEN_RATE_HZ = 16_000
"""The one rate at which VAD and STT hear."""


class Slot(StrEnum):
    """The places a provider can stand in."""

    VAD = "vad"
    STT = "stt"
    LLM = "llm"
    TTS = "tts"
    EMBEDDER = "embedder"
    RERANKER = "reranker"
    TURN = "turn"


class Fault(StrEnum):
    """Why a provider failed; what a fallback, a retry and a log line are decided by."""

    UNREACHABLE = "unreachable"
    """No connection: refused, reset while connecting, name not found."""
    TIMEOUT = "timeout"
    """Connected, but nothing (more) came within the limit."""
    REFUSED = "refused"
    """Answered that it will not: bad request, bad key, unknown model."""
    OVERLOADED = "overloaded"
    """Answered that it cannot now: 429, 503, queue full."""
    BROKEN = "broken"
    """Answered, but not in its own protocol: bad JSON, cut stream, NaN, far too little audio."""
    CRASHED = "crashed"
    """Its worker died."""


class ProviderError(Exception):
    """A provider could not do its part. The text says what to do about it."""

    def __init__(self, slot: Slot, provider: str, fault: Fault, message: str) -> None:
        super().__init__(f"{slot.value} {provider}: {message}")
        self.slot = slot
        self.provider = provider
        self.fault = fault
        self.message = message
        self.was_told = False
        """Whether it is in the log and the metrics already."""

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later or elsewhere."""
        return self.fault is not Fault.REFUSED


class NoNews(Exception):
    """It could not be asked now, for a good reason: what was known of it stands."""


class ProviderInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How a provider presents itself in /health; never carries a key."""

    slot: Slot
    provider: str
    endpoint: str = "in-process"
    is_mock: bool = False
    model: str = ""


class Provider(Protocol):
    """What all of them share."""

    @property
    def info(self) -> ProviderInfo: ...

    async def start(self) -> None:
        """Load what must be loaded, so that the first caller does not wait for it. Idempotent.

        Raises:
            ProviderError: If it cannot serve; the message says what to do.
        """

    async def check(self) -> None:
        """One real, small request: returns if it succeeded, raises ProviderError if not, or
        NoNews if our own requests are what keeps it from answering.

        Made now and then, see `voice.health`. A provider may have attributes besides: `ping`, an
        `async def ping(self) -> None` that raises ProviderError where the server is dead and costs
        it nothing, asked once a second, or as `ping_every_s` says; `check_every_s`, where a check
        costs money; and `doubt`, what seems wrong though nothing has failed yet, or "".
        Of a model and a voice `is_paid` and `waiting`, the number of requests that wait for a place
        there, say whether an answer may be begun before it is asked for.
        """

    async def aclose(self) -> None:
        """Give everything back, within 2 s. Idempotent."""


# --- VAD ----------------------------------------------------------------------------------------

VAD_CHUNK_SAMPLES = 512
"""What Silero looks at: 32 ms at 16 kHz."""
VAD_BLOCK_SAMPLES = 64
"""Loudness is given per 4 ms: finer than speech is judged, to place its end exactly."""


class VadFrame(msgspec.Struct, frozen=True):
    """One judged chunk."""

    end_sample: int
    """Position, in samples since the stream opened, just behind this chunk."""
    probability: float
    """That it holds speech, 0..1."""
    rms: tuple[float, ...]
    """Loudness of each 4 ms block of the chunk, 0..32767; eight blocks."""


class VadStream(Protocol):
    """One caller's audio."""

    def feed(self, pcm: bytes) -> None:
        """Any number of whole samples at 16 kHz; a rest shorter than a chunk waits for more."""

    def close(self) -> None: ...


class VAD(Provider, Protocol):
    """Is somebody speaking?"""

    def open(self, sink: Callable[[VadFrame], None]) -> VadStream: ...


# --- STT ----------------------------------------------------------------------------------------


class Hypothesis(msgspec.Struct, frozen=True):
    """What the recogniser believes was said in one utterance, so far or for good."""

    utterance: int
    text: str
    is_final: bool


class SttFailure(msgspec.Struct, frozen=True):
    """The recogniser lost this utterance; its final will not come."""

    utterance: int
    error: ProviderError


SttSink = Callable[[Hypothesis | SttFailure], None]


class SttStream(Protocol):
    """One caller's utterances, one after another.

        begin(1) feed feed feed end      -> partial, partial, final of 1
        begin(2) feed abandon            -> nothing more of 2
        begin(3) feed end abandon(3)     -> nothing more of 3, and it costs nothing more

    After `end()` exactly one final Hypothesis or SttFailure of that utterance follows, unless the
    utterance is abandoned or the stream closed first. `begin()` of the next utterance may come
    before the final of the last.
    """

    def begin(self, utterance: int) -> None: ...

    def feed(self, pcm: bytes) -> None: ...

    def end(self) -> None: ...

    def abandon(self, utterance: int | None = None) -> None:
        """Args:
        utterance: Ended or not; one that is over is no error. None: the one being spoken.
        """

    def close(self) -> None: ...


class STT(Provider, Protocol):
    """What was said?"""

    def open(self, sink: SttSink, *, language: str = "", hotwords: Sequence[str] = ()) -> SttStream:
        """Args:
        sink: Called on the event loop with every changed partial, every final, every failure.
        language: BCP 47 tag the caller asked for; empty: the provider's own.
        hotwords: Words and phrases to be expected; a provider that cannot use them ignores them.
        """


# --- Turn model ---------------------------------------------------------------------------------

TURN_WINDOW_S = 8
"""What a turn model may look at: more than this behind the pause tells it nothing."""


class TurnModel(Provider, Protocol):
    """Does it sound as if the caller had finished?"""

    def judge(self, pcm: bytes, sink: Callable[[float], None]) -> None:
        """Args:
        pcm: The utterance so far with the silence behind it, the last 8 s at most.
        sink: Called once on the event loop with the probability that the turn is complete, 0..1;
            or never, where there is no opinion in time.
        """


# --- LLM ----------------------------------------------------------------------------------------


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of the operator's documents, and where it stands in them."""

    text: str
    source: str
    """The document's path below the folder it was ingested from, e.g. "opening-hours.md"."""
    title: str = ""
    """The document's own title."""
    heading: str = ""
    """Headings above the passage, outermost first, joined by " › "."""
    start: int = 0
    end: int = 0
    """Character offsets of `text` in the document's plain text."""
    score: float = 0.0
    """Similarity to the question, 0..1; comparable within one index only."""
    chunk: str = ""
    """Stable id of the chunk."""


class ToolCall(msgspec.Struct, frozen=True):
    """A function the model asked for; `arguments` is the JSON text as the model wrote it."""

    call_id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of what the model is shown."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the client offers. `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}


class LLMRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All a model needs for one reply."""

    messages: tuple[Message, ...]
    question: str = ""
    """The caller's last words alone; a provider that needs no prompt answers these."""
    passages: tuple[Passage, ...] = ()
    """What retrieval found for `question`, best first; already written into `messages` too."""
    language: str = ""
    tools: tuple[Tool, ...] = ()
    tool_choice: str | dict[str, Any] = "auto"
    max_tokens: int | None = None
    temperature: float | None = None
    session: str = ""
    """Of a call, so that a balancer can keep it on the replica that has its beginning cached."""
    turn: int = 0


class TextDelta(msgspec.Struct, frozen=True):
    """Words to be spoken. Reasoning never comes as one."""

    text: str


class ToolCallDelta(msgspec.Struct, frozen=True):
    """A piece of a function call. `call_id` and `name` come with an `index`'s first piece."""

    index: int
    arguments: str
    call_id: str = ""
    name: str = ""


class Usage(msgspec.Struct, frozen=True):
    """Tokens, as the server counted them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0


class Finish(msgspec.Struct, frozen=True):
    """The last event of every stream that ended by itself."""

    reason: Literal["stop", "length", "tool_calls", "content_filter"] = "stop"
    usage: Usage = Usage()


LLMEvent = TextDelta | ToolCallDelta | Finish


class LLM(Provider, Protocol):
    """What to answer?"""

    def stream(self, request: LLMRequest) -> AsyncGenerator[LLMEvent, None]:
        """Deltas as they come, a Finish last. Closing it aborts the request at the server.

        Raises:
            ProviderError: At any point of the iteration.
        """


# --- TTS ----------------------------------------------------------------------------------------


class SpeechAudio(msgspec.Struct, frozen=True):
    """The next samples of a clause, at the provider's `rate_hz`."""

    pcm: bytes


class WordTiming(msgspec.Struct, frozen=True):
    """Where in the clause's audio a word begins. Comes before the audio it lies in, or with it."""

    start: int
    end: int
    """Character range of the word in the text given to `stream()`."""
    at: float
    """Seconds from the clause's first sample."""


SpeechEvent = SpeechAudio | WordTiming


class TTS(Provider, Protocol):
    """How does it sound?"""

    @property
    def rate_hz(self) -> int: ...

    def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        """One clause. Closing the generator stops the synthesis.

        Args:
            text: Plain words, no markup.
            voice: Name of a voice; unknown or empty: the provider's own for the language.
            language: BCP 47 tag; empty: by the script the text is written in.
            speed: 1.0 is normal, 0.25..4.
        Raises:
            ProviderError: At any point of the iteration.
        """


# --- Retrieval ----------------------------------------------------------------------------------


class Embedder(Provider, Protocol):
    """Texts as points: near in meaning, near in space."""

    @property
    def fingerprint(self) -> str:
        """Name, version and size: an index made with another fingerprint cannot be searched."""

    @property
    def dimensions(self) -> int: ...

    async def embed(
        self, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> NDArray[np.float32]:
        """[n, dimensions], rows of length 1 (0 where the text holds nothing). Off the loop."""


class Reranker(Provider, Protocol):
    """Orders passages by a closer look at question and passage together."""

    async def rank(self, query: str, passages: Sequence[Passage]) -> tuple[Passage, ...]: ...


class Retriever(Protocol):
    """What `rag` offers to `voice`."""

    async def search(self, query: str, *, limit_s: float) -> tuple[Passage, ...]:
        """The passages worth quoting, best first; empty when nothing scores high enough.

        Args:
            limit_s: Seconds after which the answer goes on without passages.
        Raises:
            TimeoutError: When the limit passed.
        """
