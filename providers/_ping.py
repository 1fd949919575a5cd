"""The smallest question to a server: is it there, and does it say that it is well?

    no connection, or reset     UNREACHABLE
    no answer in PING_S         TIMEOUT; NoNews where our own requests keep it from answering
    502, 504                    UNREACHABLE: a proxy without its server
    any other 5xx               BROKEN, by its own account; OVERLOADED while it loads its model
    anything else               it lives

The connection is kept from one ping to the next where the server keeps it, and none is waited for.
"""

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterator

from providers._http import Failures, HttpFailure, error_text
from providers._json_calls import Answer, JsonCalls
from providers.base import Fault, NoNews

PING_S = 0.9
"""What costs a server nothing it answers in milliseconds. With the second from one ping to the next
it is less than 2 s, in which a server that hangs is told of."""


class Work:
    """What of ours a server has in hand, and when it last said something about it."""

    def __init__(self) -> None:
        self.running = 0
        self._heard_at = -math.inf

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1

    def heard(self, now: float) -> None:
        self._heard_at = now

    def has_spoken(self, since: float) -> bool:
        return self._heard_at > since

    def excuses(self, since: float, *, answers_beside: bool) -> bool:
        """Whether it may live, though a ping sent then has no answer.

        Args:
            answers_beside: A ping never waits behind the server's work.
        """
        return self.has_spoken(since) or (self.running > 0 and not answers_beside)


class Pings:
    """Those of one provider. Calls, failures and variable are the provider's own."""

    def __init__(self, calls: JsonCalls, failures: Failures, variable: str) -> None:
        self._calls = calls
        self._failures = failures
        self._variable = variable

    async def ask(self, url: str, excuses: Callable[[float], bool]) -> int:
        """The answer's status.

        Args:
            excuses: Whether a silence since then (loop time) is excused.
        Raises:
            HttpFailure: It is dead, or says it is not well.
            NoNews: There is no answer, for a good reason.
        """
        began = asyncio.get_running_loop().time()
        try:
            answer = await self._calls.ping(url, PING_S)
        except TimeoutError:
            if excuses(began):
                raise NoNews from None
            raise self._failures.make(
                Fault.TIMEOUT,
                f"no answer from {url} in {PING_S:g} s: the server hangs, or what listens there is "
                f"another one; restart it, or check {self._variable}",
            ) from None
        if answer.status >= 500:
            raise self._unwell(answer, url)
        return answer.status

    def _unwell(self, answer: Answer, url: str) -> HttpFailure:
        said = error_text(answer.body)
        words = f"HTTP {answer.status}" + (f" ({said})" if said else "") + f" from {url}"
        fault, remedy = Fault.BROKEN, "it says that it is not well; see its log, restart it"
        if answer.status in (502, 504):
            fault, remedy = Fault.UNREACHABLE, "the proxy there does not reach its server; start it"
        elif "loading" in said.lower():
            fault, remedy = Fault.OVERLOADED, "it is still loading its model; wait"
        return self._failures.make(fault, f"{words}: {remedy}, or check {self._variable}")
