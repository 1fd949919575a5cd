"""Twilio, as a server sees it: one call's media stream, and the buffer that plays what comes back.

    caller's sound   media, media, …           20 ms each, numbered, with the stream's own time
    answer's sound   media ─▶ buffer ─▶ played in real time; `heard` keeps what and when
    marks            echoed when what stands before them has been played; all at once after `clear`

`TwilioStream` is pure: it is told the time. mocks/phone_call.py speaks it over sockets.
"""

import base64
import json
from collections import deque
from typing import Any

from msgspec import Struct

from mocks.phone_sound import FRAME_BYTES, FRAME_MS, RATE_HZ

BYTES_PER_S = RATE_HZ


class Heard(Struct, frozen=True):
    """Sound that came out of the telephone in one go."""

    at: float
    """When its first sample did."""
    data: bytes

    @property
    def until(self) -> float:
        return self.at + len(self.data) / BYTES_PER_S


class TwilioStream:
    """Args:
    call: The CallSid.
    parameters: As the TwiML's <Parameter>s had them.
    """

    def __init__(
        self,
        call: str,
        parameters: dict[str, str] | None = None,
        *,
        account: str = "AC" + "0" * 32,
        stream: str = "MZ" + "0" * 32,
    ) -> None:
        self.call, self.account, self.stream = call, account, stream
        self.parameters = parameters or {}
        self._sequence = self._chunk = 0
        self._at_ms = 0
        self._buffer: deque[bytes | str] = deque()
        """Sound, and the names of marks behind it."""
        self._playing_since = 0.0
        self.heard: list[Heard] = []
        self.cleared_at: list[float] = []
        self.dropped_bytes = 0
        """Of sound, by `clear`."""
        self.marks: list[str] = []
        """Echoed, in order."""
        self.wrong: list[str] = []
        """What the server sent that Twilio does not know: its error 31924 or the like."""

    # --- what Twilio sends ------------------------------------------------------------------------

    def _frame(self, event: str, **fields: Any) -> str:
        self._sequence += 1
        numbered = {"sequenceNumber": str(self._sequence), "streamSid": self.stream}
        return json.dumps({"event": event, **numbered, **fields})

    def begin(self) -> list[str]:
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

    def media(self, data: bytes) -> str:
        """The caller's next 20 ms."""
        self._chunk += 1
        media = {
            "track": "inbound",
            "chunk": str(self._chunk),
            "timestamp": str(self._at_ms),
            "payload": base64.b64encode(data).decode(),
        }
        self._at_ms += FRAME_MS * len(data) // FRAME_BYTES
        return self._frame("media", media=media)

    def lose(self, ms: int) -> None:
        """Sound that never reaches the server, with its number and its time."""
        self._chunk += ms // FRAME_MS
        self._at_ms += ms

    def press(self, digit: str) -> str:
        return self._frame("dtmf", dtmf={"track": "inbound_track", "digit": digit})

    def stop(self) -> str:
        return self._frame("stop", stop={"accountSid": self.account, "callSid": self.call})

    # --- what Twilio is sent ----------------------------------------------------------------------

    def receive(self, text: str | bytes, now: float) -> list[str]:
        """Returns:
        Frames that answer at once: echoes.
        """
        echoes = self.tick(now)
        try:
            frame = json.loads(text)
            event, stream = frame["event"], frame["streamSid"]
        except (ValueError, KeyError, TypeError):
            self.wrong.append(f"no frame of ours: {text[:80]!r}")
            return echoes
        if stream != self.stream:
            self.wrong.append(f"another stream: {stream!r}")
        elif event == "media":
            if not self._buffer:
                self._playing_since = now
            self._buffer.append(base64.b64decode(frame["media"]["payload"], validate=True))
        elif event == "mark":
            self._buffer.append(str(frame["mark"]["name"]))
            echoes += self.tick(now)
        elif event == "clear":
            echoes += self._clear(now)
        else:
            self.wrong.append(f"unknown event: {event!r}")
        return echoes

    def _clear(self, now: float) -> list[str]:
        names = [one for one in self._buffer if isinstance(one, str)]
        self.dropped_bytes += sum(len(one) for one in self._buffer if isinstance(one, bytes))
        self._buffer.clear()
        self.cleared_at.append(now)
        return [self._echo(name) for name in names]

    def tick(self, now: float) -> list[str]:
        """Plays what is due.

        Returns:
            The echoes of the marks that were reached.
        """
        echoes = []
        while self._buffer:
            first = self._buffer[0]
            if isinstance(first, str):
                echoes.append(self._echo(first))
            else:
                due = int((now - self._playing_since) * BYTES_PER_S + 1e-6)
                if due <= 0:
                    break
                self._play(first[:due])
                if due < len(first):
                    self._buffer[0] = first[due:]
                    break
            self._buffer.popleft()
        return echoes

    def _play(self, data: bytes) -> None:
        at = self._playing_since
        self._playing_since += len(data) / BYTES_PER_S
        last = self.heard[-1] if self.heard else None
        if last is not None and abs(last.until - at) < 1 / BYTES_PER_S:
            self.heard[-1] = Heard(last.at, last.data + data)
        elif data:
            self.heard.append(Heard(at, data))

    def _echo(self, name: str) -> str:
        self.marks.append(name)
        return self._frame("mark", mark={"name": name})

    def next_due(self) -> float | None:
        """When `tick` will have a mark to echo; None: none waits."""
        before = 0
        for one in self._buffer:
            if isinstance(one, str):
                return self._playing_since + before / BYTES_PER_S
            before += len(one)
        return None

    @property
    def buffered_ms(self) -> float:
        """Sound that has come and not been played, as of the last `tick`."""
        size = sum(len(one) for one in self._buffer if isinstance(one, bytes))
        return size * 1000 / BYTES_PER_S
