"""The espeak-ng library by ctypes: one per process, since all of its state is global.

Structures and constants as in espeak-ng 1.52, src/include/espeak-ng/speak_lib.h.
"""

import ctypes
import queue
import re
import threading
from collections.abc import Callable
from typing import Any

import espeakng_loader
import msgspec

SYNCHRONOUS = 2
BUFFER_MS = 60
NO_EXIT = 0x8000
UTF8 = 1
"""The only flag: neither espeakSSML (0x10) nor espeakPHONEMES (0x100), so `<b>`, `[[` are text."""
RATE, NORMAL_WPM, MIN_WPM, MAX_WPM = 1, 175, 80, 700
EVENT_END, EVENT_WORD = 0, 1

_VOICE = re.compile(r"[A-Za-z0-9_+ -]{1,40}")
"""Voices are file names; anything else is none."""
_VARIANT = "!v/"
"""How the identifier of a variant alone begins; it has no language and says nothing."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
"""Among them \\x01, which begins espeak's embedded commands."""


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),  # in characters, from 1
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


class _Voice(ctypes.Structure):
    """Its first fields."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


class Word(msgspec.Struct, frozen=True):
    """`start`, `end`: characters of the text; `sample`: where it begins in the raw audio."""

    start: int
    end: int
    sample: int


class Request(msgspec.Struct):
    """`receive` is called in espeak's thread: pieces, then None or the exception it ended by."""

    text: str
    voices: tuple[str, ...]
    """Tried in turn."""
    speed: float
    receive: Callable[[tuple[bytes, list[Word]] | Exception | None], None]
    is_cancelled: bool = False
    """Set from outside; heeded within one buffer, which takes espeak well under 1 ms."""


class Espeak:
    """The library and the one thread that speaks."""

    def __init__(self) -> None:
        self._library: Any = ctypes.CDLL(espeakng_loader.get_library_path())
        data = espeakng_loader.get_data_path().encode()
        self.rate_hz: int = self._library.espeak_Initialize(SYNCHRONOUS, BUFFER_MS, data, NO_EXIT)
        if self.rate_hz <= 0:
            raise OSError("espeak-ng found no voices in its data folder")
        self._callback = _Callback(self._take)  # kept: the library does not
        self._library.espeak_SetSynthCallback(self._callback)
        self._library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_Voice)
        self._lock = threading.Lock()
        self._request: Request | None = None
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="espeak", daemon=True).start()

    def submit(self, request: Request) -> None:
        self._requests.put(request)

    def is_voice(self, name: str) -> bool:
        """Whether there is such a voice, and such a variant of it: "de", "de+f3".

        Waits for the clause that is being spoken.
        """
        with self._lock:
            identifier = self._set_voice(name)
        return bool(identifier) and identifier.count("+") == name.count("+")

    def _work(self) -> None:
        while True:
            request = self._requests.get()
            if request.is_cancelled:
                continue
            end: Exception | None = None
            try:
                with self._lock:
                    self._speak(request)
            except Exception as error:
                end = error
            if not request.is_cancelled:
                request.receive(end)

    def _speak(self, request: Request) -> None:
        if not any(self._set_voice(voice) for voice in request.voices):
            raise OSError(f"no such voice: {', '.join(request.voices)}")
        wpm = round(min(MAX_WPM, max(MIN_WPM, NORMAL_WPM * request.speed)))
        self._library.espeak_SetParameter(RATE, wpm, 0)
        # One character for one, so that the positions stay true.
        text = _CONTROL.sub(" ", request.text).encode("utf-8", "replace") + b"\0"
        self._request = request
        try:
            status = self._library.espeak_Synth(
                ctypes.c_char_p(text), ctypes.c_size_t(len(text)), 0, 1, 0, UTF8, None, None
            )
        finally:
            self._request = None
        if status != 0 and not request.is_cancelled:
            raise OSError(f"espeak_Synth returned {status}")

    def _set_voice(self, voice: str) -> str:
        """Its identifier: its file, "gmw/en+f3"; without "+" if there is no such variant."""
        if not _VOICE.fullmatch(voice) or self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            return ""
        identifier: str = self._library.espeak_GetCurrentVoice()[0].identifier.decode()
        return "" if identifier.startswith(_VARIANT) else identifier

    def _take(self, wave: Any, count: int, events: Any) -> int:
        """espeak's callback; returning 1 stops it."""
        request = self._request
        if request is None or request.is_cancelled:
            return 1
        words: list[Word] = []
        at = 0
        while (event := events[at]).type != EVENT_END:
            if event.type == EVENT_WORD:
                start = event.text_position - 1
                words.append(Word(start, start + event.length, event.sample))
            at += 1
        pcm = ctypes.string_at(wave, 2 * count) if wave and count > 0 else b""
        if pcm or words:
            request.receive((pcm, words))
        return 0


_shared: Espeak | None = None
_lock = threading.Lock()


def shared() -> Espeak:
    """The process's espeak, loaded at the first call (about 10 ms)."""
    global _shared
    with _lock:
        if _shared is None:
            _shared = Espeak()
        return _shared
