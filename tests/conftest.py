"""Puts this folder on the path, so that test modules share `served` and `speech`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from served import hosting, serving  # noqa: E402  # the path comes first

__all__ = ["hosting", "serving"]
