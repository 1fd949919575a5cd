"""What an offer must have, and what our answer asks for and names."""

from typing import Any

from aiortc import RTCIceServer, RTCRtpCodecCapability, RTCRtpSender
from aiortc.sdp import SessionDescription

from voice.errors import KaiwaError

SPOKEN = ("audio/opus", "audio/pcmu", "audio/pcma")
OPUS_TERMS = "minptime=10;useinbandfec=1"
"""What we ask of the far end's coder: copies of what is lost."""


class OfferError(KaiwaError):
    """An offer that no answer fits."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def ice_server(given: Any) -> RTCIceServer:
    """One of the operator's, as a browser's `iceServers` writes it."""
    return RTCIceServer(**given) if isinstance(given, dict) else given


def best_codec(offered: SessionDescription) -> RTCRtpCodecCapability:
    """Of what is offered, what we speak: one, so that every packet is on the same clock.

    Raises:
        OfferError: There is nothing to talk over.
    """
    spoken = [one for one in offered.media if one.kind == "audio"]
    if len(spoken) != 1:
        message = f"The offer must have one audio section (m=audio), got {len(spoken)}."
        raise OfferError("no_audio", message)
    if any(one.dtls is None or not one.dtls.fingerprints for one in offered.media):
        raise OfferError("bad_offer", "Each section of the offer needs an a=fingerprint line.")
    names = {one.mimeType.lower() for one in spoken[0].rtp.codecs}
    for wanted in SPOKEN:
        if wanted in names:
            known = RTCRtpSender.getCapabilities("audio").codecs
            return next(one for one in known if one.mimeType.lower() == wanted)
    message = "The offer's audio section must name Opus, PCMU or PCMA."
    raise OfferError("no_common_codec", message)


def with_opus_terms(sdp: str) -> str:
    """The answer, asking for copies where it names Opus. aiortc leaves the line out."""
    lines = []
    for line in sdp.splitlines():
        lines.append(line)
        if line.lower().startswith("a=rtpmap:") and " opus/" in line.lower():
            number = line[len("a=rtpmap:") :].split()[0]
            lines.append(f"a=fmtp:{number} {OPUS_TERMS}")
    return "\r\n".join(lines) + "\r\n"


def codecs_of(answer_sdp: str) -> dict[int, str]:
    """Payload types of our answer, and what they stand for: "audio/opus"."""
    media = SessionDescription.parse(answer_sdp).media
    spoken = next(one for one in media if one.kind == "audio")
    return {one.payloadType or 0: one.mimeType.lower() for one in spoken.rtp.codecs}
