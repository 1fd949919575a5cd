"""Is this audio what a voice would say for this text? Judged while it streams; pure.

    text ──▶ least, typical and most seconds
    pcm  ──▶ odd bytes joined ──▶ 250 ms windows: silent? stuck? noise? ──▶ handed on at once
    end  ──▶ shorter than least? half a sample over? never a sound?

Nothing is held back: a piece is judged and handed on, and what only the end can tell comes then.
"""

import unicodedata

import msgspec
import numpy as np
from numpy.typing import NDArray

WINDOW_S = 0.25
AUDIBLE = 100
"""Of 32767, -50 dBFS: codecs' silence lies below, a whisper above."""
MAX_SILENCE_S = 2.5
"""At the beginning or in the middle; a caller takes three for the end of the line."""
FULL_SCALE = 32_700
CLIPPED = 0.5
"""Share of a window's samples at full scale that no voice has, however loud it was made."""
NOISE_RMS = 8_000
NOISE_CORRELATION = 0.2
"""Loud windows whose neighbouring samples have so little in common are bytes of another format:
compressed audio, floats, or samples begun at the wrong byte. An "s" is never so loud so long."""
GRACE_S = 3.0
"""Beyond what the letters explain: pauses, breath, a slow start."""
PAUSE_S = 1.0
"""Longest for one punctuation mark or symbol."""
MAX_HEADER_BYTES = 4096

_FASTEST = {"letter": 40.0, "han": 16.0, "kana": 30.0, "hangul": 20.0, "digit": 25.0}
_TYPICAL = {"letter": 15.0, "han": 4.5, "kana": 8.0, "hangul": 6.0, "digit": 4.0}
_SLOWEST = {"letter": 3.0, "han": 1.2, "kana": 2.0, "hangul": 1.2, "digit": 0.8}
"""Characters a second. The typical ones are those of read speech; the others leave twice the range
of hasty and of drawling voices, so that only what is wrong is caught."""


class UnsoundError(ValueError):
    """This is not speech of that text; the message says how it shows."""


class Length(msgspec.Struct, frozen=True):
    """How many seconds a text may take."""

    least: float
    typical: float
    most: float


def length_of(text: str, speed: float = 1.0) -> Length:
    """All zero but `most` where nothing is to be spoken."""
    least = typical = 0.0
    most = GRACE_S
    for character in unicodedata.normalize("NFKC", text):
        kind = _kind(character)
        if kind:
            least += 1 / _FASTEST[kind]
            typical += 1 / _TYPICAL[kind]
            most += 1 / _SLOWEST[kind]
        elif not character.isspace():
            most += PAUSE_S
    return Length(least / speed, typical / speed, most / min(speed, 1.0))


def _kind(character: str) -> str:
    code = ord(character)
    if character.isdigit():
        return "digit"
    if 0x3040 <= code <= 0x30FF:
        return "kana"
    if 0xAC00 <= code <= 0xD7AF:
        return "hangul"
    if 0x3400 <= code <= 0x9FFF or 0x20000 <= code <= 0x3FFFF:
        return "han"
    return "letter" if character.isalpha() else ""


class AudioCheck:
    """One text's audio, s16le mono at `rate_hz`."""

    def __init__(self, text: str, rate_hz: int, *, speed: float = 1.0) -> None:
        self._length = length_of(text, speed)
        self._rate_hz = rate_hz
        self._half = b""
        """The first byte of a sample whose second has not come."""
        self._unjudged: NDArray[np.int16] = np.empty(0, np.int16)
        self._quiet_s = 0.0
        self._is_audible = False
        self._samples = 0

    @property
    def seconds(self) -> float:
        """Of whole samples so far."""
        return self._samples / self._rate_hz

    def feed(self, data: bytes) -> bytes:
        """The whole samples that `data` completes.

        Raises:
            UnsoundError: If they cannot be speech, or go on far too long.
        """
        data = self._half + data
        whole = len(data) - len(data) % 2
        self._half = data[whole:]
        if not whole:
            return b""
        pcm = data[:whole]
        self._samples += whole // 2
        if self.seconds > self._length.most:
            raise UnsoundError(
                f"still speaking after {self.seconds:.1f} s, at most {self._length.most:.1f} s "
                "fit the text"
            )
        self._judge(np.concatenate([self._unjudged, np.frombuffer(pcm, "<i2")]))
        return pcm

    def end(self) -> None:
        """Raises UnsoundError if what came is not all of it."""
        if self._half:
            raise UnsoundError("it ends in the middle of a sample")
        if not self._length.least:
            return
        if not self._samples:
            raise UnsoundError("no audio at all")
        if self.seconds < self._length.least:
            raise UnsoundError(
                f"{self.seconds:.2f} s of audio for a text that takes at least "
                f"{self._length.least:.2f} s"
            )
        self._is_audible = self._is_audible or bool(_peaks(self._unjudged[None, :]) > AUDIBLE)
        if not self._is_audible:
            raise UnsoundError("nothing but silence")

    def _judge(self, samples: NDArray[np.int16]) -> None:
        size = int(WINDOW_S * self._rate_hz)
        count = len(samples) // size
        self._unjudged = samples[count * size :]
        if not count:
            return
        windows = samples[: count * size].reshape(count, size)
        peaks = _peaks(windows)
        for is_quiet in (peaks <= AUDIBLE).tolist():
            self._quiet_s = self._quiet_s + WINDOW_S if is_quiet else 0.0
            self._is_audible = self._is_audible or not is_quiet
            if self._quiet_s > MAX_SILENCE_S and self._length.least:
                raise UnsoundError(f"more than {MAX_SILENCE_S:g} s of silence")
        loud = windows[peaks > NOISE_RMS]
        if len(loud):
            _expect_voice(loud)
        stuck = np.ptp(windows, axis=1) == 0
        if (stuck & (peaks > AUDIBLE)).any():
            raise UnsoundError("the samples stand still at one value")


