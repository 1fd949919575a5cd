"""Without the library; what it does with a model is tested in `tests/semantic`."""

import asyncio
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from providers.base import Fault, ProviderError
from providers.embed_sentence import SentenceEmbedder


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    monkeypatch.setitem(sys.modules, "torch", None)

    async def main() -> None:
        embedder = SentenceEmbedder("intfloat/multilingual-e5-base")
        with pytest.raises(ProviderError, match="is not loaded yet"):
            _ = embedder.fingerprint
        try:
            await embedder.start()
        finally:
            await embedder.aclose()

    with pytest.raises(ProviderError, match=r"pip install 'kaiwa\[semantic\]'") as caught:
        asyncio.run(main())
    assert caught.value.fault is Fault.REFUSED


class TinyModel:
    """As much of sentence-transformers as an embedder needs."""

    def __init__(self, name: str, device: str) -> None:
        self.prompts: dict[str, str] = {}

    def encode(self, texts: list[str], **_: Any) -> Any:
        return np.ones((len(texts), 2), np.float32)


def test_a_ping_tells_whether_there_is_a_model_and_a_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch, library = ModuleType("torch"), ModuleType("sentence_transformers")
    torch.set_num_threads = lambda count: None  # type: ignore[attr-defined]
    library.SentenceTransformer = TinyModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)

    async def main() -> None:
        embedder = SentenceEmbedder("tiny")
        with pytest.raises(ProviderError, match="is not loaded") as caught:
            await embedder.ping()
        assert caught.value.fault is Fault.UNREACHABLE
        await embedder.start()
        await embedder.ping()
        embedder._worker.shutdown()
        with pytest.raises(ProviderError, match="thread does not run") as caught:
            await embedder.ping()
        assert caught.value.fault is Fault.CRASHED
        await embedder.aclose()

    asyncio.run(main())


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="EMBEDDING_MODEL"):
        SentenceEmbedder("")
    with pytest.raises(ValueError, match="threads"):
        SentenceEmbedder("m", threads=0)
