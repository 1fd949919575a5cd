"""Twilio's door: its webhook answers with the way to the media socket, and both are signed.

    POST …/twilio/voice   signed over URL and fields   ──▶ TwiML: <Connect><Stream>, with a ticket
    WS   …/twilio         signed over the wss URL      ──▶ start: CallSid, ticket

Source: https://www.twilio.com/docs/usage/security
"""

import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from twilio.request_validator import (
    HMAC_SHA1,
    SIGNATURE_HEADER,
    SIGNATURE_SETTINGS_HEADER,
    RequestValidator,
    get_signature_algorithm,
)
from twilio.twiml.voice_response import Connect, Reject, Stream, VoiceResponse

from voice.config import TelephonyConfig
from voice.transports.telephony.adapter import Adapter, Started
from voice.transports.telephony.entrance import (
    BUSY,
    REPLAYED,
    WRONG_TICKET,
    Asked,
    forged,
    headers_of,
    socket_url,
)
from voice.transports.telephony.tickets import Tickets
from voice.transports.telephony.twilio import Twilio

SOCKET = "/v1/telephony/twilio"
WEBHOOK = f"{SOCKET}/voice"
TICKET = "kaiwa_ticket"
RETURNED = "kaiwa_returned"
"""Why nobody took a call that we transferred."""
TRANSFERS = "kaiwa_transfers"
"""How often it has been; it comes back in the query of the webhook, to whichever process."""
MOST_DIGITS = 3


class TwilioDoor:
    """Args:
    config: With the account's secrets and `public_url`.
    """

    subprotocol = ""

    def __init__(self, config: TelephonyConfig, tickets: Tickets) -> None:
        self._config, self._tickets = config, tickets
        self._base = config.public_url.rstrip("/")
        self.socket_url = socket_url(config.public_url, SOCKET)

    def new_adapter(self) -> Adapter:
        return Twilio()

    # --- signatures -------------------------------------------------------------------------------

    def signed(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        """Whether Twilio sent this, by the account's own secrets.

        Args:
            url: As the operator's settings say it: what headers say, anybody can.
        """
        signature = headers.get(SIGNATURE_HEADER.lower(), "")
        told = headers.get(SIGNATURE_SETTINGS_HEADER.lower(), "")
        algorithm = get_signature_algorithm(told)
        if algorithm == HMAC_SHA1:
            secret = self._config.twilio_auth_token
        else:
            secret = self._config.twilio_signing_keys.get(_key_of(told), "")
        if not secret or not signature:
            return False
        signed: bool = RequestValidator(secret).validate(url, dict(fields), signature, algorithm)
        return signed

    def check_upgrade(self, scope: Any) -> str:
        headers, url = headers_of(scope), self.socket_url
        # What Twilio itself signs could not be tried; with a slash it names the same socket.
        is_signed = self.signed(url, {}, headers) or self.signed(f"{url}/", {}, headers)
        if scope.get("query_string") or not is_signed:
            raise forged("This upgrade bears no valid X-Twilio-Signature.")
        return ""

    def check_start(self, started: Started, admitted: str) -> None:
        self._check_account(started.account)
        ticket = started.parameters.get(TICKET, "")
        if not self._tickets.redeem(ticket, started.call, time.time()):
            raise forged(WRONG_TICKET)

    def _check_account(self, account: str) -> None:
        if self._config.twilio_account_sid not in ("", account):
            raise forged("This call is another account's.")

    # --- the webhook ------------------------------------------------------------------------------

    def answer(self, request: Asked) -> str:
        """TwiML that joins the call to its session, and hangs up when that is over."""
        fields, url = request.fields, self._base + request.target
        if not self.signed(url, fields, request.headers) or not fields.get("CallSid"):
            raise forged("This request bears no valid X-Twilio-Signature.")
        self._check_account(fields.get("AccountSid", ""))
        if self._is_over(fields):
            return self.over()
        dialled = fields.get("DialCallStatus", "")
        signature = request.headers[SIGNATURE_HEADER.lower()]
        salt = secrets.token_hex(8)
        ticket = self._tickets.issue(fields["CallSid"], time.time(), salt, signature)
        if not ticket:
            raise forged(REPLAYED)
        stream = Stream(url=self.socket_url)
        stream.parameter(name=TICKET, value=ticket)
        if dialled:
            stream.parameter(name=RETURNED, value=dialled[:20])
            stream.parameter(name=TRANSFERS, value=str(_transfers(request.query)))
        connect = Connect()
        connect.append(stream)
        response = VoiceResponse()
        response.append(connect)
        response.hangup()
        return str(response)

    def _is_over(self, fields: Mapping[str, str]) -> bool:
        """A machine that is not to be talked to; or it was transferred, and the other end has hung
        up."""
        is_machine = fields.get("AnsweredBy", "").startswith(("machine", "fax"))
        unwanted = is_machine and self._config.outbound_machines == "hang_up"
        return unwanted or fields.get("DialCallStatus") in ("completed", "answered")

    def over(self) -> str:
        """TwiML that hangs up."""
        response = VoiceResponse()
        response.hangup()
        return str(response)

    def busy(self, request: Asked) -> str:
        """Only a call that nobody has answered can be rejected: who was called by us, or comes back
        from a transfer, is told so."""
        fields, response = request.fields, VoiceResponse()
        if self._is_over(fields):
            return self.over()  # who wants nothing more is not asked to call again
        if fields.get("CallStatus") == "in-progress" or "DialCallStatus" in fields:
            response.say(BUSY)
            response.hangup()
        else:
            response.append(Reject(reason="busy"))
        return str(response)


def _transfers(query: str) -> int:
    return count_of(dict(parse_qsl(query)).get(TRANSFERS, ""))


def count_of(text: str) -> int:
    """0, where it is no number of ours."""
    is_number = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    return int(text) if is_number else 0


def _key_of(settings: str) -> str:
    named = (part.partition("=") for part in settings.split(","))
    return next((value.strip() for name, _, value in named if name.strip() == "key"), "")
