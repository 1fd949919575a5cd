"""Which of several servers that take one request at a time is asked next, and which of them is
late. Pure: time is told.

free        nothing of ours runs there
draining    free for us, but busy with a request that nobody waits for any more: these servers
            cannot be stopped, so a new request would wait for the old one's end
running     one of ours
resting     failed lately: asked only when no other is free, a little longer after each failure
lost        nobody answers there: asked only when all are lost

Late is one of which nothing was heard, neither to a request nor to a ping, for longer than its
requests took lately: it may hang, though no time limit has run out.
"""

from collections import deque
from collections.abc import Collection
from math import inf

REST_S = 1.0
LONGEST_REST_S = 8.0
LOST_S = 60.0
"""Unless it is found before; longer than the pause between two checks."""
EXCUSE_S = 2.0
ALONE_S = 0.2
"""In which a server that lives answers a ping, if there is nothing else for it to do."""
LATE = 1.4
"""Times what is usual."""
LEAST_LATE_S = 0.8
_LEARNING = 0.3
"""Weight of the latest request in what we know of a server's speed."""
_USUAL = 8
"""So many requests tell what is usual."""


class _Server:
    def __init__(self) -> None:
        self.is_running = False
        self.began = 0.0
        self.speech_s = 0.0
        """Of the request that runs, or ran last."""
        self.busy_until = 0.0
        """When what was abandoned there ends, as far as we can tell."""
        self.excused_until = 0.0
        """When it ends at the latest, if we told badly."""
        self.lost_until = 0.0
        self.rests_until = 0.0
        self.rest_s = REST_S
        self.last_begun = -1.0
        self.rtf = 1.0
        """Seconds of work for a second of speech."""
        self.lately: deque[tuple[float, float]] = deque(maxlen=_USUAL)
        """Seconds of speech, and of work, of those that succeeded."""
        self.due_at = inf
        """When something should have been heard at the latest; inf: nothing is waited for."""

    def late_after_s(self, speech_s: float) -> float:
        """Past the slowest of late; where its text is longer than any of theirs, in proportion."""
        if not self.lately:
            return inf
        longest_s = max(length_s for length_s, _ in self.lately)
        usual_s = max(took_s for _, took_s in self.lately)
        if speech_s > longest_s > 0:
            usual_s *= speech_s / longest_s
        return max(LEAST_LATE_S, LATE * usual_s)


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
        others = [index for index in range(len(self._servers)) if index not in avoid]
        there = [index for index in others if not self.is_lost(index, now)]
        free = [index for index in there or others if not self._servers[index].is_running]
        return min(free, key=lambda index: self._rank(index, now), default=None)

    def _rank(self, index: int, now: float) -> tuple[bool, float, float]:
        server = self._servers[index]
        return server.rests_until > now, self.busy_for_s(index, now), server.last_begun

    def is_idle(self, index: int, now: float) -> bool:
        """Nothing runs there, as far as we can tell."""
        return not self._servers[index].is_running and not self.busy_for_s(index, now)

    def is_excused(self, index: int, now: float) -> bool:
        """Something of ours may run there: it has an excuse for not answering."""
        server = self._servers[index]
        return server.is_running or server.excused_until > now

    def is_lost(self, index: int, now: float) -> bool:
        return self._servers[index].lost_until > now

    def busy_for_s(self, index: int, now: float) -> float:
        """Seconds until an abandoned request ends there; 0 if there is none."""
        return max(0.0, self._servers[index].busy_until - now)

    def is_late(self, index: int, now: float) -> bool:
        return now > self._servers[index].due_at

    def begin(self, index: int, now: float, speech_s: float) -> None:
        """Args:
        speech_s: How long a text of that kind typically takes to speak.
        """
        server = self._servers[index]
        server.is_running = True
        server.began = max(now, server.busy_until)
        server.last_begun, server.speech_s = now, speech_s
        if now <= server.due_at:  # else it is late already, and asking again makes nothing better
            waits_from = now if server.due_at == inf else server.due_at
            server.due_at = waits_from + server.late_after_s(speech_s)

    def succeeded(self, index: int, now: float) -> None:
        """It has done its work."""
        server = self._servers[index]
        server.is_running = False
        server.busy_until = server.excused_until = server.lost_until = 0.0
        server.rests_until, server.rest_s = 0.0, REST_S
        server.due_at = inf
        if now > server.began:
            took_s = now - server.began
            server.lately.append((server.speech_s, took_s))
            if server.speech_s > 0:
                server.rtf += _LEARNING * (took_s / server.speech_s - server.rtf)

    def lost(self, index: int, now: float) -> None:
        """Nobody answers there, or not as a server that is well: nothing more is waited for."""
        server = self._servers[index]
        server.lost_until, server.due_at = now + LOST_S, inf

    def unheard(self, index: int, asked_at: float, now: float) -> None:
        """It has not answered a ping: late, unless that met a request of ours there. To be told
        only where nothing excused it when it was asked."""
        server = self._servers[index]
        if server.last_begun > asked_at + ALONE_S:
            server.due_at = min(server.due_at, now)

    def found(self, index: int, asked_at: float) -> None:
        """It answers, which does not mean that it works; nor does it tell of a request that came
        behind the question."""
        server = self._servers[index]
        server.lost_until = 0.0
        if server.last_begun <= asked_at:
            server.due_at = inf

    def failed(self, index: int, now: float) -> None:
        server = self._servers[index]
        server.is_running, server.due_at = False, inf
        self.rest(index, now)

    def rest(self, index: int, now: float) -> None:
        """What it said last was no good, whatever it runs now."""
        server = self._servers[index]
        server.rests_until = now + server.rest_s
        server.rest_s = min(2 * server.rest_s, LONGEST_REST_S)

    def refused(self, index: int) -> None:
        """It answered that it will not: its own state is fine."""
        server = self._servers[index]
        server.is_running, server.due_at = False, inf

    def abandoned(self, index: int) -> None:
        """Nobody waits for the answer any more; the server does not know."""
        server = self._servers[index]
        server.is_running = False
        work_s = server.speech_s * server.rtf
        server.busy_until = server.began + work_s
        server.excused_until = server.busy_until + work_s + EXCUSE_S
        if server.due_at >= server.last_begun:  # else it was late before this was asked
            # Until then nobody asks it, so that nothing can be heard.
            server.due_at = max(server.due_at, server.busy_until + LEAST_LATE_S)
