"""One telephone call in virtual time: a provider's simulator, its adapter, the leg, a session.

    call.say(1.0)    a hum, 20 ms frames in real time       call.phone.earpiece   what was heard
    call.hush(0.5)   silence                                call.leg.events       what was said

The network between takes `DELAY_S` each way and keeps the order. Messages go by `Network`, frames
on a byte stream by `Stream`. What a provider's protocol cannot promise: LACKS.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Literal, TypeVar

import numpy as np
from msgspec import Struct

from mocks.audiosocket import SLIN
from mocks.clock import now, run_virtual
from mocks.llm import EchoLLM
from mocks.phone import Frame, Phone, TwilioStream
from mocks.phone_audiosocket import AudioSocketPhone
from mocks.phone_others import AsteriskChannel, TelnyxStream, VonageSocket
from mocks.phone_sound import FRAME_BYTES, FRAME_MS, SILENCE, hum
from mocks.stt import QUESTIONS, EchoSTT
from mocks.tts import ToneTTS
from mocks.vad import LoudnessVAD
from tests.driving import PLAIN
from voice import metrics, wire
from voice.carrier import Carrier
from voice.config import Config
from voice.facts import KeyPressed
from voice.providers import Providers
from voice.session import Session
from voice.transports.telephony import audiosocket_door
from voice.transports.telephony.adapter import Adapter, Garbled, Started
from voice.transports.telephony.asterisk import Asterisk
from voice.transports.telephony.audiosocket import AudioSocket, check_place, form_of
from voice.transports.telephony.intake import Intake
from voice.transports.telephony.leg import MOST_GARBLED, Connection, Leg, carrier_of
from voice.transports.telephony.paced import PacedLine
from voice.transports.telephony.telnyx import Telnyx
from voice.transports.telephony.twilio import Twilio
from voice.transports.telephony.vonage import Vonage

E = TypeVar("E")

DELAY_S = 0.03
LEAD_MS = 200
FRAME_S = FRAME_MS / 1000


Promise = Literal["marks", "numbers", "clear", "resync"]
"""marks    what was played is told
numbers  sound says where it belongs, so that what is lost, doubled or reordered is noticed
clear    the far end drops what it has not played
resync   behind a message that makes no sense, the next one can be read"""

UNNUMBERED = "sound is bare bytes in messages, which TCP brings once and in order"
LACKS: dict[str, dict[Promise, str]] = {
    "vonage": {"numbers": UNNUMBERED},
    "asterisk": {"numbers": UNNUMBERED},
    "asterisk, plain text": {"numbers": UNNUMBERED},
    "asterisk, before marks": {"numbers": UNNUMBERED, "marks": "MARK_MEDIA came with a later one"},
    "audiosocket": {
        "numbers": "one byte stream: TCP loses, doubles and reorders nothing",
        "marks": "there are none; what has not left this side is known not to be heard",
        "clear": "nothing can be recalled: the sound waits on this side, and is dropped here",
        "resync": "one wrong length, and nobody knows where a frame begins: the call ends",
    },
}
"""By provider: which promises its protocol cannot keep, and why. All others hold for it."""


class Kit(Struct, frozen=True):
    """A provider under test."""

    name: str
    adapter: Callable[[], Adapter]
    phone: Callable[..., Phone]
    loud: bytes
    """20 ms of a hum, in its coding."""
    silent: bytes
    is_stream: bool = False
    """Its frames lie in a stream of bytes."""

    def __repr__(self) -> str:
        return self.name

    def has(self, promise: Promise) -> bool:
        return promise not in LACKS.get(self.name, {})

    @property
    def under_way_ms(self) -> tuple[float, float]:
        """At least and at most, of the answer at the far end, at its fullest."""
        return (LEAD_MS / 2, LEAD_MS + 40) if self.has("clear") else (0, 40)

    @property
    def tail_s(self) -> float:
        """What is still heard behind a clear: a frame, and what the network holds."""
        return 0.0 if self.has("clear") else DELAY_S + FRAME_S

    @property
    def most_garbled(self) -> int:
        return MOST_GARBLED if self.has("resync") else 1


def _plain(**options: Any) -> Phone:
    return AsteriskChannel(is_json=False, **options)


def _old(**options: Any) -> Phone:
    return AsteriskChannel(is_json=False, has_marks=False, **options)


def _slin() -> Adapter:
    return AudioSocket(SLIN)


ULAW, QUIET = hum(FRAME_S), SILENCE * FRAME_BYTES
_TIME = np.arange(320) / 16_000
PCM = (9000 * np.sin(2 * np.pi * 250 * _TIME)).astype("<i2").tobytes()
PCM_8K = (9000 * np.sin(2 * np.pi * 250 * _TIME[::2])).astype("<i2").tobytes()
KITS = [
    Kit("twilio", Twilio, TwilioStream, ULAW, QUIET),
    Kit("telnyx", Telnyx, TelnyxStream, ULAW, QUIET),
    Kit("vonage", Vonage, VonageSocket, PCM, bytes(640)),
    Kit("asterisk", Asterisk, AsteriskChannel, ULAW, QUIET),
    Kit("asterisk, plain text", Asterisk, _plain, ULAW, QUIET),
    Kit("asterisk, before marks", Asterisk, _old, ULAW, QUIET),
    Kit("audiosocket", _slin, AudioSocketPhone, PCM_8K, bytes(320), is_stream=True),
]


class Network:
    """The Connection between leg and phone: late by DELAY_S, in order."""

    def __init__(self, phone: Phone) -> None:
        self._phone, self._loop = phone, asyncio.get_running_loop()
        self.leg: Leg
        self.sent: list[tuple[float, Frame]] = []
        self.ended: tuple[int, str] | None = None
        self.echo_delay_s = 0.0
        """Of marks, more than of all else."""
        self._ticking: asyncio.TimerHandle | None = None

    @property
    def connection(self) -> Connection:
        return self

    @property
    def cleared_at(self) -> list[float]:
        return self._phone.earpiece.cleared_at

    def joined(self, adapter: Adapter, lead_ms: int) -> tuple[Started, Carrier]:
        for frame in self._phone.begin():
            for fact in adapter.read(_bytes(frame), binary=isinstance(frame, bytes)):
                if isinstance(fact, Started):
                    return fact, carrier_of(adapter, fact, lead_ms)
        raise AssertionError("the phone did not start")

    def to_leg(self, frame: Frame) -> None:
        """What has come over the network."""
        self.leg.receive(_bytes(frame), binary=isinstance(frame, bytes))

    def put(self, data: bytes, *, binary: bool = False, sound: bool = False) -> None:
        if self.ended is None:
            frame = data if binary else data.decode()
            self.sent.append((now(), frame))
            self._loop.call_later(DELAY_S, self._arrive, frame)

    def _arrive(self, frame: Frame) -> None:
        self._echo(self._phone.receive(frame, now()))

    def _echo(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._loop.call_later(DELAY_S + self.echo_delay_s, self.to_leg, frame)
        if self._ticking is not None:
            self._ticking.cancel()
        due = self._phone.next_due()
        if due is not None:
            self._ticking = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        self._echo(self._phone.tick(now()))

    def clear(self) -> None:
        """Nothing waits here."""

    def end(self, code: int, reason: str) -> None:
        self.ended = self.ended or (code, reason)

    def close(self) -> None:
        if self._ticking is not None:
            self._ticking.cancel()


class Paced(PacedLine):
    """Keeps when its sound was dropped."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.cleared_at: list[float] = []

    def clear(self) -> None:
        self.cleared_at.append(now())
        super().clear()


