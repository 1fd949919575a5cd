"""Without the library; what it does with a model is tested in `tests/semantic`."""

import asyncio
import sys

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


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="EMBEDDING_MODEL"):
        SentenceEmbedder("")
    with pytest.raises(ValueError, match="threads"):
        SentenceEmbedder("m", threads=0)
