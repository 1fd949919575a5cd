"""coturn itself lets in who has a login from us, and for as long as it holds."""

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aioice import Connection
from aiortc.sdp import SessionDescription

from tests.needed import needed
from tests.voice.test_webrtc_calls import TALK, calls
from voice.relay_credentials import credentials
from voice.transports.offer_rates import Caller
from voice.transports.webrtc_ice import STUN_LIMIT_S

SECRET = "what-kaiwa-shares-with-coturn"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        return int(udp.getsockname()[1])


def answers(port: int) -> bool:
    """Within 0.2 s, to a binding request: RFC 8489."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.2)
        udp.connect(("127.0.0.1", port))
        try:
            udp.send(bytes.fromhex("000100002112a442") + bytes(12))
            return udp.recv(2048)[:2] == b"\x01\x01"
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            time.sleep(0.2)
            return False


@pytest.fixture(scope="module")
def turn_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Its port."""
    program, folder, port = needed("turnserver"), tmp_path_factory.mktemp("coturn"), free_port()
    options = [
        *("-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", f"--listening-port={port}"),
        *("--use-auth-secret", f"--static-auth-secret={SECRET}", "--realm=kaiwa.test"),
        *("--no-tls", "--no-dtls", "--no-cli", "--allow-loopback-peers", "--log-file=stdout"),
        *(f"--userdb={folder}/users", f"--pidfile={folder}/pid"),
    ]
    log = (folder / "log").open("wb")
    server = subprocess.Popen([program, *options], stdout=log, stderr=log, cwd=folder)
    try:
        for _ in range(100):
            if answers(port):
                break
            assert server.poll() is None, Path(log.name).read_text()
        else:
            raise AssertionError(Path(log.name).read_text())
        yield port
    finally:
        server.terminate()
        server.wait(10)
        log.close()


def relayed(port: int, secret: str, expires_at: float) -> list[str]:
    async def gather() -> list[str]:
        login = credentials(secret, "kaiwa", int(expires_at))
        peer = Connection(
            ice_controlling=True,
            turn_server=("127.0.0.1", port),
            turn_username=login.username,
            turn_password=login.credential,
            use_ipv6=False,
        )
        try:
            await peer.gather_candidates()
            return [c.host for c in peer.local_candidates if c.type == "relay"]
        finally:
            with contextlib.suppress(ConnectionError):
                await peer.close()

    return asyncio.run(gather())


def test_a_login_that_holds_gets_a_relay(turn_server: int) -> None:
    assert relayed(turn_server, SECRET, time.time() + 60) == ["127.0.0.1"]


def test_another_secrets_login_gets_none(turn_server: int) -> None:
    assert relayed(turn_server, "guessed", time.time() + 60) == []


def test_a_login_that_has_expired_gets_none(turn_server: int) -> None:
    assert relayed(turn_server, SECRET, time.time() - 60) == []


# --- the server's own servers ---------------------------------------------------------------------


def answer_of(**webrtc: Any) -> tuple[list[str], float]:
    """The types of the candidates that a caller is told, and the seconds it took."""

    async def ask() -> tuple[list[str], float]:
        begun = time.monotonic()
        async with calls(**webrtc) as open_calls:
            _, answer = await open_calls.open(TALK, None, Caller("1.2.3.4"))
            media = SessionDescription.parse(answer).media[0]
            return [c.type for c in media.ice_candidates], time.monotonic() - begun

    return asyncio.run(ask())


def test_a_server_that_nothing_can_reach_asks_its_own_servers_how_to_be_reached(
    turn_server: int,
) -> None:
    own = (f"stun:127.0.0.1:{turn_server}", f"turn:127.0.0.1:{turn_server}?transport=udp")
    types, _ = answer_of(own_ice_servers=own, turn_secret=SECRET)
    assert types == ["host", "srflx", "relay"]
    types, _ = answer_of(own_ice_servers=own, turn_secret="guessed")
    assert types == ["host", "srflx"]


def test_servers_that_callers_are_told_of_are_none_of_its_own(turn_server: int) -> None:
    theirs = (f"stun:127.0.0.1:{turn_server}", f"turn:127.0.0.1:{turn_server}")
    assert answer_of(ice_servers=theirs, turn_secret=SECRET)[0] == ["host"]


def test_a_dead_one_holds_up_an_answer_for_a_while_and_not_for_good() -> None:
    types, took_s = answer_of(own_ice_servers=(f"stun:127.0.0.1:{free_port()}",))
    assert types == ["host"]
    assert STUN_LIMIT_S <= took_s < 2 * STUN_LIMIT_S
