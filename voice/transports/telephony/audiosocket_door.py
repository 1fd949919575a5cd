"""The port for Asterisk's AudioSocket: from a connection to the end of its call.

    peer of another network   closed without a word
    no UUID in time, frames that are none      0xff, closed; also sound ahead of its time
    another's UUID, a used one, no room        0x00, closed: Asterisk goes on in its dialplan

The protocol has no key: who may connect, the operator says by networks and by UUIDs.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import cast

import structlog

from voice import metrics
from voice.carrier import Carrier
from voice.desk import Desk
from voice.errors import ConfigError
from voice.transports.keepalive import look_for
from voice.transports.telephony.adapter import Garbled, Started
from voice.transports.telephony.audiosocket import (
    CALL,
    ERROR,
    FRAME_ERROR,
    HANG_UP,
    HEAD,
    RATES_HZ,
    AudioSocket,
    call_of,
    check_place,
    form_of,
    frame,
)
from voice.transports.telephony.doorkeeper import Doorkeeper
from voice.transports.telephony.intake import Intake
from voice.transports.telephony.leg import Leg
from voice.transports.telephony.paced import PacedLine
from voice.transports.websocket import Refusal

LEAD_MS = 80
"""What waits here: enough to bridge a late loop, and little that a held answer still says."""
FIRST_SOUND_S = 1.0
USUAL = 0x10
"""Whoever has sent no sound by then has 8 kHz, as every Asterisk."""
MOST_WAITING = 64
"""Frames before the first sound: keys."""
MOST_UNNAMED = 32
"""Connections that have not said which call they are."""
CLOSE_LIMIT_S = 2.0

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def listening(desk: Desk) -> AsyncIterator[int | None]:
    """The port it listens on; None: it is not asked for.

    Raises:
        ConfigError: It cannot be had.
    """
    config = desk.config.telephony
    if config.audiosocket_port is None:
        yield None
        return
    door = _Door(desk)
    try:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(door), config.audiosocket_host, config.audiosocket_port
        )
    except OSError as error:
        where = f"{config.audiosocket_host}:{config.audiosocket_port}"
        raise ConfigError(
            f"telephony.audiosocket_port: {where} cannot be had: {error.strerror or error}. Choose "
            "another, or leave it out."
        ) from None
    desk.coming.append(door.coming)
    port: int = server.sockets[0].getsockname()[1]
    log.info("audiosocket_ready", host=config.audiosocket_host, port=port)
    try:
        yield port
    finally:
        server.close()
        desk.coming.remove(door.coming)
        await door.aclose()


class _Door:
    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.keeper = Doorkeeper(desk.config.telephony, desk.switchboard.passes)
        self.tasks: set[asyncio.Task[None]] = set()
        """One for each call."""
        self.open: set[_Connection] = set()
        self.unnamed = 0
        """Connections that have not said which call they are."""

    def coming(self) -> int:
        return sum(one.is_coming for one in self.open)

    async def aclose(self) -> None:
        """Within 2 s."""
        for connection in tuple(self.open):
            connection.end(1001, "the server is stopping")
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=CLOSE_LIMIT_S)


class _Connection(asyncio.Protocol):
    """From its UUID on, and the kind of its first sound, it is a call."""

    def __init__(self, door: _Door) -> None:
        self._door, self._config = door, door.desk.config.telephony
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._intake: Intake
        self._timer: asyncio.TimerHandle | None = None
        self._call = ""
        self._waiting: list[bytes] = []
        """Frames for a leg that is not there yet."""
        self._kind: int | None = None
        """Of the call's sound, once that is known."""
        self._line: PacedLine | None = None
        self._leg: Leg | None = None
        self._gone = asyncio.Event()

    # --- the connection ---------------------------------------------------------------------------

    @property
    def is_coming(self) -> bool:
        return bool(self._call) and self._leg is None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, door = cast(asyncio.Transport, transport), self._door
        self._intake = Intake(self._transport, take=self._take, refused=self._refuse)
        look_for(transport.get_extra_info("socket"))
        door.open.add(self)
        host = str((transport.get_extra_info("peername") or ("?",))[0])
        if not door.keeper.knows(host):
            _count_refusal("peer_not_allowed", client=host)
            self._transport.abort()
        elif door.unnamed >= MOST_UNNAMED:
            _count_refusal("too_many_unnamed", client=host)
            self._transport.abort()
        else:
            limit_s = self._config.start_limit_s
            self._await(limit_s, lambda: self._refuse(Garbled(f"no UUID within {limit_s:g} s")))
        door.unnamed += 1

    def _await(self, limit_s: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(limit_s, then)

    def data_received(self, data: bytes) -> None:
        self._intake.receive(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._door.open.discard(self)
        self._door.unnamed -= not self._call
        if self._timer is not None:
            self._timer.cancel()
        if self._line is not None:
            self._line.stop()
        self._gone.set()

    def end(self, code: int, reason: str) -> None:
        if self._line is not None:
            self._line.put(frame(HANG_UP))
            self._line.end(code, reason)
        else:
            self._transport.close()

    def _refuse(self, error: Garbled | Refusal) -> None:
        if self._transport.is_closing():
            return
        if isinstance(error, Refusal):
            _count_refusal(error.code, detail=str(error))
            self._transport.write(frame(HANG_UP))
        else:
            _count_refusal("no_audiosocket", detail=str(error))
            if self._line is None:
                self._transport.write(frame(ERROR, FRAME_ERROR))
        if self._line is not None:
            self._line.end(1008, str(error)[:100])
        else:
            self._transport.close()

    # --- the call ---------------------------------------------------------------------------------

    def _take(self, one: bytes) -> None:
        if self._transport.is_closing():
            return
        if not self._call:
            self._name(one)
            return
        kind = one[0] if self._kind is None and one[0] in RATES_HZ else self._kind
        check_place(one, USUAL if kind is None else kind)
        if self._leg is not None:
            self._leg.binary(one)
        else:
            self._wait(one)

    def _name(self, one: bytes) -> None:
        if one[0] != CALL:
            raise Garbled("the first frame is no UUID")
        call = call_of(one[HEAD.size :])
        try:
            self._door.desk.check_room()
            self._door.keeper.check(call)
        except Refusal as refusal:
            self._refuse(refusal)
            return
        self._call = call
        self._door.unnamed -= 1
        self._await(FIRST_SOUND_S, lambda: self._begin(USUAL))

    def _wait(self, one: bytes) -> None:
        self._waiting.append(one)
        if len(self._waiting) > MOST_WAITING:
            raise Garbled("too many frames before the first sound")
        if one[0] in RATES_HZ and self._line is None:
            self._begin(one[0])

    def _begin(self, kind: int) -> None:
        assert self._timer is not None
        self._timer.cancel()
        if self._transport.is_closing():
            return
        self._intake.hold(held=True)  # until there is a leg
        self._kind = kind
        self._line = line = PacedLine(
            self._transport,
            kind,
            silence=self._config.audiosocket_silence,
            came_back=lambda mark: self._leg.binary(mark) if self._leg is not None else None,
        )
        task = asyncio.create_task(self._hold(line, kind), name=f"audiosocket-{self._call}")
        self._door.tasks.add(task)
        task.add_done_callback(self._door.tasks.discard)

    async def _hold(self, line: PacedLine, kind: int) -> None:
        """In a task of its own, for what a session keeps with its task."""
        started = Started(call=self._call, form=form_of(kind))
        leg = Leg(AudioSocket(kind), line, started)
        session = self._door.desk.new_session(leg, carrier_of(kind))
        leg.attach(session)
        try:
            session.open()
            self._leg = leg
            for one in self._waiting:
                leg.binary(one)
            self._waiting.clear()
            self._intake.hold(held=False)
            await self._gone.wait()
        finally:
            leg.close()
            self._transport.close()
            await session.close(*line.ended)
            if line.dropped:
                metrics.DROPPED_CLIENTS.inc()


def carrier_of(kind: int) -> Carrier:
    form = form_of(kind)
    return Carrier(name="audiosocket", listens=form, speaks=form, plays=True, lead_ms=LEAD_MS)


def _count_refusal(why: str, **words: str) -> None:
    metrics.REFUSED.labels(why).inc()
    log.info("call_refused", provider="audiosocket", why=why, **words)