class Stream(Network, asyncio.Transport):
    """The same, as a stream of bytes: the transport below AudioSocket's line and intake."""

    def __init__(self, phone: Phone) -> None:
        Network.__init__(self, phone)
        self.line = Paced(self, SLIN, silence=False, came_back=lambda mark: self.leg.binary(mark))
        self._intake = Intake(self, take=self._take, refused=self._refuse)

    @property
    def connection(self) -> Connection:
        return self.line

    @property
    def cleared_at(self) -> list[float]:
        return self.line.cleared_at

    def joined(self, adapter: Adapter, lead_ms: int) -> tuple[Started, Carrier]:
        started = Started(call=self._phone.call, form=form_of(SLIN))
        return started, audiosocket_door.carrier_of(SLIN)

    def to_leg(self, frame: Frame) -> None:
        self._intake.receive(_bytes(frame))

    def _take(self, one: bytes) -> None:
        check_place(one, SLIN)
        self.leg.binary(one)

    def _refuse(self, error: Garbled) -> None:
        self.line.end(1008, str(error)[:100])

    def write(self, data: Any) -> None:
        self.put(bytes(data), binary=True)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.ended is not None

    def pause_reading(self) -> None:
        """Whoever gives frames here waits for nobody."""

    def resume_reading(self) -> None: ...

    def close(self) -> None:
        """Of the transport; and, at the end of the test, of the network."""
        self.end(*self.line.ended)
        Network.close(self)


