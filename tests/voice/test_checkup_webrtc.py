"""What `kaiwa doctor` says of WebRTC: ports and addresses of this machine, taken for real."""

import contextlib
import socket
from typing import Any

import pytest

from voice.checkup_machine import Finding
from voice.checkup_webrtc import address_found, opus_found, ports_found
from voice.config import Config, ServerConfig
from voice.config_calls import WebrtcConfig

HERE: dict[str, Any] = {"addresses": ("127.0.0.1",)}
"""The only address that every machine has."""


def config(max_sessions: int = 100, host: str = "127.0.0.1", **webrtc: Any) -> Config:
    server = ServerConfig(host=host, port=1, max_sessions=max_sessions)  # no Kaiwa serves there
    return Config(server=server, webrtc=WebrtcConfig(**webrtc))


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    return finding


@pytest.fixture
def span() -> tuple[int, int]:
    """Ten UDP ports that were free a moment ago."""
    for first in range(41_000, 60_000, 10):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(first, first + 10):
                taken = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                taken.bind(("127.0.0.1", port))
            return first, first + 9
    raise AssertionError("no ten ports are free")


def test_libopus_is_loaded_for_real() -> None:
    assert only(opus_found()).mark == "✓"


def test_a_range_with_a_port_for_each_caller_is_well(span: tuple[int, int]) -> None:
    told = only(ports_found(config(10, ports=f"{span[0]}-{span[1]}", **HERE)))
    assert told.mark == "✓" and "on 127.0.0.1: room for 10 calls" in told.found


def test_a_range_that_is_too_small_is_told_with_one_that_is_not(span: tuple[int, int]) -> None:
    told = only(ports_found(config(11, ports=f"{span[0]}-{span[1]}", **HERE)))
    assert told.mark == "!" and "server.max_sessions is 11" in told.found
    assert f"KAIWA_WEBRTC_UDP={span[0]}-{span[0] + 10}" in told.remedy
    assert "KAIWA_MAX_SESSIONS=10" in told.remedy


def test_ports_that_others_have_do_not_count(span: tuple[int, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", span[0]))
        told = only(ports_found(config(10, ports=f"{span[0]}-{span[1]}", **HERE)))
        assert told.mark == "!" and "9 of 10" in told.found
        told = only(ports_found(config(1, ports=f"{span[0]}-{span[0]}", **HERE)))
        assert told.mark == "✗" and "KAIWA_WEBRTC_UDP" in told.remedy


def test_without_a_range_any_port_will_do() -> None:
    assert only(ports_found(config(**HERE))).mark == "✓"


def test_addresses_that_this_machine_has_not_are_told() -> None:
    told = only(address_found(config(addresses=("198.51.100.7",))))
    assert told.mark == "✗" and "198.51.100.7" in told.found and "ip address" in told.remedy
    assert only(address_found(config(**HERE))).mark == "✓"


def test_a_server_for_others_with_private_addresses_alone_may_be_behind_a_nat() -> None:
    own = _own()
    told = only(address_found(config(host="0.0.0.0", addresses=(own,))))
    assert told.mark == "!" and own in told.found, "only a warning: it may be a LAN"
    assert "KAIWA_PUBLIC_ADDRESS" in told.remedy and "LAN" in told.remedy
    assert only(address_found(config(addresses=(own,)))).mark == "✓", "nobody else can come"


def test_with_a_relay_private_addresses_are_enough() -> None:
    relay: Any = {"ice_servers": ("turn:turn.example.com",), "turn_secret": "s" * 16}
    told = only(address_found(config(host="0.0.0.0", addresses=(_own(),), **relay)))
    assert told.mark == "✓" and "relay" in told.found


def test_an_address_of_a_nats_needs_ports_that_it_can_pass_on() -> None:
    _own()  # the way out
    told = only(address_found(config(public_address="203.0.113.5")))
    assert told.mark == "!" and "KAIWA_WEBRTC_UDP" in told.remedy
    told = only(address_found(config(public_address="203.0.113.5", ports="50000-50199")))
    assert told.mark == "✓" and "50000-50199" in told.found


def test_an_address_of_this_machine_needs_nobody_to_pass_on_anything() -> None:
    told = only(address_found(config(public_address=_own())))
    assert told.mark == "✓" and "this machine's" in told.found


def _own() -> str:
    """The address of this machine that leads out, where it is no public one."""
    from voice.ice_candidates import is_public

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this machine has no way out")
        own = str(asking.getsockname()[0])
    if is_public(own):
        pytest.skip("this machine has a public address")
    return own
