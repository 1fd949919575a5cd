"""The models of the language-model servers: listed, shown, switched and tuned while calls go on.

    Models ──asks──▶ each server of the llm slot that has models (ModelServer)
           ──sets──▶ the server's model, and who of the chain is asked first
           ──sets──▶ Tuning ◀──reads── the next answer of every call

Nothing here is written down: after a restart, and after reload-config, the settings hold again.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import structlog
from msgspec import Struct

from providers.base import LLM, ProviderError, ProviderInfo
from voice.chain import Chain
from voice.config import LlmConfig
from voice.errors import KaiwaError
from voice.tuning import Tuned, Tuning

NAMES_TOLD = 10
TUNED = ("temperature", "max_tokens", "context_tokens")

log = structlog.get_logger()


@runtime_checkable
class ModelServer(Protocol):
    """A provider behind which one of several models can be chosen."""

    @property
    def info(self) -> ProviderInfo: ...

    async def models(self) -> list[str] | None:
        """Raises:
        ProviderError: The server could not be asked.
        """

    def use_model(self, model: str) -> None: ...

    def model_among(self, offered: Sequence[str], wanted: str) -> str: ...


class NoModels(KaiwaError):
    """The language model that is configured has none to choose from."""


class NoSuchModel(KaiwaError):
    """No server has it.

    Args:
        offered: What there is instead.
    """

    def __init__(self, message: str, offered: Sequence[str]) -> None:
        super().__init__(message)
        self.offered = tuple(offered)


class CannotAsk(KaiwaError):
    """Whether there is such a model is not known: a server does not tell."""


class ModelEntry(Struct, frozen=True, kw_only=True):
    """A model of one server."""

    model_name: str
    provider: str
    endpoint: str
    current: bool
    """Whether it answers now."""
    tuned: Tuned


class Offer(Struct, frozen=True):
    """What a server says it has."""

    server: ModelServer
    names: list[str] | None
    """None: it has no list, or could not be asked."""
    problem: str = ""


class Models:
    """Args:
    llm: The provider of the slot, or its chain.
    config: What the settings say of it.
    """

    def __init__(self, llm: LLM, config: LlmConfig) -> None:
        self._llm = llm
        self._chain: Chain[Any] | None = llm if isinstance(llm, Chain) else None
        self._configured_order = self._chain.links if self._chain else ()
        self._config = config
        self._switched = False
        self.tuning = Tuning(_tuned(config), lambda: self.current)

    @property
    def servers(self) -> list[ModelServer]:
        """In the order in which they are asked for an answer."""
        return [one for one in self._providers() if isinstance(one, ModelServer)]

    def _providers(self) -> list[Any]:
        return [link.provider for link in self._chain.links] if self._chain else [self._llm]

    @property
    def current(self) -> str:
        """The model that answers; empty: there is none, or its server has not been asked yet."""
        servers = self.servers
        return servers[0].info.model if servers else ""

    @property
    def note(self) -> str:
        """Why there is nothing to choose from; empty where there is."""
        if self.servers:
            return ""
        names = ", ".join(one.info.provider for one in self._providers())
        return (
            f"llm {names} has no models to choose from; with LLM_ENDPOINT set to an "
            "OpenAI-compatible server, its models are listed here"
        )

    # --- asked ------------------------------------------------------------------------------------

    async def offers(self) -> list[Offer]:
        """Asks all servers at once; takes 5 s at most for one that does not answer."""
        offers = await asyncio.gather(*(_offer(server) for server in self.servers))
        for offer in offers:
            self._call_as_listed(offer)
        return list(offers)

    def entries(self, offers: Sequence[Offer]) -> list[ModelEntry]:
        found = []
        for offer in offers:
            own = offer.server.info.model
            names = offer.names or []
            if own and not offer.server.model_among(names, own):
                names = [own, *names]
            found += [self._entry(offer.server, name) for name in names]
        return found

    async def show(self, name: str) -> ModelEntry:
        """Raises:
        NoModels, NoSuchModel, CannotAsk
        """
        return self._entry(*await self._find(name))

    def shown_current(self) -> ModelEntry:
        """Raises:
        NoModels: Nothing to choose from.
        CannotAsk: The server is to choose one, and has not been reached yet.
        """
        if self.note:
            raise NoModels(self.note)
        server = self.servers[0]
        if not self.current:
            raise CannotAsk(f"{server.info.endpoint} was not asked for its models yet")
        return self._entry(server, self.current)

    def _entry(self, server: ModelServer, name: str) -> ModelEntry:
        first = self.servers[0]
        info = server.info
        return ModelEntry(
            model_name=name,
            provider=info.provider,
            endpoint=info.endpoint,
            current=server is first and bool(first.model_among([name], first.info.model)),
            tuned=self.tuning.of(name),
        )

    async def _find(self, name: str) -> tuple[ModelServer, str]:
        """Who has it, and what it is called there."""
        if self.note:
            raise NoModels(self.note)
        if name and name == self.current:
            return self.servers[0], name
        offers = await self.offers()
        for offer in offers:
            if offer.names and (called := offer.server.model_among(offer.names, name)):
                return offer.server, called
            if offer.names is None and name == offer.server.info.model:
                return offer.server, name
        offered = [known for offer in offers for known in offer.names or ()]
        known = ", ".join(offered[:NAMES_TOLD]) + (" …" if len(offered) > NAMES_TOLD else "")
        if problems := [offer.problem for offer in offers if offer.problem]:
            others = f"; offered elsewhere: {known}" if known else ""
            raise CannotAsk(f"whether there is a {name!r} is not known: {problems[0]}{others}")
        raise NoSuchModel(f"no server has a model {name!r}; offered: {known or 'none'}", offered)

    def _call_as_listed(self, offer: Offer) -> None:
        """The model in use by the name in its server's list: `llama3` is `llama3:latest` there."""
        own = offer.server.info.model
        called = offer.server.model_among(offer.names or (), own)
        if called and called != own:
            if own in self.tuning.own:
                self.tuning.own[called] = self.tuning.own.pop(own)
            offer.server.use_model(called)

    # --- changed ----------------------------------------------------------------------------------

    async def switch(self, name: str) -> ModelEntry:
        """The next answers are this model's; those that have begun end as they began.

        Raises:
            NoModels, NoSuchModel, CannotAsk: And nothing has changed.
        """
        server, called = await self._find(name)
        before = self.current
        server.use_model(called)
        if self._chain is not None:
            self._chain.prefer(server)
        if before != called:
            self._switched = True
            log.info("model_switched", model=called, before=before, server=server.info.endpoint)
        return self._entry(server, called)

    async def tune(self, name: str, **values: float | int | None) -> ModelEntry:
        """Args:
            values: Fields of Tuned; the others stay.
        Raises:
            NoModels, NoSuchModel, CannotAsk: And nothing has changed.
        """
        server, called = await self._find(name)
        before = self.tuning.of(called)
        fields = {key: getattr(before, key) for key in TUNED}
        self.tuning.own[called] = Tuned(**{**fields, **values})
        log.info("model_tuned", model=called, **values)
        return self._entry(server, called)

    def restore(self, config: LlmConfig) -> dict[str, tuple[Any, Any]]:
        """All as the settings have it.

        Returns:
            What that changed, by setting: before and now.
        """
        changed: dict[str, tuple[Any, Any]] = {}
        model, tuned, own = self.current, self.tuning.now(), self.tuning.own
        self.tuning.reset(_tuned(config))
        for key in TUNED:
            now = getattr(config, key)
            if getattr(tuned, key) != now:
                changed[f"llm.{key}"] = getattr(tuned, key), now
        for name in sorted(own.keys() - {model}):
            changed[f"llm, for {name}"] = _told(own[name]), _told(_tuned(config))
        if self._switched or _models(config) != _models(self._config):
            self._restore_models(config)
            if self.current != model:
                changed["llm.model"] = model, config.model
        self._config, self._switched = config, False
        return changed

    def _restore_models(self, config: LlmConfig) -> None:
        if self._chain is not None:
            self._chain.links = self._configured_order
        for provider, model in zip(self._providers(), _models(config), strict=False):
            if isinstance(provider, ModelServer):
                provider.use_model(model)


def _models(config: LlmConfig) -> list[str]:
    """Of the provider and of those that stand in for it."""
    others = (one.get("model") if isinstance(one, dict) else None for one in config.fallbacks or ())
    return [config.model, *(config.model if model is None else model for model in others)]


def _tuned(config: LlmConfig) -> Tuned:
    return Tuned(**{key: getattr(config, key) for key in TUNED})


def _told(tuned: Tuned) -> dict[str, Any]:
    return {key: getattr(tuned, key) for key in TUNED}


async def _offer(server: ModelServer) -> Offer:
    try:
        names = await server.models()
    except ProviderError as error:
        return Offer(server, None, str(error))
    if names is None:
        info = server.info
        return Offer(
            server,
            None,
            f"{info.endpoint} has no list of models, so that a name cannot be checked; set "
            "LLM_MODEL, then POST /api/system/reload-config",
        )
    return Offer(server, names)
