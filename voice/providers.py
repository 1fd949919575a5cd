"""What a session talks to; shared by all sessions."""

from msgspec import Struct

from providers.base import LLM, STT, TTS, VAD, Retriever


class Providers(Struct, frozen=True):
    vad: VAD
    stt: STT
    llm: LLM
    tts: TTS
    retriever: Retriever | None = None
