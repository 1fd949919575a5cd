"""Where a call's sound comes from, and where ours is sent: the same place, once it is known.

agreed     the address of the SDP, where it may be believed    sent there, for SILENT_S at most
seen       a packet from the caller's own address              sent there from now on (RFC 4961)
others     while the one that was seen goes on                 dropped: whoever guesses a port
                                                               can neither speak nor overhear
"""

from voice.transports.sip.messages import Source

SILENT_S = 8.0
"""Nobody answered there: nothing more is sent, until something comes."""
MOVED_AFTER_S = 0.5
"""So long after the last packet the same caller may go on from another port."""


class Remote:
    """Args:
    peer: The address that signals: sound may always come from there.
    """

    def __init__(self, peer: str, agreed: Source | None, now: float) -> None:
        self._peer = peer
        self._agreed: Source | None = agreed
        self._seen: Source | None = None
        self._since = self._heard_at = now
        self.strangers = 0
        """Packets of others."""

    def agree(self, peer: str, agreed: Source | None, now: float) -> None:
        """Anew: after a re-INVITE it may all be somewhere else."""
        if self._seen is not None and agreed == self._agreed and peer == self._peer:
            return
        self._peer, self._agreed = peer, agreed
        self._seen = None
        self._since = self._heard_at = now

    def admit(self, source: Source, now: float) -> bool:
        """Whether a packet from there is the caller's."""
        known = (self._peer, self._agreed[0] if self._agreed else self._peer)
        moved = now - self._heard_at >= MOVED_AFTER_S
        if source[0] not in known or self._seen not in (None, source) and not moved:
            self.strangers += 1
            return False
        return True

    def hear(self, source: Source, now: float) -> None:
        """It was sound, and is answered where it came from."""
        self._seen, self._heard_at = source, now

    def at(self, now: float) -> Source | None:
        """Where sound is sent now."""
        if self._seen is not None:
            return self._seen
        return self._agreed if now - self._since < SILENT_S else None

    def is_rtcp_from(self, source: Source) -> bool:
        at = self._seen or self._agreed
        return source[0] == (at[0] if at else self._peer)
