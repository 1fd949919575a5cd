"""Asterisk's chan_websocket: sound is binary, commands and events are JSON or a line of text.

    Dial(WebSocket/kaiwa/c(ulaw)f(json))    Asterisk 20.18, 22.8, 23.2 and later
    Dial(WebSocket/kaiwa/c(ulaw))           from 20.16, 21.11, 22.6, 23.0: plain text, marks or not

Asterisk paces what it is sent, and takes whole frames of `optimal_frame_size`; sound is sent in
multiples of that, so its buffering commands, for pieces of any length, are not needed. It says XOFF
when 18 s wait, which the carrier's lead never comes near.

Source: https://docs.asterisk.org/Configuration/Channel-Drivers/WebSocket/
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from voice.settings_fields import AudioFormat
from voice.transports.telephony.adapter import (
    STARTED_TWICE,
    Fact,
    Full,
    Garbled,
    Media,
    Played,
    Started,
    Unsupported,
    key_of,
    read_json,
)

_FORMS = {
    "ulaw": AudioFormat(type="audio/pcmu"),
    "alaw": AudioFormat(type="audio/pcma"),
    "slin": AudioFormat(type="audio/pcm", rate=8000),
    "slin16": AudioFormat(type="audio/pcm", rate=16_000),
    "slin24": AudioFormat(type="audio/pcm", rate=24_000),
}
PTIME_MS = 20
LONGEST_PTIME_MS = 200


class _Event(Struct):
    event: str
    connection_id: str = ""
    channel: str = ""
    channel_id: str = ""
    format: str = ""
    ptime: int = 0
    digit: str = ""
    correlation_id: str = ""


_decoder = msgspec.json.Decoder(_Event, strict=False)
_encode = msgspec.json.encode


class Asterisk:
    name = "asterisk"
    sound_is_binary = True

    def __init__(self) -> None:
        self.piece_ms, self.most_ms = PTIME_MS, 10 * PTIME_MS
        self._is_started = self._json = self._marks = False
        self._sample_bytes = 1

    def read(self, data: bytes, *, binary: bool) -> Sequence[Fact]:
        if binary:
            if len(data) % self._sample_bytes:
                raise Garbled(f"{len(data)} bytes are no whole number of 16-bit samples")
            return [Media(data)]
        is_json = data.lstrip().startswith(b"{")
        event = read_json(_decoder, data) if is_json else _read_line(data)
        match event.event:
            case "MEDIA_START":
                return [self._started(event, is_json)]
            case "DTMF_END":
                return key_of(event.digit)
            case "MEDIA_MARK_PROCESSED":
                return [Played(event.correlation_id)]
            case "MEDIA_XOFF" | "MEDIA_XON":
                return [Full(event.event == "MEDIA_XOFF")]
        return []

    def _started(self, event: _Event, is_json: bool) -> Started:
        if self._is_started:
            raise Garbled(STARTED_TWICE)
        form = _FORMS.get(event.format)
        if form is None:
            raise Unsupported(
                f"sound comes as {event.format[:20]!r}; it must be one of {', '.join(_FORMS)}: "
                "Dial(WebSocket/…/c(ulaw))"
            )
        self._is_started, self._json = True, is_json
        self._marks = event.ptime > 0  # both came with the same releases
        ptime_ms = event.ptime or PTIME_MS
        if not 0 < ptime_ms <= LONGEST_PTIME_MS:
            raise Unsupported(f"a frame is {event.ptime} ms; 1 to {LONGEST_PTIME_MS} can be")
        self.piece_ms, self.most_ms = ptime_ms, 10 * ptime_ms
        self._sample_bytes = 2 if form.type == "audio/pcm" else 1
        return Started(
            call=event.channel_id or event.channel or event.connection_id,
            form=form,
        )

    def begin(self) -> Sequence[bytes]:
        """For channels dialled with n: others are answered already."""
        return [self._command("ANSWER")]

    def sound(self, payload: bytes) -> bytes:
        return payload

    def mark(self, name: str) -> bytes | None:
        return self._command("MARK_MEDIA", name) if self._marks else None

    def clear(self) -> bytes:
        return self._command("FLUSH_MEDIA")

    def hang_up(self) -> bytes:
        return self._command("HANGUP")

    def _command(self, name: str, correlation_id: str = "") -> bytes:
        if not self._json:
            return f"{name} {correlation_id}".strip().encode()
        command = {"command": name}
        if correlation_id:
            command["correlation_id"] = correlation_id
        return _encode(command)


def _read_line(data: bytes) -> _Event:
    """`EVENT name:value name:value`; some events have a bare id behind their name.

    Raises:
        Garbled: It is no such line.
    """
    try:
        name, *rest = data.decode().split()
    except ValueError:  # not UTF-8, too, is one
        raise Garbled("an empty line, or none of text") from None
    if not name.replace("_", "").isalpha() or not name.isupper():
        raise Garbled(f"no event's name: {name[:30]!r}")
    fields = dict(part.split(":", 1) for part in rest if ":" in part)
    bare = next((part for part in rest if ":" not in part), "")
    fields.setdefault("correlation_id", bare)
    try:
        return msgspec.convert({**fields, "event": name}, _Event, strict=False)
    except msgspec.ValidationError as error:
        raise Garbled(str(error)) from None
