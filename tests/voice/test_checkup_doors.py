"""Which doors `kaiwa doctor` looks at: those that are open."""

import asyncio
from typing import Any

import pytest

from voice.checkup_doors import door_checks
from voice.config import Config, TelephonyConfig
from voice.config_calls import SipConfig, WebrtcConfig


def looked_at(**sections: Any) -> list[str]:
    """What there is a row for."""

    async def scenario() -> list[str]:
        checks = door_checks(Config(**sections))
        found = await asyncio.gather(*(check for _, _, check in checks))
        return [finding.what for findings in found for finding in findings]

    return asyncio.run(scenario())


OFF = WebrtcConfig(enabled=False, ports="50000-50001", ice_servers=("stun:127.0.0.1:9",))


def test_of_doors_that_are_shut_there_is_nothing_to_tell() -> None:
    assert looked_at(webrtc=OFF) == []


def test_by_default_calls_come_over_webrtc() -> None:
    assert looked_at() == ["libopus", "WebRTC ports", "WebRTC address"]


@pytest.mark.parametrize("codec", ["opus", "pcmu"])
def test_sip_wants_libopus_where_it_speaks_opus(codec: Any) -> None:
    sip = SipConfig(enabled=True, port=0, rtp_ports="", codecs=(codec,))
    rows = looked_at(webrtc=OFF, sip=sip)
    assert rows == [*(["libopus"] if codec == "opus" else []), "SIP port", "SIP sound ports"]


def test_audiosocket_is_looked_at_where_it_has_a_port() -> None:
    assert looked_at(webrtc=OFF, telephony=TelephonyConfig(audiosocket_port=0)) == [
        "AudioSocket port"
    ]
