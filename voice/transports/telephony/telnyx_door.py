"""Telnyx's door: a TeXML webhook signed with Telnyx's key; the socket's address holds a ticket.

    POST …/telnyx/voice   Ed25519 over "timestamp|body"  ──▶ TeXML: <Connect><Stream>
    WS   …/telnyx?call=…&ticket=…   not signed           ──▶ start: the same call

Source: https://developers.telnyx.com/docs/voice/programmable-voice/texml-verbs/stream
"""

import base64
import binascii
import secrets
import time
from typing import Any
from urllib.parse import parse_qs, urlencode
from xml.sax.saxutils import quoteattr

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from voice.config import TelephonyConfig
from voice.transports.telephony.adapter import Adapter, Started
from voice.transports.telephony.entrance import (
    REPLAYED,
    WRONG_TICKET,
    Asked,
    forged,
    socket_url,
)
from voice.transports.telephony.telnyx import Telnyx
from voice.transports.telephony.tickets import Tickets

SOCKET = "/v1/telephony/telnyx"
WEBHOOK = f"{SOCKET}/voice"
SIGNATURE, TIMESTAMP = "telnyx-signature-ed25519", "telnyx-timestamp"
TOLERANCE_S = 300.0
"""As in Telnyx's own libraries."""


class TelnyxDoor:
    """Args:
    config: With the account's public key and `public_url`.
    """

    subprotocol = ""

    def __init__(self, config: TelephonyConfig, tickets: Tickets) -> None:
        key = base64.b64decode(config.telnyx_public_key)
        self._key = Ed25519PublicKey.from_public_bytes(key)
        self._tickets = tickets
        self._socket_url = socket_url(config.public_url, SOCKET)

    def new_adapter(self) -> Adapter:
        return Telnyx()

    def check_upgrade(self, scope: Any) -> str:
        query: dict[str, list[str]] = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        call, ticket = query.get("call", [""])[0], query.get("ticket", [""])[0]
        if not call or not self._tickets.redeem(ticket, call, time.time()):
            raise forged(WRONG_TICKET)
        return call

    def check_start(self, started: Started, admitted: str) -> None:
        if started.call != admitted:
            raise forged("This stream is another call's than its ticket.")

    def _signed(self, request: Asked) -> bool:
        stamp = request.headers.get(TIMESTAMP, "")
        if not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12:
            return False
        if abs(time.time() - int(stamp)) > TOLERANCE_S:
            return False
        try:
            signature = base64.b64decode(request.headers.get(SIGNATURE, ""), validate=True)
            self._key.verify(signature, stamp.encode() + b"|" + request.body)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    def answer(self, request: Asked) -> str:
        call = request.fields.get("CallSid", "")
        if not self._signed(request) or not call:
            raise forged("This request bears no valid telnyx-signature-ed25519.")
        # As bytes: base64 writes the same signature in more than one way.
        signature, salt = base64.b64decode(request.headers[SIGNATURE]), secrets.token_hex(8)
        ticket = self._tickets.issue(call, time.time(), salt, signature.hex())
        if not ticket:
            raise forged(REPLAYED)
        url = f"{self._socket_url}?{urlencode({'call': call, 'ticket': ticket})}"
        stream = (
            f'<Connect><Stream url={quoteattr(url)} track="inbound_track" codec="PCMU" '
            'bidirectionalMode="rtp" bidirectionalCodec="PCMU"/></Connect><Hangup/>'
        )
        return _texml(stream)

    def busy(self, request: Asked) -> str:
        return _texml('<Reject reason="busy"/>')


def _texml(verbs: str) -> str:
    return f'<?xml version="1.0" encoding="UTF-8"?><Response>{verbs}</Response>'
