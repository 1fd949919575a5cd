"""Several providers in one slot: the first one works, the others stand in for it.

    order    those whose breaker admits a request, the ones that failed a moment ago behind the rest
    ends     succeeded, failed (the next one takes over) or abandoned (the caller cut in)

A caller's request is the dearest probe there is, so the health watch asks as well: its successes
close a breaker, its failures open it, before anybody has to wait for them. A small request may
succeed where callers' larger ones fail, though: its success counts only when theirs are long past.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

import structlog

from providers.base import Fault, NoNews, Provider, ProviderError, ProviderInfo
from voice.breaker import PAUSE_S, Breaker, State, Ticket

P = TypeVar("P", bound=Provider)

DOUBT_S = 3.0
"""So long after a failure the others come first: a fault in mid-answer is rarely over at the next
clause, and to find out would cost that clause the time limit. Behind a small request that failed,
until one succeeds."""
RECENT_S = 5.0
"""So long after a fallback it is still told of."""

CALL: ContextVar[dict[str, Any]] = ContextVar("call")
"""The session, and the turn, whose request this is: for the log. Read on a request's own path only;
work that many calls share may have been begun in any of them."""

log = structlog.get_logger()


@contextmanager
def of_call(call: dict[str, Any]) -> Iterator[None]:
    before = CALL.set(call)
    try:
        yield
    finally:
        CALL.reset(before)


class NobodyLeft(ProviderError):
    """Nobody was asked."""


class Link(Generic[P]):
    """One provider of a chain, and how it fares."""

    def __init__(self, provider: P) -> None:
        self.provider = provider
        self.breaker = Breaker()
        self.started = False
        self.fits: Callable[[], None] = lambda: None
        """Raises ProviderError for one that serves something else than the others."""
        self.problem = self.last_problem = ""
        """Of the last request; empty: it succeeded. And of the last that did not."""
        self._failed_at = -PAUSE_S
        self._well_at = -PAUSE_S
        self._last_check: ProviderError | None = None
        self.is_missed = False
        """The last small request failed, and no large one has succeeded since."""
        self._doubted_until = 0.0

    @property
    def info(self) -> ProviderInfo:
        return self.provider.info

    @property
    def is_said_to_be_well(self) -> bool:
        """By a small request, since the last large one failed."""
        return self._well_at > self._failed_at and not self.breaker.is_probed

    def is_doubted(self, now: float) -> bool:
        return self.is_missed or now < self._doubted_until

    async def start(self) -> None:
        """Idempotent.

        Raises:
            ProviderError: It cannot serve yet.
        """
        if not self.started:
            await self.provider.start()
            self.fits()
            self.started = True

    async def check(self) -> None:
        """One small request. Raises ProviderError or NoNews, as the provider's."""
        await self.provider.check()
        self.fits()

    # --- callers' requests ------------------------------------------------------------------------

    def succeeded(self, ticket: Ticket, now: float) -> None:
        self.breaker.succeeded(ticket)
        if self.breaker.state(now) is State.CLOSED:  # else it is of before the failures
            self.problem, self._doubted_until = "", 0.0
            self.is_missed = False

    def failed(self, error: ProviderError, ticket: Ticket, now: float) -> None:
        self.breaker.failed(ticket, now)
        self._failed_at = now
        self._doubt(error, now)

    # --- the watch's ------------------------------------------------------------------------------

    def check_succeeded(self, now: float) -> None:
        """Closes what checks alone have opened; what callers' requests opened, the next of them
        must close. How often those failed lately stays known."""
        self._well_at, self.is_missed = now, False
        if now - self._failed_at >= PAUSE_S:
            if self.breaker.state(now) is not State.CLOSED:
                self.breaker.close()
            self.problem, self._doubted_until = "", 0.0

    def check_failed(self, error: ProviderError, now: float) -> None:
        """One that is told again, since it is too early to ask again, is no further failure."""
        if error is not self._last_check:
            self.breaker.count(now)
        self._last_check, self.is_missed = error, True
        self._well_at = -PAUSE_S
        self._doubt(error, now)

    def _doubt(self, error: ProviderError, now: float) -> None:
        self.problem = self.last_problem = error.message
        self._doubted_until = now + DOUBT_S


