"""How well a sender is heard, as it is told in RTCP receiver reports. RFC 3550 §6.4, A.3, A.8."""

from voice.rtp import MAX_DROPOUT, MAX_MISORDER, forward

NTP_OFFSET_S = 2_208_988_800
"""From 1900 to 1970."""


class Reception:
    """One sender (SSRC); all its packets, in the order they came."""

    def __init__(self, ssrc: int, clock_hz: int) -> None:
        self.ssrc, self._hz = ssrc, clock_hz
        self.received = 0
        self._first = self._highest = 0
        self._jitter_s = 0.0
        self._transit_s: float | None = None
        self._timestamp = 0
        self._reported = (0, 0)
        self._expected_stray: int | None = None
        self._sender_report: tuple[int, float] | None = None

    def add(self, sequence: int, timestamp: int, now: float) -> None:
        if not self.received:
            self._begin(sequence, timestamp)
        forth = forward(sequence, self._highest & 0xFFFF, 16)
        if not -MAX_MISORDER <= forth <= MAX_DROPOUT:
            if sequence != self._expected_stray:
                self._expected_stray = (sequence + 1) & 0xFFFF
                return
            self._begin(sequence, timestamp)
            forth = 0
        self._expected_stray = None
        self.received += 1
        self._highest += max(0, forth)
        ahead = forward(timestamp, self._timestamp & 0xFFFFFFFF, 32)
        transit_s = now - (self._timestamp + ahead) / self._hz
        if ahead > 0:
            self._timestamp += ahead
            if self._transit_s is not None:
                self._jitter_s += (abs(transit_s - self._transit_s) - self._jitter_s) / 16
            self._transit_s = transit_s

    def _begin(self, sequence: int, timestamp: int) -> None:
        """Or anew: what would be missing between two lines of numbers is no loss. RFC 3550 A.1."""
        self._first = self._highest = sequence
        self._timestamp, self._transit_s = timestamp, None
        self.received, self._reported = 0, (0, 0)

    def sender_reported(self, ntp: int, now: float) -> None:
        self._sender_report = (ntp >> 16 & 0xFFFFFFFF, now)

    @property
    def expected(self) -> int:
        return self._highest - self._first + 1 if self.received else 0

    @property
    def lost(self) -> int:
        return max(0, self.expected - self.received)

    @property
    def highest(self) -> int:
        """With its cycles, 32 bits."""
        return self._highest & 0xFFFFFFFF

    @property
    def jitter_ms(self) -> float:
        return self._jitter_s * 1000

    @property
    def jitter_ticks(self) -> int:
        return min(int(self._jitter_s * self._hz), 0xFFFFFFFF)

    def fraction_lost(self) -> int:
        """In 256ths, since it was asked last."""
        expected, received = self._reported
        self._reported = (self.expected, self.received)
        wanted = self.expected - expected
        lost = wanted - (self.received - received)
        return 0 if wanted <= 0 or lost <= 0 else min(255, lost * 256 // wanted)

    def last_sender_report(self, now: float) -> tuple[int, int]:
        """LSR and DLSR, in 65,536ths of a second; 0, 0 without one."""
        if self._sender_report is None:
            return 0, 0
        ntp, at = self._sender_report
        return ntp, min(int((now - at) * 65536), 0xFFFFFFFF)


def ntp_of(unix_s: float) -> int:
    """64 bits: seconds since 1900, and their fraction."""
    return int((unix_s + NTP_OFFSET_S) * 2**32)
