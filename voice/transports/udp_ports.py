"""A free UDP port of a range that others may use, too: each of its ports is tried before a call is
refused, and whoever waits has a turn meanwhile."""

import asyncio
import errno
import random
import socket
from collections.abc import Generator, Iterator
from contextlib import closing
from math import gcd

RECEIVE_BYTES = 262_144
"""Of a socket: 3 s of a call, should the loop be held up; the kernel may give less."""
TRIES_AT_ONCE = 100
"""Measured: 1.6 µs each; 10,000 ports that are all taken would hold up every call for 15 ms."""

Ports = tuple[int, int]
"""First and last."""


def bound(address: str, ports: Ports | None) -> socket.socket | None:
    """A UDP socket; None: the address is gone, or no port of the range is free."""
    with closing(_tries(address, ports)) as tries:
        return next(filter(None, tries), None)


async def found(address: str, ports: Ports | None) -> socket.socket | None:
    """The same, for whom the loop is not to wait."""
    with closing(_tries(address, ports)) as tries:
        for tried, udp in enumerate(tries, start=1):
            if udp is not None:
                return udp
            if tried % TRIES_AT_ONCE == 0:
                await asyncio.sleep(0)
    return None


def _tries(address: str, ports: Ports | None) -> Generator[socket.socket | None, None, None]:
    """None for each port that is taken; the socket comes last, and belongs to who takes it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM)
    is_bound = False
    try:
        udp.setblocking(False)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        for port in (0,) if ports is None else in_any_order(*ports):
            try:
                udp.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    return  # at any port
                yield None
                continue
            is_bound = True
            yield udp
            return
    finally:
        if not is_bound:
            udp.close()


def in_any_order(first: int, last: int) -> Iterator[int]:
    """Each port once. By chance, so that a call does not get the port of the one before, whose
    packets may still come; in strides, so that neighbours that are taken are not tried one after
    the other. To shuffle 10,000 takes 6 ms; this takes none."""
    count = last - first + 1
    place, stride = random.randrange(count), random.randrange(1, count + 1)
    while gcd(stride, count) != 1:
        stride = random.randrange(1, count + 1)
    for _ in range(count):
        yield first + place
        place = (place + stride) % count