class Chain(Generic[P]):
    """What the chains of all slots share; each implements its slot's Protocol.

    Args:
        providers: At least one, the preferred one first.
        now: A monotonic clock, in seconds.
    """

    keeps_time = True
    """The limits are kept link by link: one over all of them would cut the last one's short."""

    def __init__(self, providers: Sequence[P], *, now: Callable[[], float]) -> None:
        self.links = tuple(Link(provider) for provider in providers)
        self.now = now
        self.fallback_count = 0
        """Requests that another than the first one has served."""
        self.on_failed: Callable[[Link[P], ProviderError], None] = lambda link, error: None
        self.on_fell_back: Callable[[Link[P], Link[P]], None] = lambda first, other: None
        self._fell_back_at: float | None = None
        self._stand_in = ""

    @property
    def info(self) -> ProviderInfo:
        return self.links[0].info

    @property
    def stand_in(self) -> str:
        """Who served in the first one's place lately, of two of a kind its address; empty: none."""
        at = self._fell_back_at
        return self._stand_in if at is not None and self.now() - at < RECENT_S else ""

    async def start(self) -> None:
        """Starts all of them, side by side: a fallback that has to load first would come too late.

        The watch goes on with those that cannot start yet.

        Raises:
            ProviderError: Of the one that failed last, if none can serve.
        """
        failures = [f for f in await asyncio.gather(*map(self._start, self.links)) if f is not None]
        if len(failures) == len(self.links):
            raise failures[-1]

    async def _start(self, link: Link[P]) -> ProviderError | None:
        try:
            await link.start()
        except ProviderError as error:
            link.check_failed(error, self.now())
            log.warning("provider_not_there_yet", error=str(error))
            return error
        return None

    async def check(self) -> None:
        """Of the first one that can serve; the watch asks each link by itself."""
        failure: ProviderError | None = None
        for link in self.links:
            try:
                return await link.check()
            except NoNews:
                continue
            except ProviderError as error:
                failure = error
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        for link in self.links:
            await link.provider.aclose()

    # --- for the chains of the slots --------------------------------------------------------------

    def order(self) -> list[Link[P]]:
        """Whom to ask, best first; empty while every breaker is open.

        Where nobody else is left, one that a small request found well is better than an apology.
        """
        now = self.now()
        admitted = [link for link in self.links if link.breaker.admits(now)]
        admitted = admitted or [link for link in self.links if link.is_said_to_be_well]
        return sorted(admitted, key=lambda link: link.is_doubted(now))

    def prefer(self, provider: object) -> None:
        """From the next request on, this one is the first to be asked."""
        self.links = tuple(sorted(self.links, key=lambda link: link.provider is not provider))

    def next_after(self, tried: Sequence[Link[P]]) -> Link[P] | None:
        return next((link for link in self.order() if link not in tried), None)

    def is_last(self, link: Link[P], tried: Sequence[Link[P]]) -> bool:
        """Whether nobody could take over from it."""
        return not any(other not in tried and other is not link for other in self.order())

    @contextmanager
    def asking(self, link: Link[P]) -> Iterator[None]:
        """One request: its end is told to the link; a cancelled one ends without a verdict."""
        ticket = link.breaker.enter(self.now())
        try:
            yield
        except ProviderError as error:
            self.fail(link, ticket, error)
            raise
        except BaseException:
            link.breaker.abandoned(ticket)
            raise
        link.succeeded(ticket, self.now())

    def fail(self, link: Link[P], ticket: Ticket, error: ProviderError) -> None:
        link.failed(error, ticket, self.now())
        error.was_told = True
        log.warning("provider_failed", error=str(error), fault=error.fault.value, **CALL.get({}))
        self.on_failed(link, error)

    def served_by(self, link: Link[P]) -> None:
        """The request goes to this one, and what it gives is used."""
        if link is not self.links[0]:
            self.fallback_count += 1
            first = self.links[0]
            name, address = link.info.provider, link.info.endpoint
            if first.problem:  # else it was handed on before the first one's repair, and is over
                self._fell_back_at = self.now()
            self._stand_in = address if name == first.info.provider else name
            self.on_fell_back(first, link)
            log.warning(
                "fell_back",
                slot=first.info.slot.value,
                provider=first.info.provider,
                to=link.info.provider,
                problem=first.problem or f"{first.last_problem} (well again)",
                **CALL.get({}),
            )

    def nobody(self) -> NobodyLeft:
        """For a request that nobody was asked for."""
        first = self.links[0]
        now = self.now()
        opened = [link for link in self.links if link.breaker.state(now) is not State.CLOSED]
        names = ", ".join(link.info.provider for link in opened)
        return NobodyLeft(
            first.info.slot,
            first.info.provider,
            Fault.UNREACHABLE,
            f"not asked, since it keeps failing ({names}: {first.problem}); asked again within "
            "10 s of its repair",
        )
