"""The tape that runs along with a session: what comes in, what the clock says, what goes out.

    fact ──told──┐
    clock ───────┼─▶ one Wake ──woke──▶ put(bytes)
    outbox ──────┘

Encoded at once, for facts and events may hold what changes later; written by somebody else.
"""

import zlib
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import structlog

from providers.base import Message
from voice import settings, wire
from voice.answers import Outbox
from voice.carrier import Carrier, Target
from voice.config import Config
from voice.playout import Frame
from voice.recorded import event_without_keys, fact_without_keys, recorded
from voice.recorded_facts import packed
from voice.recording import (
    MAGIC,
    Cleared,
    Closed,
    Cut,
    HandedOver,
    HungUp,
    Out,
    Record,
    Remembered,
    SentEvent,
    SentFrame,
    Start,
    Told,
    Wake,
    encoded,
)

log = structlog.get_logger()

CUT_BYTES = 4096
"""Kept for the last record, which says why there are no more."""


class Tape:
    """Keeps all that goes into a session and all that comes out. Nothing waits.

    Args:
        put: Takes the next bytes of the recording; waits for nothing. What is wrong with writing
            them, or "".
        most_bytes: Of the whole recording.
        begun: When the call began, ISO 8601.
    """

    def __init__(
        self, put: Callable[[bytes], str], *, most_bytes: int = 1 << 62, begun: str = ""
    ) -> None:
        self._put, self._begun = put, begun
        self._left = most_bytes - CUT_BYTES
        self._most_bytes = most_bytes
        self._clock: list[float] = []
        self._told: list[Told] = []
        self._out: list[Out] = []
        self.stopped = False
        """Nothing is recorded any more."""
        self._session = ""

    def begin(
        self, session_id: str, config: Config, defaults: settings.Defaults, carrier: Carrier
    ) -> None:
        self._session = session_id
        if not self.stopped and not (problem := self._put(MAGIC)):
            start = Start(
                session=session_id,
                begun=self._begun,
                version=version("kaiwa"),
                recogniser=defaults.transcription_model,
                config=recorded(config, defaults.instructions),
                carrier=carrier,
            )
            self._write(start)
        elif not self.stopped:
            self._stop(problem)

    # --- what a session does ----------------------------------------------------------------------

    def watch(self, now: Callable[[], float]) -> Callable[[], float]:
        """The same clock; what is read from it is kept."""

        def read() -> float:
            at = now()
            self._clock.append(at)
            return at

        return read

    def between(self, outbox: Outbox) -> Outbox:
        """The same outbox; what is sent is kept."""
        return _Kept(outbox, self)

    def handing_over(self, transfer: Callable[[Target], None]) -> Callable[[Target], None]:
        """The same; whom the caller is given to is kept."""

        def hand_over(target: Target) -> None:
            self.keep(HandedOver(target.name))
            transfer(target)

        return hand_over

    def keep(self, out: Out) -> None:
        if not self.stopped:
            self._out.append(out)

    def told(self, at: float, fact: Any) -> None:
        """A fact has come in, and waits for its turn."""
        if self.stopped:
            return
        try:
            self._told.append(Told(at, *packed(fact_without_keys(fact))))
        except Exception as error:  # what cannot be recorded must not end the call
            self._stop(f"{type(error).__name__}: {error}")

    def woke(self, due: float, wakes_at: float | None, level: int) -> None:
        """All that waited is dealt with.

        Args:
            due: What the timer was set for that began it, 0 if a fact did.
            wakes_at: What the timer is set for now.
            level: The load's, which does not change meanwhile.
        """
        if not self.stopped:
            clock, told, out = tuple(self._clock), tuple(self._told), tuple(self._out)
            self._write(Wake(due, wakes_at, clock, told, out, level))
        self._forget()

    def closed(self, code: int, reason: str, history: list[Message]) -> None:
        """Args:
        history: What a model would be shown next.
        """
        if not self.stopped:
            self._out.append(Remembered(tuple(history)))
            self._write(Closed(code, reason, tuple(self._clock), tuple(self._out)))
            self.stopped = True
        self._forget()

    # --- writing ----------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._clock.clear()
        self._told.clear()
        self._out.clear()

    def _write(self, record: Record) -> None:
        try:
            data = encoded(record)
        except Exception as error:  # the same
            self._stop(f"{type(error).__name__}: {error}")
            return
        self._left -= len(data)
        if self._left < 0:
            self._stop(f"it would be larger than {self._most_bytes / 1e6:g} MB (record.most_mb)")
        elif problem := self._put(data):
            self._stop(problem)

    def _stop(self, why: str) -> None:
        """The call goes on without."""
        self._put(encoded(Cut(why[: CUT_BYTES // 8])))
        self.stopped = True  # who writes looks for it, and then for the last record
        self._forget()
        log.warning("recording_stopped", session=self._session, why=why)


class _Kept:
    """An Outbox before another."""

    def __init__(self, outbox: Outbox, tape: Tape) -> None:
        self._outbox, self._tape = outbox, tape

    def send(self, event: wire.ServerEvent) -> None:
        if not self._tape.stopped:
            self._tape.keep(SentEvent(wire.encode(event_without_keys(event))))
        self._outbox.send(event)

    def sound(self, event: wire.AudioDelta, frame: Frame, form: settings.AudioFormat) -> None:
        if not self._tape.stopped:
            where = (event.event_id, event.item_id, frame.turn, frame.at_ms)
            self._tape.keep(SentFrame(*where, len(frame.pcm), zlib.crc32(frame.pcm)))
        self._outbox.sound(event, frame, form)

    def clear(self) -> None:
        self._tape.keep(Cleared())
        self._outbox.clear()

    def end(self, code: int, reason: str) -> None:
        self._tape.keep(HungUp(code, reason))
        self._outbox.end(code, reason)
