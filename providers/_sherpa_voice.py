"""sherpa-onnx's OfflineTts, in the process that `providers._voice_process` starts.

`generate` lets go of the GIL (measured on 2.0.1: another thread is never late by more than 0.2 ms)
and calls back after every sentence; what the callback returns decides whether it goes on.
"""

import sys
from importlib import import_module
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from providers._tts_sanity import pcm_of_floats
from providers._voice_child import Listener, serve

WORDS = ("Ready.", "好。", "はい。", "네.", "Да.", "नमस्ते।")
"""One of them is tried at the start, and said at every check: the first the voice knows."""


class VoiceFiles(msgspec.Struct, frozen=True, kw_only=True):
    """A model's files, by the names sherpa-onnx gives them; empty where there is none."""

    kind: Literal["vits", "matcha", "kokoro"]
    model: str
    tokens: str
    vocoder: str = ""
    voices: str = ""
    lexicon: str = ""
    data_dir: str = ""
    dict_dir: str = ""
    rule_fsts: str = ""
    rule_fars: str = ""
    threads: int = 1


class SherpaVoice:
    """Implements `providers._voice_child.Voice`."""

    def __init__(self, files: VoiceFiles) -> None:
        sherpa = import_module("sherpa_onnx")  # not at the top: the server reads this module, too
        config = sherpa.OfflineTtsConfig(
            model=_model_config(sherpa, files),
            rule_fsts=files.rule_fsts,
            rule_fars=files.rule_fars,
            max_num_sentences=1,
        )
        if not config.validate():
            raise ValueError("sherpa-onnx does not accept these files")
        self._tts = sherpa.OfflineTts(config)
        self.rate_hz: int = self._tts.sample_rate
        self.voices: int = max(1, self._tts.num_speakers)
        self.check_text = next((word for word in WORDS if self._can_say(word)), WORDS[0])

    def _can_say(self, word: str) -> bool:
        heard: list[int] = []

        def hear(samples: NDArray[np.float32], _: float) -> int:
            heard.append(len(samples))
            return 0

        self._tts.generate(word, sid=0, speed=1.0, callback=hear)
        return sum(heard) > self.rate_hz // 20

    def speak(self, text: str, voice: str, speed: float, listener: Listener) -> None:
        wrong: list[Exception] = []

        def hear(samples: NDArray[np.float32], _: float) -> int:
            try:
                return int(listener.hear(pcm_of_floats(samples)))
            except Exception as error:  # must not reach the C++ that called
                wrong.append(error)
                return 0

        self._tts.generate(text, sid=int(voice or 0), speed=speed, callback=hear)
        if wrong:
            raise wrong[0]


def _model_config(sherpa: Any, files: VoiceFiles) -> Any:
    shared = {
        "tokens": files.tokens,
        "lexicon": files.lexicon,
        "data_dir": files.data_dir,
        "dict_dir": files.dict_dir,
    }
    config = sherpa.OfflineTtsModelConfig()
    config.num_threads = files.threads
    if files.kind == "kokoro":
        config.kokoro = sherpa.OfflineTtsKokoroModelConfig(
            model=files.model, voices=files.voices, **shared
        )
    elif files.kind == "matcha":
        config.matcha = sherpa.OfflineTtsMatchaModelConfig(
            acoustic_model=files.model, vocoder=files.vocoder, **shared
        )
    else:
        config.vits = sherpa.OfflineTtsVitsModelConfig(model=files.model, **shared)
    return config


if __name__ == "__main__":
    serve(lambda: SherpaVoice(msgspec.json.decode(sys.argv[1], type=VoiceFiles)))
