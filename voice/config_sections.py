"""Every setting there is: one frozen tree, section by section, with type, bounds and default.

    config_server      server, load, log, record
    config_providers   vad, stt, llm, tts, embedder, reranker, rag, mock
    config_talk        turn, barge_in, speculation, playout, agent
    config_calls       webrtc, telephony, sip, keypad

Units are in the names; a limit is a time after which something else happens.
"""

from msgspec import Struct

from voice.config_calls import KeypadConfig, SipConfig, TelephonyConfig, WebrtcConfig
from voice.config_providers import (
    EmbedderConfig,
    LlmConfig,
    MockConfig,
    RagConfig,
    RerankerConfig,
    SttConfig,
    TtsConfig,
    VadConfig,
)
from voice.config_server import LoadConfig, LogConfig, RecordConfig, ServerConfig
from voice.config_talk import (
    AgentConfig,
    BargeInConfig,
    PlayoutConfig,
    SpeculationConfig,
    TurnConfig,
)


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
    webrtc: WebrtcConfig = WebrtcConfig()
    telephony: TelephonyConfig = TelephonyConfig()
    sip: SipConfig = SipConfig()
    keypad: KeypadConfig = KeypadConfig()
    record: RecordConfig = RecordConfig()
    mock: MockConfig = MockConfig()
    strays: tuple[str, ...] = ()
    """No setting: what config_strays finds in the environment it was read from."""
