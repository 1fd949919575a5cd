"""Which of several servers that take one request at a time is asked next. Pure: time is told.

free        nothing of ours runs there
draining    free for us, but busy with a request that nobody waits for any more: these servers
            cannot be stopped, so a new request would wait for the old one's end
running     one of ours
resting     failed lately: asked only when no other is free, a little longer after each failure
"""

from collections.abc import Collection

REST_S = 1.0
LONGEST_REST_S = 8.0
_LEARNING = 0.3
"""Weight of the latest request in what we know of a server's speed."""


class _Server:
    def __init__(self) -> None:
        self.is_running = False
        self.began = 0.0
        self.busy_until = 0.0
        """When what was abandoned there ends, as far as we can tell."""
        self.rests_until = 0.0
        self.rest_s = REST_S
        self.last_begun = -1.0
        self.rtf = 1.0
        """Seconds of work for a second of speech."""


class Balance:
    """Servers by index, 0..count-1."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ValueError("there must be at least one server")
        self._servers = [_Server() for _ in range(count)]

    @property
    def running(self) -> int:
        return sum(server.is_running for server in self._servers)

    def choose(self, now: float, avoid: Collection[int] = ()) -> int | None:
        """The best that runs nothing of ours; None if there is none.

        Args:
            avoid: Servers that failed with this request already.
        """
        free = [
            index
            for index, server in enumerate(self._servers)
            if not server.is_running and index not in avoid
        ]
        return min(free, key=lambda index: self._rank(index, now), default=None)

    def _rank(self, index: int, now: float) -> tuple[bool, float, float]:
        server = self._servers[index]
        return server.rests_until > now, self.busy_for_s(index, now), server.last_begun

    def is_idle(self, index: int, now: float) -> bool:
        """Nothing runs there, as far as we can tell: it has no excuse for not answering."""
        return not self._servers[index].is_running and not self.busy_for_s(index, now)

    def is_resting(self, index: int, now: float) -> bool:
        return self._servers[index].rests_until > now

    def busy_for_s(self, index: int, now: float) -> float:
        """Seconds until an abandoned request ends there; 0 if there is none."""
        return max(0.0, self._servers[index].busy_until - now)

    def begin(self, index: int, now: float) -> None:
        server = self._servers[index]
        server.is_running = True
        server.began = max(now, server.busy_until)
        server.last_begun = now

    def succeeded(self, index: int, now: float, speech_s: float) -> None:
        """It has done its work.

        Args:
            speech_s: How long a text of that kind typically takes to speak.
        """
        server = self._servers[index]
        server.is_running = False
        server.busy_until = 0.0
        self.recovered(index)
        if speech_s > 0 and now > server.began:
            server.rtf += _LEARNING * ((now - server.began) / speech_s - server.rtf)

    def recovered(self, index: int) -> None:
        """It answered."""
        server = self._servers[index]
        server.rests_until, server.rest_s = 0.0, REST_S

    def failed(self, index: int, now: float) -> None:
        self._servers[index].is_running = False
        self.rest(index, now)

    def rest(self, index: int, now: float) -> None:
        """What it said last was no good, whatever it runs now."""
        server = self._servers[index]
        server.rests_until = now + server.rest_s
        server.rest_s = min(2 * server.rest_s, LONGEST_REST_S)

    def refused(self, index: int) -> None:
        """It answered that it will not: its own state is fine."""
        self._servers[index].is_running = False

    def abandoned(self, index: int, speech_s: float) -> None:
        """Nobody waits for the answer any more; the server does not know."""
        server = self._servers[index]
        server.is_running = False
        server.busy_until = server.began + speech_s * server.rtf
