"""A turn model by script."""

from collections.abc import Callable

from mocks.faults import Outbox
from mocks.provider import MockProvider
from providers.base import Slot


class ScriptedTurnModel(MockProvider):
    """Gives the opinions it was told to, pause after pause; behind the last it has none.

    Args:
        opinions: Probability that the turn is complete; None: no opinion.
        delay_ms: From the question to the opinion.
    """

    def __init__(self, *opinions: float | None, delay_ms: float = 50.0) -> None:
        super().__init__(Slot.TURN, "scripted")
        self._opinions = list(opinions)
        self._delay_ms = delay_ms
        self.heard: list[bytes] = []
        """What each question was about."""

    def judge(self, pcm: bytes, sink: Callable[[float], None]) -> None:
        self.heard.append(pcm)
        opinion = self._opinions.pop(0) if self._opinions else None
        if opinion is not None:
            Outbox(sink).put(opinion, self._delay_ms / 1000)
