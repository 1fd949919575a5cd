"""What a caller hears of an answer: a model of a player, told arrivals and the time."""


class Player:
    """Audio in real time after a start buffer.

    arrivals  |x.x.x.x........x.x.x
    heard       |-------|  dry |----|      one underrun
    """

    def __init__(self, start_buffer: float) -> None:
        self._start_buffer = start_buffer
        self.received = 0.0
        self.starts_at: float | None = None
        self._ends_at = 0.0
        self.stopped_at: float | None = None
        self.underruns = 0
        self.dry = 0.0
        """Seconds of silence inside the answer."""

    def add(self, now: float, seconds: float) -> None:
        """Audio arrived. After `stop` it is thrown away."""
        if self.stopped_at is not None:
            return
        if self.starts_at is None:
            self.starts_at = self._ends_at = now + self._start_buffer
        elif now > self._ends_at:
            self.underruns += 1
            self.dry += now - self._ends_at
            self._ends_at = now
        self.received += seconds
        self._ends_at += seconds

    def stop(self, now: float) -> None:
        self.stopped_at = now

    def silent_from(self) -> float | None:
        """When it was stopped, or had nothing left; None: it never played."""
        if self.starts_at is None:
            return None
        return self._ends_at if self.stopped_at is None else min(self._ends_at, self.stopped_at)

    def heard(self, now: float) -> float:
        """Seconds of the answer's audio played by `now`."""
        at = now if self.stopped_at is None else min(now, self.stopped_at)
        return max(0.0, self.received - max(0.0, self._ends_at - at))

    def is_playing(self, now: float) -> bool:
        return self.stopped_at is None and self.starts_at is not None and now < self._ends_at
