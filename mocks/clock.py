"""An asyncio event loop in virtual time: tests that take minutes of talk run in milliseconds.

When nothing is ready, time jumps to the next timer. What decides, each time the loop would sleep:

    something ready                          run it, time stands
    an executor job or `held()` outstanding  wait for it really, time stands (so it takes none)
    a socket or pipe watched                 as `Sockets` says
    a timer                                  jump to it
    nothing at all                           DeadlockError, with the tasks that wait

A thread that wakes the loop by `call_soon_threadsafe` alone is not seen: put `with held():` round
the time you wait for it. Time starts at 0.0 and is `loop.time()`; `time.monotonic()` stays real.
"""

import asyncio
import contextlib
import selectors
import sys
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Executor
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")

GRACE_S = 5.0
"""Real seconds that a thread nobody told us of has to wake a loop that has nothing left to do."""
PATIENCE_S = 60.0
"""Real seconds an executor job may take before the run is given up."""
CLEANUP_S = 10.0
"""Virtual seconds that cancelled tasks have to end after the main one did."""
TICK_S = 0.02
"""The longest jump past sockets: what a packet that is late all the same can cost."""
CREEP_S = 1e-6
"""What a round of the loop takes where sockets wake it: who waits for a moment that has just come,
by a rounding error, would wait for ever where time stands still."""
ACK_S = 0.5
"""Real seconds in which what can be sent will be: an acknowledgement is held back for 0.04."""
_SIOCOUTQNSD = 0x894B


class Sockets(Enum):
    """Where the other ends of the loop's sockets are, and so what time does while one is watched.

    What one end of a loopback connection writes lies in the other end's buffer before the write
    returns. So where both ends are ours and no socket is ready, none will be before the next timer,
    and time may jump there.

    One thing is on the kernel's own clock: after ten small segments it waits for an
    acknowledgement, which the other end may hold back for 40 ms. Bytes that were written and not
    sent show that; to look for them takes time.
    """

    ELSEWHERE = "elsewhere"
    """In threads or processes: the loop sleeps really, time passes at real speed."""
    OURS = "ours"
    """On this loop: time jumps, `TICK_S` at a time."""
    OURS_CHATTY = "ours, chatty"
    """The same, where one end sends much in small pieces and hears little: what it could not send
    yet is waited for."""


class DeadlockError(RuntimeError):
    """Nothing is ready, no timer is set, nobody can wake the loop."""


