"""What telephones code sound with, in order of quality; inside it is 16 kHz in and 24 kHz out.

opus    RTP clock 48 kHz, whatever is coded (RFC 7587); lost frames come with the next one
g722    16 kHz; RTP clock 8 kHz by an old mistake (RFC 3551 §4.5.2); PyAV's
pcmu    8 kHz; so is pcma
"""

from fractions import Fraction
from typing import Any

import av
import numpy as np
from msgspec import Struct

from providers.base import LISTEN_RATE_HZ
from voice.resample import Resampler
from voice.rtp import LONGEST_8_KHZ_TICKS
from voice.rtp_playout import FRAME_MS
from voice.settings_fields import OUTPUT_RATE_HZ
from voice.transports.rtp_codecs import Codec, codec_named

PERIOD = LISTEN_RATE_HZ * FRAME_MS // 1000
FRAME = OUTPUT_RATE_HZ * FRAME_MS // 1000
FADE = np.float32(0.6)
"""Of the amplitude, from one repetition of what was heard last to the next."""


class Coding(Struct, frozen=True):
    """A codec as SDP has it."""

    name: str
    clock_hz: int
    """Of RTP timestamps."""
    channels: int = 1
    """As rtpmap has them."""
    parameters: str = ""
    """Of fmtp, in our answer."""


CODINGS = {
    "opus": Coding("opus", 48_000, 2, "useinbandfec=1;stereo=0;sprop-stereo=0"),
    "g722": Coding("g722", 8000),
    "pcmu": Coding("pcmu", 8000),
    "pcma": Coding("pcma", 8000),
}


def codec_for(coding: Coding) -> Codec:
    if coding.name == "opus":
        return codec_named("audio/opus")
    if coding.name == "g722":
        return Repeating(G722())
    g711 = codec_named(f"audio/{coding.name}")
    g711.encode(bytes(2 * FRAME))  # its resampler is behind: frames are whole ones from here on
    return Repeating(g711)


class G722:
    clock_hz = 8000

    def __init__(self) -> None:
        self._decoder, self._encoder = _opened("r"), _opened("w")
        self._resampler = Resampler(OUTPUT_RATE_HZ, LISTEN_RATE_HZ)
        self._resampler.convert(np.zeros(FRAME, np.int16))  # it is behind: frames are whole ones
        self._samples = 0

    def ticks(self, payload: bytes) -> int:
        return len(payload) if len(payload) <= LONGEST_8_KHZ_TICKS else 0

    def is_silent(self, payload: bytes) -> bool:
        return False

    def decode(self, payload: bytes) -> bytes:
        frames: Any = self._decoder.decode(av.Packet(payload))
        return b"".join(frame.to_ndarray().tobytes() for frame in frames)

    def recover(self, payload: bytes, ticks: int) -> tuple[bytes, bool]:
        return self.conceal(ticks), False

    def conceal(self, ticks: int) -> bytes:
        return bytes(2 * ticks * LISTEN_RATE_HZ // self.clock_hz)

    def encode(self, pcm: bytes) -> bytes:
        samples = self._resampler.convert(np.frombuffer(pcm, "<i2"))
        frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts = LISTEN_RATE_HZ, self._samples
        self._samples += len(samples)
        return b"".join(bytes(packet) for packet in self._encoder.encode(frame))

    def silence(self) -> bytes:
        return self.encode(bytes(2 * FRAME))

    def expect_loss(self, percent: int) -> None:
        """There are no copies."""


def _opened(mode: str) -> Any:
    context: Any = av.CodecContext.create("g722", mode)  # type: ignore[call-overload]  # by its mode
    context.sample_rate, context.layout, context.format = LISTEN_RATE_HZ, "mono", "s16"
    if mode == "w":
        context.time_base = Fraction(1, LISTEN_RATE_HZ)
    context.open()
    return context


class Repeating:
    """A codec with no way of its own to fill holes: what was heard last goes on, ever softer."""

    def __init__(self, codec: Codec) -> None:
        self._codec, self.clock_hz = codec, codec.clock_hz
        self._last = np.zeros(PERIOD, np.float32)

    def ticks(self, payload: bytes) -> int:
        return self._codec.ticks(payload)

    def is_silent(self, payload: bytes) -> bool:
        return self._codec.is_silent(payload)

    def decode(self, payload: bytes) -> bytes:
        pcm = self._codec.decode(payload)
        samples = np.frombuffer(pcm, "<i2")[-PERIOD:].astype(np.float32)
        self._last = np.concatenate((self._last[len(samples) :], samples))  # packets may be shorter
        return pcm

    def recover(self, payload: bytes, ticks: int) -> tuple[bytes, bool]:
        return self.conceal(ticks), False

    def conceal(self, ticks: int) -> bytes:
        count = ticks * LISTEN_RATE_HZ // self.clock_hz
        pieces = []
        for start in range(0, count, PERIOD):
            self._last = self._last * FADE
            pieces.append(self._last[: count - start])
        return np.concatenate(pieces).astype("<i2").tobytes() if pieces else b""

    def encode(self, pcm: bytes) -> bytes:
        return self._codec.encode(pcm)

    def silence(self) -> bytes:
        return self._codec.silence()

    def expect_loss(self, percent: int) -> None:
        self._codec.expect_loss(percent)
