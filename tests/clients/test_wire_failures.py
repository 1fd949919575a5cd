"""What clients are told when a provider fails: in shapes that stock clients can read."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.clients.kaiwa_server import CONFIG, KaiwaServer, running_server
from tests.clients.wire_client import VAD, calling
from voice.phrases import LANGUAGES, all_phrases

KEPT = {text for language in LANGUAGES for text in all_phrases(language)}
"""As sound; all of it is made while the first utterance is spoken and lost."""
FAULTS = [
    {"slot": "stt", "kind": "fail", "request": 1, "times": 2},
    {"slot": "tts", "kind": "fail", "request": len(KEPT) + 1},
]


@pytest.fixture
def failing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KaiwaServer]:
    mock = {**CONFIG["mock"], "faults": FAULTS}
    with running_server(tmp_path_factory.mktemp("failing"), {"mock": mock}) as running:
        yield running


def test_a_lost_utterance_and_a_lost_voice_are_told_and_got_over(
    failing_server: KaiwaServer,
) -> None:
    async def call() -> None:
        async with calling(failing_server.ws_url, microphone=True) as client:
            await client.update(audio={"input": {"turn_detection": VAD}})
            client.speak()
            failed = await client.until("conversation.item.input_audio_transcription.failed")
            # agents-js ignores the event if one of these is null, pipecat wants the first two.
            assert failed["content_index"] == 0
            assert failed["error"]["type"] and failed["error"]["message"]
            assert None not in failed["error"].values()
            asked_again = await client.until("response.done")
            assert asked_again["response"]["status"] == "completed"
            await client.ask("good morning")
            done = await client.until("response.done")
            assert done["response"]["status"] == "failed"
            error = done["response"]["status_details"]["error"]
            assert error["type"] == "server_error" and error["code"] and error["message"]
            await client.ask("good night")
            done = await client.until("response.done")
            assert done["response"]["status"] == "completed"

    asyncio.run(call())
