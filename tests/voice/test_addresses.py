import pytest

from voice.addresses import endpoint_problem, origin_problem


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
