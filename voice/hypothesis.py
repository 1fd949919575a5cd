"""The part of a growing hypothesis that can be shown for good.

    partial   what are          what are you      what are your op     what are your opening
    delta                       "what"            " are"               " your"

LocalAgreement-2: a word is stable when two consecutive partials agree on everything up to it, and
a newer word follows. Source: Liu et al., "Low-Latency Sequence-to-Sequence Speech Recognition and
Translation by Partial Hypothesis Selection", 2020, https://arxiv.org/abs/2005.11185
"""

import re

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff"
)
"""Scripts that put no space between words: here each character is a unit."""
_UNIT = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_UNSPACED_CHAR = re.compile(rf"[{UNSPACED}]")
_NOT_WORD = re.compile(r"[^\w]|_")

ALIGNED_UNITS = 24
"""How far back a revised hypothesis is laid against what was shown. Bounds the work per partial
(0.5 ms); what lies further back is no longer revised by any recogniser worth using."""
DRIFT_UNITS = 8
"""By how many units both may differ in length."""


class StablePrefix:
    """Partials of one turn in, deltas that never retract out.

    Where a recogniser revises what was already shown, the deltas go on behind the place in the new
    text that corresponds to it; the true text is the final's.
    """

    def __init__(self) -> None:
        self._finished = ""
        self._shown = ""
        self._previous: list[str] = []
        self._stable_chars = 0

    @property
    def stable(self) -> str:
        """All deltas of this turn, joined."""
        return self._finished + self._shown

    @property
    def stable_chars(self) -> int:
        """How much of the last text given to `update` or `finish` has been shown."""
        return self._stable_chars

    def update(self, text: str) -> str:
        """The newly stable text behind the next partial; often empty."""
        text = text.strip()
        matches = list(_UNIT.finditer(text))
        units = [match.group() for match in matches]
        agreed = _common(self._previous, units)
        self._previous = units
        agreed = min(agreed, len(units) - 1)
        end = matches[agreed - 1].end() if agreed > 0 else 0
        return self._show(text, end)

    def finish(self, final: str) -> str:
        """What remains of the segment's final text; the next text begins a new segment."""
        final = final.strip()
        delta = self._show(final, len(final))
        self.new_segment()
        return delta

    def new_segment(self) -> None:
        """The next texts follow the ones so far instead of revising them."""
        self._finished += self._shown
        self._shown = ""
        self._previous = []

    def _show(self, text: str, end: int) -> str:
        """Appends `text[:end]` beyond the part of it that corresponds to what was shown."""
        start = self._corresponding(text)
        self._stable_chars = max(start, end)
        if start >= end:
            return ""
        delta = text[start:end]
        own = self._own()
        goes_on = own != "" and text.startswith(own)
        if not goes_on and _need_space(self.stable, delta):
            delta = " " + delta
        self._shown += delta
        return delta

    def _own(self) -> str:
        """What was shown of this segment, without the space that parts it from the last."""
        return self._shown.lstrip()

    def _corresponding(self, text: str) -> int:
        """Offset in `text` behind what corresponds to the shown part of this segment."""
        shown = self._own()
        if text.startswith(shown):
            return len(shown)
        matches = list(_UNIT.finditer(text))
        count = _aligned(
            [_plain(unit) for unit in _UNIT.findall(shown)],
            [_plain(match.group()) for match in matches],
        )
        return matches[count - 1].end() if count else 0


def _plain(unit: str) -> str:
    """Without case and punctuation, which recognisers add late."""
    return _NOT_WORD.sub("", unit).casefold() or unit


def _common(first: list[str], second: list[str]) -> int:
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def _aligned(shown: list[str], units: list[str]) -> int:
    """The number of leading `units` that are nearest to `shown` by edit distance.

    Of equally near ones the greatest: rather a word too few than a word twice.
    """
    same = _common(shown, units)
    start = max(same, len(shown) - ALIGNED_UNITS)
    first = min(max(same, start - DRIFT_UNITS), len(units))
    last = min(len(units), len(shown) + DRIFT_UNITS)
    columns = units[first:last]
    # Where the beginning was left out, the tail may start anywhere in the window.
    free = start > same
    costs: list[float] = [0 if free else column for column in range(len(columns) + 1)]
    for row, unit in enumerate(shown[start:], 1):
        diagonal, costs[0] = costs[0], float(row)
        for column, other in enumerate(columns, 1):
            cost = min(
                diagonal + _difference(unit, other), costs[column] + 1, costs[column - 1] + 1
            )
            diagonal, costs[column] = costs[column], cost
    best = min(range(len(costs)), key=lambda column: (costs[column], -column))
    return first + best


def _difference(unit: str, other: str) -> float:
    """What it costs to read one for the other; a word for a wholly different one is dear, so that
    "for ward" lies against "forward" and not against "forward ten"."""
    if unit == other:
        return 0.0
    return 1.0 if len(unit) == 1 or unit[0] == other[0] else 1.5


def _need_space(before: str, after: str) -> bool:
    """Whether words would run together."""
    if not before or not after or before[-1].isspace() or after[0].isspace():
        return False
    return not (_UNSPACED_CHAR.match(before[-1]) or _UNSPACED_CHAR.match(after[0]))
