"""All telephone doors of this server, and the calls that have come in by them.

An entrance stands open where its provider's secrets are set; else its path is not there, and the
log says what to set. A second connection for a call that is on the line takes it over: the provider
has let go of the first, and a conversation begins anew.
"""

import hashlib
import secrets
from collections.abc import Callable

import structlog

from voice.carrier import Target
from voice.config import TelephonyConfig
from voice.config_dial_problems import makes_calls
from voice.house import MOST_TRANSFERS
from voice.session import Session
from voice.transports.telephony.adapter import Started
from voice.transports.telephony.asterisk_door import AsteriskDoor
from voice.transports.telephony.entrance import Entrance
from voice.transports.telephony.leg import Leg
from voice.transports.telephony.outbound import Outbound
from voice.transports.telephony.passes import Passes
from voice.transports.telephony.telnyx_door import TelnyxDoor
from voice.transports.telephony.tickets import Tickets
from voice.transports.telephony.twilio_door import TRANSFERS, TwilioDoor, count_of
from voice.transports.telephony.vonage_door import VonageDoor

TAKEN_OVER = (1000, "the call came in again")
WANTED = {
    "twilio": "telephony.public_url (KAIWA_PUBLIC_URL), telephony.twilio_auth_token",
    "telnyx": "telephony.public_url (KAIWA_PUBLIC_URL), telephony.telnyx_public_key",
    "vonage": "telephony.public_url (KAIWA_PUBLIC_URL), telephony.vonage_signature_secret",
    "asterisk": "telephony.asterisk_password",
}
"""What opens each door."""

log = structlog.get_logger()


class Switchboard:
    """Args:
    config: As the server began with it; changes need a restart.
    """

    def __init__(self, config: TelephonyConfig) -> None:
        self.config = config
        tickets = Tickets(_secret(config))
        public = bool(config.public_url)
        has_twilio = bool(config.twilio_auth_token or config.twilio_signing_keys)
        self.twilio = TwilioDoor(config, tickets) if public and has_twilio else None
        self.telnyx = TelnyxDoor(config, tickets) if public and config.telnyx_public_key else None
        has_vonage = public and config.vonage_signature_secret
        self.vonage = VonageDoor(config, tickets) if has_vonage else None
        self.asterisk = AsteriskDoor(config) if config.asterisk_password else None
        self.passes = Passes()
        self.outbound = Outbound(config) if makes_calls(config) else None
        self._legs: dict[tuple[str, str], Leg] = {}

    def entrance(self, provider: str) -> Entrance | None:
        """The provider's door, or None, with the reason in the log."""
        doors: dict[str, Entrance | None] = {
            "twilio": self.twilio,
            "telnyx": self.telnyx,
            "vonage": self.vonage,
            "asterisk": self.asterisk,
        }
        if doors[provider] is None:
            self.tell_shut(provider)
        return doors[provider]

    def tell_shut(self, provider: str) -> None:
        log.warning("telephone_door_shut", provider=provider, settings=WANTED[provider])

    # --- calls ------------------------------------------------------------------------------------

    def leg(self, provider: str, call: str) -> Leg | None:
        """The call that is on the line."""
        return self._legs.get((provider, call))

    def transfers(self, provider: str, started: Started) -> bool:
        """Whether this call can be given to somebody else: not for ever, where nobody takes it."""
        can = provider == "twilio" and self.outbound is not None
        return can and _transferred(started) < MOST_TRANSFERS

    def transfer(self, session: Session, started: Started, target: Target) -> None:
        """Only where it `transfers`. The session is told what becomes of it."""
        assert self.outbound is not None
        self.outbound.transfer(session, started.call, target, _transferred(started) + 1)

    async def aclose(self) -> None:
        if self.outbound is not None:
            await self.outbound.aclose()

    def enter(self, leg: Leg) -> Callable[[], None]:
        """Returns:
        What to do when the call has left.
        """
        name = leg.provider, leg.started.call
        former = self._legs.get(name)
        self._legs[name] = leg
        if former is not None:
            former.drop(*TAKEN_OVER)

        def leave() -> None:
            if self._legs.get(name) is leg:
                del self._legs[name]

        return leave


def _transferred(started: Started) -> int:
    """How often: a caller who comes back does so in another session, perhaps of another process."""
    return count_of(started.parameters.get(TRANSFERS, ""))


def _secret(config: TelephonyConfig) -> bytes:
    """The same in every process with these settings."""
    known = (
        config.twilio_auth_token,
        *config.twilio_signing_keys.values(),
        config.vonage_signature_secret,
        config.asterisk_password,
    )
    given = "\n".join(filter(None, known))
    return hashlib.sha256(given.encode()).digest() if given else secrets.token_bytes(32)
