"""Calls that we make, give to somebody else, and end, through Twilio's REST interface.

    call      ──▶ Twilio rings; whoever answers is joined by the signed webhook, as if they had
                  called: one ticket, one stream
    transfer  ──▶ Twilio dials the other end, and our stream is over; else the model is told why
    hang_up   ──▶ the call is over, wherever it is

Nobody is called but who the operator's prefixes allow, and no more than so many a minute.
"""

import asyncio
import time
from math import ceil

import structlog

from voice.carrier import Target
from voice.config_calls import TelephonyConfig
from voice.facts import TransferEnded
from voice.rate import Rate
from voice.session import Session
from voice.transports.telephony.twilio_door import TRANSFERS, WEBHOOK
from voice.transports.telephony.twilio_rest import Call, TwilioError, TwilioRest, Why, fields_of
from voice.transports.websocket import Refusal

log = structlog.get_logger()

_STATUS = {
    Why.NUMBER: 400,
    Why.OVER: 404,
    Why.SETTINGS: 502,
    Why.UNREACHABLE: 502,
    Why.BUSY: 503,
}


class Outbound:
    """Args:
    config: With the account's sid and token, and `public_url`.
    """

    def __init__(self, config: TelephonyConfig) -> None:
        self._config = config
        self._rest = TwilioRest(
            config.twilio_account_sid, config.twilio_auth_token, root=config.twilio_api
        )
        self._webhook = config.public_url.rstrip("/") + WEBHOOK
        self._made = Rate()
        self._tasks: set[asyncio.Task[None]] = set()

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._rest.aclose()

    async def call(self, to: str, machine_detection: str = "") -> Call:
        """Raises:
        Refusal: With the status and what to do about it; nobody is called, or, where Twilio did not
            answer, perhaps somebody is.
        """
        self._check(to)
        config = self._config
        try:
            made = await self._rest.call(
                to,
                caller=config.outbound_from,
                url=self._webhook,
                ring_s=config.outbound_ring_s,
                machine_detection=machine_detection,
            )
        except TwilioError as error:
            log.warning("outbound_failed", to=masked(to), **fields_of(error))
            raise _refusal(error) from None
        log.info("outbound_call", to=masked(to), call=made.sid[-6:])
        return made

    def _check(self, to: str) -> None:
        config = self._config
        if not config.outbound_from or not config.outbound_prefixes:
            wanted = "telephony.outbound_from and telephony.outbound_prefixes"
            message = f"This server makes no calls; the operator can allow it: {wanted}."
            raise Refusal(403, "outbound_not_allowed", message)
        if not to.startswith(config.outbound_prefixes):
            message = "This number may not be called; see telephony.outbound_prefixes."
            raise Refusal(403, "number_not_allowed", message)
        if wait_s := self._made.refuses("", config.outbound_per_minute, time.monotonic()):
            most = f"{config.outbound_per_minute} calls a minute"
            message = f"No more than {most} (telephony.outbound_per_minute)."
            raise Refusal(429, "too_many_calls", message, ceil(wait_s))

    async def hang_up(self, call: str) -> None:
        """Raises:
        Refusal: It may still be on the line.
        """
        try:
            await self._rest.hang_up(call)
        except TwilioError as error:
            raise _refusal(error) from None

    def transfer(self, session: Session, call: str, target: Target, count: int) -> None:
        """Begins it; the session is told what became of it.

        Args:
            count: How often the call will have been transferred, should it come back.
        """
        doing = self._transfer(session, call, target, f"{self._webhook}?{TRANSFERS}={count}")
        task = asyncio.create_task(doing, name=f"transfer-{call}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _transfer(self, session: Session, call: str, target: Target, back: str) -> None:
        problem = "it could not be done"
        try:
            await self._rest.transfer(
                call, target.address, caller=self._config.transfer_from, back=back
            )
            problem = ""
            log.info("transferred", session=session.id, target=target.name)
        except TwilioError as error:
            log.warning("transfer_failed", session=session.id, **fields_of(error))
        finally:
            session.post(TransferEnded(problem))


def _refusal(error: TwilioError) -> Refusal:
    return Refusal(_STATUS[error.why], f"twilio_{error.why.value}", str(error))


def masked(number: str) -> str:
    """The country and the last two digits, for the log."""
    return f"{number[:3]}…{number[-2:]}" if len(number) > 6 else "…"
