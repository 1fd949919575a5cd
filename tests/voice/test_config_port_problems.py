"""Ports that two doors would take."""

import json
from pathlib import Path
from typing import Any

import pytest

from voice.config import Config, load
from voice.config_port_problems import port_problems
from voice.errors import ConfigError

KEYS = {"api_keys": ["0123456789abcdef"]}


def written(folder: Path, **sections: Any) -> Path:
    file = folder / "kaiwa.yaml"
    file.write_text(json.dumps({"profile": "mock", **sections}), "utf-8")
    return file


def problem(folder: Path, **sections: Any) -> str:
    with pytest.raises(ConfigError) as wrong:
        load(file=written(folder, **sections), environment={})
    return str(wrong.value)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        (
            {"webrtc": {"ports": "20100-20299"}, "sip": {"enabled": True}},
            "webrtc.ports: 20100-20299 overlaps sip.rtp_ports (20000-20199, UDP as well); take "
            "another, such as 20200-20399",
        ),
        (
            {"webrtc": {"ports": "5000-5100"}, "sip": {"enabled": True}},
            "webrtc.ports: 5000-5100 overlaps sip.port (5060, UDP as well); take another, such as "
            "5062-5162",
        ),
        (
            {"webrtc": {"ports": "50000-50199"}, "sip": {"enabled": True, "port": 50_199}},
            "webrtc.ports: 50000-50199 overlaps sip.port (50199",
        ),
        (
            {"sip": {"enabled": True, "port": 20_010}},
            "sip.port: 20010 is taken by sip.rtp_ports (20000-20199, UDP as well); take another, "
            "such as 20200",
        ),
        (
            {"sip": {"enabled": True}, "telephony": {"audiosocket_port": 5060}},
            "telephony.audiosocket_port: 5060 is taken by sip.port (5060, TCP as well); take "
            "another, such as 5061",
        ),
        (
            {"telephony": {"audiosocket_port": 8000}},
            "telephony.audiosocket_port: 8000 is taken by server.port (8000, TCP as well)",
        ),
        (
            {"sip": {"enabled": True, "port": 65_535}, "server": {"port": 65_535}},
            "sip.port: 65535 is taken by server.port (65535, TCP as well); take another, such as "
            "65534",
        ),
    ],
)
def test_two_doors_at_one_port_are_told_with_another(
    sections: dict[str, Any], told: str, tmp_path: Path
) -> None:
    assert told in problem(tmp_path, **sections)


@pytest.mark.parametrize(
    "sections",
    [
        {"webrtc": {"ports": "20100-20299"}},  # SIP is off
        {"webrtc": {"ports": "20100-20299", "enabled": False}, "sip": {"enabled": True}},
        {"webrtc": {"ports": "8000-8199"}},  # UDP, and the server's is TCP
        {"webrtc": {"ports": "20200-20399"}, "sip": {"enabled": True}},
        {"sip": {"enabled": True, "port": 8000, "tcp": False}},
        {"sip": {"enabled": True, "port": 0, "rtp_ports": ""}},
        {"telephony": {"audiosocket_port": 0}, "server": {"port": 0}},
        {
            "telephony": {"audiosocket_port": 8000, "audiosocket_host": "127.0.0.1"},
            "server": {"host": "192.0.2.7", **KEYS},
        },
    ],
)
def test_what_can_be_at_once_is_taken(sections: dict[str, Any], tmp_path: Path) -> None:
    load(file=written(tmp_path, **sections), environment={})


def test_what_is_set_by_default_is_free_of_them() -> None:
    assert list(port_problems(Config())) == []


def test_every_one_is_told_at_once(tmp_path: Path) -> None:
    told = problem(
        tmp_path,
        webrtc={"ports": "20000-20010", "turn_secret": "x"},
        sip={"enabled": True, "port": 20_004, "rtp_ports": "20000-20003"},
        telephony={"audiosocket_port": 20_004, "vonage_signature_secret": "x"},
    )
    paths = [line.partition(":")[0] for line in told.splitlines()]
    for path, count in {
        "webrtc.ports": 2,  # with sip.rtp_ports, sip.port
        "webrtc.ice_servers": 1,
        "webrtc.turn_secret": 1,
        "sip.rtp_ports": 1,  # too small
        "sip.port": 1,  # with telephony.audiosocket_port
        "telephony.vonage_signature_secret": 1,
    }.items():
        assert paths.count(path) == count, told
