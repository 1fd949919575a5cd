"""Vonage's door: webhook and upgrade each bear a JWT signed with the account's signature secret.

    GET or POST …/vonage/voice   JWT, with a hash of what was sent  ──▶ NCCO: connect, with a ticket
    WS          …/vonage         JWT                                ──▶ connected: call, ticket

Source: https://developer.vonage.com/en/getting-started/concepts/webhooks#decoding-signed-webhooks
"""

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import jwt

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
from voice.transports.telephony.vonage import CALL, Vonage

SOCKET = "/v1/telephony/vonage"
WEBHOOK = f"{SOCKET}/voice"
TICKET = "kaiwa_ticket"
CONTENT_TYPE = "audio/l16;rate=16000"
TOLERANCE_S = 300.0
"""As long as Vonage's own webhooks are good for."""


class VonageDoor:
    """Args:
    config: With the account's signature secret and `public_url`.
    """

    subprotocol = ""

    def __init__(self, config: TelephonyConfig, tickets: Tickets) -> None:
        self._config, self._tickets = config, tickets
        self._socket_url = socket_url(config.public_url, SOCKET)

    def new_adapter(self) -> Adapter:
        return Vonage()

    def check_upgrade(self, scope: Any) -> str:
        if self._claims(headers_of(scope)) is None:
            raise forged("This upgrade bears no valid JWT of Vonage's.")
        return ""

    def check_start(self, started: Started, admitted: str) -> None:
        ticket = started.parameters.get(TICKET, "")
        if not started.call or not self._tickets.redeem(ticket, started.call, time.time()):
            raise forged(WRONG_TICKET)

    def _claims(self, headers: Mapping[str, str]) -> dict[str, Any] | None:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        try:
            claims: dict[str, Any] = jwt.decode(
                token.strip(),
                self._config.vonage_signature_secret,
                algorithms=["HS256"],
                leeway=TOLERANCE_S,
                options={"require": ["iat"], "verify_aud": False},
            )
        except jwt.InvalidTokenError:
            return None
        fresh = abs(time.time() - float(claims["iat"])) <= TOLERANCE_S
        application = self._config.vonage_application_id
        ours = application in ("", claims.get("application_id"))
        return claims if fresh and ours else None

    def answer(self, request: Asked) -> str:
        """NCCO that joins the call to its session; when that is over, the call is."""
        claims = self._claims(request.headers)
        call = request.fields.get("uuid", "")
        if claims is None or not call or not _is_whole(claims, request):
            raise forged("This request bears no valid JWT of Vonage's.")
        salt = secrets.token_hex(8)
        ticket = self._tickets.issue(call, time.time(), salt, _signed_part(request.headers))
        if not ticket:
            raise forged(REPLAYED)
        endpoint = {
            "type": "websocket",
            "uri": self._socket_url,
            "content-type": CONTENT_TYPE,
            "authorization": {"type": "vonage"},
            "headers": {CALL: call, TICKET: ticket},
        }
        return json.dumps([{"action": "connect", "endpoint": [endpoint]}])

    def busy(self, request: Asked) -> str:
        return json.dumps([{"action": "talk", "text": BUSY}])


def _signed_part(headers: Mapping[str, str]) -> str:
    """Of the JWT: what stands around it, and how its signature is written, anybody can change."""
    return headers["authorization"].split()[-1].rpartition(".")[0]


def _is_whole(claims: Mapping[str, Any], request: Asked) -> bool:
    """Whether what came is what was signed; of a GET, its query as one JSON object."""
    told = claims.get("payload_hash")
    if not isinstance(told, str):
        return False
    payload = request.body
    if not payload:
        fields = dict(parse_qsl(request.query, keep_blank_values=True))
        payload = json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
    return hmac.compare_digest(hashlib.sha256(payload).hexdigest().encode(), told.lower().encode())
