"""Tests in real time on machines where others work, too: one good try of three counts.

A neighbour who takes the processor for two seconds says nothing about our code, and what is too
slow by itself is so three times. Marked `real_time` is what promises a time, or needs its time to
be heard or shown; whatever can wait for a fact, or run in virtual time, does that instead.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

TRIES = 3
MARK = "real_time"
FAILED = pytest.StashKey[dict[str, str]]()
"""By test: what went wrong in a try that another one made good."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> object:
    if item.get_closest_marker(MARK) is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in reports_of(item, nextitem):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def reports_of(item: Any, nextitem: pytest.Item | None) -> Sequence[pytest.TestReport]:
    """Of the first good try, or of the last one."""
    for _ in range(TRIES - 1):
        reports: list[pytest.TestReport] = runtestprotocol(item, nextitem=nextitem, log=False)
        wrong = [report for report in reports if report.failed]
        if not wrong:
            return reports
        item.config.stash.setdefault(FAILED, {})[item.nodeid] = wrong[0].longreprtext
        item.session._setupstate.teardown_exact(None)  # its servers, too: they may be the trouble
        item._initrequest()
    return runtestprotocol(item, nextitem=nextitem, log=False)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for test, wrong in config.stash.get(FAILED, {}).items():
        terminalreporter.section(f"tried again: {test}")
        terminalreporter.write_line(wrong[-2000:])