class TimeLimitError(RuntimeError):
    """The coroutine still ran when virtual time reached the limit."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """The event loop behind `run_virtual`."""

    def __init__(self, limit_s: float = 7200.0, sockets: Sockets = Sockets.ELSEWHERE) -> None:
        self._now = 0.0
        self._held = 0
        self._limit_s = limit_s
        self._sockets = sockets
        self._stuck: set[int] = set()
        """Files whose other end once did not read; they are not waited for again."""
        self.failed_tasks: list[asyncio.Task[Any]] = []
        """Ended with an exception, in order; whether somebody fetched it is asked at the end."""
        self.callback_errors: list[BaseException] = []
        super().__init__(_VirtualSelector(self))
        self.set_task_factory(_make_task)  # type: ignore[arg-type]  # typeshed: no **options in 3.11
        self.set_exception_handler(_keep_callback_error)

    def time(self) -> float:
        return self._now

    @contextlib.contextmanager
    def held(self) -> Generator[None]:
        """Time stands still inside, however long it really takes."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1

    def run_in_executor(  # type: ignore[override]  # typeshed has a TypeVarTuple here
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = super().run_in_executor(executor, func, *args)
        self._held += 1
        future.add_done_callback(self._release)
        return future

    def _release(self, _: asyncio.Future[Any]) -> None:
        self._held -= 1

    def sleep(self, timeout: float | None, wait: Callable[[float | None], list[Any]]) -> list[Any]:
        """What the selector does when the loop wants to sleep; `wait` is the real `select`."""
        ours = self._sockets is not Sockets.ELSEWHERE
        ready = wait(0)
        if ready or (timeout is not None and timeout <= 0):
            self._now += CREEP_S if ours else 0.0
            return ready
        if self._held:
            ready = wait(PATIENCE_S)
            if not ready:
                raise DeadlockError(self._story(f"executor job not done in {PATIENCE_S:.0f} s"))
            return ready
        if not ours and self._watches_files():
            began = time.monotonic()
            ready = wait(timeout)
            self._advance(time.monotonic() - began)
            return ready
        if self._sockets is Sockets.OURS_CHATTY and (unsent := self._unsent() - self._stuck):
            if ready := wait(ACK_S):
                return ready
            self._stuck |= unsent
        if timeout is None:
            ready = wait(GRACE_S)
            if not ready:
                raise DeadlockError(self._story("nothing is ready and no timer is set"))
            return ready
        self._advance(min(timeout, TICK_S) if ours else timeout)
        return []

    def _watches_files(self) -> bool:
        own_pipe = 1
        return len(self._selector.get_map()) > own_pipe  # type: ignore[attr-defined]

    def _unsent(self) -> set[int]:
        files = self._selector.get_map()  # type: ignore[attr-defined]
        return {file for file in files if _has_unsent(file)}

    def _advance(self, seconds: float) -> None:
        self._now += seconds
        if self._now > self._limit_s:
            limit_s, self._limit_s = self._limit_s, float("inf")
            raise TimeLimitError(self._story(f"still running after {limit_s:g} virtual seconds"))

    def _story(self, what: str) -> str:
        tasks = sorted(asyncio.all_tasks(self), key=lambda task: task.get_name())
        lines = [f"{what}, at {self._now:.3f} s; pending tasks:"]
        return "\n".join(lines + [f"  {_where(task)}" for task in tasks])


class _VirtualSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        return self._loop.sleep(timeout, super().select)


def _has_unsent(file: int) -> bool:
    """Whether something was written to a TCP socket and is not on its way, where that is told."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        return any(fcntl.ioctl(file, _SIOCOUTQNSD, bytes(4)))
    except OSError:  # no TCP socket
        return False


def run_virtual(
    coro: Coroutine[Any, Any, T],
    *,
    limit_s: float = 7200.0,
    sockets: Sockets = Sockets.ELSEWHERE,
) -> T:
    """Runs `coro` in virtual time, as `asyncio.run` would in real time.

    Tasks left over are cancelled and awaited.

    Args:
        limit_s: Virtual seconds after which it is given up.
        sockets: Where the other ends of those that are opened in it are.
    Raises:
        DeadlockError: If everything waits for something that cannot come.
        TimeLimitError: If the limit passed.
        ExceptionGroup: If a task or callback failed and nobody fetched its exception.
    """
    loop = VirtualLoop(limit_s, sockets)
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


def now() -> float:
    """Seconds on the running loop's clock, virtual or real."""
    return asyncio.get_running_loop().time()


async def until(is_so: Callable[[], Any], limit_s: float) -> bool:
    """Whether it became so within the limit; looked at every `TICK_S`."""
    by = now() + limit_s
    while not is_so():
        if now() >= by:
            return False
        await asyncio.sleep(TICK_S)
    return True


@contextlib.contextmanager
def held() -> Generator[None]:
    """Virtual time stands still inside; in a real loop this does nothing."""
    loop = asyncio.get_running_loop()
    with loop.held() if isinstance(loop, VirtualLoop) else contextlib.nullcontext():
        yield


def _make_task(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, T], **options: Any
) -> asyncio.Task[T]:
    task = asyncio.Task(coro, loop=loop, **options)
    task.add_done_callback(_note_failure)
    return task


def _note_failure(task: asyncio.Task[Any]) -> None:
    # Calling `exception()` would count as fetching it, and hide the leak.
    if not task.cancelled() and getattr(task, "_exception", None) is not None:
        loop = task.get_loop()
        assert isinstance(loop, VirtualLoop)
        loop.failed_tasks.append(task)


def _keep_callback_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    assert isinstance(loop, VirtualLoop)
    if context["message"].startswith("Task exception was never retrieved"):
        return  # already among failed_tasks
    error = context.get("exception")
    loop.callback_errors.append(error or RuntimeError(context["message"]))


def _clean_up(loop: VirtualLoop) -> list[BaseException]:
    """Ends what is left in `loop`; returns the exceptions nobody fetched."""
    leaks: list[BaseException] = []
    loop._limit_s = float("inf")
    try:
        left = loop.run_until_complete(_cancel_the_rest())
        if left:
            leaks.append(RuntimeError("would not be cancelled: " + "; ".join(map(_where, left))))
        loop.run_until_complete(loop.shutdown_asyncgens())
        with loop.held():
            loop.run_until_complete(loop.shutdown_default_executor())
    except DeadlockError as error:
        leaks.append(error)
    for task in loop.failed_tasks:
        if getattr(task, "_log_traceback", False):
            leaks += filter(None, [task.exception()])
    return leaks + loop.callback_errors


async def _cancel_the_rest() -> list[asyncio.Task[Any]]:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    if not rest:
        return []
    for task in rest:
        task.cancel()
    _, left = await asyncio.wait(rest, timeout=CLEANUP_S)
    return list(left)


def _where(task: asyncio.Task[Any]) -> str:
    """The task's name and the line it waits at."""
    frames = task.get_stack(limit=1)
    coro = getattr(task.get_coro(), "__qualname__", "?")
    if not frames:
        return f"{task.get_name()} ({coro})"
    code = frames[0].f_code
    return f"{task.get_name()} ({coro}) at {code.co_filename}:{frames[0].f_lineno}"
