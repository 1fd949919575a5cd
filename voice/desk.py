"""The front desk: lets calls in, knows who is on the line, and closes in good order."""

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import date
from importlib.metadata import version
from typing import Any

import msgspec
import structlog

from providers.base import Provider, ProviderError
from voice import entrance, logs, metrics
from voice.answers import Outbox
from voice.carrier import WEBSOCKET, Carrier, Target
from voice.chain import CALL, Chain, Link
from voice.client_secrets import ClientSecrets
from voice.config import Config
from voice.documents import Documents, Library
from voice.drain import drain
from voice.errors import ConfigError
from voice.health import Health, Watch
from voice.load import Limits, Load, retry_s
from voice.models import Models
from voice.providers import Providers
from voice.recorder import recorder_of
from voice.reload import Fresh, Outcome, change, merged
from voice.rules import session_defaults
from voice.security import Guest
from voice.session import Session
from voice.settings import DEFAULT_VOICE, initial, merge
from voice.templates import prompt_of
from voice.transports.telephony.switchboard import Switchboard
from voice.transports.webrtc_calls import Calls
from voice.transports.websocket import Refusal

log = structlog.get_logger()


class Desk:
    """Args:
    providers: What sessions talk to.
    watched: By slot, what /health speaks of.
    known_delays: What mock providers are set to, for `kaiwa bench` to subtract.
    warnings: Of the settings; /health shows them.
    reread: Reads the settings again, on a thread; raises ConfigError.
    """

    def __init__(
        self,
        config: Config,
        providers: Providers,
        watched: dict[str, Provider],
        library: Library | None,
        known_delays: dict[str, float] | None = None,
        warnings: Sequence[str] = (),
        reread: Callable[[], Fresh] | None = None,
    ) -> None:
        self.config = config
        self.models = Models(providers.llm, config.llm)
        self.load = Load(_limits(config))
        self._providers = msgspec.structs.replace(
            providers, tuned=self.models.tuning.now, load_level=lambda: self.load.level
        )
        self.prompt = prompt_of(config)
        self._reread, self._reloading = reread, asyncio.Lock()
        self._begun = time.monotonic()
        self.known_delays = known_delays
        self._warnings = tuple(warnings)
        self.version = version("kaiwa")
        self.figures = metrics.Figures()
        self.watch = Watch(watched)
        for provider in watched.values():
            if isinstance(provider, Chain):
                provider.on_failed = self._link_failed
                provider.on_fell_back = _count_fallback
        self.switchboard = Switchboard(config.telephony)
        self.door, self.client_secrets = entrance.door_of(config), ClientSecrets()
        self.calls = Calls(
            config=lambda: self.config,
            new_session=self.new_session,
            check_room=self.check_room,
            now=time.monotonic,
        )
        self.documents = Documents(library, config=lambda: self.config, failed=self.watch.failed)
        self._recorder = recorder_of(config.record)
        self._open: dict[str, Session] = {}
        self.coming: list[Callable[[], int]] = [lambda: self.calls.waiting]
        """Of each door that answers a call before it has a session: how many of those there are."""
        self.stopping = False
        self._stops_by = 0.0
        self.closed = 0
        """Calls that are over."""

    def _link_failed(self, link: Link[Any], error: ProviderError) -> None:
        """Somebody else took over, and the caller may have noticed nothing."""
        metrics.count_failure(error)
        self.watch.link_failed(link)

    @property
    def sessions(self) -> int:
        return len(self._open)

    # --- calls ------------------------------------------------------------------------------------

    def admit(self, scope: Any) -> Guest:
        """Raises:
        Refusal: With the status, before the upgrade.
        """
        guest = self.check_door(scope)
        self.check_room()
        return guest

    def check_door(self, scope: Any) -> Guest:
        """Whether this client may call at all.

        Raises:
            Refusal: 401, 403.
        """
        now = time.monotonic()
        return entrance.check_door(self.door, self.client_secrets, scope, now)

    def check_place(self, scope: Any) -> None:
        """Whether the page that asks, if it is one, may.

        Raises:
            Refusal: 403.
        """
        entrance.check_place(self.door, scope)

    def check_room(self) -> None:
        """Whether there is room for one more, whoever it is and by whatever door.

        Raises:
            Refusal: 503.
        """
        now = time.monotonic()
        if self.stopping:
            message = "The server is stopping; please call again shortly."
            raise Refusal(503, "stopping", message, retry_s(self._stops_by - now))
        coming = sum(count() for count in self.coming)
        if refused := self.load.refuses(len(self._open) + coming, now):
            full = refused.why == "full"
            code = "server_busy" if full else "server_overloaded"
            what = "All lines are busy" if full else "The server has too much to do"
            raise Refusal(503, code, f"{what}; please call again shortly.", refused.retry_s)

    def feel(self, lag_s: float) -> None:
        """The loop came so late just now; asked for all the time."""
        before = self.load.level
        level = self.load.receive(lag_s, len(self._open), time.monotonic())
        metrics.LOAD_LAG.set(self.load.lag_ms / 1000)
        if level != before:
            metrics.LOAD_LEVEL.set(level)
            lag_ms = round(self.load.lag_ms, 1)
            told = log.warning if level > before else log.info
            told("load", load_level=level.value, lag_ms=lag_ms, sessions=len(self._open))

    def new_session(
        self,
        outbox: Outbox,
        carrier: Carrier = WEBSOCKET,
        transfer: Callable[[Target], None] = lambda target: None,
    ) -> Session:
        """Args:
        transfer: For a carrier that `transfers`: see Session.
        """
        session_id = f"sess_{secrets.token_hex(8)}"
        CALL.set({"session": session_id})  # in the connection's own task
        session = Session(
            session_id,
            config=self.prompt.into(self.config, date.today()),
            providers=self._providers,
            outbox=outbox,
            figures=self.figures,
            now=time.monotonic,
            carrier=carrier,
            closed=self._forget,
            failed=self.watch.failed,
            tape=self._recorder.tape(session_id) if self._recorder else None,
            transfer=transfer,
        )
        self._open[session.id] = session
        return session

    def prepared(self, update: dict[str, Any]) -> dict[str, Any]:
        """The session that these settings would make, as it would be told to the client.

        Args:
            update: As a `session.update` has them.
        Raises:
            ClientError: A field that cannot be; `param` is its path.
        """
        config = self.prompt.into(self.config, date.today())
        defaults = session_defaults(config, self._providers)
        before = initial(f"sess_{secrets.token_hex(8)}", defaults)
        return merge(before, update, detection=defaults.detection)

    def _forget(self, session: Session) -> None:
        self._open.pop(session.id, None)
        self.closed += 1

    async def drain(self) -> None:
        """Takes no more calls; those that are open end in good order. Bounded."""
        self.stopping = True
        self._stops_by = time.monotonic() + self.config.server.drain_s
        await drain(lambda: list(self._open.values()), until=self._stops_by, now=time.monotonic)

    # --- settings ---------------------------------------------------------------------------------

    @property
    def can_reload(self) -> bool:
        return self._reread is not None

    async def reload(self) -> Outcome:
        """Reads the settings again; what can hold without a restart does from now on.

        Raises:
            ConfigError: A line for each that is wrong; nothing has changed.
        """
        if self._reread is None:
            raise ConfigError("this server has no settings to read again.")
        async with self._reloading:
            try:
                fresh = await asyncio.to_thread(self._reread)
            except ConfigError as error:
                log.warning("config_refused", errors=str(error).splitlines())
                raise
            outcome = self._adopt(fresh)
        told = {"changed": outcome.changed, "needs_restart": outcome.needs_restart}
        log.info("config_reloaded", **{k: [one.setting for one in v] for k, v in told.items()})
        return outcome

    def _adopt(self, fresh: Fresh) -> Outcome:
        """In one step: no call begins with half of it."""
        new = merged(self.config, fresh.config)
        changed = {one.setting: one for one in new.changed}
        before, self.prompt = self.prompt, fresh.prompt
        if before != fresh.prompt and not any(path.startswith("agent.") for path in changed):
            path = "agent.prompt"
            was, now = before.reference, fresh.prompt.reference
            changed[path] = change(path, was, now, "new calls")
        for path, (was, now) in self.models.restore(new.config.llm).items():
            changed[path] = change(path, was, now, "next answer")
        if "llm.model" in changed:
            self.watch.look_again("llm")
        self.config, self._warnings = new.config, fresh.warnings
        self.door = entrance.door_of(new.config)
        self._recite_as(new.config)
        self.load.limits = _limits(new.config)
        logs.set_level(new.config.log.level)
        self.documents.adopt(new.config)
        return Outcome(
            changed=list(changed.values()),
            needs_restart=new.waiting,
            warnings=[*fresh.warnings, *fresh.config.strays],
        )

    def _recite_as(self, config: Config) -> None:
        """What Kaiwa says by itself, it says as the next calls are answered."""
        if self._providers.recitals is not None:
            voice, language = config.tts.voice or DEFAULT_VOICE, config.stt.language
            self._providers.recitals.follow(voice=voice, language=language)

    # --- what is told -----------------------------------------------------------------------------

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._begun

    def health(self) -> Health:
        warnings = [*self._warnings, *self.watch.warnings()]
        if about_documents := self.documents.warning():
            warnings.append(f"rag: {about_documents}")
        if self.load.warning:
            warnings.append(f"load: {self.load.warning}")
        status = "stopping" if self.stopping else "degraded" if warnings else "ok"
        return Health(
            status=status,  # type: ignore[arg-type]  # mypy widens the conditional to str
            providers=self.documents.counted(self.watch.statuses()),
            warnings=warnings,
            version=self.version,
            sessions=len(self._open),
        )

    def takes_calls(self) -> bool:
        return not self.stopping


def _count_fallback(first: Link[Any], other: Link[Any]) -> None:
    info = first.info
    metrics.FALLBACKS.labels(info.slot.value, info.provider, other.info.provider).inc()


def _limits(config: Config) -> Limits:
    return Limits(config.load.lag_ms, config.server.max_sessions)
