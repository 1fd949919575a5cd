"""`kaiwa doctor`: a table of what works, what does not, and what to do about it."""

import asyncio
import os
import sys

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from voice.checkup import LIMIT_S, examine
from voice.checkup_machine import NO_ANSWER, Findings
from voice.config import Config, LogConfig
from voice.logs import configure

COLOURS = {"✓": "green", "!": "yellow", "–": "dim", "✗": "red"}


def run_doctor(config: Config, console: Console, limit_s: float = LIMIT_S) -> int:
    """Returns the exit status: 1 where something that the profile needs does not work."""
    configure(LogConfig(level="CRITICAL"))  # the table says it all
    runner = asyncio.Runner()
    found = runner.run(examine(config, limit_s=limit_s))
    show(found, console)
    status = 1 if any(finding.mark == "✗" for finding in found) else 0
    if any(finding.found.startswith(NO_ANSWER) for finding in found):
        # A thread that still loads or waits would keep the process for as long as it likes.
        sys.stdout.flush()
        os._exit(status)
    runner.close()
    return status


def show(found: Findings, console: Console) -> None:
    table = Table("", "what", "found", "what to do")
    for finding in found:
        colour = COLOURS[finding.mark]
        texts = map(escape, (finding.what, finding.found, finding.remedy))
        table.add_row(f"[{colour}]{finding.mark}[/]", *texts)
    console.print(table)
    failed = dict.fromkeys(finding.what for finding in found if finding.mark == "✗")
    if failed:
        console.print(f"[red]Does not work:[/] {escape(', '.join(failed))}", highlight=False)
    else:
        console.print("Everything that this profile needs works.")
