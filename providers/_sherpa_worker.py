"""The process that holds a sherpa-onnx recogniser: all callers' streams, decoded in batches."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import sherpa_onnx

from providers._onnx_metadata import ModelError
from providers._sherpa_graph import nemo_ctc_with_graph
from providers._sherpa_models import Kind, SherpaModel
from providers._sherpa_symbols import PIECE, read_symbols
from providers._worker_batch import RefusedError, serve
from providers._worker_wire import Begin

SHORTEST_MS = 500
"""Shorter input than this has made encoders throw (sherpa-onnx issue 3685)."""
WARM_UP_MS = 1000
RATE_HZ = 16_000
NO_CUDA = (
    "this build of sherpa-onnx has no CUDA: the package of PyPI is for the CPU. Install the wheel "
    "from https://k2-fsa.github.io/sherpa/onnx/cuda.html, or set STT_PROVIDER_RUNTIME=cpu"
)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the server tells its worker, as JSON on the command line."""

    model: SherpaModel
    provider: str
    device: int
    threads: int
    max_batch: int
    batch_wait_ms: float
    tail_ms: int
    hotwords_score: float


class Recogniser:
    """Implements `providers._batches.BatchRecogniser`."""

    def __init__(self, recognizer: Any, settings: Settings) -> None:
        self._recognizer = recognizer
        self._settings = settings
        model = settings.model
        self._hotwords = Hotwords(model) if model.takes_hotwords else None
        self.rate_hz = RATE_HZ
        self.lead_samples = model.lead_ms * RATE_HZ // 1000
        self.tail_samples = settings.tail_ms * RATE_HZ // 1000

    def begin(self, message: Begin) -> "Utterance":
        words = self._hotwords.encode(message.hotwords) if self._hotwords else ""
        if words and self._settings.hotwords_score > 0:
            return Utterance(self, self._recognizer.create_stream(words))
        return Utterance(self, self._recognizer.create_stream())

    def decode(self, utterances: Sequence["Utterance"]) -> None:
        self._recognizer.decode_streams([utterance.stream for utterance in utterances])

    def is_ready(self, stream: Any) -> bool:
        return bool(self._recognizer.is_ready(stream))

    def text(self, stream: Any) -> str:
        text = " ".join(self._recognizer.get_result(stream).replace(PIECE, " ").split())
        return text.lower() if self._settings.model.is_upper else text

    def warm_up(self) -> None:
        """The first steps allocate, on a GPU for a second; a caller should not wait for it."""
        rng = np.random.default_rng(0)
        for count in {1, min(4, self._settings.max_batch)}:
            utterances = [self.begin(Begin(0)) for _ in range(count)]
            for utterance in utterances:
                noise = rng.integers(-300, 300, WARM_UP_MS * RATE_HZ // 1000, dtype=np.int16)
                utterance.feed(noise.tobytes())
                utterance.end()
            while ready := [utterance for utterance in utterances if utterance.is_ready]:
                self.decode(ready)
            utterances[0].text()


class Utterance:
    """Implements `providers._batches.Utterance`."""

    def __init__(self, recogniser: Recogniser, stream: Any) -> None:
        self._recogniser = recogniser
        self.stream = stream
        self._samples = 0

    @property
    def is_ready(self) -> bool:
        return self._recogniser.is_ready(self.stream)

    def feed(self, pcm: bytes) -> None:
        if not self._samples and self._recogniser.lead_samples:
            self._accept([0.0] * self._recogniser.lead_samples)
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768
        self._samples += len(samples)
        # A list: an array is converted sample by sample through Python, in 5 × the time.
        self._accept(samples.tolist())

    def end(self) -> None:
        if not self._samples:
            return
        short = SHORTEST_MS * RATE_HZ // 1000 - self._samples
        self._accept([0.0] * max(self._recogniser.tail_samples, short))
        self.stream.input_finished()

    def text(self) -> str:
        return self._recogniser.text(self.stream) if self._samples else ""

    def _accept(self, samples: list[float]) -> None:
        self.stream.accept_waveform(self._recogniser.rate_hz, samples)


class Hotwords:
    """Words as a transducer's stream takes them, separated by "/": in its own case, and only such
    that its symbols can spell; the library carries on with half a word otherwise."""

    def __init__(self, model: SherpaModel) -> None:
        symbols = read_symbols(Path(model.tokens))
        self._is_upper = model.is_upper
        self._words = {symbol for symbol in symbols if not symbol.startswith("<")}
        self._longest = max(map(len, self._words))
        self._is_spelled = model.modeling_unit == "cjkchar"
        self._is_lower = "".join(self._words).islower()

    def encode(self, phrases: Iterable[str]) -> str:
        return "/".join(filter(None, map(self._encode, phrases)))

    def _encode(self, phrase: str) -> str:
        if self._is_upper or self._is_lower:
            phrase = phrase.upper() if self._is_upper else phrase.lower()
        phrase = phrase.replace("/", " ")
        words = [word for word in phrase.split() if word[0] not in ":#@"]
        if not self._is_spelled:
            return " ".join(words) if all(map(self._has_pieces, words)) else ""
        units = [unit for word in words for unit in ([word] if word in self._words else word)]
        return " ".join(units) if all(unit in self._words for unit in units) else ""

    def _has_pieces(self, word: str) -> bool:
        word = PIECE + word
        reached = {0}
        for end in range(1, len(word) + 1):
            starts = range(max(0, end - self._longest), end)
            if any(start in reached and word[start:end] in self._words for start in starts):
                reached.add(end)
        return len(word) in reached


def bpe_vocab(symbols: Sequence[str]) -> str:
    """A bpe.vocab made of tokens.txt, where a model comes without one.

    SentencePiece numbers a BPE model's pieces in the order of its merges, and the score of a piece
    is that order, negative; so ids tell the scores.
    """
    scores = (0 if symbol.startswith("<") else -index for index, symbol in enumerate(symbols))
    return "".join(f"{symbol}\t{score}\n" for symbol, score in zip(symbols, scores, strict=True))


def load(settings: Settings) -> Recogniser:
    """Raises RefusedError if the model or the device cannot be used."""
    model = settings.model
    try:
        if settings.provider == "cpu":
            recognizer = _make(settings)
        else:
            recognizer = _make_on_device(settings)
        recogniser = Recogniser(recognizer, settings)
        recogniser.warm_up()
    except (RuntimeError, ValueError, AssertionError, ModelError) as error:
        files = ", ".join(model.files.values())
        raise RefusedError(
            f"sherpa-onnx cannot use {files} as {model.kind.value}: {error}; download it again"
        ) from error
    return recogniser


def _make_on_device(settings: Settings) -> Any:
    """The library says on stderr that it falls back to the CPU, and nowhere else."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            recognizer = _make(settings)
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            said.seek(0)
            words = said.read()
            os.write(2, words)
    if b"fallback to cpu" in words.lower():
        raise RefusedError(f"{settings.provider}:{settings.device} asked for, but {NO_CUDA}")
    return recognizer


def _make(settings: Settings) -> Any:
    model = settings.model
    common: dict[str, Any] = {
        "tokens": model.tokens,
        "num_threads": settings.threads,
        "provider": settings.provider,
        "device": settings.device,
        "enable_endpoint_detection": False,
    }
    online = sherpa_onnx.OnlineRecognizer
    makers: dict[Kind, Callable[..., Any]] = {
        Kind.NEMO_TRANSDUCER: online.from_transducer,
        Kind.PARAFORMER: online.from_paraformer,
        Kind.ZIPFORMER2_CTC: online.from_zipformer2_ctc,
        Kind.NEMO_CTC: online.from_nemo_ctc,
        Kind.WENET_CTC: online.from_wenet_ctc,
        Kind.T_ONE_CTC: online.from_t_one_ctc,
    }
    if model.kind is Kind.WENET_CTC:
        common |= {"chunk_size": model.chunk[0], "num_left_chunks": model.chunk[1]}
    if model.kind is Kind.T_ONE_CTC:
        common |= {"sample_rate": model.rate_hz}
    if model.kind is Kind.TRANSDUCER:
        return _make_transducer(settings, {**model.files, **common})
    if model.graph and model.kind is Kind.ZIPFORMER2_CTC:
        common |= {"ctc_graph": model.graph, "ctc_max_active": model.max_active}
    elif model.graph:
        common |= {"graph": model.graph, "max_active": model.max_active}
        makers[Kind.NEMO_CTC] = nemo_ctc_with_graph
    return makers[model.kind](**model.files, **common)


def _make_transducer(settings: Settings, options: dict[str, Any]) -> Any:
    """Only the beam search knows hotwords; meeting some, the greedy one ends the process."""
    model = settings.model
    make = sherpa_onnx.OnlineRecognizer.from_transducer
    if settings.hotwords_score <= 0:
        return make(**options, model_type=model.model_type, decoding_method="greedy_search")
    with tempfile.TemporaryDirectory(prefix="kaiwa-") as folder:
        vocab = Path(model.bpe_vocab or Path(folder, "bpe.vocab"))
        if model.modeling_unit != "cjkchar" and not model.bpe_vocab:
            vocab.write_text(bpe_vocab(read_symbols(Path(model.tokens))), "utf-8")
        return make(
            **options,
            model_type=model.model_type,
            decoding_method="modified_beam_search",
            hotwords_score=settings.hotwords_score,
            modeling_unit=model.modeling_unit,
            bpe_vocab=str(vocab) if vocab.is_file() else "",
        )


if __name__ == "__main__":
    given = msgspec.json.decode(sys.argv[2], type=Settings)
    serve(lambda: load(given), max_batch=given.max_batch, batch_wait_s=given.batch_wait_ms / 1000)
