"""Twilio's REST interface for calls: one is made, given to somebody else, ended.

    GET  /2010-04-01/Accounts/{sid}.json                                        200: the account
    POST /2010-04-01/Accounts/{sid}/Calls.json          To, From, Url, …        201: the call
    POST /2010-04-01/Accounts/{sid}/Calls/{call}.json   Status=completed, Twiml 200: the call
    4xx, 5xx   {"code": 21211, "message": "…", "more_info": "…", "status": 400}

Form bodies, basic auth, JSON answers. What may have been done is not asked for again: a call that
was made twice rings twice. To end a call twice is to end it.

Source: https://www.twilio.com/docs/voice/api/call-resource
"""

import asyncio
import base64
from enum import Enum
from typing import Any

import aiohttp
import msgspec
from msgspec import Struct
from twilio.twiml.voice_response import Dial, VoiceResponse

ROOT = "https://api.twilio.com"
VERSION = "/2010-04-01"
TRIES = 3
PAUSE_S = 0.5
"""Before the second try; twice as long before the third."""
MOST_PAUSE_S = 5.0
"""A server that wants to be left alone for longer is not asked again."""
MOST_BODY_BYTES = 65_536
"""A call takes two thousand; what is longer is cut, and no answer of Twilio's."""


class Why(Enum):
    """What a failure asks of whom."""

    SETTINGS = "settings"
    """The operator: credentials, our own number, what the account may do."""
    NUMBER = "number"
    """Who named the number: it is none, or cannot be called."""
    OVER = "over"
    """Nobody: there is no such call any more."""
    BUSY = "busy"
    """Later: too many requests."""
    UNREACHABLE = "unreachable"
    """Twilio was not reached, or did not answer in time, or broke."""


class TwilioError(Exception):
    """The text says what to do, and holds no number and no secret."""

    def __init__(self, why: Why, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.why, self.code = why, code


class Call(Struct, frozen=True):
    sid: str
    status: str = ""
    """queued, ringing, in-progress, completed, …"""
    answered_by: str | None = None


class _Problem(Struct):
    code: int = 0
    message: str = ""


_CODES = {
    20003: (Why.SETTINGS, "the credentials are not Twilio's: check telephony.twilio_account_sid "
            "and telephony.twilio_auth_token (TWILIO_ACCOUNT_SID, TWILIO_AUTH_TOKEN)"),
    20404: (Why.OVER, "there is no such call"),
    20429: (Why.BUSY, "too many requests; try again in a moment"),
    21201: (Why.NUMBER, "no number was given"),
    21210: (Why.SETTINGS, "telephony.outbound_from is no number of this account's"),
    21211: (Why.NUMBER, "this is no telephone number"),
    21212: (Why.SETTINGS, "telephony.outbound_from is no telephone number"),
    21213: (Why.SETTINGS, "telephony.outbound_from is needed"),
    21214: (Why.NUMBER, "this number cannot be reached"),
    21215: (Why.SETTINGS, "the account may not call this country: allow it in Twilio's console "
            "(Voice, geographic permissions)"),
    21216: (Why.NUMBER, "the account may not call this number"),
    21217: (Why.NUMBER, "this number is not valid"),
    21219: (Why.SETTINGS, "a trial account may only call numbers that it has verified"),
    21220: (Why.OVER, "the call is not in progress"),
    21205: (Why.SETTINGS, "telephony.public_url is no address that Twilio can reach"),
}  # fmt: skip
"""Of Twilio's own error codes those that somebody can do something about.

Source: https://www.twilio.com/docs/api/errors"""


class TwilioRest:
    """Args:
    root: Of the interface; another for Twilio's other regions.
    limit_s: For one request.
    """

    def __init__(
        self, account: str, token: str, *, root: str = ROOT, limit_s: float = 10.0
    ) -> None:
        self._account = f"{root.rstrip('/')}{VERSION}/Accounts/{account}"
        self._calls = f"{self._account}/Calls"
        basic = base64.b64encode(f"{account}:{token}".encode()).decode()
        self._headers = {"Authorization": f"Basic {basic}", "User-Agent": "kaiwa"}
        self._limit_s = limit_s
        self._session: aiohttp.ClientSession | None = None

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def status(self) -> str:
        """Of the account: active, suspended, closed. Asked once, and changes nothing.

        Raises:
            TwilioError: It does not say so.
        """
        try:
            return (await self._try("GET", f"{self._account}.json")).status
        except _Failed as failed:
            raise failed.error from None

    async def call(
        self,
        to: str,
        *,
        caller: str,
        url: str,
        ring_s: int,
        machine_detection: str = "",
    ) -> Call:
        """Args:
            caller: A number of the account's.
            url: Asked, signed, for TwiML once somebody answers.
            machine_detection: Twilio's own word: Enable, DetectMessageEnd; empty: none.
        Raises:
            TwilioError: Nobody is called; or, where it did not answer, perhaps somebody is.
        """
        form = {"To": to, "From": caller, "Url": url, "Method": "POST", "Timeout": str(ring_s)}
        if machine_detection:
            form["MachineDetection"] = machine_detection
        return await self._post(f"{self._calls}.json", form, again=False)

    async def hang_up(self, call: str) -> None:
        """A call that is over already is no error.

        Raises:
            TwilioError: It may still be on the line.
        """
        try:
            await self._post(f"{self._calls}/{call}.json", {"Status": "completed"}, again=True)
        except TwilioError as error:
            if error.why is not Why.OVER:
                raise

    async def transfer(self, call: str, address: str, *, caller: str, back: str = "") -> None:
        """Takes the call off its stream, and dials.

        Args:
            address: A number, or sip:….
            caller: Whom the other end sees; empty: the caller.
            back: Asked for TwiML when the other end is gone, or never came.
        Raises:
            TwilioError: The call is where it was.
        """
        response = VoiceResponse()
        dial = Dial(action=back or None, caller_id=caller or None)
        if address.startswith("sip"):
            dial.sip(address)
        else:
            dial.number(address)
        response.append(dial)
        await self._post(f"{self._calls}/{call}.json", {"Twiml": str(response)}, again=False)

    # --- requests ---------------------------------------------------------------------------------

    async def _post(self, url: str, form: dict[str, str], *, again: bool) -> Call:
        """Args:
        again: Whether what may have been done can be asked for once more.
        """
        pause_s = PAUSE_S
        for left in reversed(range(TRIES)):
            try:
                return await self._try("POST", url, form)
            except _Failed as failed:
                retry_s = max(pause_s, failed.retry_s)
                in_time = retry_s <= MOST_PAUSE_S
                if not left or not in_time or not (failed.undone or (again and failed.passes)):
                    raise failed.error from None
            await asyncio.sleep(retry_s)
            pause_s *= 2
        raise AssertionError("unreachable")

    async def _try(self, method: str, url: str, form: dict[str, str] | None = None) -> Call:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                headers=self._headers, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True
            )
        try:
            async with (
                asyncio.timeout(self._limit_s),
                self._session.request(method, url, data=form, allow_redirects=False) as response,
            ):
                body = await _body(response)
                status, headers = response.status, response.headers
        except aiohttp.ClientConnectorError as error:
            raise _Failed(_unreachable(f"no connection: {_reason(error)}"), undone=True) from None
        except TimeoutError:
            late = _unreachable(f"no answer within {self._limit_s:g} s")
            raise _Failed(late, passes=True) from None
        except aiohttp.ClientError as error:
            raise _Failed(_unreachable(_reason(error)), passes=True) from None
        if status in (200, 201):
            return _call_of(body)
        raise _failed(status, body, headers.get("Retry-After", ""))


