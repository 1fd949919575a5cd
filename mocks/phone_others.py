"""Telnyx, Vonage and Asterisk, as a server sees them: see mocks/phone.py."""

import json
from typing import Any

from mocks.phone import Frame, MediaStream, Phone
from mocks.phone_sound import FRAME_MS


class TelnyxStream(MediaStream):
    """Args:
    call: The call_control_id.
    """

    def __init__(
        self,
        call: str = "v2:7V3r4VFCGLTzKLOveE0",
        *,
        encoding: str = "PCMU",
        starts_after_s: float = 0.0,
    ) -> None:
        super().__init__(call, starts_after_s=starts_after_s)
        self._encoding = encoding

    def _numbered(self, sequence: str) -> dict[str, str]:
        return {"sequence_number": sequence, "stream_id": "32DE0DEA-53CB"}

    def begin(self) -> list[Frame]:
        start = {
            "user_id": "3E6F995F-85F7-4705-9741-53B116D28237",
            "call_control_id": self.call,
            "client_state": None,
            "media_format": {"encoding": self._encoding, "sample_rate": 8000, "channels": 1},
            "from": "+15005550006",
            "to": "+15005550001",
        }
        return [
            json.dumps({"event": "connected", "version": "1.0.0"}),
            self._frame("start", start=start),
        ]

    def press(self, digit: str) -> str:
        return self._frame("dtmf", dtmf={"digit": digit}, occurred_at="2026-01-01T00:00:00Z")

    def stop(self) -> list[Frame]:
        return [self._frame("stop", stop={"call_control_id": self.call})]

    def _put(self, data: bytes, now: float) -> list[Frame]:
        if not 20 <= len(data) * 1000 / self.bytes_per_s <= 30_000:
            raise ValueError(f"{len(data)} bytes; 20 ms to 30 s can be")
        return super()._put(data, now)


class VonageSocket(Phone):
    """Args:
    headers: As the NCCO had them.
    """

    bytes_per_s = 2 * 16_000
    silence = b"\x00"

    def __init__(
        self,
        call: str = "63f61863-4a51-4f6b-86e1-46edebcf9356",
        headers: dict[str, str] | None = None,
        *,
        starts_after_s: float = 0.0,
    ) -> None:
        super().__init__(call, starts_after_s=starts_after_s)
        self._headers = {"kaiwa_call": call} if headers is None else headers

    def begin(self) -> list[Frame]:
        connected = {"event": "websocket:connected", "content-type": "audio/l16;rate=16000"}
        return [json.dumps({**connected, **self._headers})]

    def media(self, data: bytes) -> bytes:
        return data

    def press(self, digit: str) -> str:
        return json.dumps({"event": "websocket:dtmf", "digit": digit, "duration": 260})

    def echo(self, name: str) -> list[Frame]:
        return [json.dumps({"event": "websocket:notify", "payload": {"name": name}})]

    def _take(self, frame: Frame, now: float) -> list[Frame]:
        if isinstance(frame, bytes):
            if len(frame) != self.frame_bytes:
                raise ValueError(f"{len(frame)} bytes; a frame has {self.frame_bytes}")
            return self._put(frame, now)
        told = json.loads(frame)
        match told["action"]:
            case "notify":
                return self._mark(str(told["payload"]["name"]), now)
            case "clear":
                return [*self._clear(now), json.dumps({"event": "websocket:cleared"})]
        raise ValueError(f"unknown action: {told['action']!r}")


class AsteriskChannel(Phone):
    """Args:
    call: The channel's id.
    is_json: How control messages are; else a line of text.
    has_marks: A release that has MARK_MEDIA, and tells its ptime.
    """

    def __init__(
        self,
        call: str = "pbx1-123456789.999",
        *,
        is_json: bool = True,
        has_marks: bool = True,
        starts_after_s: float = 0.0,
    ) -> None:
        super().__init__(call, starts_after_s=starts_after_s)
        self._json, self._has_marks = is_json, has_marks
        self.answered = self.hung_up = False

    def _event(self, event: str, bare: str = "", **fields: Any) -> str:
        if self._json:
            told = {"correlation_id": bare} if bare else {}
            return json.dumps({"event": event, "channel_id": self.call, **fields, **told})
        words = [f"{name}:{value}" for name, value in fields.items()]
        return " ".join([event, *([bare] if bare else []), *words])

    def begin(self) -> list[Frame]:
        fields: dict[str, Any] = {
            "connection_id": "e226e283-c90a-4ea9-9e37-389000b9ef47",
            "channel": "WebSocket/kaiwa",
            "channel_id": self.call,
            "format": "ulaw",
            "optimal_frame_size": self.frame_bytes,
        }
        if self._has_marks:
            fields["ptime"] = FRAME_MS
        else:
            fields["channel"] = self.call
            del fields["channel_id"]
        return [self._event("MEDIA_START", **fields)]

    def media(self, data: bytes) -> bytes:
        return data

    def press(self, digit: str) -> str:
        return self._event("DTMF_END", digit=digit)

    def fill(self, is_full: bool) -> str:
        return self._event("MEDIA_XOFF" if is_full else "MEDIA_XON")

    def echo(self, name: str) -> list[Frame]:
        return [self._event("MEDIA_MARK_PROCESSED", name)]

    def _take(self, frame: Frame, now: float) -> list[Frame]:
        if isinstance(frame, bytes):
            if len(frame) % self.frame_bytes or len(frame) > 65_500:
                raise ValueError(f"{len(frame)} bytes are no whole frames, or too many")
            return self._put(frame, now)
        if self._json:
            told = json.loads(frame)
            name, bare = told["command"], told.get("correlation_id", "")
        else:
            name, _, bare = frame.partition(" ")
        match name:
            case "MARK_MEDIA" if self._has_marks:
                return self._mark(bare, now)
            case "FLUSH_MEDIA":
                self._clear(now)  # its marks go with it
                return []
            case "ANSWER":
                self.answered = True
                return []
            case "HANGUP":
                self.hung_up = True
                return []
        raise ValueError(f"unknown command: {name!r}")
