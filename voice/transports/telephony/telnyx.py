"""Telnyx media streaming, bidirectional in mode rtp: G.711, μ-law or A-law.

Like Twilio's, with snake_case names and no stream's name in what is sent back. The order of media
is not guaranteed; their numbers tell it.

Source: https://developers.telnyx.com/api-reference/websockets/stream-call-media-over-websocket
"""

import msgspec
from msgspec import Struct

from voice.settings_fields import AudioFormat
from voice.transports.telephony.adapter import Started, Unsupported
from voice.transports.telephony.media_stream import Frame, MediaStream

_FORMS = {"PCMU": AudioFormat(type="audio/pcmu"), "PCMA": AudioFormat(type="audio/pcma")}


class _Format(Struct, frozen=True):
    encoding: str = ""
    sample_rate: int = 0
    channels: int = 1


class _Start(Struct):
    call_control_id: str
    media_format: _Format = _Format()


class Telnyx(MediaStream[_Start]):
    name = "telnyx"
    decoder = msgspec.json.Decoder(Frame[_Start], strict=False)

    def started(self, start: _Start) -> Started:
        coded = start.media_format
        form = _FORMS.get(coded.encoding.upper())
        if form is None or (coded.sample_rate, coded.channels) != (8000, 1):
            raise Unsupported(
                f"sound comes as {coded.encoding} at {coded.sample_rate} Hz in {coded.channels} "
                "channels; it must be PCMU or PCMA at 8000 Hz in one: set the stream's codec"
            )
        return Started(call=start.call_control_id, form=form)
