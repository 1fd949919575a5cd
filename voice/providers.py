"""What a session talks to; shared by all sessions."""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from providers.base import LLM, STT, TTS, VAD, Retriever, TurnModel
from voice.tuning import Tuned


class Recited(Protocol):
    """What Kaiwa says by itself, as sound: s16le at the voice's rate; None: not kept."""

    def sound(self, text: str, voice: str) -> bytes | None: ...

    def spare(self, text: str) -> bytes | None:
        """In whatever voice."""

    def follow(self, *, voice: str, language: str) -> None:
        """From now on, calls ask for this."""


class Providers(Struct, frozen=True):
    vad: VAD
    stt: STT
    llm: LLM
    tts: TTS
    retriever: Retriever | None = None
    turn: TurnModel | None = None
    """None: the words alone say when a turn is over."""
    tuned: Callable[[], Tuned] | None = None
    """How the language model is asked now; None: as the settings say."""
    recitals: Recited | None = None
    load_level: Callable[[], int] = lambda: 0
    """What must be left out now, see voice/load.py."""
