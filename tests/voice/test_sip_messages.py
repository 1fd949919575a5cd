import pytest
from aiosipua import SipMessage, SipRequest

from voice.transports.sip.messages import Peers, answer, own_address, stamp, transaction


def request(via: str = "SIP/2.0/UDP 1.2.3.4:5060;branch=z9hG4bK7") -> SipRequest:
    text = (
        f"OPTIONS sip:a SIP/2.0\r\nVia: {via}\r\nVia: SIP/2.0/UDP proxy\r\nFrom: <sip:b>;tag=1\r\n"
        "To: <sip:a>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n"
    )
    parsed = SipMessage.parse(text)
    assert isinstance(parsed, SipRequest)
    return parsed


def test_private_networks_are_peers_and_nobody_else() -> None:
    peers = Peers(["10.0.0.0/8", "fc00::/7"])
    assert peers.admit("10.1.2.3") and peers.admit("fd00::1") and peers.admit("::ffff:10.1.2.3")
    for stranger in ("11.0.0.1", "8.8.8.8", "::1", "fe80::1%eth0", "224.0.0.1", "0.0.0.0", "phone"):
        assert not peers.admit(stranger)
    for nobody in ("224.0.0.1", "0.0.0.0", "ff02::1", "::", "::ffff:224.0.0.1"):
        assert not Peers(["0.0.0.0/0", "::/0"]).admit(nobody)
    peers.also.add("8.8.8.8")
    assert peers.admit("8.8.8.8")


@pytest.mark.parametrize(
    "via",
    [
        "SIP/2.0/UDP 1.2.3.4:5060;branch=z9hG4bK7",
        "SIP/2.0/UDP 1.2.3.4:5060;branch=z9hG4bK7;rport",
        "SIP/2.0/UDP 9.9.9.9;branch=z9hG4bK7;received=8.8.8.8;rport=53",
    ],
)
def test_a_request_says_where_it_came_from_whatever_it_said_before(via: str) -> None:
    asked = request(via)
    stamp(asked, ("10.0.0.1", 4000))
    first, second = asked.via
    assert (first.received, first.rport, first.branch) == ("10.0.0.1", "4000", "z9hG4bK7")
    assert second.host == "proxy"
    assert transaction(asked, "OPTIONS") == ("z9hG4bK7", "10.0.0.1", "OPTIONS")


def test_an_answer_bears_the_names_of_its_request_and_a_tag_of_its_own() -> None:
    asked = request()
    told = answer(asked, 405, {"Allow": "INVITE"})
    assert told.headers.get("via") == asked.headers.get("via")
    assert told.headers.get_first("Call-ID") == "c" and told.get_header("Allow") == "INVITE"
    assert told.to_addr is not None and told.to_addr.tag
    asked.headers.set_single("To", "<sip:a>;tag=7")
    again = answer(asked, 481)
    assert again.headers.get("To") == ["<sip:a>;tag=7"]


def test_our_address_is_what_was_told_else_what_is_bound_else_the_way_there() -> None:
    assert own_address("127.0.0.1", "203.0.113.5", "0.0.0.0") == "203.0.113.5"
    assert own_address("127.0.0.1", "", "192.168.1.2") == "192.168.1.2"
    assert own_address("127.0.0.1", "", "0.0.0.0") == "127.0.0.1"
