"""The settings of the doors beside the WebSocket: WebRTC, telephone providers, SIP."""

from msgspec import Struct


class WebrtcConfig(Struct, frozen=True, forbid_unknown_fields=True):
    enabled: bool = True
    """Whether `POST /v1/realtime/calls` takes offers."""


class TelephonyConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's door is open where its secrets are set."""


class SipConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """Telephones that call without a provider."""
