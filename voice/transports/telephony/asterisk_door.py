"""Asterisk's door: HTTP Basic on the upgrade, as websocket_client.conf has it.

The operator's own telephone exchange is trusted with which call it brings; its name and password
are what keeps others out.
"""

import base64
import binascii
import hmac
from typing import Any

from voice.config import TelephonyConfig
from voice.transports.telephony.adapter import Adapter, Started
from voice.transports.telephony.asterisk import Asterisk
from voice.transports.telephony.entrance import forged, headers_of

SOCKET = "/v1/telephony/asterisk"


class AsteriskDoor:
    """Args:
    config: With a password for Asterisk.
    """

    subprotocol = "media"

    def __init__(self, config: TelephonyConfig) -> None:
        self._known = f"{config.asterisk_username}:{config.asterisk_password}".encode()

    def new_adapter(self) -> Adapter:
        return Asterisk()

    def check_upgrade(self, scope: Any) -> str:
        scheme, _, coded = headers_of(scope).get("authorization", "").partition(" ")
        try:
            brought = base64.b64decode(coded.strip(), validate=True)
        except (binascii.Error, ValueError):
            brought = b""
        if scheme.lower() != "basic" or not hmac.compare_digest(brought, self._known):
            raise forged("This upgrade bears not the name and password set for Asterisk.")
        return ""

    def check_start(self, started: Started, admitted: str) -> None:
        if not started.call:
            raise forged("MEDIA_START names no channel.")
