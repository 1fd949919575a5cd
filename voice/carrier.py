"""How a call comes in, where that changes what the session does with it.

             the client plays                      the server plays
sound        as fast as the lead allows            one frame after the other, in real time
heard        the client's reports, or the clock    marks that came back, or the clock
truncation   the client's                          ours, and the client is told
events       response.output_audio.delta           output_audio_buffer.started, .stopped, .cleared
"""

import msgspec
from msgspec import Struct

from voice.settings_fields import AudioFormat, Settings


class Target(Struct, frozen=True):
    """To whom a call is transferred."""

    name: str
    """The operator's, as the model knows it."""
    address: str
    """The operator's, too: +49…, or sip:…"""


class Carrier(Struct, frozen=True):
    name: str = "websocket"
    """For logs and metrics: websocket, webrtc, twilio, sip, …"""
    listens: AudioFormat | None = None
    """What `Session.hear` is given, whatever the client's settings say; None: as they say."""
    speaks: AudioFormat | None = None
    """What `Outbox.sound` is given, whatever the client's settings say; None: as they say."""
    plays: bool = False
    """The server owns the playout."""
    lead_ms: int | None = None
    """Sound is given so far ahead of what the caller hears; None: `playout.lead_ms`. What was given
    is heard while an answer is held back."""

    hangs_up: bool = True
    """Whether `Outbox.end` ends the caller's call, too: what the model's `hang_up` needs."""
    transfers: bool = False
    """Whether it can give the caller to somebody else: `Session` is given `transfer` then."""

    def fixed(self, chosen: Settings) -> Settings:
        """The settings as the session follows them; the client's echo stays as it was."""
        spoken_in, spoken_out = chosen.audio.input, chosen.audio.output
        if self.listens is not None:
            spoken_in = msgspec.structs.replace(spoken_in, format=self.listens)
        if self.speaks is not None:
            spoken_out = msgspec.structs.replace(spoken_out, format=self.speaks)
        audio = msgspec.structs.replace(chosen.audio, input=spoken_in, output=spoken_out)
        return msgspec.structs.replace(chosen, audio=audio)


WEBSOCKET = Carrier()