class _Failed(Exception):
    """Args:
    undone: It certainly was not done.
    passes: It may go better another time.
    """

    def __init__(
        self,
        error: TwilioError,
        *,
        undone: bool = False,
        passes: bool = False,
        retry_s: float = 0.0,
    ) -> None:
        super().__init__(str(error))
        self.error, self.undone, self.passes, self.retry_s = error, undone, passes, retry_s


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """All of it: `content.read` is content with the first piece that comes."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > MOST_BODY_BYTES:
            break
    return bytes(body)


def _reason(error: Exception) -> str:
    os_error = getattr(error, "os_error", None)
    return getattr(os_error, "strerror", "") or type(error).__name__


def _unreachable(what: str) -> TwilioError:
    return TwilioError(Why.UNREACHABLE, f"Twilio: {what}.")


def _call_of(body: bytes) -> Call:
    try:
        return msgspec.json.decode(body, type=Call)
    except msgspec.DecodeError:
        text = "Twilio: it answered in other words than its own; is telephony.twilio_api right?"
        raise _Failed(TwilioError(Why.UNREACHABLE, text)) from None


def _failed(status: int, body: bytes, retry_after: str) -> _Failed:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem()
    code = problem.code or {401: 20003, 404: 20404, 429: 20429}.get(status, 0)
    why, text = _CODES.get(code, (Why.UNREACHABLE if status >= 500 else Why.SETTINGS, ""))
    told = text or f"it refused with {status}"
    if code:
        told += f" (error {code}: https://www.twilio.com/docs/errors/{code})"
    retry_s = float(retry_after) if retry_after.isdigit() else 0.0
    return _Failed(
        TwilioError(why, f"Twilio: {told}.", code),
        undone=status == 429,
        passes=status >= 500,
        retry_s=retry_s,
    )


def fields_of(error: TwilioError) -> dict[str, Any]:
    """For the log."""
    return {"why": error.why.value, "code": error.code, "error": str(error)}
