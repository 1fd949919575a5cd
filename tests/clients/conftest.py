"""What the clients' tests share: a server of its own for every module, and the hosts of the SDKs."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# The modules beside this one are no package: pytest's importlib mode leaves their folder out.
sys.path.insert(0, str(Path(__file__).parent))

from kaiwa_server import KaiwaServer, running_server
from scenario_host import ScenarioHost
from speech_files import write_speech_files

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CLIENT_PYTHON = ROOT / ".venv-clients" / "bin" / "python"
AGENTS_SDK = HERE / "node" / "node_modules" / "@openai" / "agents-realtime"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KaiwaServer]:
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def speech_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("speech")
    write_speech_files(folder)
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
def agents(speech_folder: Path) -> Iterator[ScenarioHost]:
    program = ["node", str(HERE / "node/host.mjs"), str(HERE / "node/agents.mjs")]
    yield from _host(AGENTS_SDK, [*program, str(speech_folder)])


def _host(needed: Path, command: list[str]) -> Iterator[ScenarioHost]:
    if not needed.exists():
        reason = f"{needed.relative_to(ROOT)} is missing; tests/clients/setup.sh makes it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with ScenarioHost(command) as host:
        yield host
