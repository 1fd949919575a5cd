"""A recorded call once more, in the time that it had: what would go out now, beside what went out.

    the tape        Wake ── facts, clock ──▶ Session ──▶ a second tape
                                                            │
    what went out then ◀──────────── compared ─────────────┘

The session is the real one. Its providers are not asked (what they said is on the tape) and its
answers never run (what they posted is on it too), so nothing happens that the tape does not say.
The clock says what it said then, to the last bit: where timers came late, they come as late.

Where the session sets its timer otherwise than it did, by other rules or settings, the tape has no
say in it: then it is woken when it asked for, exactly.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from voice import metrics, settings, wire
from voice.config import Config
from voice.config_problems import UNKNOWN, converted
from voice.errors import KaiwaError
from voice.playout import Frame
from voice.recorded_facts import unpacked
from voice.recording import Out, Recording, SentEvent, Wake, parsed
from voice.reply_facts import Foreseen, LeftOut
from voice.session import Session
from voice.silent import silent
from voice.speculation import WINDOW, HitRate
from voice.tape import Tape

CREEP_S = 1e-6
"""What a timer that is set anew for the same moment takes: rounding may want a little more."""
MOST_CREEPS = 1000


class Sent(Struct, frozen=True):
    """Something that went out."""

    at: float
    """Seconds since the call began, by the clock at the beginning of the wake it belongs to."""
    out: Out

    def matches(self, other: "Sent", *, settings_changed: bool) -> bool:
        """To the microsecond. Where settings were changed, the echo of them says nothing."""
        out, others = self.out, other.out
        if settings_changed and _is_echo(out) and _is_echo(others):
            out = others
        return out == others and abs(self.at - other.at) < CREEP_S


ECHOES = (b'{"type":"session.created"', b'{"type":"session.updated"')


def _is_echo(out: Out) -> bool:
    return isinstance(out, SentEvent) and out.data.startswith(ECHOES)


class Difference(Struct, frozen=True):
    """Where the two part; None: nothing more went out."""

    index: int
    then: Sent | None
    now: Sent | None

    @property
    def at(self) -> float:
        return min(one.at for one in (self.then, self.now) if one is not None)


class Replayed(Struct, frozen=True):
    recording: Recording
    """As it was."""
    again: Recording
    """As it is now."""
    settings_changed: bool = False
    unknown_settings: tuple[str, ...] = ()
    """Recorded ones that there are no more."""

    @property
    def difference(self) -> Difference | None:
        """The first."""
        then, now = sent(self.recording), sent(self.again)
        for index, (one, other) in enumerate(zip(then, now, strict=False)):
            if not one.matches(other, settings_changed=self.settings_changed):
                return Difference(index, one, other)
        if len(then) == len(now):
            return None
        index = min(len(then), len(now))
        return Difference(
            index,
            then[index] if index < len(then) else None,
            now[index] if index < len(now) else None,
        )


def sent(recording: Recording) -> list[Sent]:
    """All that went out, in order."""
    begun_at, closed = recording.begun_at, recording.closed
    found = [Sent(wake.at - begun_at, out) for wake in recording.wakes for out in wake.out]
    if closed is not None:
        at = closed.clock[0] - begun_at if closed.clock else 0.0
        found += [Sent(at, out) for out in closed.out]
    return found


def configured(
    recording: Recording, changes: Sequence[tuple[str, Any]]
) -> tuple[Config, list[str]]:
    """The call's settings with `changes`, and the recorded ones that there are no more.

    Raises:
        KaiwaError: A change that cannot be; names the setting.
    """
    config, problems = converted(dict(recording.start.config), Config)
    unknown = [path for path, what in problems if what.startswith(UNKNOWN)]
    if others := [f"{path} {what}" for path, what in problems if path not in unknown]:
        raise KaiwaError(f"the recording's settings cannot be: {'; '.join(others)}")
    tree = msgspec.to_builtins(config)
    del tree["strays"]
    for path, value in changes:
        section, _, key = path.partition(".")
        tree[section] = {**(tree.get(section) or {}), key: value}
    config, problems = converted(tree, Config)
    if problems:
        raise KaiwaError("; ".join(f"--set {path}: {what}" for path, what in problems))
    return config, unknown


def replay(recording: Recording, changes: Sequence[tuple[str, Any]] = ()) -> Replayed:
    """Args:
        changes: Settings that shall be others than they were: ("turn.silence_ms", 300).
    Raises:
        KaiwaError: It cannot be replayed by this version; or a setting cannot be.
    """
    config, unknown = configured(recording, changes)
    data: list[bytes] = []

    def put(piece: bytes) -> str:
        data.append(piece)
        return ""

    asyncio.run(_run(recording, config, Tape(put, begun=recording.start.begun)))
    return Replayed(recording, parsed(b"".join(data)), bool(changes), tuple(unknown))


async def _run(recording: Recording, config: Config, tape: Tape) -> None:
    """Never waits before the call's end, so that no timer and no task of the loop has its turn."""
    clock = _Clock()
    session = _Replica(recording, config, tape, clock)
    followed = True
    for wake in recording.wakes:
        if not followed:
            session.come_to(wake.at)
        clock.say(wake.clock)
        session.live(wake)
        followed = session.wakes_at == wake.wakes_at
    closed = recording.closed
    if closed is not None and not followed and closed.clock:
        session.come_to(closed.clock[0])
    clock.say(closed.clock if closed else ())
    if closed is None:
        tape.stopped = True  # what is said now was not said then
    await session.close(closed.code if closed else 1000, closed.reason if closed else "")


