"""Servers that several test modules share."""

from tests.served import hosting, serving

__all__ = ["hosting", "serving"]
