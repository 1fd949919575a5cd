"""Who knows the password, and for how long a proof of it is worth anything."""

import re
from typing import Any

import pytest
from aiosipua import SipDigestAuth, SipRequest, build_credentials, parse_auth
from aiosipua.header_codec import stringify_auth

from voice.transports.sip.digest import NONCE_S, Digest

NAME, PASSWORD = "alice", "correct horse"
HERE, ELSEWHERE = "192.168.1.20", "192.168.1.21"
NOW = 1_700_000_000.5


def invite(
    challenge: str, *, count: int = 1, method: str = "INVITE", password: str = PASSWORD
) -> SipRequest:
    """With the answer to `challenge`, made for a request of this method."""
    auth = SipDigestAuth(NAME, password)
    given = build_credentials(auth, parse_auth(challenge), method, "sip:kaiwa", nonce_count=count)
    assert given is not None
    request = SipRequest(method="INVITE", uri="sip:kaiwa")
    request.headers.append("Authorization", stringify_auth(given))
    return request


def test_a_proof_holds_for_as_long_as_its_nonce_and_from_where_that_was_asked_for() -> None:
    digest = Digest(NAME, PASSWORD)
    challenge = digest.challenge(HERE, NOW)
    assert not digest.knows(invite(challenge), ELSEWHERE, NOW)
    assert not digest.knows(invite(challenge), HERE, NOW - 2)
    assert not digest.knows(invite(challenge), HERE, NOW + NONCE_S + 1)
    assert digest.knows(invite(challenge), HERE, NOW + NONCE_S - 1)


def test_each_count_of_a_nonce_is_good_once() -> None:
    digest = Digest(NAME, PASSWORD)
    challenge = digest.challenge(HERE, NOW)
    told = [(1, True), (1, False), (3, True), (2, False), (4, True)]
    assert [(n, digest.knows(invite(challenge, count=n), HERE, NOW)) for n, _ in told] == told


@pytest.mark.parametrize("how", [{"method": "BYE"}, {"password": "battery staple"}])
def test_a_proof_of_something_else_is_none(how: dict[str, Any]) -> None:
    digest = Digest(NAME, PASSWORD)
    assert not digest.knows(invite(digest.challenge(HERE, NOW), **how), HERE, NOW)


@pytest.mark.parametrize("name", ["nonce", "response", "username", "nc"])
def test_what_was_changed_or_left_out_proves_nothing(name: str) -> None:
    digest = Digest(NAME, PASSWORD)
    request = invite(digest.challenge(HERE, NOW))
    header = request.headers.get_first("authorization") or ""
    for changed in (
        re.sub(rf'\b{name}="?[^",]*"?', f'{name}="00000002"', header),
        re.sub(rf'\b{name}="?[^",]*"?,? ?', "", header),
    ):
        assert changed != header
        request.headers.set_single("Authorization", changed)
        assert not digest.knows(request, HERE, NOW)


def test_another_process_asks_anew() -> None:
    challenge = Digest(NAME, PASSWORD).challenge(HERE, NOW)
    assert not Digest(NAME, PASSWORD).knows(invite(challenge), HERE, NOW)
