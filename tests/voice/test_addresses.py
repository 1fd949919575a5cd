import re
from collections.abc import Callable

import pytest

from voice.addresses import (
    endpoint_problem,
    is_host,
    is_loopback,
    masked,
    origin_problem,
    socket_problem,
)


@pytest.mark.parametrize(
    "origin", ["https://voice.example.com", "http://127.0.0.1:8080", "http://[::1]:8080"]
)
def test_an_origin_as_browsers_send_it_is_fine(origin: str) -> None:
    assert origin_problem(origin) == ""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("foo", "https://foo?"),
        ("https://foo/", "https://foo?"),
        ("http://Foo.example/page?x=1", "http://foo.example?"),
        ("//foo", "list each one, such as https://voice.example.com"),
        ("*", "list each one"),
        ("https://*", "list each one"),
        ("null", "list each one"),
    ],
)
def test_what_is_no_origin_is_told_with_what_was_probably_meant(typed: str, meant: str) -> None:
    problem = origin_problem(typed)
    assert repr(typed) in problem and meant in problem


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:11434/v1", "https://api.example.com", "http://[::1]:8000/v1"]
)
def test_an_address_of_an_http_server_is_fine(address: str) -> None:
    assert endpoint_problem(address) == ""


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("localhost:11434", "did you mean http://localhost:11434/v1?"),
        ("localhost:11434/v1", "did you mean http://localhost:11434/v1?"),
        ("api.example.com", "did you mean http://api.example.com/v1?"),
        ("ftp://x", "must look like http://127.0.0.1:11434/v1"),
        ("ftp://x", "ftp is not spoken here"),
        ("ws://gpu:8000", "ws is not spoken here"),
        ("http://", "must look like"),
        ("http://h:port/v1", "must look like"),
        ("http://h:99999/v1", "must look like"),
        ("http://my host/v1", "must look like"),
        ("http://[::1/v1", "must look like"),
    ],
)
def test_what_is_no_address_is_told_with_what_was_probably_meant(typed: str, meant: str) -> None:
    problem = endpoint_problem(typed)
    assert "password" not in endpoint_problem(f"ftp://user:password@{typed}")
    assert repr(typed) in problem and meant in problem


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ws://user:s3cr3tpw@stt:6006", "ws://…@stt:6006"),
        ("http://user:s3/cr3t@pw@host/v1", "http://…@host/v1"),
        ("wss://host/asr?token=s3cret", "wss://host/asr?…"),
        ("['http://u:pw@a', 'http://u:pw@b']", "['http://…@a', 'http://…@b']"),
        ("http://u:pw@a,http://b", "http://…@a,http://b"),
        ("Write to me@example.com. Really?", "Write to me@example.com. Really?"),
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
    ],
)
def test_names_passwords_and_tokens_of_addresses_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown


@pytest.mark.parametrize("problem", [endpoint_problem, socket_problem])
@pytest.mark.parametrize(
    "text",
    [
        "me:s3/cret@gpu:8000",
        "ftp://me:s3/cr@et@gpu",
        "http://me:s3cret@my host",
        "http://me:s3 cret@host",
        "ftp://host?key=s3cret",
    ],
)
def test_what_is_no_address_may_hold_a_password_all_the_same(
    problem: Callable[[str], str], text: str
) -> None:
    assert problem(text) and not re.search("s3|cret|cr@et", problem(text))


@pytest.mark.parametrize("text", ["http://me@gpu", "https://me:s3cret@gpu/v1", "http://g?k=s3cret"])
def test_an_address_with_a_password_is_sent_to_the_key(text: str) -> None:
    assert "put a key into api_key" in endpoint_problem(text)
    assert "s3cret" not in endpoint_problem(text)


@pytest.mark.parametrize(
    "text",
    ["fritz.box", "pbx", "stun_1", "büro-pbx.local.", "192.168.1.1", "fd00::1", "a.b-c.example"],
)
def test_what_can_be_a_machines_name_or_address_is_taken_for_one(text: str) -> None:
    assert is_host(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "192.168.1.300", "1.2.3", "a b", "a@b", "a..b", "-a", "a" * 64, "https://a", "a:1"],
)
def test_what_can_be_none_is_not(text: str) -> None:
    assert not is_host(text)


def test_only_this_machine_itself_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost")))
    assert not any(map(is_loopback, ("", "0.0.0.0", "::", "10.0.0.1", "pbx", "localhost.example")))
