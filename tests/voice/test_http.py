"""The HTTP side as probes, browsers and strangers meet it."""

from collections.abc import Callable

import pytest

from tests.served import Caller, Served, eventually, get, loud, request, silence

KEY = "a-key-that-is-long-enough-0001"
BEARER = f"Authorization: Bearer {KEY}"
Serve = Callable[..., Served]

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


@pytest.fixture(scope="module")
def server(serving: Serve) -> Served:
    return serving()


@pytest.fixture(scope="module")
def locked(serving: Serve) -> Served:
    return serving(server={"api_keys": [KEY]})


# --- health and readiness -------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_health_and_ready_name_every_provider_and_that_mocks_are_in_use(
    server: Served, path: str
) -> None:
    answer = get(server.url, path)
    assert answer.status == 200
    body = answer.json
    assert set(body["providers"]) >= {"vad", "stt", "llm", "tts"}
    for provider in body["providers"].values():
        assert {"provider", "endpoint", "is_mock", "fallback_count"} <= set(provider)
    llm = body["providers"]["llm"]
    assert (llm["provider"], llm["is_mock"], llm["fallback_count"]) == ("echo", True, 0)
    assert body["providers"]["vad"]["is_mock"] is False
    assert body["status"] == "degraded"
    assert any(warning.startswith("llm:") and "mock" in warning for warning in body["warnings"])


def test_ready_tells_of_the_documents(server: Served) -> None:
    assert get(server.url, "/ready").json["rag"] == {"enabled": False}


def test_without_a_key_health_answers_and_hides_addresses(locked: Served) -> None:
    for path in ("/health", "/ready"):
        assert get(locked.url, path).status == 200
        assert get(locked.url, path, BEARER).json["warnings"]
        assert all("see the log" in warning for warning in get(locked.url, path).json["warnings"])


@pytest.mark.parametrize(
    "path", ["/metrics", "/api/performance", "/api/sources/x.md", "/api/bench/known-delays"]
)
def test_what_is_the_operators_needs_the_key(locked: Served, path: str) -> None:
    assert get(locked.url, path).status == 401
    assert get(locked.url, path, "Authorization: Bearer nobodys-key-at-all").status == 401
    assert get(locked.url, f"{path}?key={KEY}").status == 401
    assert get(locked.url, path, BEARER).status in (200, 404)


def test_without_keys_nobody_is_asked_for_one(server: Served) -> None:
    for path in ("/metrics", "/api/performance", "/api/bench/known-delays"):
        assert get(server.url, path).status == 200


# --- the record -----------------------------------------------------------------------------------


def test_after_turns_performance_has_the_three_figures(serving: Serve) -> None:
    server = serving(mock={"stt_text": "yes"})
    with Caller(server.url, "?audio=binary") as caller:
        caller.update(include=["kaiwa.turn.timeline"])
        for _ in range(2):
            caller.send(loud(0.5))
            caller.send(silence(0.5))
            caller.until("kaiwa.turn.timeline")
    body = get(server.url, "/api/performance?hours=1").json
    assert body["turns"] == 2 and body["unit"] == "ms"
    for name in ("partial", "final", "tts_start"):
        figure = body["figures"][name]
        assert figure["count"] == 2
        assert 0 <= figure["p50"] <= figure["p95"] <= figure["p99"]
    assert get(server.url, "/api/performance?hours=soon").status == 400
    page = get(server.url, "/metrics").body.decode()
    assert 'kaiwa_turns_total{outcome="completed"} 2.0' in page
    assert "kaiwa_tts_start_seconds_count 2.0" in page
    eventually(lambda: "kaiwa_sessions 0.0" in get(server.url, "/metrics").body.decode(), "hung up")


def test_docs_list_the_routes(server: Served) -> None:
    paths = get(server.url, "/docs").json["paths"]
    assert {"/health", "/ready", "/metrics", "/api/performance"} <= set(paths)


# --- pages and strangers --------------------------------------------------------------------------


def test_the_page_comes_with_its_guards(server: Served) -> None:
    answer = get(server.url, "/")
    assert answer.status == 200 and b"Kaiwa" in answer.body
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy
    assert HEADERS.items() <= answer.headers.items()
    assert "server" not in answer.headers


@pytest.mark.parametrize("path", ["/nothing", "/api/sources/nothing.md", "/api/nothing"])
def test_what_is_not_there_is_404_with_the_same_guards(server: Served, path: str) -> None:
    answer = get(server.url, path)
    assert answer.status == 404
    assert HEADERS.items() <= answer.headers.items()


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/..%2fpyproject.toml",
        "/%2e%2e/pyproject.toml",
        "/%2e%2e%2f%2e%2e%2fetc/passwd",
        "/....//....//etc/passwd",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/..\\pyproject.toml",
        "/.git/config",
        "/__init__.py/../../pyproject.toml",
        "/api/sources/../../pyproject.toml",
        "/api/sources/..%2f..%2fpyproject.toml",
        "/api/sources//etc/passwd",
        "/api/sources/%00",
        "/api/sources/" + "a/" * 500,
        "/" + "a" * 4000,
        "/%ff%fe",
        "/%00",
        "/index.html%00.png",
    ],
)
def test_no_path_leads_out_of_the_folder(server: Served, path: str) -> None:
    answer = get(server.url, path)
    assert answer.status in (400, 404)
    assert b"[project]" not in answer.body and b"root:" not in answer.body


def test_a_page_that_had_its_name_rebound_reads_nothing(server: Served) -> None:
    for path in ("/", "/health", "/metrics", "/api/performance", "/docs"):
        data = f"GET {path} HTTP/1.1\r\nHost: evil.example.com\r\n\r\n".encode()
        assert request(server.url, data).status == 403


def test_head_is_get_without_the_body(server: Served) -> None:
    for path in ("/", "/health", "/ready"):
        answer = get(server.url, path, method="HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert int(answer.headers["content-length"]) > 0


def test_options_says_what_may_be_asked_and_opens_nothing_to_others(server: Served) -> None:
    answer = get(server.url, "/health", "Origin: https://evil.example.com", method="OPTIONS")
    assert answer.status == 204 and "GET" in answer.headers["allow"]
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_written(server: Served, method: str) -> None:
    for path in ("/", "/health", "/api/performance"):
        assert get(server.url, path, "Content-Length: 0", method=method).status == 405


@pytest.mark.parametrize(
    "data",
    [
        b"HELLO\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\nhello",
        b"GET /v1/realtime HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\n\r\n",
        b"GET /v1/realtime HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /v1/other HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
    ],
)
def test_a_malformed_request_is_refused_and_the_server_lives(server: Served, data: bytes) -> None:
    assert 400 <= request(server.url, data).status < 500
    assert get(server.url, "/health").status == 200
    assert not [line for line in server.lines if "Traceback" in line]
