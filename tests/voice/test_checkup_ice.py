"""What `kaiwa doctor` says of STUN and TURN servers: coturn itself is asked."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.served import eventually
from tests.test_turn import SECRET, relay
from voice import checkup_ice
from voice.checkup_ice import Seen, Server, doubts, ice_server_found, server_of
from voice.checkup_machine import Finding
from voice.config_calls import WebrtcConfig

URL = "turn:turn.example.com:3478"


def asked(url: str, secret: str = SECRET, **webrtc: Any) -> list[Finding]:
    section = WebrtcConfig(turn_secret=secret, ice_servers=(url,), **webrtc)
    return asyncio.run(ice_server_found(section, url))


@pytest.fixture(scope="module")
def coturn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    folder = tmp_path_factory.mktemp("coturn")
    with relay(folder, "--verbose") as running:
        yield running.port, running.log


@pytest.mark.parametrize("transport", ["", "?transport=udp", "?transport=tcp"])
def test_a_relay_is_had_with_a_login_as_callers_get_it_and_given_back(
    transport: str, coturn: tuple[int, Path]
) -> None:
    port, log = coturn
    ended = log.read_bytes().count(b"lifetime=0")
    (told,) = asked(f"turn:127.0.0.1:{port}{transport}")
    assert told.mark == "✓" and "a relay at 127.0.0.1:" in told.found
    given_back = log.read_bytes
    eventually(lambda: given_back().count(b"lifetime=0") > ended, "the relay is given back", 10.0)


def test_another_secret_is_told_with_the_setting_that_holds_it(coturn: tuple[int, Path]) -> None:
    (told,) = asked(f"turn:127.0.0.1:{coturn[0]}", "another-secret-than-coturns")
    assert told.mark == "✗" and "401" in told.found
    assert "KAIWA_TURN_SECRET" in told.remedy and "clocks" in told.remedy
    assert "another-secret" not in told.found + told.remedy


def test_a_stun_server_answers(coturn: tuple[int, Path]) -> None:
    (told,) = asked(f"stun:127.0.0.1:{coturn[0]}")
    assert told.mark == "✓" and "answered in" in told.found


@pytest.mark.parametrize(
    ("scheme", "mark"), [("stun", "!"), ("turn", "✗"), ("turns", "✗"), ("stuns", "!")]
)
def test_one_that_is_not_there_is_told_within_seconds(
    scheme: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup_ice, "LIMIT_S", 1.0)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        begun = time.monotonic()
        (told,) = asked(f"{scheme}:127.0.0.1:{port}")
    assert time.monotonic() - begun < 4.0
    assert told.mark == mark and f"{port} open on the way" in told.remedy


def test_one_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup_ice, "LIMIT_S", 1.0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        for scheme in ("stun", "turn"):
            (told,) = asked(f"{scheme}:127.0.0.1:{silent.getsockname()[1]}")
            assert told.found.startswith("no answer within 1 s")


def test_what_has_no_tls_is_told(coturn: tuple[int, Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        async def scenario() -> list[Finding]:
            url = f"turns:127.0.0.1:{listener.getsockname()[1]}"
            asking = asyncio.create_task(ice_server_found(WebrtcConfig(turn_secret="x"), url))
            line, _ = await asyncio.to_thread(listener.accept)
            with line, contextlib.suppress(OSError):
                line.sendall(b"SIP/2.0 400 Bad Request\r\n\r\n")
                return await asking
            return []

        (told,) = asyncio.run(scenario())
    assert told.mark == "✗" and told.found.startswith("TLS") and "certificate" in told.remedy


def test_a_name_that_nobody_has_is_told() -> None:
    (told,) = asked("turn:no.such.host.invalid")
    assert told.mark == "✗" and "no.such.host.invalid" in told.found and told.remedy


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("stun:a", Server("stun", "a", 3478, "udp")),
        ("turns:a", Server("turns", "a", 5349, "tcp")),
        ("turn:a:443?transport=tcp", Server("turn", "a", 443, "tcp")),
        ("turn:[2001:db8::1]:3479", Server("turn", "2001:db8::1", 3479, "udp")),
        ("stuns:[2001:db8::1]", Server("stuns", "2001:db8::1", 5349, "tcp")),
    ],
)
def test_an_address_says_where_and_how(url: str, server: Server) -> None:
    assert server_of(url) == server


@pytest.mark.parametrize(
    ("told", "seen", "remedy"),
    [
        ("", Seen("8.8.8.8", "1.1.1.1"), "KAIWA_PUBLIC_ADDRESS=8.8.8.8"),
        ("9.9.9.9", Seen("8.8.8.8", "1.1.1.1"), "KAIWA_PUBLIC_ADDRESS=8.8.8.8"),
        ("8.8.8.8", Seen("8.8.8.8", "1.1.1.1"), ""),
        ("8.8.8.8", Seen("2606:4700::1111", "2606:4700::1"), ""),  # told nothing of IPv6
        ("", Seen("10.0.0.7", "10.0.0.1"), ""),  # a server in the same network
        ("8.8.8.8", Seen("8.8.8.8", "1.1.1.1", "172.17.0.2:49160"), "TURN_EXTERNAL_IP"),
        ("8.8.8.8", Seen("8.8.8.8", "1.1.1.1", "1.1.1.1:49160"), ""),
        ("", Seen("10.0.0.7", "10.0.0.1", "10.0.0.1:49160"), ""),
    ],
)
def test_what_a_server_sees_is_compared_with_what_callers_are_told(
    told: str, seen: Seen, remedy: str
) -> None:
    found = doubts(WebrtcConfig(public_address=told), URL, seen)
    assert [one.mark for one in found] == (["!"] if remedy else [])
    assert not remedy or remedy in found[0].remedy
