"""What `kaiwa doctor` says of the SIP leg's ports, which are taken for real."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from tests.served import Hosted
from tests.softphone_calls import door, sip
from voice.checkup_machine import Finding
from voice.checkup_sip import idle_found, sip_port_found, sound_ports_found
from voice.config import Config, ServerConfig
from voice.config_calls import SipConfig


def config(**sip: Any) -> Config:
    return Config(
        server=ServerConfig(port=1),  # where no Kaiwa serves
        sip=SipConfig(enabled=True, **sip),
    )


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_that_somebody_has_is_told_over_tcp_and_over_udp(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        told = only(sip_port_found(config(port=port)))
        assert told.mark == "✗" and f"KAIWA_SIP_PORT={port + 1}" in told.remedy
        udp_only = only(sip_port_found(config(port=port, tcp=False)))
        assert (udp_only.mark == "✗") == (kind == socket.SOCK_DGRAM)
    assert only(sip_port_found(config(port=port))).mark == "✓"


def test_an_address_of_another_machine_is_told() -> None:
    told = only(sip_port_found(config(host="192.0.2.254", port=0)))
    assert told.mark == "✗" and "KAIWA_SIP_HOST" in told.remedy
    told = only(sound_ports_found(config(host="192.0.2.254", rtp_ports="")))
    assert told.mark == "✗" and "KAIWA_SIP_HOST" in told.remedy


def test_a_range_with_room_for_all_calls_is_well() -> None:
    told = only(sound_ports_found(config(rtp_ports="30000-30099", most_calls=5)))
    assert told.mark == "✓" and "5 calls" in told.found
    assert only(sound_ports_found(config(rtp_ports="", most_calls=5))).mark == "✓"


@pytest.mark.parametrize(("most_calls", "mark", "fewer"), [(2, "!", 1), (1, "✗", 1)])
def test_ports_that_others_have_do_not_count(most_calls: int, mark: str, fewer: int) -> None:
    first, other = _pair()
    with other:
        span = f"{first}-{first + 2 * most_calls - 1}"
        told = only(sound_ports_found(config(rtp_ports=span, most_calls=most_calls)))
    assert told.mark == mark and f"sip.most_calls is {most_calls}" in told.found
    assert f"KAIWA_SIP_MOST_CALLS={fewer}" in told.remedy


def _pair() -> tuple[int, socket.socket]:
    """An even port, which is taken, and four free ones behind it."""
    for first in range(31_000, 40_000, 4):
        held = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            held.bind(("127.0.0.1", first))
            for port in range(first + 1, first + 4):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            held.close()
            continue
        return first, held
    raise AssertionError("no four ports are free")


def test_a_kaiwa_that_serves_already_has_its_ports_and_is_no_fault(
    hosting: Callable[..., Hosted],
) -> None:
    hosted = hosting(sip=sip())
    serving = ServerConfig(port=int(hosted.url.rstrip("/").rpartition(":")[2]))
    asked = Config(server=serving, sip=SipConfig(enabled=True, port=door(hosted).address[1]))
    told = only(sip_port_found(asked))
    assert told.mark == "!" and "a Kaiwa is already serving" in told.found


def test_settings_of_a_leg_that_is_off_are_told() -> None:
    assert idle_found(SipConfig()) == []
    told = only(idle_found(SipConfig(registrar="fritz.box", extension="620")))
    assert told.mark == "–" and "sip.registrar and sip.extension are set" in told.found
    assert "KAIWA_SIP_ENABLED=true" in told.remedy
