"""A stranger's offer, and the answer to it: nothing of what they wrote reaches the WebRTC stack as
they wrote it.

    offer ──▶ sdp_lines: limits ──▶ read: written anew: one audio, one application ──▶ the peer
    client ◀── sdp_answer: the rest refused with port 0, candidates as announced ◀── its answer

The offer that the peer gets is composed of values that were each understood: what is not known here
is not there. It never says that candidates have ended: the caller's own checks may still tell more.
Sources: RFC 8866 (SDP), 8829 (JSEP), 8839 (ICE), 8843 (BUNDLE), 8841 (SCTP), 7587 (Opus).
"""

import re
from collections.abc import Iterable

from msgspec import Struct

from voice.ice_candidates import Reach, chosen
from voice.sdp_lines import Part, SdpError, head_of, parts_of

DYNAMIC = range(96, 128)
"""Payload types that the stack takes over as offered."""
OPUS = "opus/48000/2"
STATIC = {0: "PCMU/8000", 8: "PCMA/8000"}
"""RFC 3551 §6: they mean this, mapped or not."""
MEDIA = "UDP/TLS/RTP/SAVPF"
DATA = "UDP/DTLS/SCTP"
SCTP_PORT = 5000
MESSAGE_BYTES = 65_536
"""RFC 8841 §6.1: where nothing is said."""
EXTENSIONS = ("urn:ietf:params:rtp-hdrext:sdes:mid", "urn:ietf:params:rtp-hdrext:ssrc-audio-level")
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
OPUS_FORMAT = ("minptime", "useinbandfec", "usedtx", "stereo", "sprop-stereo", "maxplaybackrate")
DIGESTS = {"sha-256": 32, "sha-384": 48, "sha-512": 64}


class Section(Struct, frozen=True):
    """One m-line of the offer, as it is answered."""

    kind: str
    protocol: str
    formats: str
    mid: str
    taken: bool

    @property
    def refused(self) -> list[str]:
        head = f"m={self.kind} 0 {self.protocol} {self.formats}"
        mid = [f"a=mid:{self.mid}"] if self.mid else []
        return [head, "c=IN IP4 0.0.0.0", "a=inactive", *mid]


class Offer(Struct, frozen=True):
    text: str
    """Composed anew."""
    sections: tuple[Section, ...]
    """Of the offer as it came, in its order."""


