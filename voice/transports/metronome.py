"""One clock for all media peers of a loop: a timer instead of a task for each.

    every 5 ms   |0  |1  |2  |3  |0  |1  |2  |3 …      each peer in one of four places, every 20 ms

Four places, so that the frames of forty peers are not coded in one go: meanwhile nobody else has
the loop. It stands still while nobody is there.
"""

import asyncio
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

import structlog

from voice.rtp_playout import FRAME_S

PLACES = 4
STEP_S = FRAME_S / PLACES

Beaten = Callable[[float], None]
"""Given `time.monotonic()`. Nothing waits."""

log = structlog.get_logger()


class Metronome:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._places: list[dict[object, Beaten]] = [{} for _ in range(PLACES)]
        self._place = 0
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return sum(len(place) for place in self._places)

    def join(self, member: object, beaten: Beaten) -> None:
        min(self._places, key=len)[member] = beaten
        if self._timer is None:
            self._next_at = self._loop.time()
            self._set()

    def hasten(self, member: object) -> None:
        """Its next beat comes within 5 ms, and then every 20 from there."""
        for place in self._places:
            if (beaten := place.pop(member, None)) is not None:
                self._places[(self._place + 1) % PLACES][member] = beaten

    def leave(self, member: object) -> None:
        for place in self._places:
            place.pop(member, None)
        if self._timer is not None and not len(self):
            self._timer.cancel()
            self._timer = None

    def _set(self) -> None:
        self._next_at = max(self._next_at + STEP_S, self._loop.time())
        self._timer = self._loop.call_at(self._next_at, self._beat)

    def _beat(self) -> None:
        self._place = (self._place + 1) % PLACES
        now = time.monotonic()
        for beaten in tuple(self._places[self._place].values()):
            try:
                beaten(now)
            except Exception:  # our bug in one call: the others go on
                log.exception("beat_broke")
        if len(self):
            self._set()
        else:
            self._timer = None


_METRONOMES: WeakKeyDictionary[asyncio.AbstractEventLoop, Metronome] = WeakKeyDictionary()


def metronome() -> Metronome:
    """The running loop's."""
    loop = asyncio.get_running_loop()
    if loop not in _METRONOMES:
        _METRONOMES[loop] = Metronome(loop)
    return _METRONOMES[loop]
