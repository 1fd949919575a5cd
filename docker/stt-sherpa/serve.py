"""Starts sherpa-onnx's WebSocket server with the streaming model that is mounted on /models.

    STT_MODELS            where the model lies: /models, or the one folder in it
    STT_ENCODER, …        a part of it elsewhere: STT_DECODER, STT_JOINER, STT_MODEL, STT_TOKENS
    STT_PROVIDER_RUNTIME  cpu or cuda; asked for cuda, sherpa-onnx itself falls back to cpu silently
    STT_THREADS           threads that decode
    STT_PORT              6006

More options of the server may follow: `serve.py --max-batch-size=20`.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from providers._sherpa_models import Kind, ModelError, SherpaModel, find_model

PROGRAM = "sherpa-onnx-online-websocket-server"
FLAGS = {
    Kind.TRANSDUCER: {"encoder": "encoder", "decoder": "decoder", "joiner": "joiner"},
    Kind.NEMO_TRANSDUCER: {"encoder": "encoder", "decoder": "decoder", "joiner": "joiner"},
    Kind.PARAFORMER: {"encoder": "paraformer-encoder", "decoder": "paraformer-decoder"},
    Kind.ZIPFORMER2_CTC: {"model": "zipformer2-ctc-model"},
    Kind.NEMO_CTC: {"model": "nemo-ctc-model"},
    Kind.WENET_CTC: {"model": "wenet-ctc-model"},
    Kind.T_ONE_CTC: {"model": "t-one-ctc-model"},
}
"""A model's parts → the server's options."""
CUDA_LIBRARY = "lib/libonnxruntime_providers_cuda.so"


def command(model: SherpaModel, environment: Mapping[str, str]) -> list[str]:
    """The server's command line; endpoints are found by Kaiwa, so its own rules are off."""
    parts = {
        part: environment.get(f"STT_{part.upper()}") or path for part, path in model.files.items()
    }
    options = {
        "port": environment.get("STT_PORT") or "6006",
        "tokens": environment.get("STT_TOKENS") or model.tokens,
        **{FLAGS[model.kind][part]: path for part, path in parts.items()},
        "provider": environment.get("STT_PROVIDER_RUNTIME") or "cpu",
        "num-work-threads": environment.get("STT_THREADS") or "3",
        "enable-endpoint": "false",
        "sample-rate": str(model.rate_hz),
        "log-file": "/dev/null",
    }
    if model.model_type:
        options["model-type"] = model.model_type
    if model.graph:
        options |= {"ctc-graph": model.graph, "ctc-max-active": str(model.max_active)}
    return [PROGRAM, *(f"--{name}={value}" for name, value in options.items())]


def problem(environment: Mapping[str, str]) -> str:
    """Why the server would not do what it is asked; empty where it would."""
    runtime = environment.get("STT_PROVIDER_RUNTIME") or "cpu"
    if runtime not in ("cpu", "cuda"):
        return f"STT_PROVIDER_RUNTIME must be cpu or cuda, got {runtime!r}"
    if runtime == "cuda" and not _has_cuda():
        return (
            "STT_PROVIDER_RUNTIME is cuda, but this image holds sherpa-onnx for the CPU; set "
            "STT_BACKEND=cuda in .env and build it again: docker compose build stt"
        )
    if shutil.which(PROGRAM) is None:
        return f"{PROGRAM} is not installed: pip install sherpa-onnx-bin"
    return ""


def _has_cuda() -> bool:
    found = importlib.util.find_spec("sherpa_onnx")
    places = (found.submodule_search_locations or []) if found else []
    return any((Path(place) / CUDA_LIBRARY).is_file() for place in places)


def main(more: Sequence[str]) -> None:
    folder = Path(os.environ.get("STT_MODELS") or "/models")
    if why := problem(os.environ):
        sys.exit(f"stt: {why}")
    try:
        model = find_model(folder)
    except ModelError as error:
        sys.exit(f"stt: {error} (mounted from STT_MODEL_DIR, by default ./models/stt)")
    words = [*command(model, os.environ), *more]
    print("stt:", " ".join(words), flush=True)
    os.execvp(words[0], words)


if __name__ == "__main__":
    main(sys.argv[1:])
