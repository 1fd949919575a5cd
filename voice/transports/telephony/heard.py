"""Marks: what the caller has really heard of an answer, told by the provider that plays it.

    sent     ####m1####m2####m3   a name behind every `MARK_MS` of an answer, and behind its end
    played   ####m1####m2          each echoed when what stands before it is out

A buffer that is cleared echoes all its marks at once, and none of that was heard: they are
forgotten with the clearing, and so is one that was on its way already, which costs a mark's length.
"""

MARK_MS = 160
"""Under voice/playout.py's EXTRAPOLATE_MS, for which a report speaks for the time after it."""
MOST_WAITING = 256
"""Marks that a provider never echoes: the oldest are given up."""


class Marks:
    """One call's."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: dict[str, tuple[str, float]] = {}
        self._item, self._marked_ms = "", 0.0

    def due(self, item_id: str, sent_ms: float, *, is_end: bool = False) -> str:
        """Args:
            sent_ms: How much of this answer's sound has been sent.
        Returns:
            The name of a mark to be set here; empty: none is.
        """
        if item_id != self._item:
            self._item, self._marked_ms = item_id, 0.0
        unmarked_ms = sent_ms - self._marked_ms
        if unmarked_ms <= 0 or (unmarked_ms < MARK_MS and not is_end):
            return ""
        self._count += 1
        self._marked_ms = sent_ms
        name = f"m{self._count}"
        self._waiting[name] = (item_id, sent_ms)
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        return name

    def played(self, name: str) -> tuple[str, float] | None:
        """The answer and how much of it has been heard, in ms; None: this mark says nothing, it
        was given up, or never set."""
        return self._waiting.pop(name, None)

    def cleared(self) -> None:
        self._waiting.clear()
        self._item, self._marked_ms = "", 0.0
