"""Virtual time over real sockets, for servers and clients that live in one process.

What one end of a loopback connection writes lies in the other end's buffer before the write
returns. So when no socket is ready, none will be before the next timer, and time may jump there: a
cell that takes forty seconds on the clock takes half of one of ours, on a busy machine too.

One thing is on the kernel's own clock: after ten small segments it waits for an acknowledgement,
which the other end may hold back for 40 ms. Bytes that were written and not sent show that.

A packet that is late all the same costs a jump of at most `TICK_S`, since `ticking` sets a timer.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from mocks.clock import GRACE_S, PATIENCE_S, DeadlockError, VirtualLoop, _clean_up

T = TypeVar("T")

TICK_S = 0.02
CREEP_S = 1e-6
"""What a round of the loop takes: who waits for a moment that has just come, by a rounding error,
would wait for ever where time stands still."""
ACK_S = 0.1
"""Real seconds in which what can be sent will be: longer than an acknowledgement is held back."""
_SIOCOUTQNSD = 0x894B


class SocketLoop(VirtualLoop):
    """As VirtualLoop, but time does not wait for sockets."""

    def __init__(self, limit_s: float, *, minds_acks: bool) -> None:
        super().__init__(limit_s)
        self._minds_acks = minds_acks
        self._stuck: set[int] = set()
        """Files whose other end once did not read; they are not waited for again."""

    def sleep(self, timeout: float | None, wait: Callable[[float | None], list[Any]]) -> list[Any]:
        ready = wait(0)
        if ready or (timeout is not None and timeout <= 0):
            self._now += CREEP_S
            return ready
        if self._held:
            ready = wait(PATIENCE_S)
            if not ready:
                raise DeadlockError(self._story(f"executor job not done in {PATIENCE_S:.0f} s"))
            return ready
        if self._minds_acks and (unsent := self._unsent() - self._stuck):
            if ready := wait(ACK_S):
                return ready
            self._stuck |= unsent
        if timeout is None:
            ready = wait(GRACE_S)
            if not ready:
                raise DeadlockError(self._story("nothing is ready and no timer is set"))
            return ready
        self._advance(timeout)
        return []

    def _unsent(self) -> set[int]:
        files = self._selector.get_map()  # type: ignore[attr-defined]
        return {file for file in files if _has_unsent(file)}


def _has_unsent(file: int) -> bool:
    """Whether something was written to a TCP socket and is not on its way, where that is told."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        return any(fcntl.ioctl(file, _SIOCOUTQNSD, bytes(4)))
    except OSError:  # no TCP socket
        return False


def run(coro: Coroutine[Any, Any, T], *, limit_s: float = 600.0, minds_acks: bool = False) -> T:
    """`mocks.clock.run_virtual` on a SocketLoop: raises what it raises.

    Args:
        minds_acks: Whether one end sends much in small pieces and hears little; takes time.
    """
    loop = SocketLoop(limit_s, minds_acks=minds_acks)
    try:
        asyncio.set_event_loop(loop)
        try:
            result = loop.run_until_complete(coro)
        except BaseException as error:
            for leak in _clean_up(loop):
                error.add_note(f"also leaked: {leak!r}")
            raise
        leaks = _clean_up(loop)
        if leaks:
            names = ", ".join(sorted({type(leak).__name__ for leak in leaks}))
            raise BaseExceptionGroup(f"tasks or callbacks failed unheard: {names}", leaks)
        return result
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@contextlib.asynccontextmanager
async def ticking() -> AsyncIterator[None]:
    """Sets a timer all the time."""
    loop = asyncio.get_running_loop()

    timers: list[asyncio.TimerHandle] = []

    def tick() -> None:
        timers[:] = [loop.call_later(TICK_S, tick)]

    tick()
    try:
        yield
    finally:
        timers[0].cancel()


async def until(is_so: Callable[[], Any], limit_s: float) -> bool:
    """Whether it became so within the limit."""
    loop = asyncio.get_running_loop()
    by = loop.time() + limit_s
    while not is_so():
        if loop.time() >= by:
            return False
        await asyncio.sleep(TICK_S)
    return True
