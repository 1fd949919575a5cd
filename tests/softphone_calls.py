"""Servers that telephones call, in this process, and what their tests ask of them."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.served import SOON_S, Hosted, eventually
from tests.softphone import Softphone
from voice.transports.sip.door import SipDoor

GREETING = {"greeting": "good morning to you"}
"""Something to hear that nobody has to ask for."""
Start = Callable[..., Hosted]


def sip(**settings: Any) -> dict[str, Any]:
    base = {"enabled": True, "port": 0, "rtp_ports": "", "tcp": False, "codecs": ["pcmu"]}
    return {**base, **settings}


@pytest.fixture
def hosted(hosting: Start) -> Hosted:
    return hosting(sip=sip(), agent=GREETING)


@pytest.fixture
def phone(hosted: Hosted) -> Iterator[Softphone]:
    with Softphone(door(hosted).address) as phone:
        yield phone
        if phone.to:
            phone.bye()
    nobody(hosted)


def door(hosted: Hosted) -> SipDoor:
    return next(port for port in hosted.ports if isinstance(port, SipDoor))


def nobody(hosted: Hosted) -> None:
    """Waits until the last call is gone with all it had."""
    eventually(lambda: hosted.ask(lambda: hosted.desk.sessions) == 0, "no session", SOON_S)
    eventually(lambda: not door(hosted).calls, "no call", SOON_S)


def at(hosted: Hosted) -> Softphone:
    return Softphone(door(hosted).address)


def only_call(hosted: Hosted) -> Any:
    """The one that is going on, once it has its media."""
    found = eventually(lambda: list(door(hosted).calls.values()), "a call", SOON_S)
    eventually(lambda: found[0]._media, "its media", SOON_S)
    return found[0]


def sessions(hosted: Hosted) -> int:
    return int(hosted.ask(lambda: hosted.desk.sessions))
