"""Offers of Chromium, by hand, and spoilt by chance: what becomes of each."""

import random
import re
from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription

from tests.voice.hostile_offers import hostile
from voice.ice_candidates import Reach, allowed
from voice.sdp import Offer, read
from voice.sdp_lines import MOST_BYTES, MOST_LINES, SdpError

OFFERS = {path.stem: path.read_bytes() for path in Path(__file__).parent.glob("offers/*.sdp")}
TALK = OFFERS["chromium-microphone"]
HERE = Reach(private=True)
OUTSIDE = Reach()


def changed(*pairs: tuple[str, str], offer: bytes = TALK) -> bytes:
    text = offer.decode()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    return text.encode()


def without(start: str, offer: bytes = TALK) -> bytes:
    lines = offer.decode().splitlines()
    kept = [line for line in lines if not line.startswith(start)]
    assert len(kept) < len(lines)
    return "\r\n".join(kept).encode()


def problem(offer: bytes) -> SdpError:
    with pytest.raises(SdpError) as raised:
        read(offer, OUTSIDE)
    return raised.value


def lines(offer: Offer, start: str) -> list[str]:
    return [line for line in offer.text.splitlines() if line.startswith(start)]


# --- what is taken --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(OFFERS))
def test_a_browsers_offer_is_taken_with_its_audio_and_its_channel(name: str) -> None:
    offer = read(OFFERS[name], HERE)
    parsed = SessionDescription.parse(offer.text)
    assert {media.kind for media in parsed.media} == {"audio", "application"}
    assert [section.kind for section in offer.sections if section.taken] == [
        media.kind for media in parsed.media
    ]
    for media in parsed.media:
        assert media.ice and media.ice.usernameFragment and media.ice.password
        assert media.dtls is not None and media.dtls.fingerprints
    audio = next(media for media in parsed.media if media.kind == "audio")
    assert audio.rtcp_mux and audio.direction in ("sendrecv", "recvonly")
    assert [codec.mimeType for codec in audio.rtp.codecs] == [
        *("audio/opus", "audio/PCMU", "audio/PCMA")
    ]


def test_the_offer_is_composed_of_what_was_understood() -> None:
    offer = read(TALK, HERE)
    unknown = ("a=rtcp-fb", "a=msid", "a=extmap:2", "a=rtcp-xr", "a=ice-options", "a=end-of")
    assert [start for start in unknown if lines(offer, start)] == []
    assert lines(offer, "a=extmap") == [
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid",
    ]
    assert lines(offer, "a=fmtp") == ["a=fmtp:111 minptime=10;useinbandfec=1"]
    assert lines(offer, "a=group") == ["a=group:BUNDLE 0 1"]


def test_only_candidates_that_may_be_sent_to_come_through() -> None:
    assert lines(read(TALK, HERE), "a=candidate") == [
        "a=candidate:3341354126 1 udp 2122265343 fd00::2 44533 typ host"
    ]
    assert lines(read(TALK, OUTSIDE), "a=candidate") == []
    assert lines(read(OFFERS["chromium-names-only"], HERE), "a=candidate") == []


def test_where_video_was_the_bundles_transport_audio_takes_it_over() -> None:
    """With max-bundle, no other section of the offer names one."""
    offer = read(OFFERS["chromium-video-first-bundled"], HERE)
    ufrag = re.search(rb"a=ice-ufrag:(.*)\r", OFFERS["chromium-video-first-bundled"])
    assert ufrag is not None
    assert set(lines(offer, "a=ice-ufrag")) == {f"a=ice-ufrag:{ufrag[1].decode()}"}
    assert len(lines(offer, "a=candidate")) == 1


def test_audio_alone_is_a_call_without_events() -> None:
    only_audio = TALK.split(b"m=application")[0]
    offer = read(only_audio, HERE)
    assert [line[:7] for line in lines(offer, "m=")] == ["m=audio"]
    assert lines(offer, "a=group") == ["a=group:BUNDLE 0"]


def test_line_feeds_alone_will_do() -> None:
    assert read(TALK.replace(b"\r\n", b"\n"), HERE) == read(TALK, HERE)


def test_what_does_not_matter_may_be_missing() -> None:
    for start in ("a=msid", "a=ssrc", "a=extmap", "a=rtcp:", "a=candidate", "c=", "a=sctp-port"):
        assert read(without(start), HERE).text


