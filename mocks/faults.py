"""What goes wrong, and when: faults scripted by request and item, on a jittered schedule."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, Literal, TypeVar

import msgspec

from providers.base import Fault, ProviderError, Slot

E = TypeVar("E")

LAST = -1
"""The item behind all others: a Finish, a final transcript, the end of the audio."""


class ScriptedFault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that goes wrong.

    fail   raises `fault` instead of the item
    stall  nothing more comes, and no error either
    cut    ends there, as if all had been said
    slow   this item and all behind it take `factor` times as long
    """

    kind: Literal["fail", "stall", "cut", "slow"]
    request: int = 1
    """The request it begins with, counted from 1; 0: every request."""
    times: int = 1
    """How many requests in a row."""
    item: int = 0
    """Token, audio piece or word of the transcript, counted from 0; -1: the end."""
    fault: Fault = Fault.BROKEN
    factor: float = 10.0
    message: str = "scripted fault"


class FaultPlan:
    """The faults of one mock provider and its count of requests."""

    def __init__(
        self,
        slot: Slot,
        provider: str,
        faults: Iterable[ScriptedFault] = (),
        *,
        jitter_ms: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.slot = slot
        self.provider = provider
        self.requests = 0
        self.jitter_ms = jitter_ms
        self._random = random.Random(seed)
        self._faults = tuple(faults)

    def set(self, *faults: ScriptedFault) -> None:
        """Replaces the faults; requests count from 1 again."""
        self._faults = faults
        self.requests = 0

    def begin(self) -> "Course":
        """The next request."""
        self.requests += 1
        return self._course(self.requests)

    def check(self) -> None:
        """Raises what the next request would raise before its first item; counts nothing."""
        self._course(self.requests + 1).due(0)

    def _course(self, request: int) -> "Course":
        mine = [
            fault
            for fault in self._faults
            if fault.request == 0 or fault.request <= request < fault.request + fault.times
        ]
        return Course(self, mine)

    def delay_s(self, delay_ms: float) -> float:
        """`delay_ms` and 0..jitter_ms on top, in seconds."""
        extra_ms = self._random.uniform(0, self.jitter_ms) if self.jitter_ms else 0.0
        return (delay_ms + extra_ms) / 1000


class Course:
    """How one request goes, item by item."""

    def __init__(self, plan: FaultPlan, faults: list[ScriptedFault]) -> None:
        self._plan = plan
        self._faults = faults
        self._factor = 1.0
        self._due: float | None = None

    def due(self, item: int) -> Literal["go", "stall", "cut"]:
        """What becomes of `item`.

        Raises:
            ProviderError: For a `fail`.
        """
        for fault in self._faults:
            if fault.item != item:
                continue
            if fault.kind == "fail":
                plan = self._plan
                raise ProviderError(plan.slot, plan.provider, fault.fault, fault.message)
            if fault.kind == "slow":
                self._factor = fault.factor
                continue
            return fault.kind
        return "go"

    def delay_s(self, delay_ms: float) -> float:
        """Seconds that `delay_ms` takes with jitter and slowness."""
        return self._plan.delay_s(delay_ms) * self._factor

    async def reach(self, item: int, delay_ms: float) -> bool:
        """Waits until `item` is there; False if the stream is cut before it.

        Delays add up on an absolute schedule: a slow reader finds the next items waiting, as it
        would behind a socket, and sleeps that overshoot do not add up.

        Raises:
            ProviderError: For a `fail`.
        """
        outcome = self.due(item)
        loop = asyncio.get_running_loop()
        begun = loop.time() if self._due is None else self._due
        self._due = begun + self.delay_s(delay_ms)
        ahead_s = self._due - loop.time()
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
        if outcome == "stall":
            await asyncio.Event().wait()
        return outcome == "go"


class Outbox(Generic[E]):
    """Hands events to a sink after their delays, never out of order."""

    def __init__(self, sink: Callable[[E], None]) -> None:
        self._sink = sink
        self._waiting: deque[tuple[float, E]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, event: E, delay_s: float) -> None:
        due = asyncio.get_running_loop().time() + delay_s
        if self._waiting:
            due = max(due, self._waiting[-1][0])
        self._waiting.append((due, event))
        self._arm()

    def drop(self, unwanted: Callable[[E], bool]) -> None:
        """Forgets the waiting events that are unwanted."""
        self._waiting = deque(entry for entry in self._waiting if not unwanted(entry[1]))

    def close(self) -> None:
        self._waiting.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is None and self._waiting:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._waiting[0][0], self._deliver)

    def _deliver(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        # The loop fires timers up to its clock's resolution early.
        while self._waiting and self._waiting[0][0] <= loop.time() + 1e-6:
            self._sink(self._waiting.popleft()[1])
        self._arm()
