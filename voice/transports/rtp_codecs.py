"""What is spoken over RTP: Opus, and G.711 for those who have nothing better."""

from typing import Protocol

import numpy as np

from providers.base import LISTEN_RATE_HZ
from voice.audio import decode_g711, encode_g711
from voice.resample import Resampler
from voice.rtp import (
    LONGEST_8_KHZ_TICKS,
    OPUS_CLOCK_HZ,
    SILENT_OPUS,
    SILENT_OPUS_BYTES,
    opus_ticks,
)
from voice.rtp_playout import FRAME_MS
from voice.settings_fields import G711_RATE_HZ, OUTPUT_RATE_HZ
from voice.transports.opus import OpusDecoder, OpusEncoder, OpusError, has_copy


class Codec(Protocol):
    """One stream each way: s16le mono, 16 kHz out of the far end, 24 kHz towards it."""

    clock_hz: int

    def ticks(self, payload: bytes) -> int:
        """How long it sounds; 0: it is nothing that may be."""

    def is_silent(self, payload: bytes) -> bool:
        """Whether the sender says that it sends no more until there is something to hear."""

    def decode(self, payload: bytes) -> bytes: ...

    def recover(self, payload: bytes, ticks: int) -> tuple[bytes, bool]:
        """What was lost before this packet; whether it is more than a guess."""

    def conceal(self, ticks: int) -> bytes: ...

    def encode(self, pcm: bytes) -> bytes: ...

    def silence(self) -> bytes:
        """20 ms that need no coding, and that the far end takes for a pause of ours, not a loss."""

    def expect_loss(self, percent: int) -> None: ...


class Opus:
    clock_hz = OPUS_CLOCK_HZ

    def __init__(self) -> None:
        self._decoder, self._encoder = OpusDecoder(LISTEN_RATE_HZ), OpusEncoder(OUTPUT_RATE_HZ)

    def ticks(self, payload: bytes) -> int:
        return opus_ticks(payload)

    def is_silent(self, payload: bytes) -> bool:
        return len(payload) <= SILENT_OPUS_BYTES

    def decode(self, payload: bytes) -> bytes:
        try:
            return self._decoder.decode(payload)
        except OpusError:
            return self.conceal(opus_ticks(payload))

    def recover(self, payload: bytes, ticks: int) -> tuple[bytes, bool]:
        try:
            samples = ticks * LISTEN_RATE_HZ // OPUS_CLOCK_HZ
            pcm = self._decoder.recover(payload, samples)
            return pcm[: 2 * samples].ljust(2 * samples, b"\0"), has_copy(payload)
        except OpusError:
            return self.conceal(ticks), False

    def conceal(self, ticks: int) -> bytes:
        samples = ticks * LISTEN_RATE_HZ // OPUS_CLOCK_HZ
        pcm = bytearray()
        while (missing := samples - len(pcm) // 2) > 0:
            pcm += self._decoder.conceal(missing)
        return bytes(pcm[: 2 * samples])

    def encode(self, pcm: bytes) -> bytes:
        return self._encoder.encode(pcm)

    def silence(self) -> bytes:
        return SILENT_OPUS

    def expect_loss(self, percent: int) -> None:
        self._encoder.expect_loss(percent)


class G711:
    clock_hz = G711_RATE_HZ

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._hears = Resampler(G711_RATE_HZ, LISTEN_RATE_HZ)
        self._speaks = Resampler(OUTPUT_RATE_HZ, G711_RATE_HZ)

    def ticks(self, payload: bytes) -> int:
        return len(payload) if len(payload) <= LONGEST_8_KHZ_TICKS else 0

    def is_silent(self, payload: bytes) -> bool:
        return False

    def decode(self, payload: bytes) -> bytes:
        return self._hears.convert(decode_g711(self._kind, payload)).tobytes()

    def recover(self, payload: bytes, ticks: int) -> tuple[bytes, bool]:
        return self.conceal(ticks), False

    def conceal(self, ticks: int) -> bytes:
        return self._hears.convert(np.zeros(ticks, np.int16)).tobytes()

    def encode(self, pcm: bytes) -> bytes:
        return encode_g711(self._kind, self._speaks.convert(np.frombuffer(pcm, "<i2")))

    def silence(self) -> bytes:
        return self.encode(bytes(2 * OUTPUT_RATE_HZ * FRAME_MS // 1000))

    def expect_loss(self, percent: int) -> None:
        """There are no copies."""


def codec_named(mime_type: str) -> Codec:
    """Raises:
    ValueError: It is none of ours.
    """
    match mime_type.lower():
        case "audio/opus":
            return Opus()
        case "audio/pcmu" | "audio/pcma" as kind:
            return G711(kind)
    raise ValueError(f"codec must be opus, PCMU or PCMA, got {mime_type}")
