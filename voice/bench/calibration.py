"""What this machine's CPU is worth: a fixed piece of work of the kind that a server does.

One unit is the barest imaginable handling of one second of a call: 50 append events are decoded,
their audio is turned into numbers, and its level is taken. A server's CPU divided by it says how
many times the bare minimum a call costs, which is nearly the same on a slow machine and a fast one.
"""

import base64
import time

import msgspec
import numpy as np

FRAMES_PER_S = 50
UNITS = 200
"""Of one measurement: 50 to 200 ms of CPU."""
TRIES = 3


class _Append(msgspec.Struct):
    type: str
    audio: str


def _events() -> list[bytes]:
    samples = np.random.default_rng(1).integers(-8000, 8000, (FRAMES_PER_S, 480), dtype=np.int16)
    return [
        msgspec.json.encode(
            _Append("input_audio_buffer.append", base64.b64encode(row.tobytes()).decode())
        )
        for row in samples
    ]


def _handle(events: list[bytes], decoder: msgspec.json.Decoder[_Append]) -> float:
    level = 0.0
    for event in events:
        audio = base64.b64decode(decoder.decode(event).audio)
        samples = np.frombuffer(audio, "<i2").astype(np.float32)
        level += float(np.sqrt(np.dot(samples, samples) / len(samples)))
    return level


def unit_s() -> float:
    """Seconds of CPU for one unit: the fastest of three measurements, as nothing but noise is
    added to it."""
    events, decoder = _events(), msgspec.json.Decoder(_Append)
    _handle(events, decoder)
    found = []
    for _ in range(TRIES):
        before = time.process_time()
        for _ in range(UNITS):
            _handle(events, decoder)
        found.append((time.process_time() - before) / UNITS)
    return min(found)
