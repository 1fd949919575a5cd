"""Shared by the clients' tests: one server, and the hosts of the SDKs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.kaiwa_server import KaiwaServer, running_server
from tests.clients.scenario_host import ScenarioHost
from tests.clients.speech_files import write_speech_files
from tests.needed import missing, needed

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CLIENT_PYTHON = ROOT / ".venv-clients" / "bin" / "python"
AGENTS_SDK = HERE / "node" / "node_modules" / "@openai" / "agents-realtime"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They speak and listen in real time, and have limits of their own."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real_time)


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KaiwaServer]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def server(shared_server: KaiwaServer) -> Iterator[KaiwaServer]:
    """One server for all; who makes it log an error of its own fails."""
    yield shared_server
    problems = shared_server.new_problems()
    assert not problems, problems


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    write_speech_files(folder)
    shutil.copy(ROOT / "tests/voice/offers/chromium-microphone.sdp", folder / "offer.sdp")
    return folder


@pytest.fixture(scope="module")
def openai_async(speech_folder: Path) -> Iterator[ScenarioHost]:
    program = [str(CLIENT_PYTHON), str(HERE / "python/openai_async.py")]
    yield from _host(CLIENT_PYTHON, [*program, str(speech_folder)])


@pytest.fixture(scope="module")
def openai_sync(speech_folder: Path) -> Iterator[ScenarioHost]:
    program = [str(CLIENT_PYTHON), str(HERE / "python/openai_sync.py")]
    yield from _host(CLIENT_PYTHON, [*program, str(speech_folder)])


@pytest.fixture(scope="module")
def openai_calls(speech_folder: Path) -> Iterator[ScenarioHost]:
    program = [str(CLIENT_PYTHON), str(HERE / "python/openai_calls.py")]
    yield from _host(CLIENT_PYTHON, [*program, str(speech_folder)])


@pytest.fixture(scope="module")
def agents(speech_folder: Path) -> Iterator[ScenarioHost]:
    program = ["node", str(HERE / "node/host.mjs"), str(HERE / "node/agents.mjs")]
    yield from _host(AGENTS_SDK, [*program, str(speech_folder)])


def _host(made: Path, command: list[str]) -> Iterator[ScenarioHost]:
    if not made.exists():
        missing(f"{made.relative_to(ROOT)} is missing; tests/clients/setup.sh makes it")
    needed(command[0])
    with ScenarioHost(command) as host:
        yield host
