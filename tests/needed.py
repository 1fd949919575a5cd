"""Programs that tests need beside the Python packages.

On CI a missing one is a failure: a test that is skipped there is a promise that nobody keeps.
"""

import os
import shutil
from typing import NoReturn

import pytest

DEBIAN = {"node": "nodejs", "sipp": "sip-tester", "turnserver": "coturn"}
"""Packages that are named otherwise than their program."""


def needed(*names: str) -> str:
    """The path of the first of these programs that is there."""
    for name in names:
        if found := shutil.which(name):
            return found
    missing(f"{names[0]} is not installed: apt-get install {DEBIAN.get(names[0], names[0])}")


def missing(reason: str) -> NoReturn:
    """Fails the test on CI, skips it elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
