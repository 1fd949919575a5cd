"""All telephone doors of this server, and the calls that have come in by them.

An entrance stands open where its provider's secrets are set; else its path is not there, and the
log says what to set. A second connection for a call that is on the line takes it over: the provider
has let go of the first, and a conversation begins anew.
"""

import hashlib
import secrets
from typing import Any

import structlog

from voice.config import TelephonyConfig
from voice.transports.telephony.entrance import Entrance
from voice.transports.telephony.leg import NO_HOOKS, Hooks, Leg
from voice.transports.telephony.tickets import Tickets
from voice.transports.telephony.twilio_door import TwilioDoor

TAKEN_OVER = (1000, "the call came in again")

log = structlog.get_logger()


class Switchboard:
    """Args:
    config: As the server began with it; changes need a restart.
    """

    def __init__(self, config: TelephonyConfig) -> None:
        self.config = config
        self.hooks: Hooks = NO_HOOKS
        tickets = Tickets(_secret(config))
        self.twilio = TwilioDoor(config, tickets) if _has_twilio(config) else None
        self._legs: dict[tuple[str, str], Leg] = {}

    def entrance(self, provider: str) -> Entrance | None:
        """The provider's door, or None, with the reason in the log."""
        found: Entrance | None = getattr(self, provider)
        if found is None:
            log.warning("telephony_shut", provider=provider, set=_wanted(provider))
        return found

    def leg(self, provider: str, call: str) -> Leg | None:
        """The call that is on the line."""
        return self._legs.get((provider, call))

    def enter(self, provider: str, leg: Leg) -> None:
        name = provider, leg.started.call
        former = self._legs.pop(name, None)
        self._legs[name] = leg
        if former is not None:
            former.drop(*TAKEN_OVER)

    def leave(self, provider: str, leg: Leg) -> None:
        name = provider, leg.started.call
        if self._legs.get(name) is leg:
            del self._legs[name]


def _has_twilio(config: TelephonyConfig) -> bool:
    return bool(config.public_url and (config.twilio_auth_token or config.twilio_signing_keys))


_WANTED = {"twilio": "telephony.public_url and telephony.twilio_auth_token"}


def _wanted(provider: str) -> str:
    return _WANTED[provider]


def _secret(config: TelephonyConfig) -> bytes:
    """The same in every process with these settings."""
    known = [config.twilio_auth_token, *config.twilio_signing_keys.values()]
    given = "\n".join(filter(None, known))
    return hashlib.sha256(given.encode()).digest() if given else secrets.token_bytes(32)


def shown(started: Any) -> str:
    """The end of a call's name, for the log."""
    return str(started.call)[-6:]
