"""Requests of telephone providers, signed by hand, not with the library that the server uses."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from mocks.llm import EchoLLM
from mocks.phone import Frame, Phone
from mocks.stt import EchoSTT
from tests.served import LIMIT_S, Answer, Hosted, address, eventually, request, upgrade

PUBLIC = "https://voice.example.com"
WSS = "wss://voice.example.com"
ACCOUNT, OTHER_ACCOUNT = "AC" + "1" * 32, "AC" + "2" * 32
TOKEN, OTHER_TOKEN = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
KEY_ID, KEY_SECRET = "webhooks_sharedkey_01", "shared-secret-of-the-operator-01"
TELNYX_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VONAGE_SECRET = "vonage-signature-secret-of-thirty-two-and-more"
APPLICATION = "aaaaaaaa-bbbb-cccc-dddd-0123456789ab"
ASTERISK_PASSWORD = "password-of-the-exchange-01"

TWILIO, TELNYX = "/v1/telephony/twilio", "/v1/telephony/telnyx"
VONAGE, ASTERISK = "/v1/telephony/vonage", "/v1/telephony/asterisk"

SETTINGS: dict[str, Any] = {
    "public_url": PUBLIC,
    "start_limit_s": 0.5,
    "twilio_account_sid": ACCOUNT,
    "twilio_auth_token": TOKEN,
    "twilio_signing_keys": {KEY_ID: KEY_SECRET},
    "telnyx_public_key": base64.b64encode(
        TELNYX_KEY.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    ).decode(),
    "vonage_signature_secret": VONAGE_SECRET,
    "vonage_application_id": APPLICATION,
    "asterisk_password": ASTERISK_PASSWORD,
}
"""Of `telephony`, with every door open."""


def post(
    url: str,
    path: str,
    body: str | bytes,
    headers: dict[str, str],
    kind: str = "",
    method: str = "POST",
) -> Answer:
    host, port = address(url)
    data = body.encode() if isinstance(body, str) else body
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}:{port}",
        "Connection: close",
        f"Content-Type: {kind or 'application/x-www-form-urlencoded'}",
        f"Content-Length: {len(data)}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return request(url, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + data)


def knock(url: str, path: str, headers: dict[str, str]) -> Answer:
    """What the upgrade is answered; 101 where it is let in."""
    return request(url, upgrade(url, *(f"{n}: {v}" for n, v in headers.items()), path=path))


def touched(hosted: Hosted) -> tuple[int, ...]:
    """How many sessions, recognisers and answers were asked for since the server began. Not how
    often the voice was: it rehearses its set phrases by itself."""
    desk, stt, llm = hosted.desk, hosted.built.by_slot["stt"], hosted.built.by_slot["llm"]
    assert isinstance(stt, EchoSTT) and isinstance(llm, EchoLLM)
    return desk.sessions + desk.closed, stt.opened, len(llm.requests)


@pytest.fixture(scope="module")
def server(hosting: Callable[..., Hosted]) -> Hosted:
    return hosting(telephony=SETTINGS)


@pytest.fixture
def untouched(server: Hosted) -> Iterator[Hosted]:
    """Fails if a session was made or a provider was asked for anything."""
    before = touched(server)
    yield server
    assert touched(server) == before


# --- calls ----------------------------------------------------------------------------------------


@contextmanager
def calling(
    hosted: Hosted, path: str, headers: dict[str, str], frames: Iterable[Frame]
) -> Iterator[ClientConnection]:
    """The provider's connection, behind these frames."""
    url = hosted.url.replace("http", "ws") + path
    with connect(url, additional_headers=headers, compression=None) as socket:
        for frame in frames:
            socket.send(frame)
        yield socket


def closed_with(socket: ClientConnection) -> tuple[int, str]:
    """The code and the reason, however much comes before them."""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            socket.recv(timeout=LIMIT_S)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def closes(
    hosted: Hosted, path: str, headers: dict[str, str], frames: Iterable[Frame]
) -> tuple[int, str]:
    """What the server closes with behind these frames."""
    with calling(hosted, path, headers, frames) as socket:
        return closed_with(socket)


def stays(hosted: Hosted, path: str, headers: dict[str, str], phone: Phone) -> None:
    """The call is on the line, and leaves it."""
    provider, board = urlsplit(path).path.rpartition("/")[2], hosted.desk.switchboard
    with calling(hosted, path, headers, phone.begin()):
        eventually(lambda: board.leg(provider, phone.call), "the call comes in")
    eventually(lambda: not board.leg(provider, phone.call), "the call leaves")


# --- Twilio ---------------------------------------------------------------------------------------


def hmac_of(url: str, fields: dict[str, str], secret: str = TOKEN, algorithm: str = "sha1") -> str:
    said = url + "".join(name + fields[name] for name in sorted(fields))
    return base64.b64encode(hmac.digest(secret.encode(), said.encode(), algorithm)).decode()


def twilio(url: str, fields: dict[str, str] | None = None, secret: str = TOKEN) -> dict[str, str]:
    """Headers of a request signed with the account's token."""
    return {"X-Twilio-Signature": hmac_of(url, fields or {}, secret)}


def twilio_256(
    url: str,
    fields: dict[str, str] | None = None,
    secret: str = KEY_SECRET,
    settings: str = f"key={KEY_ID},algorithm=HMAC_SHA256",
) -> dict[str, str]:
    """The same with a shared key."""
    signature = hmac_of(url, fields or {}, secret, "sha256")
    return {
        "X-Twilio-Signature": signature,
        "X-Twilio-Webhooks-Signature-Settings": settings,
    }


def ringing(call: str, **fields: str) -> dict[str, str]:
    told = {"CallSid": call, "AccountSid": ACCOUNT, "From": "+15005550006", "To": "+15005550001"}
    return {**told, "CallStatus": "ringing", "CallerName": "", **fields}


def form(fields: dict[str, str]) -> str:
    return urlencode(fields)


# --- Telnyx ---------------------------------------------------------------------------------------


def telnyx(
    body: str, *, at: float | None = None, key: Ed25519PrivateKey = TELNYX_KEY
) -> dict[str, str]:
    stamp = str(int(time.time() if at is None else at))
    signature = base64.b64encode(key.sign(f"{stamp}|{body}".encode())).decode()
    return {"telnyx-signature-ed25519": signature, "telnyx-timestamp": stamp}


# --- Vonage ---------------------------------------------------------------------------------------


def vonage(payload: bytes | None, secret: str = VONAGE_SECRET, **claims: Any) -> dict[str, str]:
    """A signed JWT; `payload` is what it vouches for."""
    told: dict[str, Any] = {
        "iat": int(time.time()),
        "iss": "Vonage",
        "application_id": APPLICATION,
        "jti": str(time.time_ns()),
    }
    if payload is not None:
        told["payload_hash"] = hashlib.sha256(payload).hexdigest()
    token = jwt.encode({**told, **claims}, secret, algorithm="HS256")
    return {"Authorization": f"Bearer {token}"}


def called(call: str) -> bytes:
    told = {"uuid": call, "from": "15005550006", "to": "15005550001", "conversation_uuid": "CON-1"}
    return json.dumps(told).encode()


# --- Asterisk -------------------------------------------------------------------------------------


def basic(password: str = ASTERISK_PASSWORD, name: str = "kaiwa") -> dict[str, str]:
    coded = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {coded}", "Sec-WebSocket-Protocol": "media"}
