"""What is agreed on with whom, by what an offer says."""

import pytest
from aiosipua import SipRequest, parse_sdp, serialize_sdp
from hypothesis import given
from hypothesis import strategies as st

from voice.transports.sip import sdp
from voice.transports.sip.messages import Peers, Refused

PEER = "192.168.1.20"
ALL = ("opus", "g722", "pcmu", "pcma")
HEAD = "v=0\r\no=- 1 1 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\n"
ADMITS = Peers(["192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"]).admit


def offer(stream: str, address: str = PEER) -> str:
    return HEAD.format(address) + stream.replace("\n", "\r\n")


def agreed(text: str, codings: tuple[str, ...] = ALL, peer: str = PEER) -> sdp.Agreed:
    return sdp.agree(parse_sdp(text), codings, peer=peer, admits=ADMITS)


LINPHONE = """m=audio 7078 RTP/AVP 96 97 98 0 8 18 101 99 100
a=rtpmap:96 opus/48000/2
a=fmtp:96 useinbandfec=1
a=rtpmap:97 speex/16000
a=rtpmap:98 speex/8000
a=rtpmap:101 telephone-event/48000
a=rtpmap:99 telephone-event/16000
a=rtpmap:100 telephone-event/8000
m=video 9078 RTP/AVP 96
a=rtpmap:96 VP8/90000
"""


def test_our_preference_decides_among_what_is_offered() -> None:
    one = agreed(offer(LINPHONE))
    assert (one.coding.name, one.payload_type) == ("opus", 96)
    assert one.keys is not None and one.keys.payload_type == 101, "at the clock of the sound"
    two = agreed(offer(LINPHONE), ("g722", "pcma", "pcmu"))
    assert (two.coding.name, two.payload_type) == ("pcma", 8)
    assert two.keys is not None and two.keys.payload_type == 100


def test_an_answer_has_a_stream_for_each_and_turns_all_but_one_down() -> None:
    one = agreed(offer(LINPHONE))
    text = serialize_sdp(
        sdp.answer(parse_sdp(offer(LINPHONE)), one, ("192.168.1.2", 20000), session=1, version=1)
    )
    streams = [line for line in text.split("\r\n") if line.startswith("m=")]
    assert streams == ["m=audio 20000 RTP/AVP 96 101", "m=video 0 RTP/AVP 96"]
    assert "a=rtpmap:96 opus/48000/2" in text and "a=rtpmap:101 telephone-event/48000" in text
    assert "c=IN IP4 192.168.1.2" in text and "a=sendrecv" in text and "a=ptime:20" in text


def test_what_telephones_knew_before_sdp_needs_no_map() -> None:
    assert agreed(offer("m=audio 4000 RTP/AVP 9 8 0\n")).coding.name == "g722"


@pytest.mark.parametrize(
    ("direction", "ours"),
    [("", "sendrecv"), ("sendrecv", "sendrecv"), ("sendonly", "recvonly"),
     ("recvonly", "sendonly"), ("inactive", "inactive")],
)  # fmt: skip
def test_a_direction_is_answered(direction: str, ours: str) -> None:
    line = f"a={direction}\n" if direction else ""
    one = agreed(offer(f"m=audio 4000 RTP/AVP 0\n{line}"))
    assert one.direction == ours
    assert one.held == (direction in ("sendonly", "inactive"))


def test_nowhere_is_how_telephones_were_held_before() -> None:
    one = agreed(offer("m=audio 4000 RTP/AVP 0\n", "0.0.0.0"))
    assert one.held and one.remote is None


@pytest.mark.parametrize(
    ("address", "peer", "believed"),
    [
        (PEER, PEER, True),
        ("192.168.7.7", PEER, True),  # of a network that may call
        ("203.0.113.7", "203.0.113.7", True),
        ("8.8.8.8", PEER, False),
        ("10.0.0.1", PEER, False),
        ("127.0.0.1", PEER, False),
        ("127.0.0.1", "127.0.0.1", True),
        ("169.254.169.254", PEER, False),
        ("224.0.0.1", PEER, False),
        ("255.255.255.255", PEER, False),
        ("phone.example", PEER, False),
        ("::1", PEER, False),
    ],
)
def test_an_address_is_believed_where_the_caller_is_or_may_be(
    address: str, peer: str, believed: bool
) -> None:
    one = agreed(offer("m=audio 4000 RTP/AVP 0\n", address), peer=peer)
    assert one.remote == ((address, 4000) if believed else None)


@pytest.mark.parametrize(("port", "believed"), [(53, False), (1023, False), (1024, True)])
def test_no_sound_is_sent_to_where_services_are(port: int, believed: bool) -> None:
    one = agreed(offer(f"m=audio {port} RTP/AVP 0\n", PEER), peer=PEER)
    assert one.remote == ((PEER, port) if believed else None)


@pytest.mark.parametrize(
    "stream",
    ["", "m=video 4000 RTP/AVP 96\n", "m=audio 0 RTP/AVP 0\n", "m=audio 4000 RTP/SAVP 0\n",
     "m=audio 4000 RTP/AVP 18\n", "m=audio 4000 RTP/AVP 96\na=rtpmap:96 opus/8000\n"],
)  # fmt: skip
def test_what_has_no_sound_for_us_is_refused(stream: str) -> None:
    with pytest.raises(Refused) as refused:
        agreed(offer(stream))
    assert refused.value.status == 488 and "kaiwa" in refused.value.headers["Warning"]


def test_our_own_offer_can_be_agreed_on() -> None:
    ours = sdp.offered(ALL, (PEER, 20000), session=1)
    text = serialize_sdp(ours)
    assert "m=audio 20000 RTP/AVP 107 9 0 8 101" in text
    assert agreed(text, ("pcma",)).payload_type == 8
    assert agreed(text).coding.name == "opus"


def request(body: bytes, kind: str = "application/sdp") -> SipRequest:
    asked = SipRequest(method="INVITE", uri="sip:x", body=body)
    asked.headers.set_single("Content-Type", kind)
    return asked


def test_a_body_of_another_kind_is_told_what_there_is() -> None:
    with pytest.raises(Refused) as refused:
        sdp.offer_of(request(b"hello", "text/plain"))
    assert (refused.value.status, refused.value.headers) == (415, {"Accept": "application/sdp"})
    assert sdp.offer_of(request(b"")) is None


@given(st.binary(max_size=400) | st.text(alphabet="vosctma=:/ 0123456789\r\nINPRTA", max_size=400))
def test_whatever_a_stranger_writes_is_agreed_on_or_refused(text: bytes | str) -> None:
    body = text if isinstance(text, bytes) else (HEAD.format(PEER) + text).encode()
    try:
        found = sdp.offer_of(request(body))
        if found is not None:
            one = sdp.agree(found, ALL, peer=PEER, admits=ADMITS)
            sdp.answer(found, one, (PEER, 20000), session=1, version=1)
    except Refused as refused:
        assert refused.status in (415, 488)
