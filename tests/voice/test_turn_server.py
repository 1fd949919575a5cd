"""coturn itself lets in who has a login from us, and for as long as it holds."""

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aioice import Connection

from tests.needed import needed
from voice.relay_credentials import credentials

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
