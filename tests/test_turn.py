"""The relay of docker/turn, run: Kaiwa's logins open it, and it leads nowhere but to callers.

Debian's coturn reads the same file as the image does. 127.0.0.1 is denied there like all that is
local; the tests that want something relayed open it with the option that an operator would use.
"""

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from aioice import stun, turn
from msgspec import Struct

from tests.needed import needed
from tests.served import eventually
from voice.relay_credentials import credentials

ROOT = Path(__file__).parent.parent
SETTINGS = ROOT / "docker" / "turn" / "turnserver.conf"
SERVE = ROOT / "docker" / "turn" / "serve.sh"
SECRET = "what-kaiwa-shares-with-coturn"

FORBIDDEN = (
    *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.8.8.8", "10.0.0.1", "10.255.255.254", "100.64.0.1"),
    *("169.254.169.254", "172.16.0.1", "172.31.255.254", "192.168.1.1", "168.63.129.16"),
    *("192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.7", "203.0.113.9"),
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
)
PUBLIC = ("8.8.8.8", "1.1.1.1", "93.184.215.14")


class Relay(Struct, frozen=True):
    port: int
    log: Path


@contextlib.contextmanager
def relay(folder: Path, *options: str, **settings: str) -> Iterator[Relay]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    needed("turnserver")
    command = [
        *(str(SERVE), f"--listening-port={port}", "--listening-ip=127.0.0.1"),
        *("--relay-ip=127.0.0.1", f"--userdb={folder}/turndb"),
        *(f"--pidfile={folder}/turnserver.pid", *options),
    ]
    environment = {"PATH": os.environ["PATH"], "KAIWA_TURN_SECRET": SECRET, **settings}
    log = folder / "log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env=environment, stdout=output, stderr=output) as coturn,
    ):
        try:
            eventually(lambda: _answers(port), "the relay answers")
            yield Relay(port, log)
        finally:
            coturn.terminate()


def _answers(port: int) -> bool:
    """To a STUN binding request, which needs no login."""
    request = stun.Message(message_method=stun.Method.BINDING, message_class=stun.Class.REQUEST)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        asking.connect(("127.0.0.1", port))
        with contextlib.suppress(OSError):
            asking.send(bytes(request))
            return bool(asking.recv(2000))
    return False


class Ear(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.heard: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard.put_nowait((data, addr))


@contextlib.asynccontextmanager
async def allocated(
    port: int, secret: str = SECRET, lasts_s: float = 3600
) -> AsyncIterator[tuple[turn.TurnTransport, Ear]]:
    """A caller's place at the relay, as a browser takes it with what Kaiwa gave it."""
    given = credentials(secret, "caller", int(time.time() + lasts_s))
    transport, ear = await turn.create_turn_endpoint(
        Ear,
        server_addr=("127.0.0.1", port),
        username=given.username,
        password=given.credential,
    )
    try:
        yield transport, ear
    finally:
        transport.close()
        await asyncio.sleep(0)


async def error_code(transport: turn.TurnTransport, address: str) -> int:
    """Of the request to send something there; 0: none."""
    protocol = transport._TurnTransport__inner_protocol  # type: ignore[attr-defined]  # aioice binds channels only on sending, and tells nobody what came of it
    channel = protocol.channel_number
    protocol.channel_number += 1
    try:
        async with asyncio.timeout(5):
            await protocol.channel_bind(channel, (address, 40_000))
    except stun.TransactionFailed as error:
        return int(error.response.attributes["ERROR-CODE"][0])
    return 0


def test_a_login_that_kaiwa_handed_out_is_let_in_and_others_are_not(tmp_path: Path) -> None:
    async def entered(secret: str, lasts_s: float) -> bool:
        try:
            async with allocated(found.port, secret, lasts_s):
                return True
        except stun.TransactionFailed as error:
            assert error.response.attributes["ERROR-CODE"][0] == 401
            return False

    with relay(tmp_path) as found:
        assert asyncio.run(entered(SECRET, 3600))
        assert not asyncio.run(entered("another secret", 3600))
        assert not asyncio.run(entered(SECRET, -60)), "it has expired"


def test_nothing_is_relayed_to_local_private_or_special_addresses(tmp_path: Path) -> None:
    async def codes() -> dict[str, int]:
        async with allocated(found.port) as (transport, _):
            return {one: await error_code(transport, one) for one in (*FORBIDDEN, *PUBLIC)}

    with relay(tmp_path) as found:
        told = asyncio.run(codes())
    assert {one for one, code in told.items() if code == 403} == set(FORBIDDEN)
    assert [told[one] for one in PUBLIC] == [0] * len(PUBLIC)


def test_kaiwa_at_a_private_address_is_reached_where_the_operator_opens_it(tmp_path: Path) -> None:
    async def there_and_back() -> tuple[bytes, bytes]:
        loop = asyncio.get_running_loop()
        server, kaiwa = await loop.create_datagram_endpoint(Ear, local_addr=("127.0.0.1", 0))
        async with asyncio.timeout(10), allocated(found.port) as (transport, caller):
            transport.sendto(b"a caller's packet", server.get_extra_info("sockname"))
            said, relayed_from = await kaiwa.heard.get()
            server.sendto(b"the answer", relayed_from)
            answered, _ = await caller.heard.get()
        server.close()
        return said, answered

    opened = {"TURN_ALLOWED_PEER": "127.0.0.1"}
    with relay(tmp_path, "--allow-loopback-peers", **opened) as found:
        assert asyncio.run(there_and_back()) == (b"a caller's packet", b"the answer")


def test_without_a_secret_it_does_not_start_and_says_why(tmp_path: Path) -> None:
    for secret in ({}, {"KAIWA_TURN_SECRET": ""}):
        environment = {"PATH": os.environ["PATH"], **secret}
        done = subprocess.run([str(SERVE)], env=environment, capture_output=True, text=True)
        assert done.returncode != 0 and "openssl rand -hex 32" in done.stderr


def test_every_setting_is_one_that_coturn_knows() -> None:
    """One that it does not know it leaves out with a line in its log, and starts without."""
    done = subprocess.run([needed("turnserver"), "--help"], capture_output=True, text=True)
    known = set(re.findall(r"--([a-z0-9_-]+)", done.stdout + done.stderr))
    lines = SETTINGS.read_text("utf-8").splitlines()
    used = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    assert used - known == set()
