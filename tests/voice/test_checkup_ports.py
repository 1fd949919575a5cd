"""What `kaiwa doctor` says of ports and of files that may be open."""

import errno
import resource
import socket
from typing import Any

import msgspec
import pytest

from voice.checkup_ports import files_found, is_health, port_remedy, why_not
from voice.config import Config, ServerConfig


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_port_is_free_until_somebody_has_it(kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        error = why_not("127.0.0.1", port, kind)
        assert error is not None and error.errno == errno.EADDRINUSE
    assert why_not("127.0.0.1", port, kind) is None


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.EADDRINUSE, "choose another: KAIWA_SIP_PORT=5061"),
        (errno.EACCES, "for root; choose another: KAIWA_SIP_PORT=8060"),
        (errno.EADDRNOTAVAIL, "KAIWA_SIP_HOST must be an address of this machine"),
    ],
)
def test_each_error_has_a_remedy_in_the_doors_own_words(code: int, remedy: str) -> None:
    port = 60 if code == errno.EACCES else 5060
    error = OSError(code, "whatever")
    assert remedy in port_remedy(error, port, "KAIWA_SIP_PORT", "KAIWA_SIP_HOST")


def test_a_setting_without_a_variable_is_told_as_it_stands_in_the_file() -> None:
    told = port_remedy(OSError(errno.EADDRINUSE, ""), 9092, "telephony.audiosocket_port", "x")
    assert told.endswith("telephony.audiosocket_port: 9093")


def test_only_what_kaiwa_says_of_itself_is_a_kaiwas() -> None:
    told: Any = {"providers": {}, "sessions": 0, "version": "1"}
    assert is_health(msgspec.json.encode(told))
    assert not any(map(is_health, (b"", b"<html>", b"[]", b'{"status": "ok"}')))


def test_too_few_files_for_the_callers_are_told_with_what_raises_them() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    many = Config(server=ServerConfig(max_sessions=soft))
    (told,) = files_found(many)
    assert told.mark == "!" and "ulimit -n" in told.remedy and "KAIWA_MAX_SESSIONS" in told.remedy
    (told,) = files_found(Config(server=ServerConfig(max_sessions=1)))
    assert told.mark == "✓"
