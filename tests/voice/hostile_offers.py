"""Offers as nobody means well by them: browsers' ones, spoilt by a seeded chance."""

from random import Random

ADDRESSES = [
    *(
        "127.0.0.1",
        "127.0.0.2",
        "::1",
        "::ffff:127.0.0.1",
        "0.0.0.0",
        "::",
        "localhost",
        "10.0.0.1",
    ),
    *("169.254.169.254", "224.0.0.251", "255.255.255.255", "fe80::1%lo", "trap.local", "192.0.2.2"),
    *("64:ff9b::7f00:1", "2002:7f00:1::", "::127.0.0.1", "0177.0.0.1", "2130706433", "127.1"),
    *("fd00:ec2::254", "100.64.0.1", "192.168.0.1", "fd00::2", "1.2.3.4.5", "a" * 300),
]
NUMBERS = ["0", "-1", "65536", "1e9", "99999999999999999999", "٣", "0x50", "", "NaN", "1_0", " 5"]
LINES = [
    "a=candidate:1 1 udp 1 {address} {port} typ host",
    "a=candidate:1 1 UDP 2113937151 {address} {port} typ srflx raddr {address} rport {port}",
    "a=candidate:1 1 tcp 1 {address} {port} typ host tcptype passive",
    "a=candidate:1 1 udp 1 {address} {port} typ relay raddr 0.0.0.0 rport 0 generation 0",
    "a=remote-candidates:1 {address} {port}",
    "a=rtcp:{port} IN IP4 {address}",
    "c=IN IP4 {address}",
    "c=IN IP6 {address}",
    "a=ice-lite",
    "a=end-of-candidates",
    "a=group:BUNDLE 0 0 0 0",
    "a=group:",
    "a=setup:holdconn",
    "a=fmtp:111",
    "a=fmtp:999 x",
    "a=rtpmap:96",
    "a=rtpmap:96 H264/0",
    "a=ssrc:1",
    "a=ssrc-group:FID a b",
    "a=sctpmap:x",
    "a=extmap:x y z",
    "a=mid:",
    "a=msid:\u2028a=candidate:1 1 udp 1 {address} {port} typ host",
    "a=x\x0ba=candidate:1 1 udp 1 {address} {port} typ host",
    "m=audio 9 UDP/TLS/RTP/SAVPF 0",
    "m=video 9 UDP/TLS/RTP/SAVPF 72 73",
    "m=application 9 DTLS/SCTP 5000",
    "m=" + "x" * 900,
    "=",
    "",
]


def hostile(chance: Random, offers: list[bytes], port: int) -> bytes:
    """Args:
    port: Of the trap: where the addresses in it lead.
    """
    lines = chance.choice(offers).decode().splitlines()
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        _spoil(chance, lines, port)
    data = "\r\n".join(lines).encode()
    if chance.random() < 0.05:
        at = chance.randrange(len(data))
        data = data[:at] + chance.randbytes(chance.randrange(1, 9)) + data[at:]
    return data + b"\r\n"


def _spoil(chance: Random, lines: list[str], port: int) -> None:
    at = chance.randrange(len(lines))
    match chance.randrange(9):
        case 0:
            del lines[at : at + chance.choice((1, 1, 5))]
        case 1:
            lines.insert(at, lines[chance.randrange(len(lines))])
        case 2:
            lines[at] = lines[at][: chance.randrange(len(lines[at]) + 1)]
        case 3:
            words = lines[at].split(" ")
            words[chance.randrange(len(words))] = chance.choice(NUMBERS)
            lines[at] = " ".join(words)
        case 4:
            name = lines[at].partition(":")[0]
            lines[at] = f"{name}:{chance.choice((*NUMBERS, *ADDRESSES))}"
        case 5:
            lines.insert(at, _line(chance, port))
        case _:  # what it is most about: addresses to send to
            begins = [n for n, line in enumerate(lines) if line.startswith("m=")] or [0]
            many = chance.choice((1, 3, 10, 60))
            found = [_line(chance, port, LINES[:4]) for _ in range(many)]
            place = chance.choice(begins) + 1
            lines[place:place] = found
    if not lines:
        lines.append("v=0")


def _line(chance: Random, port: int, of: list[str] = LINES) -> str:
    return chance.choice(of).format(address=chance.choice(ADDRESSES), port=port)
