"""Twilio Media Streams, bidirectional: μ-law at 8 kHz.

Marks are echoed all at once after `clear`. Closing the connection goes on with the TwiML behind
<Connect>.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages
"""

import msgspec
from msgspec import Struct

from voice.settings_fields import AudioFormat
from voice.transports.telephony.adapter import STARTED_TWICE, Garbled, Started, Unsupported
from voice.transports.telephony.media_stream import Frame, MediaStream

ULAW = AudioFormat(type="audio/pcmu")


class _Format(Struct, frozen=True):
    encoding: str = ""
    sampleRate: int = 0
    channels: int = 1


class _Start(Struct):
    callSid: str
    streamSid: str
    accountSid: str = ""
    mediaFormat: _Format = _Format()
    customParameters: dict[str, str] = {}


class Twilio(MediaStream[_Start]):
    name = "twilio"
    decoder = msgspec.json.Decoder(Frame[_Start], strict=False)

    def started(self, start: _Start) -> Started:
        if self.address:
            raise Garbled(STARTED_TWICE)
        form = start.mediaFormat
        if (form.encoding, form.sampleRate, form.channels) != ("audio/x-mulaw", 8000, 1):
            raise Unsupported(
                f"sound comes as {form.encoding} at {form.sampleRate} Hz in {form.channels} "
                "channels; it must be audio/x-mulaw at 8000 Hz in one"
            )
        self.address = {"streamSid": start.streamSid}
        return Started(
            call=start.callSid,
            form=ULAW,
            account=start.accountSid,
            parameters=start.customParameters,
        )
