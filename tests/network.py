"""A network as bad as one likes: two namespaces, joined by a queue that loses, delays and reorders.

    namespace "far"  ── tun ──▶  queue of (due, packet)  ──▶ tun ──  namespace "near"
    10.78.0.2        ◀── tun ──  one process of Python   ◀── tun ──  10.78.0.1

No kernel module beyond tun is needed, and every protocol goes through. The queue runs in a process
of its own, so that neither end's load changes the network. What is lost is drawn from a seed, for
each direction apart: a run can be repeated, as far as both ends send the same packets.
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TypeVar

import msgspec
import pytest

from tests.needed import needed

T = TypeVar("T")

NEAR, FAR = "10.78.0.1", "10.78.0.2"
MTU = 1400
DEVICE = "/dev/net/tun"
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001
_CLONE_NEWNET = 0x40000000


class Conditions(msgspec.Struct, frozen=True):
    """Of each direction."""

    loss: float = 0.0
    """Share of the packets, over a long time."""
    stay: float = 0.0
    """Probability that after a lost packet the next one is lost, too (Gilbert's model); 0: each
    packet for itself."""
    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    """Evenly spread about the delay; packets overtake each other."""
    down: bool = False
    """Nothing passes."""

    def __str__(self) -> str:
        words = [f"loss {self.loss:.0%}"] + (["in bursts"] if self.stay else [])
        return " ".join([*words, f"jitter {self.jitter_ms:g} ms delay {self.delay_ms:g} ms"])


class Counts(msgspec.Struct, frozen=True):
    """Of both directions, since the network exists."""

    packets: int
    lost: int

    def since(self, before: "Counts") -> "Counts":
        return Counts(self.packets - before.packets, self.lost - before.lost)


class Network:
    """What `network()` gives: two namespaces; the server's is near, its caller's far."""

    def __init__(self, queue: subprocess.Popen[str], near: str, far: str) -> None:
        self._queue = queue
        self.near, self.far = near, far

    def becomes(self, conditions: Conditions) -> None:
        """From now on; packets on their way keep what was drawn for them."""
        self._ask(msgspec.json.encode(conditions).decode())

    def counts(self) -> Counts:
        return msgspec.json.decode(self._ask("counts"), type=Counts)

    def _ask(self, line: str) -> str:
        reader, writer = self._queue.stdout, self._queue.stdin
        assert reader is not None and writer is not None
        writer.write(line + "\n")
        writer.flush()
        return reader.readline()


def inside(namespace: str) -> tuple[str, ...]:
    """What a command is started with, to run there."""
    return ("ip", "netns", "exec", namespace)


def run_inside(namespace: str, work: Callable[[], T]) -> T:
    """The result of `work` on a thread whose sockets are in the namespace."""

    def enter() -> T:
        with open(f"/run/netns/{namespace}") as place:
            if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")
        return work()

    with ThreadPoolExecutor(1) as threads:
        return threads.submit(enter).result()


def unavailable() -> str:
    """Why this machine cannot have such a network; empty where it can."""
    if not shutil.which("ip"):
        return "ip is not installed: apt-get install iproute2"
    if os.geteuid():
        return "they need root"
    if not os.path.exists(DEVICE):
        return f"no {DEVICE} here"
    probe = f"kaiwa-{os.getpid()}-probe"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True)
    if made.returncode:
        return made.stderr.strip()
    subprocess.run(["ip", "netns", "del", probe], check=True)
    try:
        os.close(_tunnel("kaiwa-probe"))
    except OSError as error:
        return f"no {DEVICE} here: {error}"
    return ""


@contextlib.contextmanager
def network(conditions: Conditions | None = None, *, seed: int = 1) -> Iterator[Network]:
    """Both namespaces, until it is left. Skips the test where the machine cannot have them."""
    needed("ip")
    if reason := unavailable():
        pytest.skip(f"no network namespaces on this machine: {reason}")
    names = [f"kaiwa-{os.getpid()}-{end}" for end in ("near", "far")]
    with subprocess.Popen(
        [sys.executable, "-m", "tests.network", *names, str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as queue:
        assert queue.stdout is not None and queue.stdin is not None
        try:
            assert queue.stdout.readline() == "ready\n", "the network did not come up"
            made = Network(queue, *names)
            if conditions is not None:
                made.becomes(conditions)
            yield made
        finally:
            queue.stdin.close()


# --- the queue, in its own process ----------------------------------------------------------------


class Chance:
    """What becomes of the packets of one direction."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._losing = False

    def delay_ms(self, how: Conditions) -> float | None:
        """None: it is lost."""
        if how.down or self._lost(how):
            return None
        spread = self._random.uniform(-how.jitter_ms, how.jitter_ms)
        return max(0.0, how.delay_ms + spread)

    def _lost(self, how: Conditions) -> bool:
        if not how.stay:
            return self._random.random() < how.loss
        # Chosen so that the share of time in the losing state is `loss`.
        enter = how.loss * (1 - how.stay) / (1 - how.loss)
        self._losing = self._random.random() < (how.stay if self._losing else enter)
        return self._losing


def _tunnel(name: str) -> int:
    file = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(file, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN_NO_PI))
    except OSError:
        os.close(file)
        raise
    return file


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _end(namespace: str, address: str) -> int:
    """A tunnel that ends in the namespace."""
    device = f"kw{os.getpid()}{namespace[-1]}"
    file = _tunnel(device)
    _ip("netns", "add", namespace)
    _ip("link", "set", device, "netns", namespace)
    # Neighbour discovery would draw from the chances of the packets that count.
    off = ("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 || true")
    subprocess.run([*inside(namespace), *off], check=True, stderr=subprocess.DEVNULL)
    _ip("-n", namespace, "link", "set", "lo", "up")
    _ip("-n", namespace, "addr", "add", f"{address}/24", "dev", device)
    _ip("-n", namespace, "link", "set", device, "up", "mtu", str(MTU))
    return file


