"""Servers that several test modules share, and the tries of those in real time."""

from tests.served import hosting, serving
from tests.tries import pytest_runtest_protocol, pytest_terminal_summary

__all__ = ["hosting", "pytest_runtest_protocol", "pytest_terminal_summary", "serving"]
