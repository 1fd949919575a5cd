"""What `real_time` means: pytest runs in it, with files of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tries import TRIES

ROOT = Path(__file__).parent.parent
HOOKS = "from tests.tries import pytest_runtest_protocol, pytest_terminal_summary\n"
TRIED = """
import pathlib, pytest

TRIES = []
SERVERS = []

@pytest.fixture(scope="module")
def server():
    SERVERS.append("new")
    yield SERVERS

@pytest.fixture
def ending():
    yield
    if len(TRIES) <= {bad_ends}:
        raise OSError("it did not end well")

{mark}
def test_it(server, ending, tmp_path):
    TRIES.append("tried")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "left").touch()
    assert len(SERVERS) == len(TRIES), "what the last try had may be the trouble"
    assert len(TRIES) > {bad}, "too slow"

def test_another():
    pass
"""
MARKED = "@pytest.mark.real_time"


def outcome(folder: Path, *, bad: int = 0, mark: str = MARKED, bad_ends: int = 0) -> str:
    (folder / "conftest.py").write_text(HOOKS)
    text = TRIED.format(bad=bad, mark=mark, bad_ends=bad_ends)
    (folder / "test_tried.py").write_text(text)
    (folder / "pytest.ini").write_text(f"[pytest]\nmarkers = real_time\npythonpath = {ROOT}\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--strict-markers", "-ra"]
    done = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) == ("2 passed" in done.stdout), done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("bad", range(TRIES))
def test_one_good_try_is_enough_and_those_before_it_are_told(bad: int, tmp_path: Path) -> None:
    said = outcome(tmp_path, bad=bad)
    assert "2 passed" in said
    assert said.count("tried again: test_tried.py::test_it") == bool(bad)
    assert ("too slow" in said) == bool(bad)


def test_what_is_wrong_three_times_fails(tmp_path: Path) -> None:
    assert "1 failed, 1 passed" in outcome(tmp_path, bad=TRIES)


def test_without_the_mark_one_try_is_all(tmp_path: Path) -> None:
    assert "1 failed, 1 passed" in outcome(tmp_path, bad=1, mark="")


def test_what_breaks_behind_a_test_belongs_to_its_try(tmp_path: Path) -> None:
    said = outcome(tmp_path, bad_ends=1)
    assert "2 passed" in said and "it did not end well" in said
