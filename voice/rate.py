"""How often somebody may do something: so many times in any minute, each name for itself."""

from collections import OrderedDict, deque

MOST_NAMES = 4096
"""Kept at once; beyond it whoever came longest ago is forgotten."""


class Rate:
    def __init__(self, window_s: float = 60.0, names: int = MOST_NAMES) -> None:
        self._window_s, self._names = window_s, names
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def refuses(self, name: str, most: int, now: float) -> float:
        """Counts it, unless it is once too often.

        Args:
            most: In any `window_s`.
        Returns:
            Seconds after which it would not be; 0: it is not.
        """
        times = self._times.setdefault(name, deque())
        self._times.move_to_end(name)
        while times and times[0] <= now - self._window_s:
            times.popleft()
        if len(times) >= most:
            return times[0] + self._window_s - now
        times.append(now)
        while len(self._times) > self._names:
            self._times.popitem(last=False)
        return 0.0