def _peaks(windows: NDArray[np.int16]) -> NDArray[np.int32]:
    """[n] largest magnitude of each row; 0 for rows without samples."""
    if not windows.shape[1]:
        return np.zeros(len(windows), np.int32)
    high = windows.max(axis=1).astype(np.int32)
    low = windows.min(axis=1).astype(np.int32)
    peaks: NDArray[np.int32] = np.maximum(high, -low)
    return peaks


def _expect_voice(windows: NDArray[np.int16]) -> None:
    clipped = (windows >= FULL_SCALE) | (windows <= -FULL_SCALE)
    if (clipped.mean(axis=1) > CLIPPED).any():
        raise UnsoundError("the samples are clipped throughout")
    values = windows.astype(np.float32)
    power = np.einsum("ij,ij->i", values, values) + 1.0
    near = np.einsum("ij,ij->i", values[:, 1:], values[:, :-1]) / power
    rms = np.sqrt(power / windows.shape[1])
    if ((rms > NOISE_RMS) & (np.abs(near) < NOISE_CORRELATION)).any():
        raise UnsoundError("noise: these bytes are no 16-bit little-endian PCM")


def pcm_of_floats(samples: NDArray[np.floating]) -> bytes:
    """s16le of samples in -1..1; beyond that they are clipped.

    Raises:
        UnsoundError: For NaN and infinity.
    """
    if not np.isfinite(samples).all():
        raise UnsoundError("NaN or infinite samples")
    pcm: bytes = (np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()
    return pcm


class PcmBody:
    """A body that ought to be bare s16le mono: a WAV header is taken off, other formats refused.

    Servers that are asked for headerless PCM have sent both.
    """

    is_done = False

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._head: bytes | None = b""
        """What came, while it may still be a header."""
        self._left: int | None = None
        """Bytes of the WAV's data chunk to come, where its size is known."""

    def feed(self, data: bytes) -> bytes:
        if self._head is not None:
            data = self._after_header(self._head + data)
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        return data

    def end(self) -> bytes:
        """What was held back. Raises UnsoundError if a header was not over, or data is missing."""
        head, self._head = self._head or b"", None
        if head.startswith(b"RIFF") or (self._left or 0) > 0:
            raise UnsoundError("it broke off before the end that its WAV header tells")
        return head

    def _after_header(self, data: bytes) -> bytes:
        if data.startswith((b"ID3", b"OggS", b"fLaC")):
            raise UnsoundError("compressed audio instead of PCM")
        if not data.startswith(b"RIFF"[: len(data)]):
            self._head = None
            return data
        self._head = data
        position = 12
        while len(data) >= position + 8:
            name = data[position : position + 4]
            size = int.from_bytes(data[position + 4 : position + 8], "little")
            position += 8
            if name == b"data":
                self._head = None
                self._left = None if size in (0, 0xFFFFFFFF) else size
                return data[position:]
            if name == b"fmt " and len(data) >= position + 16:
                self._expect_format(data[position : position + 16])
            position += size + size % 2
        if position > MAX_HEADER_BYTES:
            raise UnsoundError("a WAV header without data")
        return b""

    def _expect_format(self, fields: bytes) -> None:
        encoding = int.from_bytes(fields[0:2], "little")
        channels = int.from_bytes(fields[2:4], "little")
        rate_hz = int.from_bytes(fields[4:8], "little")
        bits = int.from_bytes(fields[14:16], "little")
        if (encoding, channels, bits) not in ((1, 1, 16), (0xFFFE, 1, 16)):
            raise UnsoundError(f"WAV with {channels} channels of {bits} bits (format {encoding})")
        if rate_hz != self._rate_hz:
            raise UnsoundError(f"audio at {rate_hz} Hz instead of {self._rate_hz} Hz")
