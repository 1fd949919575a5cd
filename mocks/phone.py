"""Telephone providers, as a server sees them: one call's media connection, and what is heard on it.

    caller's sound   20 ms each, numbered where the provider does    begin, media, press, stop
    answer's sound   into an Earpiece, which plays it                receive, tick
    marks            echoed when what stands before them has been played; after `clear` at once

Pure: they are told the time. Text frames are str, binary ones bytes. Here is what they share, and
Twilio; the others are in mocks/phone_others.py. mocks/phone_call.py speaks Twilio's over sockets.
"""

import base64
import json
from abc import ABC, abstractmethod
from typing import Any

from mocks.earpiece import Earpiece
from mocks.phone_sound import FRAME_MS, RATE_HZ, SILENCE

Frame = str | bytes


class Phone(ABC):
    """What they share.

    Args:
        call: The provider's name of the call.
        starts_after_s: What the provider holds back before it plays.
    """

    bytes_per_s = RATE_HZ
    """Of both directions' coding."""
    silence = SILENCE
    """Of a byte's length, in that coding."""

    @property
    def frame_bytes(self) -> int:
        """Of 20 ms."""
        return self.bytes_per_s * FRAME_MS // 1000

    def __init__(self, call: str, *, starts_after_s: float = 0.0) -> None:
        self.call = call
        self.earpiece = Earpiece(self.bytes_per_s, starts_after_s)
        self.wrong: list[str] = []
        """What the server sent that this provider does not know, and would hang up for."""

    # --- what the provider sends ------------------------------------------------------------------

    @abstractmethod
    def begin(self) -> list[Frame]: ...

    @abstractmethod
    def media(self, data: bytes) -> Frame:
        """The caller's next 20 ms."""

    def lose(self, ms: int) -> None:  # noqa: B027  # who numbers nothing has nothing to skip
        """Sound that never reaches the server, with its number and its time."""

    @abstractmethod
    def press(self, digit: str) -> Frame: ...

    def stop(self) -> list[Frame]:
        """Before the connection is closed."""
        return []

    @abstractmethod
    def echo(self, name: str) -> list[Frame]:
        """Of a mark; empty: it has none."""

    # --- what the server sends --------------------------------------------------------------------

    def receive(self, frame: Frame, now: float) -> list[Frame]:
        """Returns:
        Frames that answer at once: echoes.
        """
        echoes = self.tick(now)
        try:
            return echoes + self._take(frame, now)
        except (ValueError, KeyError, TypeError) as error:
            self.wrong.append(f"{error!r} in {frame[:80]!r}")
            return echoes

    @abstractmethod
    def _take(self, frame: Frame, now: float) -> list[Frame]:
        """Raises:
        ValueError, KeyError, TypeError: It is none of this provider's.
        """

    def tick(self, now: float) -> list[Frame]:
        """Plays what is due; echoes the marks that were reached."""
        return self._echoes(self.earpiece.play(now))

    def next_due(self) -> float | None:
        """When `tick` will have a mark to echo; None: none waits."""
        return self.earpiece.next_due()

    def _put(self, data: bytes, now: float) -> list[Frame]:
        self.earpiece.put(data, now)
        return []

    def _mark(self, name: str, now: float) -> list[Frame]:
        self.earpiece.mark(name)
        return self.tick(now)

    def _clear(self, now: float) -> list[Frame]:
        return self._echoes(self.earpiece.clear(now))

    def _echoes(self, names: list[str]) -> list[Frame]:
        return [frame for name in names for frame in self.echo(name)]


class MediaStream(Phone):
    """Twilio's frames, and those of whoever took them over."""

    def __init__(self, call: str, *, starts_after_s: float) -> None:
        super().__init__(call, starts_after_s=starts_after_s)
        self._sequence = self._chunk = self._at_ms = 0

    @abstractmethod
    def _numbered(self, sequence: str) -> dict[str, str]:
        """What every frame but the first begins with."""

    def _frame(self, event: str, **fields: Any) -> str:
        self._sequence += 1
        return json.dumps({"event": event, **self._numbered(str(self._sequence)), **fields})

    def media(self, data: bytes) -> str:
        self._chunk += 1
        media = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str(self._at_ms),
            "payload": base64.b64encode(data).decode(),
        }
        self._at_ms += len(data) * 1000 // RATE_HZ
        return self._frame("media", media=media)

    def lose(self, ms: int) -> None:
        self._chunk += ms // FRAME_MS
        self._at_ms += ms

    def echo(self, name: str) -> list[Frame]:
        return [self._frame("mark", mark={"name": name})]

    def _take(self, frame: Frame, now: float) -> list[Frame]:
        told = json.loads(frame)
        match told["event"]:
            case "media":
                return self._put(base64.b64decode(told["media"]["payload"], validate=True), now)
            case "mark":
                return self._mark(str(told["mark"]["name"]), now)
            case "clear":
                return self._clear(now)
        raise ValueError(f"unknown event: {told['event']!r}")


class TwilioStream(MediaStream):
    """Args:
    call: The CallSid.
    parameters: As the TwiML's <Parameter>s had them.
    """

    def __init__(
        self,
        call: str = "CA" + "0" * 32,
        parameters: dict[str, str] | None = None,
        *,
        account: str = "AC" + "0" * 32,
        stream: str = "MZ" + "0" * 32,
        starts_after_s: float = 0.0,
    ) -> None:
        super().__init__(call, starts_after_s=starts_after_s)
        self.account, self.stream = account, stream
        self.parameters = parameters or {}

    def _numbered(self, sequence: str) -> dict[str, str]:
        return {"sequenceNumber": sequence, "streamSid": self.stream}

    def begin(self) -> list[Frame]:
        connected = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        start = {
            "accountSid": self.account,
            "streamSid": self.stream,
            "callSid": self.call,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": RATE_HZ, "channels": 1},
            "customParameters": self.parameters,
        }
        return [json.dumps(connected), self._frame("start", start=start)]

    def press(self, digit: str) -> str:
        return self._frame("dtmf", dtmf={"track": "inbound_track", "digit": digit})

    def stop(self) -> list[Frame]:
        return [self._frame("stop", stop={"accountSid": self.account, "callSid": self.call})]

    def _take(self, frame: Frame, now: float) -> list[Frame]:
        stream = json.loads(frame)["streamSid"]
        if stream != self.stream:
            raise ValueError(f"another stream: {stream!r}")
        return super()._take(frame, now)
