"""The page's pure modules, by Node's own test runner."""

import subprocess
from pathlib import Path

import pytest

from tests.needed import needed

HERE = Path(__file__).parent


@pytest.mark.browser
@pytest.mark.real_time
def test_the_pages_modules_pass_their_own_tests() -> None:
    node = needed("node")
    files = sorted(str(path) for path in HERE.glob("*.test.js"))
    result = subprocess.run([node, "--test", *files], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-2000:]