class _Clock:
    """Says what it is told to; when that is used up, the last of it again."""

    def __init__(self) -> None:
        self._readings: deque[float] = deque()
        self.at = 0.0

    def __call__(self) -> float:
        if self._readings:
            self.at = self._readings.popleft()
        return self.at

    def say(self, readings: Sequence[float]) -> None:
        self._readings = deque(readings)


class _Replica(Session):
    """The session, which lives on the tape alone."""

    def __init__(self, recording: Recording, config: Config, tape: Tape, clock: _Clock) -> None:
        start = recording.start
        self._recorder, self._clock = tape, clock
        self._level = 0
        providers = silent(start.recogniser)
        super().__init__(
            start.session,
            config=config,
            providers=msgspec.structs.replace(providers, load_level=lambda: self._level),
            outbox=_Nowhere(),
            figures=metrics.Figures(HitRate(few=WINDOW + 1)),
            now=clock,
            carrier=start.carrier,
            tape=tape,
        )

    def post(self, fact: Any) -> None:
        """Whatever it is, the tape has its own."""

    @property
    def wakes_at(self) -> float | None:
        return None if self._timer is None else self._timer_at

    def live(self, wake: Wake) -> None:
        self._level = wake.level
        for told in wake.told:
            fact = unpacked(told)
            if isinstance(fact, Foreseen) and isinstance(fact.fact, LeftOut):
                self._answers.receive(fact, told.at)  # known before it would be begun
            else:
                self._inbox.append((told.at, fact))
            self._recorder.told(told.at, fact)
        if self.closed or self._ending:
            return
        if not wake.due or wake.due != self.wakes_at:
            if wake.told:  # else nobody asked for it
                self._pump()
        else:
            self._fire()

    def come_to(self, until: float) -> None:
        """Wakes it when it wants to be woken, as a clock would that knows no lateness."""
        creeps = 0
        while (due := self.wakes_at) is not None and due <= until and creeps < MOST_CREEPS:
            creeps = 0 if due > self._clock.at else creeps + 1
            self._clock.say((max(due, self._clock.at + (CREEP_S if creeps else 0.0)),))
            self._fire()

    def _fire(self) -> None:
        assert self._timer is not None
        self._timer.cancel()
        self._timer_due(self._timer_at)


class _Nowhere:
    """An Outbox."""

    def send(self, event: wire.ServerEvent) -> None: ...

    def sound(self, event: wire.AudioDelta, frame: Frame, form: settings.AudioFormat) -> None: ...

    def clear(self) -> None: ...

    def end(self, code: int, reason: str) -> None: ...
