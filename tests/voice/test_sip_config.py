"""Settings of the SIP leg that contradict themselves, or the machine."""

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.served import Hosted, written
from voice.config import ENVIRONMENT, load, shown
from voice.errors import ConfigError
from voice.transports.sip.door import SipDoor


def problem(**sip: Any) -> str:
    names = {setting: name for name, (section, setting) in ENVIRONMENT.items() if section == "sip"}
    variables = {names[key]: value for key, value in sip.items()}
    try:
        load(environment=variables)
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("settings", "path", "remedy"),
    [
        ({"host": "localhost"}, "sip.host", "192.168.1.10"),
        ({"public_address": "0.0.0.0"}, "sip.public_address", "callers reach"),
        ({"rtp_ports": "20100-20000"}, "sip.rtp_ports", "FIRST-LAST"),
        ({"rtp_ports": "80-90"}, "sip.rtp_ports", "1024"),
        ({"rtp_ports": "20000"}, "sip.rtp_ports", "FIRST-LAST"),
        ({"peers": "0.0.0.0/0"}, "sip.peers", "KAIWA_SIP_PASSWORD"),
        ({"peers": "home"}, "sip.peers", "192.168.0.0/16"),
        ({"username": "alice"}, "sip.password", "is needed"),
        ({"username": "alice", "password": "short"}, "sip.password", "8 characters"),
        ({"registrar": "fritz.box"}, "sip.extension", "our user name"),
        ({"registrar": "fritz.box:sip", "extension": "1"}, "sip.registrar", "fritz.box"),
        ({"registrar": "fritz.box:70000", "extension": "1"}, "sip.registrar", "fritz.box"),
        ({"registrar": ":5060", "extension": "1"}, "sip.registrar", "fritz.box"),
        ({"registrar": "192.168.1.300", "extension": "1"}, "sip.registrar", "can be no machine's"),
        ({"registrar": "my fritz box", "extension": "1"}, "sip.registrar", "can be no machine's"),
        ({"registrar": "1@fritz.box", "extension": "1"}, "sip.registrar", "mean fritz.box?"),
        (
            {"registrar": "https://pbx", "extension": "1"},
            "sip.registrar",
            "such as fritz.box",
        ),
        (
            {"enabled": "true", "rtp_ports": "20001-20010"},
            "sip.rtp_ports",
            "enough for 4 calls, two ports each, and sip.most_calls is 20; take 40 ports, such as "
            "20002-20041, or set KAIWA_SIP_MOST_CALLS=4",
        ),
        ({"enabled": "true", "rtp_ports": "65534-65535"}, "sip.rtp_ports", "65496-65535"),
        ({"enabled": "true", "extension": "1"}, "sip.registrar", "KAIWA_SIP_REGISTRAR"),
        (
            {"enabled": "true", "registrar": "fritz.box", "extension": "1"},
            "sip.host",
            "KAIWA_SIP_HOST=0.0.0.0",
        ),
        (
            {"enabled": "true", "registrar": "localhost", "extension": "1"},
            "sip.registrar",
            "KAIWA_SIP_PORT",
        ),
        (
            {"enabled": "true", "host": "10.0.0.7", "registrar": "10.0.0.7", "extension": "1"},
            "sip.registrar",
            "is this server itself",
        ),
        (
            {"enabled": "true", "public_address": "203.0.113.5"},
            "sip.host",
            "KAIWA_SIP_HOST=0.0.0.0",
        ),
        (
            {"enabled": "true", "host": "::", "public_address": "203.0.113.5"},
            "sip.public_address",
            "both IPv4",
        ),
        ({"port": "70000"}, "sip.port", "65535"),
    ],
)
def test_what_cannot_be_is_named_with_its_remedy(
    settings: dict[str, str], path: str, remedy: str
) -> None:
    told = problem(**settings)
    assert told.startswith(path) and remedy in told


def test_a_codec_that_is_named_twice_and_peers_that_are_none_are_told(tmp_path: Path) -> None:
    settings = {"enabled": True, "codecs": ["pcmu", "opus", "pcmu"], "peers": []}
    with pytest.raises(ConfigError) as wrong:
        load(file=written(tmp_path, {"sip": settings}), environment={})
    assert "sip.codecs: names pcmu twice" in str(wrong.value)
    assert "sip.peers: is empty" in str(wrong.value)


def test_a_codec_that_there_is_not_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sip\.codecs\[0\]: must be one of opus, g722"):
        load(file=written(tmp_path, {"sip": {"codecs": ["g729"]}}), environment={})


@pytest.mark.parametrize(
    "settings",
    [
        {"peers": "10.0.0.0/8,203.0.113.0/24"},
        {"peers": "0.0.0.0/0", "username": "alice", "password": "correct horse"},
        {"rtp_ports": "30000-30001", "host": "::1"},
        {"registrar": "fritz.box", "extension": "kaiwa"},
        {"enabled": "true", "rtp_ports": "30000-30001", "most_calls": "1"},
        {"enabled": "true", "rtp_ports": "30000-30038", "most_calls": "19"},
        {"enabled": "true", "registrar": "127.0.0.1:5070", "extension": "kaiwa"},
        {"enabled": "true", "host": "::", "registrar": "büro-pbx.local.", "extension": "kaiwa"},
    ],
)
def test_what_can_be_is_taken(settings: dict[str, str]) -> None:
    assert problem(**settings) == ""


def test_passwords_are_shown_to_nobody() -> None:
    assert shown("sip.password", "correct horse") == "set"
    assert shown("sip.extension_password", "") == ""


def test_a_port_that_somebody_has_is_told_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        sip = {"enabled": True, "port": other.getsockname()[1]}
        config = written(tmp_path, {"sip": sip})
        serve = [sys.executable, "-m", "voice.cli", "serve", "--port", "0", "--config", str(config)]
        ended = subprocess.run(serve, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert "sip.port: 127.0.0.1" in ended.stderr and "KAIWA_SIP_PORT" in ended.stderr


def test_it_is_off_until_it_is_asked_for(hosting: Callable[..., Hosted]) -> None:
    assert not any(isinstance(port, SipDoor) for port in hosting().ports)
