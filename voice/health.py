"""How the providers are: asked by a real small request now and then, told as they are.

`/health` says what is configured and how it fares, `/ready` whether to send callers here. Neither
asks a provider while it is being answered, so a provider that hangs makes no probe hang.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from msgspec import Struct

from providers.base import Provider, ProviderError

CHECK_EVERY_S = 30.0
CHECK_AGAIN_S = 2.0
"""After a failure: a repair is seen soon."""
CHECK_LIMIT_S = 10.0

log = structlog.get_logger()


class ProviderStatus(Struct, frozen=True, kw_only=True):
    """One slot, as /health shows it."""

    provider: str
    endpoint: str
    model: str
    is_mock: bool
    fallback_count: int
    """How often another provider had to take over in this slot."""
    healthy: bool
    problem: str = ""


class Health(Struct, frozen=True, kw_only=True):
    status: Literal["ok", "degraded", "stopping"]
    providers: dict[str, ProviderStatus]
    warnings: list[str]
    version: str
    sessions: int


class Watch:
    """Args:
    providers: By slot.
    """

    def __init__(self, providers: Mapping[str, Provider]) -> None:
        self._providers = dict(providers)
        self._problems: dict[str, str] = {}
        self._failed = {slot: asyncio.Event() for slot in self._providers}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="provider-watch")

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def failed(self, slot: str, error: ProviderError) -> None:
        """A call met this just now: no need to wait for the next check."""
        if slot in self._failed:
            self._problems[slot] = error.message
            self._failed[slot].set()

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for slot, provider in self._providers.items():
                group.create_task(self._ask_again(slot, provider), name=f"watch-{slot}")

    async def _ask_again(self, slot: str, provider: Provider) -> None:
        while True:
            await self._ask(slot, provider)
            if slot not in self._problems:
                self._failed[slot].clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_EVERY_S):
                        await self._failed[slot].wait()
            if slot in self._problems:
                await asyncio.sleep(CHECK_AGAIN_S)

    async def _ask(self, slot: str, provider: Provider) -> None:
        try:
            async with asyncio.timeout(CHECK_LIMIT_S):
                await provider.check()
        except ProviderError as error:
            self._note(slot, error.message)
        except TimeoutError:
            self._note(slot, f"a small request took longer than {CHECK_LIMIT_S:g} s")
        except Exception as error:  # a check of ours that breaks must not end the watch
            log.exception("check_broke", slot=slot)
            self._note(slot, f"the check broke: {type(error).__name__}")
        else:
            if self._problems.pop(slot, None) is not None:
                log.info("provider_recovered", slot=slot)

    def _note(self, slot: str, problem: str) -> None:
        if self._problems.get(slot) != problem:
            log.warning("provider_unhealthy", slot=slot, problem=problem)
        self._problems[slot] = problem

    def statuses(self) -> dict[str, ProviderStatus]:
        statuses = {}
        for slot, provider in self._providers.items():
            info = provider.info
            statuses[slot] = ProviderStatus(
                provider=info.provider,
                endpoint=info.endpoint,
                model=info.model,
                is_mock=info.is_mock,
                fallback_count=getattr(provider, "fallback_count", 0),
                healthy=slot not in self._problems,
                problem=self._problems.get(slot, ""),
            )
        return statuses

    def warnings(self) -> list[str]:
        found = []
        for slot, status in self.statuses().items():
            if status.is_mock:
                found.append(f"{slot}: {status.provider} is a mock")
            if status.fallback_count:
                found.append(f"{slot}: fell back {status.fallback_count} times")
            if status.problem:
                found.append(f"{slot}: {status.problem}")
        return found


def without_addresses(body: dict[str, Any]) -> dict[str, Any]:
    """For those who brought no key: what is wrong, not where it stands."""
    for status in body["providers"].values():
        if status["endpoint"] != "in-process":
            status["endpoint"] = "remote"
        status["problem"] = "unhealthy" if status["problem"] else ""
    body["warnings"] = [warning.split(":")[0] + ": see the log" for warning in body["warnings"]]
    return body
