"""`kaiwa.turn.sources`: the passages an answer rests on, from documents that were ingested."""

import asyncio
import subprocess
import urllib.request
from collections.abc import Iterator

import pytest
import yaml

from tests.clients.kaiwa_server import CONFIG, KAIWA, KaiwaServer, plain_environment, running_server
from tests.clients.wire_client import Event, calling

DOCUMENT = """# Opening hours

## Weekdays

We are open from nine until eight.

## Parking

There are twelve parking places behind the house, free of charge.
"""


@pytest.fixture
def informed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KaiwaServer]:
    folder = tmp_path_factory.mktemp("informed")
    (folder / "hours.md").write_text(DOCUMENT)
    sections = {
        "embedder": {"provider": "lexical"},
        "rag": {"enabled": True, "index": str(folder / "index"), "limit_ms": 2000},
    }
    config = folder / "ingest.yaml"
    config.write_text(yaml.safe_dump({**CONFIG, "llm": {"provider": "mock"}, **sections}))
    subprocess.run(
        [*KAIWA, "ingest", str(folder / "hours.md"), "--config", str(config)],
        env=plain_environment(),
        check=True,
        capture_output=True,
    )
    with running_server(folder, sections) as running:
        yield running


def test_sources_come_before_the_first_sound_and_can_be_read(informed_server: KaiwaServer) -> None:
    async def call() -> Event:
        async with calling(informed_server.ws_url) as client:
            await client.update(include=["kaiwa.turn.sources", "kaiwa.turn.timeline"])
            await client.ask("how many parking places are there")
            await client.until("response.output_audio.delta")
            await client.send("response.cancel")  # the mock's echo of all passages is long
            done = await client.until("response.done")
            [told] = client.of("kaiwa.turn.sources")
            kinds = client.kinds()
            first_sound = kinds.index("response.output_audio.delta")
            assert kinds.index("kaiwa.turn.sources") < first_sound
            assert told["response_id"] == done["response"]["id"]
            question = client.of("conversation.item.added")[0]["item"]["id"]
            assert told["item_id"] == question
            best: Event = told["sources"][0]
            assert best["heading"].endswith("Parking") and "twelve" in best["text"]
            assert best["title"] == "Opening hours" and best["score"] > 0
            timeline = await client.until("kaiwa.turn.timeline")
            assert timeline["turn"] == told["turn"]
            return best

    best = asyncio.run(call())
    address = f"{informed_server.http_url}/api/sources/{best['source']}"
    with urllib.request.urlopen(address) as answer:
        text = answer.read().decode()
    assert text[best["start"] : best["end"]] == best["text"]
    assert "We are open from nine until eight." in text
    assert any(
        "twelve parking places" in message["content"]
        for message in informed_server.last_request()["messages"]
    )
