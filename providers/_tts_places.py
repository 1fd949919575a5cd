"""Servers that speak for one caller at a time, and the queue in front of them.

take ──▶ first come, first served ──▶ Work ──▶ succeeded | failed | abandoned ──▶ the next one
"""

import asyncio
from collections import deque
from collections.abc import Collection

from providers._balance import Balance
from providers.base import Fault, ProviderError


class Places:
    """One place per server, handed out in the order of asking."""

    def __init__(self, count: int) -> None:
        self.balance = Balance(count)
        self._queue: deque[tuple[asyncio.Future[int], Collection[int], float]] = deque()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    async def take(self, avoid: Collection[int], speech_s: float) -> int:
        """A server's index, which is ours until the `Work` with it is over.

        Args:
            speech_s: How long the text typically takes to speak.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        entry = (future, avoid, speech_s)
        self._queue.append(entry)
        self.hand_out()
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # given in the very moment
                self.balance.refused(future.result())
                self.hand_out()
            else:
                self._queue.remove(entry)
            raise

    def hand_out(self) -> None:
        now = asyncio.get_running_loop().time()
        for entry in list(self._queue):
            future, avoid, speech_s = entry
            if future.done():  # cancelled; its task removes it when it runs
                continue
            index = self.balance.choose(now, avoid)
            if index is not None:
                self._queue.remove(entry)
                self.balance.begin(index, now, speech_s)
                future.set_result(index)


class Work:
    """A place while it is ours; over with the first of its endings."""

    def __init__(self, places: Places, index: int, *, is_late: bool) -> None:
        """Args:
        is_late: Most of its time went by in our queue.
        """
        self._places = places
        self._index = index
        self._is_over = False
        now = asyncio.get_running_loop().time()
        self.is_excused = is_late or places.balance.busy_for_s(index, now) > 0
        """That it may come too late is our own doing, and no fault of the server."""

    def succeeded(self) -> None:
        now = asyncio.get_running_loop().time()
        self._places.balance.succeeded(self._index, now)
        self._end()

    def abandoned(self) -> None:
        self._places.balance.abandoned(self._index)
        self._end()

    def failed(self, error: ProviderError) -> None:
        balance, now = self._places.balance, asyncio.get_running_loop().time()
        if self._is_over:  # it failed behind its first audio; the place may be another's by now
            balance.rest(self._index, now)
            return
        if error.fault is Fault.REFUSED:
            balance.refused(self._index)
        elif self.is_excused and error.fault is Fault.OVERLOADED:
            balance.abandoned(self._index)
        else:
            if error.fault is Fault.TIMEOUT:
                balance.abandoned(self._index)
            balance.failed(self._index, now)
        self._end()

    def _end(self) -> None:
        self._is_over = True
        self._places.hand_out()
