"""How the providers are: asked by a real small request now and then, told as they are.

`/health` says what is configured and how it fares, `/ready` whether to send callers here. Neither
asks a provider while it is being answered, so a provider that hangs makes no probe hang.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec
import structlog
from msgspec import Struct

from providers.base import Fault, NoNews, Provider, ProviderError, Slot
from voice.chain import Chain, Link
from voice.stillness import SETTLE_S, Stillness

CHECK_EVERY_S = 30.0
PING_EVERY_S = 1.0
"""Where a provider has a `ping`, which costs its server nothing: a death is told within 2 s. Its
own `ping_every_s` comes before this."""
CHECK_AGAIN_S = 2.0
"""After a failure: a repair is seen soon."""
CHECK_LIMIT_S = 10.0
MOST_SPOILT = 3
"""So often a failure is put down to a machine that stood still, which may do so again and again."""
START_LIMIT_S = 120.0
"""For what could not be started with the server, and has to load a model now."""

Request = Callable[[], Awaitable[None]]

log = structlog.get_logger()


class ProviderStatus(Struct, frozen=True, kw_only=True):
    """One slot, as /health shows it."""

    provider: str
    endpoint: str
    model: str = ""
    is_mock: bool
    fallback_count: int
    """How often another provider had to take over in this slot."""
    healthy: bool
    problem: str = ""
    fallbacks: tuple["ProviderStatus", ...] = ()
    """Those that stand in for it, in order."""


class Health(Struct, frozen=True, kw_only=True):
    status: Literal["ok", "degraded", "stopping"]
    providers: dict[str, ProviderStatus]
    warnings: list[str]
    version: str
    sessions: int


class _Watched:
    """One provider: alone in its slot, or a link of the slot's chain."""

    def __init__(
        self,
        slot: str,
        provider: Provider,
        link: Link[Any] | None = None,
        now: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.slot, self.provider, self.link, self._now = slot, provider, link, now
        self._problem = ""
        self.doubted = asyncio.Event()
        """A request failed, so that it is worth asking at once."""

    @property
    def problem(self) -> str:
        return self._problem if self.link is None else self.link.problem

    async def start(self) -> None:
        if self.link is not None:
            await self.link.start()

    async def check(self) -> None:
        await (self.provider if self.link is None else self.link).check()

    @property
    def ping_every_s(self) -> float:
        return getattr(self.provider, "ping_every_s", PING_EVERY_S)

    @property
    def is_started(self) -> bool:
        return self.link is None or self.link.started

    def succeeded(self) -> None:
        had_problem = bool(self.problem)
        self._problem = ""
        if self.link is not None:
            self.link.check_succeeded(self._now())
        if had_problem and not self.problem:
            log.info("provider_recovered", slot=self.slot, provider=self.provider.info.provider)

    def failed(self, error: ProviderError) -> None:
        if self.problem != error.message:
            name, problem = self.provider.info.provider, error.message
            log.warning("provider_unhealthy", slot=self.slot, provider=name, problem=problem)
        self._problem = error.message
        if self.link is not None:
            self.link.check_failed(error, self._now())

    @property
    def status(self) -> ProviderStatus:
        info = self.provider.info
        return ProviderStatus(
            provider=info.provider,
            endpoint=info.endpoint,
            model=info.model,
            is_mock=info.is_mock,
            fallback_count=0,
            healthy=not self.problem,
            problem=self.problem,
        )


class Watch:
    """Args:
    providers: By slot; of a chain, every link is asked.
    """

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = dict(providers)
        self._by_slot = {slot: _watched(slot, one) for slot, one in self._providers.items()}
        self._task: asyncio.Task[None] | None = None
        self._stillness = Stillness()

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="provider-watch")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def failed(self, slot: str, error: ProviderError) -> None:
        """A call met this just now: no need to wait for the next check."""
        watched = self._by_slot.get(slot, [])
        if len(watched) == 1 and watched[0].link is None:
            watched[0].failed(error)
            watched[0].doubted.set()

    def look_again(self, slot: str) -> None:
        """Something else is asked for than before, which may not be there."""
        for watched in self._by_slot.get(slot, []):
            watched.doubted.set()

    def link_failed(self, link: Link[Any]) -> None:
        """Of a chain, which notes it itself."""
        for watched in self._all():
            if watched.link is link:
                watched.doubted.set()

    def _all(self) -> Iterator[_Watched]:
        for watched in self._by_slot.values():
            yield from watched

    async def _run(self) -> None:
        async with self._stillness.watching(), asyncio.TaskGroup() as group:
            for watched in self._all():
                name = f"watch-{watched.slot}-{watched.provider.info.provider}"
                group.create_task(self._ask_again(watched), name=name)

    async def _ask_again(self, watched: _Watched) -> None:
        while True:
            if not watched.is_started:
                await self._ask(watched, watched.start, START_LIMIT_S)
            if watched.is_started:
                watched.doubted.clear()
                await self._check(watched)
            if not watched.problem:
                await self._ask_lightly(watched)
            if watched.problem:
                await asyncio.sleep(CHECK_AGAIN_S)

    async def _check(self, watched: _Watched) -> None:
        """The pings go on beside it: who comes to hang in its middle is named before its limit."""
        ping = getattr(watched.provider, "ping", None)
        async with asyncio.TaskGroup() as group:
            pings = group.create_task(self._ping_beside(watched, ping)) if ping else None
            await self._ask(watched, watched.check)
            if pings is not None:
                pings.cancel()

    async def _ping_beside(self, watched: _Watched, ping: Request) -> None:
        """Tells of a death only: whether all is well, the check must say."""
        while not watched.problem:
            await asyncio.sleep(watched.ping_every_s)
            with contextlib.suppress(NoNews):
                if problem := await self._problem_of(watched, ping, CHECK_LIMIT_S):
                    watched.failed(problem)

    async def _ask_lightly(self, watched: _Watched) -> None:
        """Until the next real request is due, or something seems wrong."""
        ping = getattr(watched.provider, "ping", None)
        loop = asyncio.get_running_loop()
        until = loop.time() + getattr(watched.provider, "check_every_s", CHECK_EVERY_S)
        while (left_s := until - loop.time()) > 0 and not watched.problem:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, watched.ping_every_s) if ping else left_s):
                    await watched.doubted.wait()
            if watched.doubted.is_set():
                return
            if ping is not None:
                await self._ask(watched, ping)

    async def _ask(
        self, watched: _Watched, request: Request, limit_s: float = CHECK_LIMIT_S
    ) -> None:
        with contextlib.suppress(NoNews):
            if problem := await self._problem_of(watched, request, limit_s):
                watched.failed(problem)
            else:
                watched.succeeded()

    async def _problem_of(
        self, watched: _Watched, request: Request, limit_s: float
    ) -> ProviderError | None:
        """Asks again where we ourselves stood still. Raises NoNews as the request does."""
        now = asyncio.get_running_loop().time
        for _ in range(MOST_SPOILT):
            began = now()
            problem = await self._ask_once(watched, request, limit_s)
            if problem is None or not self._stillness.spoils(began, now()):
                return problem
            await asyncio.sleep(SETTLE_S)
        return await self._ask_once(watched, request, limit_s)

    async def _ask_once(
        self, watched: _Watched, request: Request, limit_s: float
    ) -> ProviderError | None:
        """Raises NoNews as the request does."""
        info, slot = watched.provider.info, Slot(watched.slot)
        try:
            async with asyncio.timeout(limit_s):
                await request()
        except NoNews:
            raise
        except ProviderError as error:
            return error
        except TimeoutError:
            message = f"a small request took longer than {limit_s:g} s"
            return ProviderError(slot, info.provider, Fault.TIMEOUT, message)
        except Exception as error:  # a check of ours that breaks must not end the watch
            log.exception("check_broke", slot=watched.slot)
            message = f"the check broke: {type(error).__name__}"
            return ProviderError(slot, info.provider, Fault.BROKEN, message)
        return None

    def statuses(self) -> dict[str, ProviderStatus]:
        statuses = {}
        for slot, provider in self._providers.items():
            watched = self._by_slot[slot]
            if isinstance(provider, Chain):  # in the order they are asked in now
                watched = sorted(watched, key=lambda one: provider.links.index(one.link))
            first, *others = [one.status for one in watched]
            count = getattr(provider, "fallback_count", 0)
            statuses[slot] = msgspec.structs.replace(
                first, fallback_count=count, fallbacks=tuple(others)
            )
        return statuses

    def warnings(self) -> list[str]:
        """What is not as it should be now; what is over is only counted."""
        found = []
        for slot, status in self.statuses().items():
            if status.is_mock:
                found.append(f"{slot}: {status.provider} is a mock")
            for one in (status, *status.fallbacks):
                if one.problem:
                    found.append(f"{slot}: {one.provider}: {one.problem}")
            found += [f"{slot}: {doubt}" for doubt in self._doubts(slot)]
            if stand_in := getattr(self._providers[slot], "stand_in", ""):
                found.append(f"{slot}: {stand_in} stands in for {status.provider}")
        return found

    def _doubts(self, slot: str) -> list[str]:
        """Of those with which nothing has failed yet, so that they are asked as before."""
        well = [one.provider for one in self._by_slot[slot] if not one.problem]
        told = [(one.info.provider, getattr(one, "doubt", "")) for one in well]
        return [f"{name}: {doubt}" for name, doubt in told if doubt]


def _watched(slot: str, provider: Provider) -> list[_Watched]:
    if isinstance(provider, Chain):
        return [_Watched(slot, link.provider, link, provider.now) for link in provider.links]
    return [_Watched(slot, provider)]


def without_addresses(body: dict[str, Any]) -> dict[str, Any]:
    """For those who brought no key: what is wrong, not where it stands, nor how busy it is."""
    for status in body["providers"].values():
        for one in (status, *status.get("fallbacks", ())):
            if not one["endpoint"].startswith("in-process"):
                one["endpoint"] = "remote"
            one["problem"] = "unhealthy" if one["problem"] else ""
    about = [warning.split(":")[0] for warning in body["warnings"]]
    body["warnings"] = [f"{one}: see the log" for one in about if one != "load"]
    return body
