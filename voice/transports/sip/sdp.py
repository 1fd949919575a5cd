"""What two ends agree on: one stream of sound, its codec, and where it is sent (RFC 3264).

    offered   m=audio 4000 RTP/AVP 96 9 8 0 101      answered   m=audio 20000 RTP/AVP 9 101
              m=video 4002 RTP/AVP 97                           m=video 0 RTP/AVP 97

A stranger's SDP names an address that we shall send fifty packets a second to. It is believed where
it is the address that the request came from, or one of `peers`; else sound goes where sound comes
from, once it does (voice/transports/sip/media.py).
"""

from collections.abc import Callable, Iterable, Sequence

from aiosipua import Codec as Offered
from aiosipua import (
    ConnectionData,
    MediaDescription,
    Origin,
    SdpMessage,
    SipRequest,
    parse_sdp,
)
from msgspec import Struct

from voice.ice_candidates import FIRST_PORT, Reach, allowed, parsed
from voice.rtp_playout import FRAME_MS
from voice.transports.sip.codecs import CODINGS, Coding
from voice.transports.sip.messages import Refused, Source

MOST_BYTES, MOST_LINES, MOST_STREAMS = 16_384, 300, 8
KEY_TYPE = 101
"""Payload type of keys where we offer; theirs where they do."""
TYPES = {"opus": 107, "g722": 9, "pcmu": 0, "pcma": 8}
"""Payload types where we offer."""
_ANSWERED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly"}


class Agreed(Struct, frozen=True):
    coding: Coding
    payload_type: int
    keys: Offered | None
    """How keys are sent; None: they are not."""
    remote: Source | None
    """Where sound is sent; None: to be seen."""
    direction: str
    """Ours: sendrecv, recvonly, sendonly, inactive."""

    @property
    def held(self) -> bool:
        """The far end takes no sound."""
        return self.direction in ("recvonly", "inactive")


def offer_of(request: SipRequest) -> SdpMessage | None:
    """The request's SDP, None without a body.

    Raises:
        Refused: 415, or 488 where it is longer than anybody's, or none.
    """
    if not request.body:
        return None
    kind = (request.content_type or "").partition(";")[0].strip().lower()
    if kind != "application/sdp" or request.headers.get("content-encoding"):
        raise Refused(415, {"Accept": "application/sdp"})
    if len(request.body) > MOST_BYTES or request.body.count(b"\n") > MOST_LINES:
        raise _unacceptable(304, "the session description is too long")
    try:
        offer = parse_sdp(request.text)
    except ValueError:
        raise _unacceptable(399, "the session description makes no sense") from None
    if len(offer.media) > MOST_STREAMS:
        raise _unacceptable(304, "there are too many streams")
    return offer


def _unacceptable(code: int, why: str) -> Refused:
    return Refused(488, {"Warning": f'{code} kaiwa "{why}"'})


def agree(
    offer: SdpMessage,
    codings: Iterable[str],
    *,
    peer: str,
    admits: Callable[[str], bool],
) -> Agreed:
    """Args:
        codings: Names, in the order of our preference.
        peer: The address that the request came from.
        admits: Whether sound may be sent to an address.
    Raises:
        Refused: 488, nothing in it is for us.
    """
    stream = offer.media[_stream(offer)]
    known = [CODINGS[name] for name in codings]
    for coding in known:
        for offered in stream.codecs:
            if _is(offered, coding):
                return Agreed(
                    coding,
                    offered.payload_type,
                    _keys(stream.codecs, coding),
                    _remote(offer, stream, peer, admits),
                    _direction(offer, stream),
                )
    names = ", ".join(coding.name for coding in known)
    raise _unacceptable(305, f"none of the codecs is one of {names}")


def _stream(offer: SdpMessage) -> int:
    for place, media in enumerate(offer.media):
        if media.media == "audio" and media.port and media.proto in ("RTP/AVP", "RTP/AVPF"):
            return place
    raise _unacceptable(304, "there is no audio over RTP/AVP")


def _is(offered: Offered, coding: Coding) -> bool:
    same = offered.encoding_name.lower() == coding.name
    return same and offered.clock_rate == coding.clock_hz and 0 <= offered.payload_type < 128


def _keys(offered: Sequence[Offered], coding: Coding) -> Offered | None:
    """At the clock of the sound, if there is a choice (RFC 4733 §2.5.1.1)."""
    events = [one for one in offered if one.encoding_name.lower() == "telephone-event"]
    events.sort(key=lambda one: one.clock_rate != coding.clock_hz)
    return events[0] if events else None


