"""What all callers send, laid out once: frames of speech, and of what a room sounds like."""

import base64

import numpy as np

from voice.audio import encode_g711
from voice.bench.config import BenchConfig
from voice.bench.messages import append_frame
from voice.bench.phone import RATE_HZ as PHONE_HZ
from voice.bench.speech import RATE_HZ, background, frames, speech_of
from voice.bench.tongue import Sound
from voice.resample import Resampler

BACKGROUND_FRAMES = 50


def _append_frames(pcm: list[bytes]) -> tuple[bytes, ...]:
    return tuple(append_frame(base64.b64encode(frame).decode()) for frame in pcm)


def _coded(pcm: list[bytes]) -> tuple[bytes, ...]:
    return tuple(
        base64.b64encode(encode_g711("audio/pcmu", np.frombuffer(one, "<i2"))) for one in pcm
    )


def sound_of(config: BenchConfig) -> Sound:
    """What every caller says and sends between, as its tongue takes it."""
    speech = speech_of(config)
    quiet = (config.noise_dbfs, config.frame_ms, BACKGROUND_FRAMES, config.seed)
    if config.transport == "websocket":
        spoken = frames(speech.samples, config.frame_ms)
        return Sound(_append_frames(spoken), _append_frames(background(*quiet)))
    narrow = Resampler(RATE_HZ, PHONE_HZ).whole(speech.samples)
    spoken = frames(narrow, config.frame_ms, PHONE_HZ)
    return Sound(_coded(spoken), _coded(background(*quiet, PHONE_HZ)))
