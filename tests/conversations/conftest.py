"""The table behind the tests: what the conversations came to, counted."""

import pytest

from tests.conversations.tally import Tally

TALLY = pytest.StashKey[Tally]()


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    return request.config.stash.setdefault(TALLY, Tally())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    lines = config.stash.get(TALLY, Tally()).lines()
    if lines:
        terminalreporter.section("scripted conversations")
        for line in lines:
            terminalreporter.write_line(line)