def _remote(
    offer: SdpMessage, stream: MediaDescription, peer: str, admits: Callable[[str], bool]
) -> Source | None:
    connection = stream.connection or offer.connection
    if connection is None or not FIRST_PORT <= stream.port < 65536:
        return None
    address = connection.address.partition("/")[0]
    if address == peer:
        return address, stream.port
    here = parsed(peer.partition("%")[0])
    reach = Reach(private=True, loopback=here is not None and here.is_loopback)
    return (address, stream.port) if allowed(address, reach) and admits(address) else None


def _direction(offer: SdpMessage, stream: MediaDescription) -> str:
    """Ours, as an answer to theirs; 0.0.0.0 is how telephones were held before (RFC 2543)."""
    theirs = next(
        (
            one
            for attributes in (stream.attributes, offer.attributes)
            for one in ("sendrecv", "sendonly", "recvonly", "inactive")
            if one in attributes
        ),
        "sendrecv",
    )
    connection = stream.connection or offer.connection
    if connection is not None and connection.address == "0.0.0.0" and theirs == "sendrecv":
        theirs = "sendonly"
    return _ANSWERED.get(theirs, "inactive")


def answer(
    offer: SdpMessage, agreed: Agreed, ours: Source, *, session: int, version: int
) -> SdpMessage:
    """With a stream for each offered one; all but ours are turned down."""
    place = _stream(offer)
    streams = [
        described(agreed, ours[1], media.proto)
        if index == place
        else MediaDescription(media.media, 0, media.proto, media.formats or ["0"])
        for index, media in enumerate(offer.media)
    ]
    return _session(ours[0], streams, session, version)


def described(agreed: Agreed, port: int, proto: str = "RTP/AVP") -> MediaDescription:
    """Our stream."""
    coding, kind = agreed.coding, agreed.payload_type
    channels = f"/{coding.channels}" if coding.channels > 1 else ""
    encoding = coding.name if coding.name == "opus" else coding.name.upper()
    attributes = {"rtpmap": [f"{kind} {encoding}/{coding.clock_hz}{channels}"], "fmtp": []}
    formats = [str(kind)]
    if coding.parameters:
        attributes["fmtp"].append(f"{kind} {coding.parameters}")
    if agreed.keys is not None:
        keys = agreed.keys.payload_type
        formats.append(str(keys))
        attributes["rtpmap"].append(f"{keys} telephone-event/{agreed.keys.clock_rate}")
        attributes["fmtp"].append(f"{keys} 0-15")
    attributes = {name: values for name, values in attributes.items() if values}
    attributes |= {"ptime": [str(FRAME_MS)], agreed.direction: []}
    return MediaDescription("audio", port, proto, formats, attributes=attributes)


def repeated(agreed: Agreed, ours: Source, *, session: int, version: int) -> SdpMessage:
    """What is agreed, as an offer: for who asks again without a description (RFC 3261 §14.2)."""
    return _session(ours[0], [described(agreed, ours[1])], session, version)


def offered(codings: Iterable[str], ours: Source, *, session: int) -> SdpMessage:
    """All we have: for who asks us to begin (RFC 3261 §13.2.1)."""
    known = [CODINGS[name] for name in codings]
    attributes: dict[str, list[str]] = {"rtpmap": [], "fmtp": []}
    for coding in known:
        agreed = Agreed(coding, TYPES[coding.name], None, None, "sendrecv")
        for name, values in described(agreed, ours[1]).attributes.items():
            if name in attributes:
                attributes[name] += values
    attributes["rtpmap"].append(f"{KEY_TYPE} telephone-event/8000")
    attributes["fmtp"].append(f"{KEY_TYPE} 0-15")
    attributes |= {"ptime": [str(FRAME_MS)], "sendrecv": []}
    formats = [str(TYPES[coding.name]) for coding in known] + [str(KEY_TYPE)]
    stream = MediaDescription("audio", ours[1], "RTP/AVP", formats, attributes=attributes)
    return _session(ours[0], [stream], session, 1)


def _session(
    address: str, streams: list[MediaDescription], session: int, version: int
) -> SdpMessage:
    family = "IP6" if ":" in address else "IP4"
    return SdpMessage(
        origin=Origin("kaiwa", str(session), str(version), "IN", family, address),
        session_name="-",
        connection=ConnectionData("IN", family, address),
        media=streams,
    )
