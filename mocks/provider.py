"""What all mock providers share: they are there at once and say that they are mocks."""

from collections.abc import Iterable

from mocks.faults import FaultPlan, ScriptedFault
from providers.base import ProviderInfo, Slot


class MockProvider:
    """Args:
    jitter_ms: Every delay grows by 0..jitter_ms, uniformly.
    faults: What goes wrong; `self.faults.set(...)` changes it later.
    seed: Of the jitter.
    """

    def __init__(
        self,
        slot: Slot,
        name: str,
        *,
        jitter_ms: float = 0.0,
        faults: Iterable[ScriptedFault] = (),
        seed: int = 0,
    ) -> None:
        self.faults = FaultPlan(slot, name, faults, jitter_ms=jitter_ms, seed=seed)
        self._info = ProviderInfo(slot=slot, provider=name, is_mock=True)

    @property
    def info(self) -> ProviderInfo:
        return self._info

    async def start(self) -> None:
        return None

    async def check(self) -> None:
        """Raises what the next request would raise before its first item."""
        self.faults.check()

    async def aclose(self) -> None:
        return None
