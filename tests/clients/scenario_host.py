"""A process that holds a stock client and plays scenarios with it, one after another.

The clients live in environments of their own, so their scenarios cannot be pytest functions. A
line of JSON names the scenario and the server; a line comes back: what went wrong, or null.
"""

import ast
import json
import re
import select
import subprocess
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent
START_LIMIT_S = 120.0
SCENARIO_LIMIT_S = 90.0


class ScenarioHost:
    """Ends with a failed scenario if its process dies or hangs; the next one gets a new process."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "ScenarioHost":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def play(self, scenario: str, url: str) -> None:
        """Raises:
        AssertionError: With the scenario's own traceback.
        """
        if self._process is None:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            assert self._line(START_LIMIT_S) == "ready"
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"scenario": scenario, "url": url}) + "\n")
        self._process.stdin.flush()
        problem = json.loads(self._line(SCENARIO_LIMIT_S))
        if problem is not None:
            raise AssertionError(f"{scenario}\n{problem}")

    def _line(self, limit_s: float) -> str:
        assert self._process is not None and self._process.stdout is not None
        readable, _, _ = select.select([self._process.stdout], [], [], limit_s)
        line = self._process.stdout.readline() if readable else ""
        if not line.endswith("\n"):
            why = f"the client's process said nothing for {limit_s:g} s"
            if readable:
                why = "the client's process died"
            raise AssertionError(f"{why}\n{self._stop()}")
        return line.rstrip("\n")

    def _stop(self) -> str:
        """Returns what it wrote to stderr."""
        process, self._process = self._process, None
        if process is None:
            return ""
        process.kill()
        _, errors = process.communicate()
        return errors


def python_scenarios(script: str) -> list[str]:
    """The public functions of a script that cannot be imported here."""
    tree = ast.parse((HERE / script).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    names = [node.name for node in tree.body if isinstance(node, functions)]
    return [name for name in names if not name.startswith("_")]


def node_scenarios(script: str) -> list[str]:
    """The exported functions of a script."""
    text = (HERE / script).read_text("utf-8")
    return re.findall(r"^export async function (\w+)", text, re.MULTILINE)
