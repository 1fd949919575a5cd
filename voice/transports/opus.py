"""libopus itself: PyAV's codecs have neither in-band FEC nor concealment, and resample twice.

It decodes straight to the rate of our ears and codes straight from the voice's, in mono. A frame
takes 20 µs to decode and 50 to 100 to code, so both run on the event loop; ctypes lets go of the
GIL meanwhile.

Source: https://opus-codec.org/docs/opus_api-1.5/
"""

import ctypes
import ctypes.util
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import av

from voice.errors import ConfigError

_VOIP = 2048
"""A model of the voice (SILK) for the band up to 8 kHz. Without it, as for music (2049), coding
takes 25 µs instead of 69 and is worse to hear: PESQ of eight voices at 32 kb/s is 3.9 instead of
4.1, of the worst 3.1 instead of 3.9."""
_SET_BITRATE, _SET_COMPLEXITY, _SET_INBAND_FEC, _SET_PACKET_LOSS = 4002, 4010, 4012, 4014
BITRATE = 32_000
"""Speech up to 12 kHz with room for the copies of lost frames."""
COMPLEXITY = 1
"""Measured on one core, per frame of 20 ms at 32 kb/s: 0: 46 µs, 1: 49, 3: 115, 5: 141, 10: 196."""
MOST_PACKET_BYTES = 1275
LONGEST_MS = 120
REMEDY = "install PyAV from its wheel (pip install av), or the system's libopus (apt: libopus0)"


class OpusError(Exception):
    """A payload that is no Opus, or a state that libopus does not allow."""


def _candidates() -> Iterator[str]:
    """PyAV's wheels carry it beside the package, under a name with a checksum."""
    site = Path(av.__file__).resolve().parent.parent
    for folder in ("av.libs", "av/.dylibs", "av"):
        yield from (str(path) for path in sorted((site / folder).glob("*opus*")))
    if found := ctypes.util.find_library("opus"):
        yield found
    yield from ("libopus.so.0", "libopus.0.dylib", "opus.dll")


@cache
def library() -> ctypes.CDLL:
    """Raises:
    ConfigError: There is none on this machine.
    """
    return load(_candidates())


def load(names: Iterable[str]) -> ctypes.CDLL:
    """The first of these that is libopus.

    Raises:
        ConfigError: None is.
    """
    for name in names:
        try:
            return _declared(ctypes.CDLL(name))
        except (OSError, AttributeError):
            continue
    raise ConfigError(f"WebRTC calls need libopus, and none was found: {REMEDY}.")


def _declared(found: ctypes.CDLL) -> ctypes.CDLL:
    state, integer, data = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    found.opus_encoder_create.restype = found.opus_decoder_create.restype = state
    found.opus_encoder_create.argtypes = [integer, integer, integer, ctypes.c_void_p]
    found.opus_decoder_create.argtypes = [integer, integer, ctypes.c_void_p]
    found.opus_encode.argtypes = [state, data, integer, data, ctypes.c_int32]
    found.opus_decode.argtypes = [state, data, ctypes.c_int32, data, integer, integer]
    found.opus_encoder_destroy.argtypes = found.opus_decoder_destroy.argtypes = [state]
    found.opus_encoder_destroy.restype = found.opus_decoder_destroy.restype = None
    return found


def has_copy(payload: bytes) -> bool:
    """Whether a packet holds a copy of the one before it (FEC).

    libopus tells since 1.5; an older one is taken for not having it.
    """
    tells = getattr(library(), "opus_packet_has_lbrr", None)
    return tells is not None and tells(payload, len(payload)) == 1


class OpusDecoder:
    """To s16le mono at `rate_hz`, one of 8000, 12000, 16000, 24000, 48000."""

    def __init__(self, rate_hz: int) -> None:
        self._lib, self._rate_hz = library(), rate_hz
        error = ctypes.c_int()
        self._state = self._lib.opus_decoder_create(rate_hz, 1, ctypes.byref(error))
        if not self._state:
            raise OpusError(f"opus_decoder_create: {error.value}")
        self._most = rate_hz * LONGEST_MS // 1000
        self._out = ctypes.create_string_buffer(2 * self._most)

    def decode(self, payload: bytes) -> bytes:
        """Raises:
        OpusError: It is no Opus packet.
        """
        return self._decode(payload, len(payload), self._most, 0)

    def recover(self, payload: bytes, samples: int) -> bytes:
        """What came before this packet, from the copy in it; guessed where there is none."""
        return self._decode(payload, len(payload), self._whole(samples), 1)

    def conceal(self, samples: int) -> bytes:
        """As if the sound went on; behind silence that was sent as such, its noise."""
        return self._decode(None, 0, self._whole(samples), 0)

    def _whole(self, samples: int) -> int:
        """libopus fills holes in steps of 2.5 ms."""
        step = self._rate_hz // 400
        return min(max(step, samples // step * step), self._most)

    def _decode(self, payload: bytes | None, size: int, samples: int, fec: int) -> bytes:
        count = self._lib.opus_decode(self._state, payload, size, self._out, samples, fec)
        if count < 0:
            raise OpusError(f"opus_decode: {count}")
        return bytes(memoryview(self._out)[: 2 * count])

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._lib.opus_decoder_destroy(self._state)


class OpusEncoder:
    """From s16le mono at `rate_hz`."""

    def __init__(self, rate_hz: int) -> None:
        self._lib = library()
        error = ctypes.c_int()
        self._state = self._lib.opus_encoder_create(rate_hz, 1, _VOIP, ctypes.byref(error))
        if not self._state:
            raise OpusError(f"opus_encoder_create: {error.value}")
        self._out = ctypes.create_string_buffer(MOST_PACKET_BYTES)
        self._set(_SET_BITRATE, BITRATE)
        self._set(_SET_COMPLEXITY, COMPLEXITY)
        self._set(_SET_INBAND_FEC, 1)

    def encode(self, pcm: bytes) -> bytes:
        """One packet from 2.5, 5, 10, 20, 40 or 60 ms."""
        out = self._out
        size = self._lib.opus_encode(self._state, pcm, len(pcm) // 2, out, MOST_PACKET_BYTES)
        if size < 0:
            raise OpusError(f"opus_encode: {size}")
        return bytes(memoryview(out)[:size])

    def expect_loss(self, percent: int) -> None:
        """So many packets of a hundred do not arrive: the more, the better their copies."""
        self._set(_SET_PACKET_LOSS, percent)

    def _set(self, request: int, value: int) -> None:
        state = ctypes.c_void_p(self._state)
        code = self._lib.opus_encoder_ctl(state, ctypes.c_int(request), ctypes.c_int(value))
        if code < 0:
            raise OpusError(f"opus_encoder_ctl({request}): {code}")

    def __del__(self) -> None:
        if getattr(self, "_state", None):
            self._lib.opus_encoder_destroy(self._state)
