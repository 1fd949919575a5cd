"""Names for what a session makes: unique, in order, and the same again when a call is replayed."""


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