# --- what is not ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offer", "code", "said"),
    [
        (b"", "invalid_sdp", 'Line 1: an offer begins with "v=0".'),
        (b"hello", "invalid_sdp", 'Line 1: an offer begins with "v=0".'),
        (b"v=0\r\n", "unsupported_sdp", "no audio"),
        (b"v=0\r\nhello\r\n", "invalid_sdp", "Line 2"),
        (b"v=0\r\n\r\na=b\r\n", "invalid_sdp", "Line 2"),
        (b"v=0\xff\xfe", "invalid_sdp", "not UTF-8"),
        (TALK + b"a=x:\x00", "invalid_sdp", "control character"),
        (TALK + b"a=" + b"x" * 1100, "sdp_too_large", "longer than 1024"),
        (TALK + b"a=x\r\n" * (MOST_LINES + 1), "sdp_too_large", "lines"),
        (b"v=0\r\n" + b"a=" + b"x" * MOST_BYTES, "sdp_too_large", f"{MOST_BYTES} bytes"),
        (TALK + b"m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 9, "sdp_too_large", "more than 8"),
        (TALK.split(b"m=audio")[0] + b"m=audio\r\n", "invalid_sdp", "not a media line"),
        (changed(("m=audio 57353", "m=audio 0")), "unsupported_sdp", "no audio"),
        (changed(("m=audio 57353 UDP/TLS/RTP/SAVPF", "m=audio 5 RTP/AVP")), "unsupported_sdp", ""),
        (changed(("a=group:BUNDLE 0 1", "a=group:BUNDLE 0")), "unsupported_sdp", "BUNDLE"),
        (without("a=group"), "unsupported_sdp", "BUNDLE"),
        (without("a=rtcp-mux"), "unsupported_sdp", "rtcp-mux"),
        (without("a=mid"), "invalid_sdp", "a=mid"),
        (changed(("a=mid:1", "a=mid:0")), "invalid_sdp", "same mid"),
        (changed(("a=mid:0", "a=mid:" + "x" * 33)), "invalid_sdp", "a=mid"),
        (without("a=ice-ufrag"), "invalid_sdp", "a=ice-ufrag is missing"),
        (without("a=ice-pwd"), "invalid_sdp", "a=ice-pwd is missing"),
        (changed(("a=ice-pwd:2KiHO", "a=ice-pwd:2Ki O")), "invalid_sdp", "Line 16: a=ice-pwd"),
        (changed(("a=ice-ufrag:5WIX", "a=ice-ufrag:abc")), "invalid_sdp", "a=ice-ufrag is wrong"),
        (without("a=fingerprint"), "invalid_sdp", "a=fingerprint is missing"),
        (changed(("sha-256 ", "sha-1 ")), "invalid_sdp", "a=fingerprint is missing"),
        (changed(("a=fingerprint:sha-256 C5:", "a=fingerprint:sha-256 ")), "invalid_sdp", "32"),
        (without("a=setup"), "invalid_sdp", "a=setup is missing"),
        (changed(("a=setup:actpass", "a=setup:holdconn")), "invalid_sdp", "a=setup is wrong"),
        (changed(("opus/48000/2", "speex/16000"), (" 0 8 13", " 13")), "unsupported_sdp", "opus"),
        (changed(("a=sendrecv", "a=inactive")), "unsupported_sdp", "inactive"),
        (changed(("t=0 0", "t=0 0\r\na=ice-lite")), "unsupported_sdp", "ICE-lite"),
        (changed(("a=sctp-port:5000", "a=sctp-port:x")), "invalid_sdp", "a=sctp-port"),
    ],
)
def test_what_cannot_be_a_call_is_refused_with_the_line_and_the_reason(
    offer: bytes, code: str, said: str
) -> None:
    error = problem(offer)
    assert error.code == code
    assert said in error.message
    assert len(error.message) < 200, "nothing of the offer's is sent back"


def test_hostile_offers_are_refused_or_come_through_as_ones_that_are_not() -> None:
    taken = 0
    for seed in range(2000):
        data = hostile(random.Random(seed), list(OFFERS.values()), port=40_000)
        try:
            offer = read(data, OUTSIDE)
        except SdpError:
            continue
        taken += 1
        parsed = SessionDescription.parse(offer.text)
        kinds = [media.kind for media in parsed.media]
        assert sorted(kinds) in (["audio"], ["application", "audio"])
        assert all(m.ice and m.ice.usernameFragment and m.dtls for m in parsed.media)
        candidates = [c for media in parsed.media for c in media.ice_candidates]
        assert all(allowed(c.ip, OUTSIDE) and c.protocol == "udp" for c in candidates)
        assert len(candidates) <= 20
    assert 200 < taken < 1800, "else the corpus shows one side only"
