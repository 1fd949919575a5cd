"""Embeddings in this process, by the library sentence-transformers (extra `semantic`).

A thread of its own computes, a few texts at a time, so that a caller's question waits for one small
batch of an ingest at most. Importing torch and loading a model take seconds: `start()` does both.
"""

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from providers._prefixes import Prefixes, prefixes_of
from providers.base import Fault, ProviderError, ProviderInfo, Slot

_NAME = "sentence-transformers"
_BATCH = 8


class SentenceEmbedder:
    """Implements `providers.base.Embedder`.

    Args:
        model: A folder that holds one, or its name on the Hugging Face hub, which is asked for it
            when it is not in the hub's cache yet.
        device: `cpu`, `cuda`, `cuda:1`, `mps` …
        threads: Of torch, on the CPU; more than one competes with the calls' audio.
    """

    def __init__(self, model: str, *, device: str = "cpu", threads: int = 1) -> None:
        if not model:
            raise ValueError("EMBEDDING_MODEL must name a model or a folder that holds one")
        if threads < 1:
            raise ValueError(f"threads must be 1 or more, got {threads}")
        self._name = model
        self._device = device
        self._threads = threads
        self._prefixes = Prefixes()
        self._model: Any = None
        self._dimensions = 0
        self._thread: threading.Thread | None = None
        self._worker = ThreadPoolExecutor(1, "embed-sentence", self._remember_thread)

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.EMBEDDER, provider=_NAME, model=self._name)

    @property
    def fingerprint(self) -> str:
        """Model, size, and a checksum of the prefixes; of a folder, its last two names.

        Raises:
            ProviderError: It is not loaded yet.
        """
        name = "/".join(Path(self._name).parts[-2:])
        return f"{name}-{self.dimensions}-{self._prefixes.rules}"

    @property
    def dimensions(self) -> int:
        if not self._dimensions:
            raise self._failure(Fault.UNREACHABLE, f"{self._name} is not loaded yet")
        return self._dimensions

    async def start(self) -> None:
        if self._model is None:
            await self._run(self._load)

    async def check(self) -> None:
        await self.embed(["check"], "query")

    async def ping(self) -> None:
        """Asks nobody: whether there is a model, and a thread to run it."""
        if self._model is None:
            raise self._failure(
                Fault.UNREACHABLE, f"{self._name} is not loaded; see the log for why"
            )
        if self._thread is None or not self._thread.is_alive():
            raise self._failure(Fault.CRASHED, "its thread does not run; restart Kaiwa")

    async def aclose(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)
        self._model = None

    async def embed(
        self, texts: Sequence[str], kind: Literal["query", "passage"]
    ) -> NDArray[np.float32]:
        await self.start()
        prefix = self._prefixes.query if kind == "query" else self._prefixes.passage
        places = [place for place, text in enumerate(texts) if text.strip()]
        rows = np.zeros((len(texts), self._dimensions), np.float32)
        for at in range(0, len(places), _BATCH):
            batch = places[at : at + _BATCH]
            rows[batch] = await self._run(self._encode, [prefix + texts[i] for i in batch])
        return rows

    # --- in the thread

    def _remember_thread(self) -> None:
        self._thread = threading.current_thread()

    def _load(self) -> None:
        try:
            torch = import_module("torch")
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise self._failure(
                Fault.REFUSED,
                f"{error.name or error} is not installed: pip install 'kaiwa[semantic]'",
            ) from None
        torch.set_num_threads(self._threads)
        try:
            model = SentenceTransformer(self._name, device=self._device)
        except Exception as error:  # the hub, the files and torch each fail in their own ways
            raise self._failure(
                Fault.REFUSED,
                f"{self._name} cannot be loaded on {self._device} "
                f"({type(error).__name__}: {_first_line(error)}): set EMBEDDING_MODEL to a folder "
                "with a model of sentence-transformers, or make the hub reachable once",
            ) from None
        own = model.prompts
        self._prefixes = prefixes_of(self._name)
        if self._prefixes == Prefixes():
            self._prefixes = Prefixes(own.get("query", ""), own.get("document", ""))
        self._model = model
        self._dimensions = self._encode(["check"]).shape[1]

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        try:
            found = self._model.encode(
                texts,
                prompt="",  # ours are in the texts
                batch_size=len(texts),
                convert_to_numpy=True,
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        except RuntimeError as error:  # out of memory, a lost GPU
            raise self._failure(
                Fault.CRASHED, f"{self._name} failed on {self._device}: {_first_line(error)}"
            ) from None
        rows = np.asarray(found, np.float32)
        if rows.shape[0] != len(texts) or not np.isfinite(rows).all() or not rows.any(axis=1).all():
            raise self._failure(
                Fault.BROKEN, f"{self._name} gave numbers that are none for one of the texts"
            )
        return rows

    async def _run(self, work: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *args)

    def _failure(self, fault: Fault, message: str) -> ProviderError:
        return ProviderError(Slot.EMBEDDER, _NAME, fault, message)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:300]
