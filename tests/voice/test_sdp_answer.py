from voice.sdp import Offer, Section
from voice.sdp_answer import Announced, answered

PRIVATE = "10.0.0.5"
ANSWER = "\r\n".join(
    [
        *("v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", "a=group:BUNDLE 1 2"),
        *("m=audio 50001 UDP/TLS/RTP/SAVPF 111", f"c=IN IP4 {PRIVATE}", "a=mid:1"),
        f"a=candidate:aa 1 udp 2130706431 {PRIVATE} 50001 typ host",
        "a=candidate:bb 1 udp 2130706175 fd00::2 50002 typ host",
        "a=end-of-candidates",
        *("m=application 50001 UDP/DTLS/SCTP webrtc-datachannel", f"c=IN IP4 {PRIVATE}", "a=mid:2"),
        "",
    ]
)


def section(name: str, mid: str, *, taken: bool) -> Section:
    formats = {"audio": "111", "application": "webrtc-datachannel"}.get(name, "96 97")
    protocol = "UDP/DTLS/SCTP" if name == "application" else "UDP/TLS/RTP/SAVPF"
    return Section(name, protocol, formats, mid, taken)


MIXED = Offer(
    "",
    (
        section("video", "0", taken=False),
        section("audio", "1", taken=True),
        section("application", "2", taken=True),
        section("audio", "3", taken=False),
    ),
)


def test_each_offered_section_is_answered_in_its_place_and_what_is_not_taken_with_port_0() -> None:
    heads = [line for line in answered(MIXED, ANSWER).split("\r\n") if line.startswith("m=")]
    assert heads == [
        "m=video 0 UDP/TLS/RTP/SAVPF 96 97",
        "m=audio 50001 UDP/TLS/RTP/SAVPF 111",
        "m=application 50001 UDP/DTLS/SCTP webrtc-datachannel",
        "m=audio 0 UDP/TLS/RTP/SAVPF 111",
    ]


def candidates(answer: str) -> list[str]:
    return [line for line in answer.split("\r\n") if line.startswith("a=candidate")]


def test_the_address_outside_takes_the_place_of_the_servers_own() -> None:
    answer = answered(MIXED, ANSWER, Announced("198.51.100.7"))
    assert PRIVATE not in answer
    assert answer.count("c=IN IP4 198.51.100.7") == 2
    assert candidates(answer) == [
        "a=candidate:aa 1 udp 2130706431 198.51.100.7 50001 typ host",
        "a=candidate:bb 1 udp 2130706175 fd00::2 50002 typ host",
    ]


def test_or_it_comes_behind_them_with_a_lower_priority_and_before_the_end() -> None:
    answer = answered(MIXED, ANSWER, Announced("198.51.100.7", beside=True))
    *own, outside = candidates(answer)
    assert len(own) == 2 and PRIVATE in own[0]
    assert outside.endswith(f"198.51.100.7 50001 typ srflx raddr {PRIVATE} rport 50001")
    assert int(outside.split()[3]) < min(int(line.split()[3]) for line in own)
    rows = answer.split("\r\n")
    assert rows.index(outside) < rows.index("a=end-of-candidates")


def test_an_ipv6_address_takes_the_place_of_ipv6_only() -> None:
    answer = answered(MIXED, ANSWER, Announced("2a00::7"))
    assert PRIVATE in answer and "fd00::2" not in answer and " 2a00::7 50002 typ host" in answer