class Queue:
    def __init__(self, ends: tuple[int, int], seed: int, orders: IO[str]) -> None:
        self.ends = ends
        self.chances = {end: Chance(seed + number) for number, end in enumerate(ends)}
        self.orders = orders
        self.how = Conditions()
        self.packets = self.lost = self.serial = 0
        self.waiting: list[tuple[float, int, int, bytes]] = []

    def run(self) -> None:
        """Until the orders end."""
        orders = self.orders.fileno()
        while True:
            wait = max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            ready, _, _ = select.select([*self.ends, orders], [], [], wait)
            if orders in ready and not self._obey(self.orders.readline()):
                return
            for end in self.ends:
                if end in ready:
                    self._take(end)
            self._give()

    def _obey(self, order: str) -> bool:
        if order == "counts\n":
            print(msgspec.json.encode(Counts(self.packets, self.lost)).decode(), flush=True)
        elif order:
            self.how = msgspec.json.decode(order, type=Conditions)
            print("so it is", flush=True)
        return bool(order)

    def _take(self, end: int) -> None:
        now = time.monotonic()
        other = self.ends[1 - self.ends.index(end)]
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = os.read(end, 2 * MTU)
                self.packets += 1
                delay_ms = self.chances[end].delay_ms(self.how)
                if delay_ms is None:
                    self.lost += 1
                    continue
                self.serial += 1
                heapq.heappush(self.waiting, (now + delay_ms / 1000, self.serial, other, packet))

    def _give(self) -> None:
        now = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now:
            _, _, end, packet = heapq.heappop(self.waiting)
            with contextlib.suppress(OSError):  # the other side's interface is going down
                os.write(end, packet)


def main(near: str, far: str, seed: str) -> None:
    try:
        ends = (_end(near, NEAR), _end(far, FAR))
        # Unbuffered lines: select() would not see what a reader holds back.
        with os.fdopen(os.dup(0), "r", buffering=1) as orders:
            print("ready", flush=True)
            Queue(ends, int(seed), orders).run()
    finally:
        for name in (near, far):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    main(*sys.argv[1:])
