"""The settings of the doors beside the WebSocket: WebRTC, telephone providers, SIP."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from voice.config_kinds import Count, Milliseconds, Seconds

Port = Annotated[int, Meta(ge=0, le=65535)]
SipCodec = Literal["opus", "g722", "pcmu", "pcma"]
PRIVATE = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
)
"""This machine and the networks that no router of the internet knows: RFC 1918, RFC 4193."""


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
    """A provider's door is open where its secrets are set; see docs/telephony.md."""

    public_url: str = ""
    """Where providers reach this server: "https://voice.example.com". What they sign names it, so
    the doors of those that sign stay shut without it."""
    lead_ms: Annotated[int, Meta(ge=40, le=5000)] = 200
    """Sound is given so far ahead of what the caller hears, to bridge what the network is late."""
    start_limit_s: Seconds = 5.0
    """A connection that has not said which call it is by then is closed."""
    twilio_account_sid: str = ""
    """Calls of other accounts are refused."""
    twilio_auth_token: str = ""
    twilio_signing_keys: dict[str, str] = {}
    """By their ids, for accounts whose webhooks are signed with shared keys (HMAC-SHA256)."""
    telnyx_public_key: str = ""
    """Of the account, Ed25519 in base64."""
    vonage_signature_secret: str = ""
    vonage_application_id: str = ""
    """Calls of other applications are refused."""
    asterisk_username: str = "kaiwa"
    asterisk_password: str = ""
    """What Asterisk's websocket_client.conf has for both."""
    twilio_api: str = "https://api.twilio.com"
    """Its REST interface, by which calls are made and transferred; other regions have others."""
    outbound_from: str = ""
    """The account's number that calls are made from; empty: none are made."""
    outbound_prefixes: tuple[str, ...] = ()
    """Numbers that may be called begin with one of these: "+49", "+4930123"."""
    outbound_per_minute: Count = 10
    """So many calls may be made."""
    outbound_ring_s: Annotated[int, Meta(ge=5, le=600)] = 30
    """So long it rings at the other end."""
    outbound_machines: Literal["talk", "hang_up"] = "talk"
    """What happens where an answering machine answers, if a call was made to find that out."""
    audiosocket_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    """Where Asterisk's AudioSocket() connects, over TCP; none: nowhere. 0: any free port."""
    audiosocket_host: str = "127.0.0.1"
    """The address it listens on: the protocol has no key, so keep it where only Asterisk is."""
    audiosocket_peers: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    """Addresses or networks that may connect."""
    audiosocket_uuids: tuple[str, ...] = ()
    """Calls with other UUIDs are refused; none: any may come."""
    audiosocket_one_time: bool = False
    """Only UUIDs that `POST /api/telephony/audiosocket` has given out, each for one call."""
    audiosocket_silence: bool = False
    """Whether silence is sent while nothing is said, for what stands behind Asterisk and needs
    sound all the time."""
    transfer: dict[str, str] = {}
    """Whom the model may transfer a call to, with `agent.tools`: a name that says who that is, and
    their number (+49301234567) or SIP address (sip:desk@example.com)."""
    transfer_from: str = ""
    """The number they see, one of the account's; empty: the caller's own."""


class KeypadConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Keys that a caller presses, on any line that tells of them."""

    pause_ms: Milliseconds = 2000
    """Behind the last key: then they are a turn, answered like a spoken one; 0: each is at once."""
    end: Literal["#", "*", ""] = "#"
    """The key that ends a turn at once; empty: only the pause does."""
    interrupts: bool = True
    """Whether a key cuts the answer that is being given."""


class SipConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Telephones that call without a provider."""

    enabled: bool = False
    """Whether INVITEs are answered."""
    host: str = "127.0.0.1"
    """An address of this machine; 0.0.0.0 is all of them, for telephones on the network."""
    port: Port = 5060
    """UDP, and TCP beside it; 0: any free one."""
    tcp: bool = True
    public_address: str = ""
    """Told to callers as ours, where a router passes our ports on (NAT 1:1); empty: the address
    that they reach us at."""
    rtp_ports: str = "20000-20199"
    """UDP ports for sound, two for each call; empty: any free ones."""
    peers: tuple[str, ...] = PRIVATE
    """Networks that may call, and to whose addresses sound may be sent."""
    username: str = ""
    """What callers must know, with `password`; empty: whoever is in `peers` may call."""
    password: str = ""
    most_calls: Count = 20
    """At a time; `rtp_ports` must hold twice as many ports."""
    codecs: Annotated[tuple[SipCodec, ...], Meta(min_length=1)] = ("opus", "g722", "pcmu", "pcma")
    """In the order of our preference."""
    suspend_s: Seconds = 8.0
    """Without a packet of sound the call is suspended, as on hold; it goes on with the next one."""
    silent_limit_s: Seconds = 60.0
    """A call without a packet of sound for so long is over."""
    registrar: str = ""
    """A telephone system that makes us one of its extensions: its name or address, with a port
    where that is not 5060; empty: none."""
    extension: str = ""
    """Our user name there."""
    extension_password: str = ""
