"""Whether a client may come in at all: its page, its name for us, its key or client secret."""

from typing import Any

from voice.client_secrets import ClientSecrets
from voice.config import LOOPBACK, Config
from voice.security import Door, Guest, brought, digest
from voice.transports.websocket import Refusal


def door_of(config: Config) -> Door:
    server = config.server
    return Door(
        api_keys=server.api_keys,
        allowed_origins=server.allowed_origins,
        loopback=server.host in LOOPBACK,
    )


def headers_of(scope: Any) -> dict[str, str]:
    return {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}


def check_place(door: Door, scope: Any) -> None:
    """Whether the page that asks, if it is one, may.

    Raises:
        Refusal: 403.
    """
    headers = headers_of(scope)
    if not door.allows_host(headers):
        raise Refusal(403, "host", "This server answers to 127.0.0.1 and localhost only.")
    if not door.allows_origin(headers):
        message = "This Origin may not connect; the operator can add it to allowed_origins."
        raise Refusal(403, "origin_not_allowed", message)


def check_door(door: Door, secrets: ClientSecrets, scope: Any, now: float) -> Guest:
    """Args:
        now: By the clock of the secrets.
    Raises:
        Refusal: 401, 403.
    """
    check_place(door, scope)
    headers, subprotocols = headers_of(scope), scope.get("subprotocols") or ()
    for key in brought(headers, subprotocols):
        if (secret := secrets.find(key, now)) is not None:
            return Guest(digest(key), secret.settings)
    if not door.knows(headers, subprotocols):
        message = (
            "A valid API key or client secret is needed: Authorization: Bearer KEY, see "
            "docs/wire.md."
        )
        raise Refusal(401, "invalid_api_key", message)
    return Guest(door.key_of(headers, subprotocols))
