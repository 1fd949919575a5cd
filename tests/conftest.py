"""Servers that several test modules share, the tries of those in real time, and no deadlines."""

from hypothesis import HealthCheck, settings

from tests.served import hosting, serving
from tests.tries import pytest_runtest_protocol, pytest_terminal_summary

__all__ = ["hosting", "pytest_runtest_protocol", "pytest_terminal_summary", "serving"]

# How long an example takes is the machine's affair. On CI hypothesis itself sees to it, from the
# variable CI, that the examples are the same ones every time and none is kept.
settings.register_profile("kaiwa", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kaiwa")
