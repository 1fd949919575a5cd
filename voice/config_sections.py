"""Every setting there is, with its type, bounds and default: one frozen tree, section by section.

Units are in the names; a limit is a time after which something else happens.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

Share = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Milliseconds = Annotated[int, Meta(ge=0, le=60_000)]
Seconds = Annotated[float, Meta(gt=0, le=3600)]
"""A time limit, where zero would mean that nothing ever works."""
Delay = Annotated[float, Meta(ge=0, le=60_000)]
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


Lag = Annotated[float, Meta(gt=0, le=60_000)]


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


class VadConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "silero"
    threshold: Share = 0.5
    min_speech_ms: Milliseconds = 64


Fallback = Any
"""A provider that stands in: its name, or a mapping with `provider` and whatever else differs from
the section it stands in. voice/judging.py tells what is wrong with each of them."""


Fallbacks = tuple[Fallback, ...] | None
"""Null: of `auto`, what needs no server stands in for one; else, as with [], nobody does."""


class SttConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """auto: sherpa-server where there is an `endpoint`, sherpa where `model_dir` holds a model,
    else pocketsphinx."""
    fallbacks: Fallbacks = None
    attempt_limit_s: Seconds = 0.8
    """One that has fallbacks gives its final within this, or the next one hears the utterance."""
    language: str = ""
    endpoint: str = ""
    model_dir: str = "models/stt"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    max_batch: Annotated[int, Meta(ge=1, le=1024)] = 32
    """Streams that sherpa decodes in one call."""
    hotwords: tuple[str, ...] = ()
    """Names and terms that the recogniser shall expect (sherpa, transducer models)."""
    hotwords_score: Annotated[float, Meta(ge=0, le=10)] = 1.5
    workers: Annotated[int, Meta(ge=0, le=256)] = 0
    """Processes of pocketsphinx; 0: one less than cores, at least one."""


class LlmConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """auto: openai where there is an `endpoint`, else extractive."""
    fallbacks: Fallbacks = None
    attempt_limit_s: Seconds = 2.5
    """One that has fallbacks gives its first token, and each next one, within this."""
    endpoint: str = ""
    model: str = ""
    api_key: str = ""
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    max_tokens: Count = 512
    context_tokens: Count = 4000
    """Budget of the prompt; the oldest turns leave first."""
    reasoning_effort: str = ""
    include_reasoning: bool | None = None
    """false: the server (vLLM) keeps its reasoning to itself; it is never spoken anyway."""
    priority: int | None = None
    """For vLLM with --scheduling-policy priority: lower comes first."""
    cache_salt: str = ""
    """For vLLM: who has another one shares no prefix cache."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    """Of a request that failed before its first token."""
    first_token_limit_s: Seconds = 10.0
    token_limit_s: Seconds = 5.0


class TtsConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """auto: fish where there are `endpoints`, sherpa where `model_dir` holds a model, else
    espeak."""
    fallbacks: Fallbacks = None
    attempt_limit_s: Seconds = 1.5
    """One that has fallbacks gives its first sound of a clause within this."""
    endpoints: tuple[str, ...] = ()
    """Of one kind of server; the least busy one is asked."""
    api_key: str = ""
    model: str = ""
    """For speech-api."""
    rate_hz: Annotated[int, Meta(ge=8000, le=96_000)] = 44_100
    """Of what speech-api sends: Fish 44100, OpenAI and Kokoro 24000."""
    stream: Literal["audio", "sse"] = "audio"
    """How speech-api is asked for sound: bare samples, or base64 in server-sent events."""
    extra: dict[str, Any] = {}
    """Further fields of speech-api's requests: {task_type: Base} for vLLM-Omni."""
    paid: bool | None = None
    """Whether speech-api's requests cost money, so that checks are rare; null: told by its
    address."""
    encoding: Literal["msgpack", "json"] = "msgpack"
    """Of Fish Speech's requests; json for proxies that look into them."""
    model_dir: str = "models/tts"
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    voice: str = ""
    connect_limit_s: Seconds = 2.0
    """For the TCP and TLS connection to a server."""
    first_audio_limit_s: Seconds = 5.0
    first_word_limit_s: Seconds = 120.0
    """The same, for our own first word at a server that has not spoken yet: it may compile."""
    audio_limit_s: Seconds = 3.0
    """From one piece of a clause's sound to the next."""
    sentence_gap_ms: Annotated[int, Meta(ge=0, le=2000)] = 220
    clause_gap_ms: Annotated[int, Meta(ge=0, le=2000)] = 90
    """Silence between clauses, which are made one by one. Measured: espeak pauses for 290 ms
    between the sentences of one text, and for 7 to 27 ms behind a text of one clause."""


class EmbedderConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """auto: tei where there is an `endpoint`, else lexical."""
    fallbacks: tuple[Fallback, ...] = ()
    """Further servers of the same model: [{endpoint: http://…}]. Without one, words are searched
    while it is away."""
    attempt_limit_s: Seconds = 0.1
    """One that has fallbacks embeds a question within this, of `rag.limit_ms`."""
    endpoint: str = ""
    model: str = ""
    api_key: str = ""
    device: Literal["cpu", "cuda"] = "cpu"
    """For sentence-transformers."""
    threads: Annotated[int, Meta(ge=1, le=64)] = 1
    """For sentence-transformers on the CPU; more than one competes with the calls' audio."""


class RerankerConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """auto: tei where there is an `endpoint`, else none."""
    fallbacks: tuple[Fallback, ...] = ()
    """Further servers: [{endpoint: http://…}]. Without one, the order stays as it was found."""
    attempt_limit_s: Seconds = 0.12
    """One that has fallbacks gives its order within this, of `rag.limit_ms`."""
    endpoint: str = ""
    api_key: str = ""
    keep: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Score below which a passage is left out; 0 keeps all."""
    limit_s: Seconds = 0.3
    """For one ranking, within `rag.limit_ms`; after it the order stays as it was."""


class RagConfig(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    index: Annotated[str, Meta(min_length=1)] = "data/index"
    """The folder `kaiwa ingest` writes."""
    passages: Annotated[int, Meta(ge=1, le=100)] = 4
    limit_ms: Annotated[int, Meta(ge=1, le=60_000)] = 300
    """After this the answer goes on without passages."""


class TurnConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "auto"
    """Who listens with semantic_vad whether a pause sounds like the end; auto: smart-turn where
    there is a `model`, else none."""
    model: str = "models/turn"
    """An ONNX file of Smart Turn v3, or a folder that holds one."""
    silence_ms: Annotated[int, Meta(ge=50, le=10_000)] = 500
    """Silence that ends a turn, where the client sets none."""
    min_silence_ms: Annotated[int, Meta(ge=100, le=10_000)] = 200
    max_silence_ms: Annotated[int, Meta(ge=100, le=10_000)] = 3000
    """Bounds of the silence with semantic_vad, where the words and the caller's own pauses say how
    long it is; its eagerness chooses within them."""
    final_after_ms: Milliseconds = 200
    """Silence after which the recogniser is asked for its final."""
    final_limit_s: Seconds = 2.0
    max_utterance_s: Seconds = 60.0
    stall_s: Seconds = 1.5
    """In mid-speech, no audio for so long ends the turn."""


class BargeInConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Speech over an answer holds its sound back at once; these say what becomes of it."""

    confirm_ms: Annotated[int, Meta(ge=0, le=10_000)] = 600
    """Speech that is so long cuts the answer, without a word; 0: any speech does, at once."""
    confirm_hypotheses: Annotated[int, Meta(ge=1, le=10)] = 2
    """So many partials in a row with words that take the floor cut it sooner; a final does alone.
    A recogniser's first guess at a cough is often a word."""
    echo_likeness: Annotated[float, Meta(ge=0.1, le=1)] = 0.5
    """Sound that is so much like what is being played, from 0 to 1, is our own voice, whatever its
    words; 1: only words tell."""
    far_db: Annotated[float, Meta(ge=0, le=60)] = 18.0
    """Speech that is so much quieter than the caller's own turns is somebody else in the room, and
    does not cut the answer; 0: it does."""
    resume_ms: Annotated[int, Meta(ge=100, le=10_000)] = 1000
    """So long after the caller fell silent the answer goes on, if no final came by then."""


class SpeculationConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The answer is begun in the silence that may end the turn; heard is nothing of it before."""

    enabled: bool = True
    attempts: Annotated[int, Meta(ge=1, le=10)] = 2
    """In one turn."""
    stable_ms: Annotated[int, Meta(ge=0, le=10_000)] = 150
    """Where the final is late: a partial that stays as it is for so long is taken for it."""
    ahead_ms: Annotated[int, Meta(ge=0, le=10_000)] = 600
    """Not sooner before the end of the turn: who is given long to go on, goes on."""
    longest_s: Seconds = 10.0
    """Not for a caller who has spoken longer."""
    retrieval: bool = True
    """Passages are looked for while the caller speaks."""
    least_hit_rate: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Of the last 50 attempts; below it none is made, until what they would have hit is more."""
    deepest_queue: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Not while more requests wait for a model's or a voice's place, where the provider tells."""
    paid: bool = False
    """Also where the model or the voice costs money: what is thrown away is paid for as well."""


class PlayoutConfig(Struct, frozen=True, forbid_unknown_fields=True):
    frame_ms: Annotated[int, Meta(ge=10, le=400)] = 40
    lead_ms: Milliseconds = 300
    """How far ahead of the caller's ear audio is sent."""


class AgentConfig(Struct, frozen=True, forbid_unknown_fields=True):
    instructions: str = ""
    """Plain text, taken as it is; empty: those of `prompt`."""
    prompt: str = "agent"
    """A template, in its current version, or agent@2 in that one; see voice/templates.py."""
    prompts_dir: str = ""
    """The operator's own folder of templates; empty: voice/prompts."""
    name: str = "Kaiwa"
    """A template's {{agent_name}}."""
    variables: dict[str, str] = {}
    """Further variables that a template declares."""
    max_reply_s: Seconds = 60.0
    """Speech of one answer; the rest is not said."""
    protected_ms: Milliseconds = 0
    """From an answer's first sound: what the caller says in there needs words to hold it back or to
    cut it. 1000 to 3000 where the microphone hears the loudspeaker."""
    greeting: str = ""
    """What the agent says when a call opens; empty: it waits for the caller."""
    idle_after_s: Annotated[float, Meta(ge=0, le=3600)] = 0
    """So long behind the agent's last word a silent caller is spoken to; 0: never. A client's
    `turn_detection.idle_timeout_ms` stands above it."""
    idle_phrase: str = ""
    """Empty: voice/phrases.py has one in the caller's language; so too for the two below."""
    idle_prompts: Annotated[int, Meta(ge=1, le=100)] = 2
    """So many in a row without a word of the caller's."""
    max_call_s: Annotated[float, Meta(ge=0, le=86_400)] = 0
    """Then the call is announced to end, and ends with close code 1000; 0: never."""
    time_over_phrase: str = ""
    hang_up_phrases: tuple[str, ...] = ()
    """Who says one of them, and nothing else, gets the goodbye, and the call ends."""
    goodbye_phrase: str = ""
    hold_after_ms: Milliseconds = 2500
    """Silence behind the caller's last word, or in mid-answer, that is broken by a word; 0:
    never."""


class RecordConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Whole calls as files, for `kaiwa replay`: they hold the caller's voice and words."""

    folder: str = ""
    """Where they are written; empty: nothing is recorded."""
    most_mb: Count = 200
    """Of one call, about half an hour; what comes after is not in its file."""


class MockConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Delays and faults of the mock providers, each known exactly."""

    stt_text: str = "what are your opening hours on saturday"
    stt_partial_ms: Delay = 300.0
    stt_final_ms: Delay = 20.0
    llm_first_token_ms: Delay = 50.0
    llm_token_ms: Delay = 10.0
    tts_first_audio_ms: Delay = 30.0
    jitter_ms: Delay = 0.0
    seed: int = 0
    faults: tuple[dict[str, Any], ...] = ()
    """See mocks/faults.py, with `slot` beside: {slot: llm, kind: timeout, at: 3}."""


class Config(Struct, frozen=True, forbid_unknown_fields=True):
    profile: str = "embedded"
    server: ServerConfig = ServerConfig()
    load: LoadConfig = LoadConfig()
    log: LogConfig = LogConfig()
    vad: VadConfig = VadConfig()
    stt: SttConfig = SttConfig()
    llm: LlmConfig = LlmConfig()
    tts: TtsConfig = TtsConfig()
    embedder: EmbedderConfig = EmbedderConfig()
    reranker: RerankerConfig = RerankerConfig()
    rag: RagConfig = RagConfig()
    turn: TurnConfig = TurnConfig()
    barge_in: BargeInConfig = BargeInConfig()
    speculation: SpeculationConfig = SpeculationConfig()
    playout: PlayoutConfig = PlayoutConfig()
    agent: AgentConfig = AgentConfig()
    record: RecordConfig = RecordConfig()
    mock: MockConfig = MockConfig()
    strays: tuple[str, ...] = ()
    """No setting: what config_strays finds in the environment it was read from."""
