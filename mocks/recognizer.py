"""What stands behind a mock STT server: a script at the pace of the audio, or a real recogniser."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from mocks.stt import DEFAULT_TEXT
from providers.base import LISTEN_RATE_HZ

ENDPOINT_MARK = "|"
"""In a scripted text: here the recogniser's own endpointing ends a segment."""

_PARTS = ("encoder", "decoder", "joiner")
_KINDS = {("decoder", "encoder", "joiner"): "transducer", ("decoder", "encoder"): "paraformer"}


class OnlineRecognizer(Protocol):
    """What the servers use of `sherpa_onnx.OnlineRecognizer`."""

    def create_stream(self) -> Any: ...

    def is_ready(self, s: Any) -> bool: ...

    def decode_streams(self, ss: list[Any]) -> None: ...

    def get_result(self, s: Any) -> str: ...

    def is_endpoint(self, s: Any) -> bool: ...

    def reset(self, s: Any) -> None: ...


def load_recognizer(folder: Path, *, kind: str = "", threads: int = 1) -> OnlineRecognizer:
    """The streaming model in `folder`, with endpointing, as sherpa-onnx's servers load it.

    Args:
        folder: tokens.txt and ONNX files; of two precisions int8 is taken.
        kind: The end of an `OnlineRecognizer.from_…`; sherpa-onnx ends the process if it is wrong.
            Empty: transducer or paraformer by their files, else nemo_ctc.
    Raises:
        ValueError: If there is no model in it.
    """
    import sherpa_onnx  # takes 100 ms, and most mocks are scripted

    models = sorted(folder.glob("*.onnx"), key=lambda path: ("int8" not in path.name, path.name))
    files: dict[str, str] = {}
    for path in models:
        parts = [part for part in _PARTS if part in path.name]
        files.setdefault(parts[0] if parts else "model", str(path))
    tokens = folder / "tokens.txt"
    if not files or not tokens.is_file():
        raise ValueError(f"{folder} must hold tokens.txt and a streaming model's .onnx files")
    if not kind:
        kind = _KINDS.get(tuple(sorted(files)), "nemo_ctc")
    make = getattr(sherpa_onnx.OnlineRecognizer, f"from_{kind}", None)
    if make is None:
        raise ValueError(f"kind must end an OnlineRecognizer.from_…, got {kind!r}")
    recognizer = make(
        tokens=str(tokens), **files, num_threads=threads, enable_endpoint_detection=True
    )
    return cast(OnlineRecognizer, recognizer)


class ScriptedRecognizer:
    """One word more for every `word_ms` of audio; the rest of the text when the input is finished.

    Args:
        texts: What is said, utterance by utterance, in the order in which their audio begins; "|"
            between words ends a segment. Behind the last comes `text`.
        chunk_ms: Audio of one decode step.
    """

    def __init__(
        self,
        texts: Sequence[str] = (),
        *,
        text: str = DEFAULT_TEXT,
        word_ms: float = 300.0,
        chunk_ms: int = 320,
    ) -> None:
        self._texts: Iterator[str] = iter(texts)
        self._text = text
        self.word_samples = word_ms * LISTEN_RATE_HZ / 1000
        self.chunk_samples = chunk_ms * LISTEN_RATE_HZ // 1000

    def next_text(self) -> str:
        return next(self._texts, self._text)

    def create_stream(self) -> "ScriptedStream":
        return ScriptedStream(self)

    def is_ready(self, s: "ScriptedStream") -> bool:
        left = s.samples - s.decoded
        return left > 0 if s.is_finished else left >= self.chunk_samples

    def decode_streams(self, ss: list["ScriptedStream"]) -> None:
        for stream in ss:
            stream.decoded = min(stream.decoded + self.chunk_samples, stream.samples)

    def get_result(self, s: "ScriptedStream") -> str:
        return s.result(int(s.decoded / self.word_samples))

    def is_endpoint(self, s: "ScriptedStream") -> bool:
        return s.is_endpoint(int(s.decoded / self.word_samples))

    def reset(self, s: "ScriptedStream") -> None:
        s.reset()


class ScriptedStream:
    """One utterance; its text is taken when its first audio comes."""

    def __init__(self, recognizer: ScriptedRecognizer) -> None:
        self._recognizer = recognizer
        self._segments: list[list[str]] | None = None
        self._words_before = 0
        self.samples = self.decoded = 0
        self.is_finished = False

    def accept_waveform(self, sample_rate: float, waveform: NDArray[np.float32]) -> None:
        if self._segments is None:
            parts = self._recognizer.next_text().split(ENDPOINT_MARK)
            self._segments = [part.split() for part in parts]
        self.samples += len(waveform)

    def input_finished(self) -> None:
        self.is_finished = True

    def result(self, words: int) -> str:
        if self._segments is None:
            return ""
        if self.is_finished and self.decoded == self.samples:
            return " ".join(word for segment in self._segments for word in segment)
        return " ".join(self._segments[0][: max(0, words - self._words_before)])

    def is_endpoint(self, words: int) -> bool:
        if self._segments is None or len(self._segments) < 2:
            return False
        return words >= self._words_before + len(self._segments[0])

    def reset(self) -> None:
        assert self._segments is not None
        self._words_before += len(self._segments.pop(0))
