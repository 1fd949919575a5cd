"""Names for what a session makes: unique, in order, and the same again when a call is replayed."""

import re

_COUNT = re.compile(r"[0-9a-f]{5,}")


class Ids:
    """`seed` is the session's own random part; everything else is counted."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._counts: dict[str, int] = {}

    def new(self, kind: str) -> str:
        """Args:
        kind: "item", "resp", "event", "call".
        """
        count = self._counts.get(kind, 0) + 1
        self._counts[kind] = count
        return f"{kind}_{self._seed}{count:05x}"

    def skip(self, name: str) -> None:
        """A client chose this name for its own: it will not be given again."""
        kind, _, rest = name.partition("_")
        count = rest.removeprefix(self._seed)
        if count != rest and _COUNT.fullmatch(count):
            self._counts[kind] = max(self._counts.get(kind, 0), int(count, 16))