_MID = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]{1,32}", re.ASCII)
_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}", re.ASCII)
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}", re.ASCII)
_OPUS = re.compile(r"([0-9]{2,3}) opus/48000/2", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
_EXTENSION = re.compile(r"([0-9]{1,2})(/[a-z]{8})? (\S{1,200})", re.ASCII)
_SSRC = re.compile(r"([0-9]{1,10}) cname:.*", re.ASCII)


def read(data: bytes, reach: Reach) -> Offer:
    """Args:
        reach: Whom the server may send packets to.
    Raises:
        SdpError: It is not taken; says why, and where.
    """
    session, parts = parts_of(data)
    heads = [head_of(part) for part in parts]
    taken = _taken(heads, parts)
    audio = next((part for part in taken if part.head.startswith("audio")), None)
    if audio is None:
        raise SdpError("unsupported_sdp", f"The offer has no audio over {MEDIA}; add a track.")
    if session.first("ice-lite"):
        raise SdpError("unsupported_sdp", "ICE-lite callers are not supported; use full ICE.")
    mids = {id(part): _mid(part) for part in taken}
    bundle = _bundle(session)
    if len(set(mids.values())) < len(taken):
        raise SdpError("invalid_sdp", "two media sections have the same mid.", taken[-1].line)
    if len(taken) > 1 and not set(mids.values()) <= set(bundle):
        message = "Audio and data must share one transport: a=group:BUNDLE with both mids."
        raise SdpError("unsupported_sdp", message)
    carrier = _carrier(taken[0], parts, bundle, session)
    transport = [*_transport(carrier, session), *_fingerprints(carrier, session)]
    candidates = chosen(_candidates(carrier, parts), reach)
    lines = ["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0"]
    lines.append(f"a=group:BUNDLE {' '.join(mids.values())}")
    for part in taken:
        lines += _audio(part, mids[id(part)]) if part is audio else _data(part, mids[id(part)])
        lines += transport
        if part is taken[0]:
            lines += [candidate.line for candidate in candidates]
    sections = tuple(
        Section(
            kind=head["kind"],
            protocol=head["protocol"],
            formats=head["formats"].strip(),
            mid=_mid_or(part),
            taken=part in taken,
        )
        for head, part in zip(heads, parts, strict=True)
    )
    return Offer("\r\n".join(lines) + "\r\n", sections)


# --- which sections -------------------------------------------------------------------------------


def _taken(heads: list[re.Match[str]], parts: list[Part]) -> list[Part]:
    """The first audio and the first data channel; what is over or of another kind is refused."""
    wanted = {"audio": MEDIA, "application": DATA}
    taken = []
    for head, part in zip(heads, parts, strict=True):
        is_off = int(head["port"]) == 0 and part.first("bundle-only") is None
        if wanted.get(head["kind"]) == head["protocol"] and not is_off:
            del wanted[head["kind"]]
            taken.append(part)
    return taken


def _mid_or(part: Part) -> str:
    _, mid = part.first("mid") or (0, "")
    return mid if _MID.fullmatch(mid) else ""


def _mid(part: Part) -> str:
    if mid := _mid_or(part):
        return mid
    line, _ = part.first("mid") or (part.line, "")
    raise SdpError("invalid_sdp", "a media section needs a=mid:NAME of 1 to 32 signs.", line)


def _bundle(session: Part) -> list[str]:
    groups = (value.split() for _, value in session.all("group"))
    return next((group[1:] for group in groups if group[:1] == ["BUNDLE"]), [])


def _carrier(first: Part, parts: list[Part], bundle: list[str], session: Part) -> Part:
    """The section whose transport all of them use. Those that are bundle-only name none."""
    if first.first("ice-ufrag") or session.first("ice-ufrag"):
        return first
    others = (part for part in parts if _mid_or(part) in bundle and part.first("ice-ufrag"))
    return next(others, first)


def _candidates(carrier: Part, parts: list[Part]) -> Iterable[str]:
    """A bundle-only section leaves them to the one that is not."""
    same = carrier.first("ice-ufrag") or (0, "")
    alike = (part for part in parts if (part.first("ice-ufrag") or (0, ""))[1] == same[1])
    found = next((part for part in (carrier, *alike) if part.first("candidate")), carrier)
    return [value for _, value in found.all("candidate")]


# --- composed anew --------------------------------------------------------------------------------


def _transport(part: Part, session: Part) -> list[str]:
    lines = []
    for name, grammar, what in (
        ("ice-ufrag", _UFRAG, "4 to 256 letters, digits, + or /"),
        ("ice-pwd", _PASSWORD, "22 to 256 letters, digits, + or /"),
        ("setup", re.compile("actpass|active|passive"), "actpass, active or passive"),
    ):
        line, value = part.first(name) or session.first(name) or (part.line, None)
        if value is None or not grammar.fullmatch(value):
            missing = "is missing" if value is None else "is wrong"
            raise SdpError("invalid_sdp", f"a={name} {missing}: {what}.", line)
        lines.append(f"a={name}:{value}")
    return lines


def _fingerprints(part: Part, session: Part) -> list[str]:
    offered = part.all("fingerprint") or session.all("fingerprint")
    lines = []
    for line, value in offered[:4]:
        digest, _, text = value.partition(" ")
        size = DIGESTS.get(digest.lower())
        if size is None:
            continue
        if not re.fullmatch(rf"([0-9A-Fa-f]{{2}}:){{{size - 1}}}[0-9A-Fa-f]{{2}}", text):
            message = f"a=fingerprint:{digest} needs {size} bytes, AB:CD:…"
            raise SdpError("invalid_sdp", message, line)
        lines.append(f"a=fingerprint:{digest.lower()} {text.upper()}")
    if not lines:
        message = f"a=fingerprint is missing: {', '.join(DIGESTS)}."
        raise SdpError("invalid_sdp", message, part.line)
    return lines


def _audio(part: Part, mid: str) -> list[str]:
    if part.first("rtcp-mux") is None and part.first("bundle-only") is None:
        raise SdpError("unsupported_sdp", "a=rtcp-mux is needed for audio.", part.line)
    payloads = _payloads(part)
    direction = next((name for name in DIRECTIONS if part.first(name)), "sendrecv")
    if direction == "inactive":
        raise SdpError("unsupported_sdp", "audio is inactive; a call hears or speaks.", part.line)
    lines = [
        f"m=audio 9 {MEDIA} {' '.join(map(str, payloads))}",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a={direction}",
        "a=rtcp-mux",
    ]
    for payload in payloads:
        lines.append(f"a=rtpmap:{payload} {STATIC.get(payload, OPUS)}")
        lines += [] if payload in STATIC else _opus_format(part, payload)
    for _, value in part.all("extmap"):
        found = _EXTENSION.fullmatch(value)
        if found and found[3] in EXTENSIONS and 1 <= int(found[1]) <= 14:
            lines.append(f"a=extmap:{int(found[1])} {found[3]}")
    ssrc = next((m for _, value in part.all("ssrc") if (m := _SSRC.fullmatch(value))), None)
    if ssrc and 0 < int(ssrc[1]) < 2**32:
        lines.append(f"a=ssrc:{int(ssrc[1])} cname:caller")
    return lines


def _payloads(part: Part) -> list[int]:
    """Opus once, and G.711."""
    offered = part.head.split()[3:]
    mapped = (_OPUS.fullmatch(value) for _, value in part.all("rtpmap"))
    opus = [int(found[1]) for found in mapped if found and found[1] in offered]
    payloads = [payload for payload in opus if payload in DYNAMIC][:1]
    payloads += [payload for payload in STATIC if str(payload) in offered]
    if not payloads:
        message = "audio needs a=rtpmap:96…127 opus/48000/2, PCMU or PCMA, in its media line, too."
        raise SdpError("unsupported_sdp", message, part.line)
    return payloads


def _opus_format(part: Part, payload: int) -> list[str]:
    for _, value in part.all("fmtp"):
        number, _, text = value.partition(" ")
        if number == str(payload):
            pairs = (one.strip().partition("=") for one in text.split(";"))
            known = [
                f"{key}={given}"
                for key, _, given in pairs
                if key in OPUS_FORMAT and _NUMBER.fullmatch(given)
            ]
            return [f"a=fmtp:{payload} {';'.join(dict.fromkeys(known))}"] if known else []
    return []


def _data(part: Part, mid: str) -> list[str]:
    port = _number(part, "sctp-port", SCTP_PORT, 65_535)
    size = _number(part, "max-message-size", MESSAGE_BYTES, 2**31 - 1)
    return [
        f"m=application 9 {DATA} webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        f"a=mid:{mid}",
        f"a=sctp-port:{port}",
        f"a=max-message-size:{size}",
    ]


def _number(part: Part, name: str, default: int, most: int) -> int:
    """0 is no port; as a message's size it means any, which is more than we ever send."""
    line, value = part.first(name) or (part.line, str(default))
    if not _NUMBER.fullmatch(value) or int(value) > 2**32:
        raise SdpError("invalid_sdp", f"a={name} must be a number, at most {most}.", line)
    return min(int(value), most) or default
