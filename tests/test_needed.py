import ast
import sys
from pathlib import Path

import pytest

from tests.needed import missing, needed

TESTS = Path(__file__).parent
PLAIN = ("SPEECH_DIR", "IPv6", "network namespaces", "no way out", "a public address")
"""What a machine may rightly lack, or have, even on CI."""


def test_a_program_that_is_there_is_given_by_its_path() -> None:
    python = Path(sys.executable).name
    assert Path(needed("no-such-program", python)).name == python


EITHER = (pytest.fail.Exception, pytest.skip.Exception)
"""Both are caught: a skip that was not meant would skip the test that finds it."""


def test_what_is_missing_fails_on_ci_and_is_skipped_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(EITHER, match="apt-get install no-such-program") as found:
        needed("no-such-program")
    assert found.type is pytest.fail.Exception
    monkeypatch.delenv("CI")
    with pytest.raises(EITHER, match="the reason") as found:
        missing("the reason")
    assert found.type is pytest.skip.Exception


def skips(path: Path) -> list[str]:
    """Calls that skip, as they are written."""
    tree = ast.parse(path.read_text("utf-8"))
    calls = (ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [call for call in calls if call.startswith(("pytest.skip(", "pytest.importorskip("))]


def test_no_other_test_is_skipped_for_what_it_lacks() -> None:
    found = [
        f"{path.relative_to(TESTS)}: {call}"
        for path in sorted(TESTS.rglob("*.py"))
        if path.name != "needed.py" and "node_modules" not in path.parts
        for call in skips(path)
        if not any(reason in call for reason in PLAIN)
    ]
    assert found == []
