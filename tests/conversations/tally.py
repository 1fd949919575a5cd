"""The whole suite, counted: one line for each kind of conversation."""

from collections import defaultdict

from tests.conversations.findings import Kind, Measured

COUNTED = (Kind.EARLY, Kind.LATE, Kind.FALSE, Kind.MISSED)
HEAD = (
    "conversations", "scenes", "turns", "early", "late", "false", "missed", "other",
    "end of turn", "stop",
)  # fmt: skip
LEGEND = (
    "early, late: turns cut off too early, or ended later than 1 s (or what the scene sets) behind "
    "the last word",
    "false, missed: barge-ins; (n): of these allowed by the scene",
    "end of turn, stop: median and maximum in ms; stop: from the caller's first sound to the duck "
    "or the cut",
)


class Tally:
    def __init__(self) -> None:
        self._scenes: dict[str, list[Measured]] = defaultdict(list)

    def add(self, kind: str, measured: Measured) -> None:
        self._scenes[kind].append(measured)

    def count(self, kind: Kind) -> tuple[int, int]:
        """How often it was found where no scene allows it, and how often where one does."""
        scenes = [scene for scenes in self._scenes.values() for scene in scenes]
        found = [f for scene in scenes for f in scene.findings if f.kind is kind]
        allowed = sum(finding.is_allowed for finding in found)
        return len(found) - allowed, allowed

    def lines(self) -> list[str]:
        """A table; nothing where nothing was played."""
        if not self._scenes:
            return []
        rows = [_row(kind, scenes) for kind, scenes in sorted(self._scenes.items())]
        everything = [scene for scenes in self._scenes.values() for scene in scenes]
        table = [HEAD, *rows, _row("all", everything)]
        widths = [max(len(row[column]) for row in table) for column in range(len(HEAD))]
        return [
            "  ".join(
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            for row in table
        ] + [*LEGEND]


def _row(kind: str, scenes: list[Measured]) -> tuple[str, ...]:
    counts = [_count(scenes, counted) for counted in COUNTED]
    others = sum(f.kind not in COUNTED for scene in scenes for f in scene.findings)
    return (
        kind,
        str(len(scenes)),
        str(sum(scene.turns for scene in scenes)),
        *counts,
        str(others),
        _spread([end for scene in scenes for end in scene.ends_s]),
        _spread([stop for scene in scenes for stop in scene.stops_s]),
    )


def _count(scenes: list[Measured], kind: Kind) -> str:
    found = [finding for scene in scenes for finding in scene.findings if finding.kind is kind]
    allowed = sum(finding.is_allowed for finding in found)
    return f"{len(found)} ({allowed})" if allowed else str(len(found))


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    ordered = sorted(seconds)
    return f"{ordered[len(ordered) // 2] * 1000:.0f} {ordered[-1] * 1000:.0f}"
