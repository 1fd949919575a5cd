"""The `openai` Python SDK, unmodified, async and sync, against the running server."""

import pytest

from tests.clients.kaiwa_server import KaiwaServer
from tests.clients.scenario_host import ScenarioHost, python_scenarios

pytestmark = pytest.mark.clients


@pytest.mark.parametrize("scenario", python_scenarios("python/openai_async.py"))
def test_the_async_client(openai_async: ScenarioHost, server: KaiwaServer, scenario: str) -> None:
    openai_async.play(scenario, server.http_url)


@pytest.mark.parametrize("scenario", python_scenarios("python/openai_sync.py"))
def test_the_sync_client(openai_sync: ScenarioHost, server: KaiwaServer, scenario: str) -> None:
    openai_sync.play(scenario, server.http_url)


@pytest.mark.parametrize("scenario", python_scenarios("python/openai_calls.py"))
def test_calls_over_webrtc(openai_calls: ScenarioHost, server: KaiwaServer, scenario: str) -> None:
    openai_calls.play(scenario, server.http_url)
