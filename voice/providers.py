"""What a session talks to; shared by all sessions."""

from collections.abc import Callable

from msgspec import Struct

from providers.base import LLM, STT, TTS, VAD, Retriever
from voice.tuning import Tuned


class Providers(Struct, frozen=True):
    vad: VAD
    stt: STT
    llm: LLM
    tts: TTS
    retriever: Retriever | None = None
    tuned: Callable[[], Tuned] | None = None
    """How the language model is asked now; None: as the settings say."""
