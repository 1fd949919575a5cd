"""For who has to find out what went wrong in a conversation."""

import json

from tests.conversations.findings import Measured
from tests.conversations.stage import Performance

HIDDEN = (
    r"kaiwa\.(?!speech\.ducked)|session\.|.*\.delta|.*item\.(added|done)"
    r"|response\.(output|content)"
)


def report(seen: Performance, measured: Measured) -> str:
    """Findings, the caller's lines, the wire, and what the model would be shown."""
    told = [f"{finding.kind}: {finding.text}" for finding in measured.wrong]
    lines = [
        f"  {placed.start:6.2f} … {placed.end:6.2f} {placed.line.who:7} {placed.line.text}"
        for placed in seen.placed.values()
    ]
    history = json.dumps(seen.call.history(), ensure_ascii=False)
    story = [f"  {line}" for line in seen.call.story(leave_out=HIDDEN)]
    return "\n".join([seen.scenario.name, *told, *lines, *story, history])