class TracedLeg(Leg):
    """Keeps the session's events."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.events: list[wire.ServerEvent] = []

    def send(self, event: wire.ServerEvent) -> None:
        self.events.append(event)
        super().send(event)


class TracedSession(Session):
    """Keeps what it heard, and which keys were pressed."""

    heard = b""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.keys: list[str] = []

    def post(self, fact: Any) -> None:
        if isinstance(fact, KeyPressed):
            self.keys.append(fact.key)
        super().post(fact)

    def hear(self, data: bytes) -> None:
        self.heard += data
        super().hear(data)


class PhoneCall:
    def __init__(
        self,
        kit: Kit,
        *,
        starts_after_s: float = 0.0,
        config: Config = PLAIN,
        stt: EchoSTT | None = None,
        tts: ToneTTS | None = None,
    ) -> None:
        self.kit = kit
        self.phone = kit.phone(starts_after_s=starts_after_s)
        self.network = (Stream if kit.is_stream else Network)(self.phone)
        self.stt, self.llm, self.tts = stt or EchoSTT(turns=QUESTIONS), EchoLLM(), tts or ToneTTS()
        adapter = kit.adapter()
        started, carrier = self.network.joined(adapter, LEAD_MS)
        self.leg = TracedLeg(adapter, self.network.connection, started)
        self.session = TracedSession(
            "sess_test",
            config=config,
            providers=Providers(LoudnessVAD(), self.stt, self.llm, self.tts, None),
            outbox=self.leg,
            figures=metrics.Figures(),
            now=now,
            carrier=carrier,
        )
        self.network.leg = self.leg
        self.leg.attach(self.session)
        self.most_buffered_ms = 0.0

    def give(self, frame: Frame) -> None:
        self.network.to_leg(frame)

    # --- the caller -------------------------------------------------------------------------------

    async def say(self, seconds: float) -> None:
        await self.stream(self.kit.loud, seconds)

    async def hush(self, seconds: float) -> None:
        await self.stream(self.kit.silent, seconds)

    async def stream(self, sound: bytes, seconds: float) -> None:
        for _ in range(round(seconds / FRAME_S)):
            await self.pass_frame(self.phone.media(sound))

    async def pass_frame(self, frame: Frame | None) -> None:
        """20 ms, and what came in them."""
        await asyncio.sleep(FRAME_S)
        self.most_buffered_ms = max(self.most_buffered_ms, self.phone.earpiece.buffered_ms)
        if frame is not None:
            self.give(frame)

    async def hush_until(self, holds: Callable[[], Any], limit_s: float = 20.0) -> None:
        by = now() + limit_s
        while not holds():
            assert now() < by, f"not within {limit_s} s"
            await self.hush(FRAME_S)

    # --- what came of it --------------------------------------------------------------------------

    @property
    def ear(self) -> Any:
        return self.phone.earpiece

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.leg.events if isinstance(event, kind)]

    def done(self) -> list[str]:
        return [event.response.status for event in self.all(wire.ResponseDone)]

    def history(self) -> list[tuple[str, str]]:
        return [(entry.role, entry.content) for entry in self.session.conversation.messages()]

    @property
    def heard_by_session_ms(self) -> float:
        per_s = self.phone.bytes_per_s
        return len(self.session.heard) * 1000 / per_s


def _bytes(frame: Frame) -> bytes:
    return frame if isinstance(frame, bytes) else frame.encode()


def phone_call(
    kit: Kit, scenario: Callable[[PhoneCall], Awaitable[None]], **parts: Any
) -> PhoneCall:
    """Runs one call from its start to its close, and sees that nothing is left behind."""

    async def run() -> PhoneCall:
        call = PhoneCall(kit, **parts)
        call.session.open()
        await scenario(call)
        await asyncio.sleep(1.0)
        call.leg.close()
        call.network.close()
        await call.session.close()
        assert call.llm.running == call.tts.running == call.stt.open_streams == 0
        return call

    return run_virtual(run())


def spoken(call: PhoneCall) -> Iterator[str]:
    """What the agent said, by the conversation."""
    return (text for role, text in call.history() if role == "assistant")
