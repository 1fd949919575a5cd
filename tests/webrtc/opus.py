"""Sound as Opus packets and back, with PyAV: the server's own codec does not judge itself."""

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from numpy.typing import NDArray

RATE_HZ = 48_000
FRAME_SAMPLES = 960
"""20 ms."""

Samples = NDArray[np.int16]


def packets(samples: Samples, *, expected_loss: int = 0) -> list[bytes]:
    """One packet for each 20 ms of [n] mono samples at 48 kHz.

    Args:
        expected_loss: Percent. With any, each packet carries the one before once more (in-band
            FEC), as browsers send it.
    """
    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate = RATE_HZ
    encoder.layout = "mono"
    encoder.format = "s16"
    encoder.bit_rate = 32_000
    encoder.time_base = Fraction(1, RATE_HZ)
    encoder.options = {
        "application": "voip",
        "frame_duration": "20",
        "fec": "1" if expected_loss else "0",
        "packet_loss": str(expected_loss),
    }
    coded = []
    whole = len(samples) - len(samples) % FRAME_SAMPLES
    for at in range(0, whole, FRAME_SAMPLES):
        frame = av.AudioFrame.from_ndarray(
            samples[at : at + FRAME_SAMPLES].reshape(1, -1), format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts = RATE_HZ, at
        coded += [bytes(packet) for packet in encoder.encode(frame)]
    return coded


def sound(received: Sequence[tuple[int, bytes]]) -> Samples:
    """What was received, at its place in time.

    Args:
        received: RTP timestamp and payload, in any order; timestamps do not wrap here.
    Returns:
        [n] samples at 48 kHz from the first timestamp on; silence where nothing came.
    """
    if not received:
        return np.zeros(0, np.int16)
    decoder = av.CodecContext.create("opus", "r")
    decoder.sample_rate = RATE_HZ
    decoder.layout = "mono"
    ordered = sorted(dict(received).items())
    begin = ordered[0][0]
    whole = np.zeros(ordered[-1][0] - begin + 6 * FRAME_SAMPLES, np.int16)
    end = 0
    for timestamp, payload in ordered:
        for frame in decoder.decode(av.Packet(payload)):
            block = frame.to_ndarray()[0]
            if block.dtype != np.int16:
                block = np.clip(block * 32_768, -32_768, 32_767).astype(np.int16)
            at = timestamp - begin
            whole[at : at + len(block)] = block
            end = at + len(block)
    return whole[:end]
