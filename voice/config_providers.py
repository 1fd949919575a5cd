"""The settings of those who hear, think, speak and search, and of their mocks."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from voice.config_kinds import Count, Delay, Milliseconds, PromptTokens, Seconds, Share

Fallback = Any
"""A provider that stands in: its name, or a mapping with `provider` and whatever else differs from
the section it stands in. voice/judging.py tells what is wrong with each of them."""


Fallbacks = tuple[Fallback, ...] | None
"""Null: what needs no server stands in for one, named or found by `auto`, and for whatever else
`auto` found; []: nobody does."""


class VadConfig(Struct, frozen=True, forbid_unknown_fields=True):
    provider: str = "silero"
    threshold: Share = 0.5
    min_speech_ms: Milliseconds = 64


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
    context_tokens: PromptTokens = 4000
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


class MockConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Delays and faults of the mock providers, each known exactly."""

    stt_text: str | None = None
    """What is heard of every utterance. None: two questions, one after the other."""
    stt_partial_ms: Delay = 300.0
    stt_final_ms: Delay = 20.0
    llm_first_token_ms: Delay = 50.0
    llm_token_ms: Delay = 10.0
    tts_first_audio_ms: Delay = 30.0
    jitter_ms: Delay = 0.0
    seed: int = 0
    faults: tuple[dict[str, Any], ...] = ()
    """See mocks/faults.py, with `slot` beside: {slot: llm, kind: timeout, at: 3}."""
