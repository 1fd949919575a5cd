"""The settings of the doors beside the WebSocket: WebRTC, telephone providers, SIP."""

from typing import Annotated

from msgspec import Meta, Struct

from voice.config_kinds import Count, Seconds


class WebrtcConfig(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    """Whether `POST /v1/realtime/calls` takes offers."""
    ports: str = ""
    """UDP ports of calls, such as "50000-50199", one on each address for each call; empty: any."""
    public_address: str = ""
    """The server's address outside, where a NAT or a container gives it another: callers are told
    this one. Empty: those it has."""
    announce_local: bool = False
    """Whether callers are told the server's own addresses, too, beside `public_address`."""
    addresses: tuple[str, ...] = ()
    """The server's own addresses or networks that calls may use: "192.0.2.7", "10.0.0.0/8". None
    named: all but those of containers' bridges; with `public_address`, the one that leads out."""
    private_peers: bool | None = None
    """Whether packets may be sent to private addresses that a caller's offer names; null: where the
    server has private ones only, and names no STUN or TURN servers."""
    ice_servers: tuple[str, ...] = ()
    """STUN and TURN servers that callers are told of: "stun:stun.example.com", "turn:…:3478"."""
    turn_secret: str = ""
    """What Kaiwa shares with the TURN server: coturn's `static-auth-secret`."""
    turn_credential_s: Annotated[int, Meta(ge=60, le=604_800)] = 14_400
    """How long a caller's login at the TURN server holds: longer than any call."""
    own_ice_servers: tuple[str, ...] = ()
    """Those that the server itself uses: only where nothing can reach it by UDP."""
    connect_limit_s: Seconds = 10.0
    """An offer whose caller has not connected by then is given up."""
    offers_per_minute: Count = 60
    """Of one address."""
    offers_per_minute_and_key: Count = 600
    """With one key."""
    most_setups: Count = 50
    """Calls that have been answered and are not yet connected."""


class TelephonyConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's door is open where its secrets are set."""


class SipConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Telephones that call without a provider."""
