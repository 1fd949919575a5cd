"""By what a server of OpenAI's API says that it lives, at no cost.

    `owned_by` of its models   asked                 meanwhile it works on
    vllm                       /health               5xx: its engine is dead
    llamacpp                   /health               with the threads that would answer
    library (Ollama)           /api/version
    none (LocalAI, others)     /readyz, /health      the first that is there
    anything else              /v1/models            the list touches no model

Two are asked for their list on purpose: SGLang's /health has the model make a token, and LiteLLM's
asks every model behind it. A service that is paid for is not asked at all.

Source: vLLM vllm/entrypoints/openai, llama.cpp tools/server, ollama openai/openai.go, SGLang
srt/entrypoints/http_server.py, docs.litellm.ai/docs/proxy/health.
"""

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from providers._http import Failures
from providers._json_calls import JsonCalls
from providers._ping import Pings, Work
from providers.base import NoNews

CHECK_EVERY_S = 30.0
PAID_CHECK_EVERY_S = 300.0
_ROUTES: Mapping[str, tuple[str, ...]] = {
    "vllm": ("/health",),
    "llamacpp": ("/health",),
    "library": ("/api/version",),
    "": ("/readyz", "/health"),
}
_ANSWERS_BESIDE = ("vllm", "sglang", "library")
"""Whose answer does not wait behind their own work."""
_OWN = ("vllm", "sglang", "llamacpp", "library")
"""Servers that one runs oneself, wherever they stand."""
_PRIVATE_NAMES = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".svc")


class OpenAIHealth:
    """Args:
    root: Where the API lies, ends in its version: http://host:8000/v1.
    variable: What the root comes from.
    has_key: Nobody pays without one.
    """

    def __init__(
        self, calls: JsonCalls, failures: Failures, root: str, variable: str, *, has_key: bool
    ) -> None:
        self.work = Work()
        self._pings = Pings(calls, failures, variable)
        self._root = root
        self._may_be_paid = has_key and _is_public(urlsplit(root).hostname or "")
        self._owner = ""
        self._routes = _ROUTES[""]

    @property
    def is_paid(self) -> bool:
        """Whether it seems to be a service whose every answer has a price."""
        return self._may_be_paid and self._owner not in _OWN

    @property
    def check_every_s(self) -> float:
        return PAID_CHECK_EVERY_S if self.is_paid else CHECK_EVERY_S

    def learn(self, owners: Iterable[str | None]) -> None:
        """What the server's models say whose they are."""
        owner = next(iter(owners), None) or ""
        if owner != self._owner:
            self._owner, self._routes = owner, _ROUTES.get(owner, ())

    async def ping(self) -> None:
        """Raises ProviderError where it is dead or says that it is not well, NoNews where our work
        may be what keeps it from answering.
        """
        url = self._root + "/models"
        if self._routes:
            url = self._root.rpartition("/v")[0] + self._routes[0]
        began = asyncio.get_running_loop().time()
        try:
            status = await self._pings.ask(url, self.excuses)
        except NoNews:
            if self.work.has_spoken(began):
                return
            raise
        if 300 <= status < 500 and status != 429:  # alive, but this is not how it tells
            self._routes = self._routes[1:]

    def excuses(self, since: float) -> bool:
        """Whether it may live, though a small request sent then (loop time) has no answer."""
        return self.work.excuses(since, answers_beside=self._owner in _ANSWERS_BESIDE)


def _is_public(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE_NAMES)
