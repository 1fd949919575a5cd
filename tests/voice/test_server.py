"""Starting: what cannot be served is said at once, in one line, with the remedy."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.served import Caller, Served, get, written


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def refused(
    tmp_path: Path, *arguments: str, env: dict[str, str] | None = None, **sections: Any
) -> str:
    config = written(tmp_path, sections)
    done = subprocess.run(
        [sys.executable, "-m", "voice.cli", "serve", "--config", str(config), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    said = done.stderr.strip().splitlines()
    assert len(said) == 1, done.stderr
    line = said[0]
    return str(json.loads(line)["error"]) if line.startswith("{") else line


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_an_address_that_others_reach_needs_keys(tmp_path: Path, host: str) -> None:
    said = refused(tmp_path, "--host", host)
    assert "KAIWA_API_KEYS" in said and host in said


def test_a_key_that_can_be_guessed_is_none(tmp_path: Path) -> None:
    said = refused(tmp_path, "--host", "0.0.0.0", env={"KAIWA_API_KEYS": "hunter2"})
    assert "secrets.token_urlsafe" in said and "hunter2" not in said


def test_with_keys_any_address_will_do(tmp_path: Path) -> None:
    config = written(tmp_path, {})
    key = "a-key-that-is-long-enough-0001"
    server = Served(config, "--host", "0.0.0.0", env={"KAIWA_API_KEYS": key})
    try:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert get(url, "/metrics").status == 401
        with Caller(url, additional_headers={"Authorization": f"Bearer {key}"}) as caller:
            caller.answers()
    finally:
        server.stop()


def test_a_port_in_use_is_said_before_any_model_is_loaded(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = refused(tmp_path, "--port", port)
    assert port in said and "--port" in said


def test_an_address_that_is_not_this_machines_is_said(tmp_path: Path) -> None:
    env = {"KAIWA_API_KEYS": "a-key-that-is-long-enough-0001"}
    assert "192.0.2.1" in refused(tmp_path, "--host", "192.0.2.1", env=env)
    assert "no.such.host.invalid" in refused(tmp_path, "--host", "no.such.host.invalid", env=env)


def test_an_unknown_provider_is_said_with_those_that_are_known(tmp_path: Path) -> None:
    said = refused(tmp_path, tts={"provider": "parrot"})
    assert "tts.provider" in said and "parrot" in said and "espeak" in said


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


@needs_ipv6
def test_ipv6_loopback_needs_no_key_and_its_printed_address_opens(tmp_path: Path) -> None:
    server = Served(written(tmp_path, {}), "--host", "::1")
    try:
        assert server.url.startswith("http://[::1]:")
        with urllib.request.urlopen(server.url + "health", timeout=60) as answer:
            assert answer.status == 200
        with Caller(server.url, origin=server.url.rstrip("/")) as caller:
            caller.answers()
    finally:
        server.stop()


@needs_ipv6
def test_the_ipv6_wildcard_takes_callers_of_both_kinds(tmp_path: Path) -> None:
    key = "a-key-that-is-long-enough-0001"
    server = Served(written(tmp_path, {}), "--host", "::", env={"KAIWA_API_KEYS": key})
    try:
        assert server.url.startswith("http://[::]:")
        for name in ("[::1]", "127.0.0.1"):
            url = server.url.replace("[::]", name)
            with Caller(url, additional_headers={"Authorization": f"Bearer {key}"}) as caller:
                caller.answers()
    finally:
        server.stop()
