"""Ingesting through an embedding server that is away, or goes away in the middle."""

import asyncio
from pathlib import Path

import pytest

from mocks.serve_embed import EmbedServer
from mocks.wire_faults import WireFault
from providers.base import Fault, ProviderError
from providers.embed_tei import TEIEmbedder
from rag import store
from rag.ingest import ingest

SAMPLES = Path(__file__).parents[2] / "rag" / "samples"


def test_a_server_that_is_away_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    async def main() -> None:
        embedder = TEIEmbedder("http://127.0.0.1:9")
        try:
            await embedder.start()
            await ingest([SAMPLES], tmp_path, embedder)
        finally:
            await embedder.aclose()

    with pytest.raises(ProviderError, match="EMBEDDING_ENDPOINT") as caught:
        asyncio.run(main())
    assert caught.value.fault is Fault.UNREACHABLE
    assert store.current_stamp(tmp_path) is None


def test_one_that_fails_in_the_middle_leaves_the_index_and_the_next_run_goes_through(
    tmp_path: Path,
) -> None:
    more, index = tmp_path / "more", tmp_path / "index"
    more.mkdir()
    for n in range(80):
        (more / f"{n}.md").write_text(f"# Number {n}\n\nThis is the text of number {n}.")

    async def main() -> None:
        async with EmbedServer(common=0.7) as server:
            embedder = TEIEmbedder(server.url)
            await embedder.start()
            first = await ingest([SAMPLES], index, embedder)
            server.faults.set(WireFault(kind="status", status=500, request=2))
            with pytest.raises(ProviderError, match="scripted fault"):
                await ingest([more], index, embedder)
            held = store.load(index, embedder.fingerprint)
            assert held.manifest.version == first.version and len(held.documents) == 12
            again = await ingest([more], index, embedder)
            assert (again.documents, again.embedded) == (92, 80)
            await embedder.aclose()

    asyncio.run(main())


def test_another_model_is_refused_and_embeds_everything_anew_from_an_empty_index(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        async with EmbedServer() as e5, EmbedServer(model_id="BAAI/bge-m3") as bge:
            ours, theirs = TEIEmbedder(e5.url), TEIEmbedder(bge.url)
            await ours.start()
            await theirs.start()
            first = await ingest([SAMPLES], tmp_path, ours)
            command = f"run: kaiwa ingest {SAMPLES} --index {tmp_path} --fresh"
            with pytest.raises(store.IndexMismatch, match=command):
                store.load(tmp_path, theirs.fingerprint)
            with pytest.raises(store.IndexMismatch, match=command):
                await ingest([SAMPLES], tmp_path, theirs)
            second = await ingest([SAMPLES], tmp_path, theirs, fresh=True)
            assert second.embedded == first.embedded == second.chunks
            store.load(tmp_path, theirs.fingerprint)
            await ours.aclose()
            await theirs.aclose()

    asyncio.run(main())
