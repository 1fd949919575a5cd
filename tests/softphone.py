"""A telephone on plain sockets that may do what no telephone does: SIP and RTP, written by hand.

with Softphone(door) as phone:
    phone.call()              INVITE, 200, ACK
    phone.say(pcmu)           20 ms packets, in real time
    phone.sound(seconds)      what came meanwhile
"""

import re
import secrets
import socket
import struct
import time
from typing import Any

from voice.rtp import read_rtp, write_rtp

LIMIT_S = 10.0
SOON_S = 0.3
"""For what must not come."""
SILENCE = b"\xff" * 160
"""20 ms of PCMU."""


class Message:
    def __init__(self, data: bytes) -> None:
        head, _, self.body = data.decode().partition("\r\n\r\n")
        self.start, *lines = head.split("\r\n")
        self.lines = lines

    @property
    def status(self) -> int:
        return int(self.start.split()[1]) if self.start.startswith("SIP/") else 0

    @property
    def method(self) -> str:
        return self.start.split()[0]

    def all(self, name: str) -> list[str]:
        pairs = (line.partition(":") for line in self.lines)
        return [value.strip() for key, _, value in pairs if key.lower() == name.lower()]

    def header(self, name: str) -> str:
        return next(iter(self.all(name)), "")

    @property
    def media(self) -> tuple[str, int]:
        """Where its sound is to be sent."""
        address = re.search(r"c=IN IP4 (\S+)", self.body)
        port = re.search(r"m=audio (\d+)", self.body)
        assert address and port, self.body
        return address[1], int(port[1])


class Softphone:
    """Args:
    door: Where SIP is answered.
    """

    def __init__(self, door: tuple[str, int], host: str = "127.0.0.1") -> None:
        self.door, self.host = door, host
        self.sip = self._bound()
        self.rtp = self._bound()
        self.call_id = f"{secrets.token_hex(8)}@test"
        self.from_tag, self.to = secrets.token_hex(4), ""
        self.cseq, self.branch, self.invite_branch = 1, "", ""
        self.media = ("", 0)
        self.sequence, self.timestamp = 65_500, 2**32 - 8000  # both wrap soon
        self.ssrc = 7

    def _bound(self) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind((self.host, 0))
        bound.settimeout(LIMIT_S)
        return bound

    def __enter__(self) -> "Softphone":
        return self

    def __exit__(self, *how: Any) -> None:
        self.sip.close()
        self.rtp.close()

    # --- SIP --------------------------------------------------------------------------------------

    def sdp(self, host: str = "", port: int = 0, codecs: str = "0 101", more: str = "") -> str:
        host, port = host or self.host, port or self.rtp.getsockname()[1]
        return (
            f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\n"
            f"m=audio {port} RTP/AVP {codecs}\r\na=rtpmap:101 telephone-event/8000\r\n{more}"
        )

    def request(
        self,
        method: str,
        body: str = "",
        headers: tuple[str, ...] = (),
        *,
        branch: str = "",
        via: str = "",
        cseq: int = 0,
        content_type: str = "application/sdp",
    ) -> str:
        self.branch = branch or f"z9hG4bK{secrets.token_hex(6)}"
        host, port = self.sip.getsockname()
        via = via or f"SIP/2.0/UDP {host}:{port};branch={self.branch};rport"
        lines = [
            f"{method} sip:kaiwa@{self.door[0]}:{self.door[1]} SIP/2.0",
            f"Via: {via}",
            f"From: <sip:me@{host}>;tag={self.from_tag}",
            f"To: {self.to or f'<sip:kaiwa@{self.door[0]}>'}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq or self.cseq} {method}",
            f"Contact: <sip:me@{host}:{port}>",
            "Max-Forwards: 70",
            *headers,
            *([f"Content-Type: {content_type}"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        return "\r\n".join(lines) + "\r\n\r\n" + body

    def send(self, message: str | bytes) -> None:
        self.sip.sendto(message.encode() if isinstance(message, str) else message, self.door)

    def next(self, limit_s: float = LIMIT_S) -> Message:
        self.sip.settimeout(limit_s)
        return Message(self.sip.recv(65_536))

    def final(self) -> Message:
        """The next final answer, or request."""
        while 0 < (message := self.next()).status < 200:
            pass
        return message

    def ask(
        self, method: str, body: str = "", headers: tuple[str, ...] = (), **how: Any
    ) -> Message:
        """Its final answer."""
        self.cseq += 1
        self.send(self.request(method, body, headers, **how))
        return self.final()

    def invite(self, body: str | None = None, headers: tuple[str, ...] = ()) -> Message:
        answer = self.ask("INVITE", self.sdp() if body is None else body, headers)
        self.invite_branch = self.branch
        if answer.status >= 300:
            self.ack(branch=self.branch, to=answer.header("To"))
        return answer

    def ack(self, body: str = "", branch: str = "", to: str = "") -> None:
        before, self.to = self.to, to or self.to
        self.send(self.request("ACK", body, branch=branch))
        self.to = before

    def call(self, body: str | None = None, headers: tuple[str, ...] = ()) -> Message:
        answer = self.invite(body, headers)
        assert answer.status == 200, answer.start
        self.to, self.media = answer.header("To"), answer.media
        self.ack()
        return answer

    def bye(self) -> Message:
        return self.ask("BYE")

    def answer(self, request: Message, status: int = 200, *headers: str) -> None:
        """To a request of theirs."""
        copied = [line for line in request.lines if re.match("(Via|From|To|Call-ID|CSeq):", line)]
        self.send(
            "\r\n".join([f"SIP/2.0 {status} So", *copied, *headers, "Content-Length: 0"])
            + "\r\n\r\n"
        )

    def is_left_alone(self, for_s: float = SOON_S) -> bool:
        try:
            self.next(for_s)
        except TimeoutError:
            return True
        return False

    # --- RTP --------------------------------------------------------------------------------------

    def packet(self, payload: bytes = SILENCE, kind: int = 0) -> bytes:
        self.sequence = self.sequence + 1 & 0xFFFF
        self.timestamp = self.timestamp + 160 & 0xFFFFFFFF
        return write_rtp(kind, self.sequence, self.timestamp, self.ssrc, payload, marker=False)

    def put(self, data: bytes) -> None:
        self.rtp.sendto(data, self.media)

    def say(self, pcmu: bytes, *, paced: bool = True) -> None:
        due = time.monotonic()
        for start in range(0, len(pcmu), 160):
            self.put(self.packet(pcmu[start : start + 160].ljust(160, b"\xff")))
            due += 0.02
            if paced:
                time.sleep(max(0.0, due - time.monotonic()))  # the pace is what is under test

    def press(self, code: int) -> None:
        """One key of 100 ms: three packets and three at its end, the first lost."""
        self.timestamp = self.timestamp + 160 & 0xFFFFFFFF
        for over, duration in [(0, 320), (0, 640), (1, 800), (1, 800), (1, 800)]:
            self.sequence = self.sequence + 1 & 0xFFFF
            payload = struct.pack("!BBH", code, over << 7 | 10, duration)
            data = write_rtp(101, self.sequence, self.timestamp, self.ssrc, payload, marker=False)
            self.put(data)
        self.timestamp = self.timestamp + 640 & 0xFFFFFFFF

    def sound(self, limit_s: float) -> tuple[bytes, tuple[str, int]]:
        """The next packet's payload, and where it came from."""
        self.rtp.settimeout(limit_s)
        data, source = self.rtp.recvfrom(2048)
        packet = read_rtp(data)
        assert packet is not None
        return packet.payload, source
