"""A telephone call as Twilio carries it: sound goes up, and a buffer plays what comes down.

    media ─▶ |####m####m###|  played in real time; each mark is echoed when it is reached
    clear ─▶ |             |  and its marks at once

Twilio knows no answers, only sound. So an answer begins with the first sound into an empty buffer,
and is over when the buffer has been empty for ANSWER_GAP_S; `clear` ends it at once. A server that
leaves a longer gap in an answer is told to have given two.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from voice.bench.config import BenchError
from voice.bench.messages import plain_frame
from voice.bench.tongue import NOTHING, Heard, Sound
from voice.bench.wire_events import ServerEvent, WireResponse

RATE_HZ = 8000
SILENCE = b"\xff"
"""μ-law."""
ANSWER_GAP_S = 0.6
STALL_S = 0.1
"""Between two frames of a caller: the generator was held up, and what came meanwhile is not read
yet. An empty buffer says nothing then."""


class WayIn(msgspec.Struct, frozen=True):
    """What the TwiML of the webhook says, and how the upgrade is signed."""

    parameters: dict[str, str]
    headers: dict[str, str]
    call: str
    account: str
    stream: str


class _Media(msgspec.Struct, frozen=True):
    payload: str


class _Mark(msgspec.Struct, frozen=True):
    name: str


class _Frame(msgspec.Struct, frozen=True):
    event: str
    media: _Media | None = None
    mark: _Mark | None = None


_decoder = msgspec.json.Decoder(_Frame)


class Phone:
    """Args:
    sound: Frames of 20 ms in base64, which all callers share.
    frame_ms: Of sound in each.
    """

    bytes_per_second = RATE_HZ
    silence_ms: float | None = None

    def __init__(self, sound: Sound, way: WayIn, frame_ms: int) -> None:
        self._speech = [text.decode() for text in sound.speech]
        self._background = [text.decode() for text in sound.background]
        self._way, self._frame_ms = way, frame_ms
        self.headers = way.headers
        self.ready = False
        self._sequence = self._chunk = 0
        self._plays_until = 0.0
        self._ticked_at = self._awake_since = 0.0
        self._marks: deque[tuple[float, str]] = deque()
        self._answers = 0
        self._answering = False

    # --- up ---------------------------------------------------------------------------------------

    def begin(self) -> Sequence[bytes]:
        self.ready = True
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        start = {
            "accountSid": self._way.account,
            "streamSid": self._way.stream,
            "callSid": self._way.call,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE_HZ, "channels": 1},
            "customParameters": self._way.parameters,
        }
        return [plain_frame(msgspec.json.encode(connected)), self._event("start", start)]

    def _event(self, event: str, body: Any) -> bytes:
        self._sequence += 1
        frame = {
            "event": event,
            "sequenceNumber": str(self._sequence),
            "streamSid": self._way.stream,
            event: body,
        }
        return plain_frame(msgspec.json.encode(frame))

    def speech(self, frame: int) -> bytes:
        return self._media(self._speech[frame])

    def background(self, frame: int) -> bytes:
        return self._media(self._background[frame % len(self._background)])

    def _media(self, payload: str) -> bytes:
        at_ms = self._chunk * self._frame_ms
        self._sequence += 1
        self._chunk += 1
        return plain_frame(
            f'{{"event":"media","sequenceNumber":"{self._sequence}","streamSid":'
            f'"{self._way.stream}","media":{{"track":"inbound","chunk":"{self._chunk}",'
            f'"timestamp":"{at_ms}","payload":"{payload}"}}}}'.encode()
        )

    def say(self, message: dict[str, Any]) -> None:
        return None

    def goodbye(self) -> Sequence[bytes]:
        return [self._event("stop", {"accountSid": self._way.account, "callSid": self._way.call})]

    # --- down -------------------------------------------------------------------------------------

    def receive(self, message: bytes, now: float) -> Heard:
        try:
            frame = _decoder.decode(message)
        except msgspec.DecodeError as error:
            raise BenchError(f"the server sent what Twilio does not know: {error}") from None
        if frame.event == "media" and frame.media is not None:
            return Heard(self._sound(frame.media.payload, now))
        if frame.event == "mark" and frame.mark is not None:
            self._marks.append((max(now, self._plays_until), frame.mark.name))
            return Heard(answers=self._echoes(now))
        if frame.event == "clear":
            return self._clear(now)
        raise BenchError(f"the server sent what Twilio does not know: {frame.event!r}")

    def _sound(self, payload: str, now: float) -> list[tuple[ServerEvent, float]]:
        events = self._over(now)
        if not self._answering:
            self._answering = True
            self._answers += 1
            created = ServerEvent("response.created", response=self._response("in_progress"))
            events.append((created, now))
        size = len(payload) * 3 // 4 - payload[-2:].count("=")
        self._plays_until = max(now, self._plays_until) + size / RATE_HZ
        name = self._name
        sounded = ServerEvent(
            "response.output_audio.delta", response_id=name, item_id=name, delta=payload
        )
        events.append((sounded, now))
        return events

    def _clear(self, now: float) -> Heard:
        echoes = [self._echo(name) for _, name in self._marks]
        self._marks.clear()
        self._plays_until = now
        events = [(ServerEvent("clear"), now)]
        if self._answering:
            events.append((self._done("cancelled"), now))
        return Heard(events, echoes)

    def tick(self, now: float) -> Heard:
        if now - self._ticked_at > STALL_S:
            self._awake_since = now
        self._ticked_at = now
        echoes, events = self._echoes(now), self._over(now)
        return Heard(events, echoes) if echoes or events else NOTHING

    def _over(self, now: float) -> list[tuple[ServerEvent, float]]:
        """The answer, when nothing more has come for too long; it was when its sound was."""
        empty_since = max(self._plays_until, self._awake_since)
        if not self._answering or now < empty_since + ANSWER_GAP_S:
            return []
        return [(self._done("completed"), self._plays_until)]

    def _done(self, status: str) -> ServerEvent:
        self._answering = False
        return ServerEvent("response.done", response=self._response(status))

    @property
    def _name(self) -> str:
        return f"answer {self._answers}"

    def _response(self, status: str) -> WireResponse:
        return WireResponse(self._name, status)

    def _echoes(self, now: float) -> list[bytes]:
        echoes = []
        while self._marks and self._marks[0][0] <= now:
            echoes.append(self._echo(self._marks.popleft()[1]))
        return echoes

    def _echo(self, name: str) -> bytes:
        return self._event("mark", {"name": name})
