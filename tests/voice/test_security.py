import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.security import KEY_SUBPROTOCOL, Door, digest

KEY = "correct-horse-battery-staple"
OTHER = "another-key-of-the-operator"
LOCKED = Door(api_keys=(KEY, OTHER), allowed_origins=(), loopback=False)
LOCAL = Door(api_keys=(), allowed_origins=(), loopback=True)
PUBLIC = Door(api_keys=(KEY,), allowed_origins=("https://voice.example.com",), loopback=False)


def test_a_key_is_known_by_its_digest_and_none_is_told_apart_where_none_is_asked_for() -> None:
    mine = LOCKED.key_of({"authorization": f"Bearer {KEY}"})
    assert mine == LOCKED.key_of({}, [KEY_SUBPROTOCOL + KEY]) == digest(KEY)
    assert KEY not in mine
    assert LOCKED.key_of({"authorization": f"Bearer {OTHER}"}) not in ("", mine)
    assert LOCKED.key_of({"authorization": "Bearer wrong"}) == ""
    assert LOCAL.key_of({"authorization": f"Bearer {KEY}"}) == ""


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [KEY, OTHER])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_any_of_the_keys_opens(scheme: str, key: str) -> None:
    assert LOCKED.knows({"authorization": f"{scheme} {key}"})


def test_browsers_bring_the_key_as_a_subprotocol() -> None:
    offered = ["realtime", KEY_SUBPROTOCOL + KEY, "openai-agents-sdk.0.20.0"]
    assert LOCKED.knows({}, offered)
    assert not LOCKED.knows({}, ["realtime", KEY_SUBPROTOCOL + "wrong"])
    assert not LOCKED.knows({}, ["realtime", KEY])


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY}x",
        f"Bearer {KEY.upper()}",
        f"Bearer {KEY}, {OTHER}",
        "Bearer \xe9\xff",
        "Bearer \ud800",
    ],
)
def test_anything_else_does_not_open(value: str) -> None:
    assert not LOCKED.knows({"authorization": value})


def test_no_header_no_entry() -> None:
    assert not LOCKED.knows({})
    assert not LOCKED.knows({}, [KEY_SUBPROTOCOL])


def test_without_keys_nobody_is_asked() -> None:
    assert LOCAL.knows({})


def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after a match, and over digests, so that not even the length of a key shows."""
    compared: list[tuple[int, int]] = []
    real = hmac.compare_digest

    def watch(one: bytes, other: bytes) -> bool:
        compared.append((len(one), len(other)))
        return real(one, other)

    monkeypatch.setattr("voice.security.hmac.compare_digest", watch)
    assert LOCKED.knows({"authorization": f"Bearer {KEY}"})
    assert not LOCKED.knows({"authorization": "Bearer x"})
    assert compared == [(32, 32)] * 4


# --- where the page came from ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("http://localhost:8000", "localhost:8000"),
        ("https://kaiwa.example.com", "kaiwa.example.com"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_the_servers_own_page_may_connect(origin: str, host: str) -> None:
    assert PUBLIC.allows_origin({"origin": origin, "host": host})


def test_a_listed_page_may_connect() -> None:
    assert PUBLIC.allows_origin({"origin": "https://voice.example.com", "host": "kaiwa:8000"})


def test_programs_have_no_origin() -> None:
    assert PUBLIC.allows_origin({"host": "kaiwa:8000"})


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "https://evil.example",
        "https://voice.example.com.evil.example",
        "https://evilvoice.example.com",
        "https://example.com",
        "http://voice.example.com",
        "https://voice.example.com:8443",
        "https://voice.example.com/",
        "https://VOICE.example.com",
        "https://vоice.example.com",  # the first o is Cyrillic
        "https://xn--vice-0ec.example.com",
        "https://voice.example.com@evil.example",
        "https://voice.example.com\x00.evil.example",
        "https://kaiwa:8001",
        "https://kaiwa",
        "https://user@kaiwa:8000",
        "file://kaiwa:8000",
        "chrome-extension://kaiwa:8000",
        "javascript:alert(1)",
        "//kaiwa:8000",
        "kaiwa:8000",
        "http://[",
        "http://a\u2100b",
        "http://",
    ],
)
def test_other_pages_may_not(origin: str) -> None:
    assert not PUBLIC.allows_origin({"origin": origin, "host": "kaiwa:8000"})


def test_an_origin_without_a_host_to_compare_is_refused() -> None:
    assert not PUBLIC.allows_origin({"origin": "http://"})
    assert not PUBLIC.allows_origin({"origin": "http://kaiwa"})


@given(st.text(max_size=30), st.text(max_size=20))
def test_no_header_breaks_the_door(origin: str, host: str) -> None:
    headers = {"origin": origin, "host": host, "authorization": origin}
    for door in (LOCKED, LOCAL, PUBLIC):
        door.allows_origin(headers)
        door.allows_host(headers)
        door.knows(headers, [host])


# --- under which name the server was called ------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "localhost", "localhost:8000", "LOCALHOST:1", "[::1]:8000"],
)
def test_on_this_machine_the_server_answers_to_its_own_names(host: str) -> None:
    assert LOCAL.allows_host({"host": host})


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.nip.io:8000",
        "127.0.0.1@evil.example",
        "evil.example#localhost",
        "0.0.0.0:8000",
        "[",
        "[::1",
    ],
)
def test_on_this_machine_any_other_name_is_dns_rebinding(host: str) -> None:
    """A page of evil.example whose name now resolves to 127.0.0.1 has Origin and Host alike."""
    assert not LOCAL.allows_host({"host": host})


def test_a_public_server_answers_to_the_name_its_proxy_gives() -> None:
    assert PUBLIC.allows_host({"host": "kaiwa.example.com"})
    assert PUBLIC.allows_host({})
    assert not LOCAL.allows_host({})
