"""Whether ports can be had as the server will want them, and what to do where they cannot."""

import errno
import socket
import urllib.error
import urllib.request

import msgspec

from voice.checkup_machine import Finding, Findings
from voice.config import Config

MOST_PORT, DEFAULT_PORT = 65_535, 8000
FILES, FILES_OF_A_CALL = 256, 6
"""Descriptors: the server's own, with models, logs and its providers; and a call's: its connection,
its UDP sockets, a connection to each of STT, LLM and TTS."""
ENOUGH_FILES = 65_536
TAKEN = "stop that one, or take another port: KAIWA_PORT=8001"


def port_found(config: Config) -> Findings:
    host, port = config.server.host, config.server.port
    what = f"port {port}"
    if not port:
        return [Finding("✓", "port", "any free one")]
    if (error := why_not(host, port, socket.SOCK_STREAM)) is None:
        return [Finding("✓", what, f"free on {host}")]
    if is_kaiwa(config):
        return [Finding("!", what, f"a Kaiwa is already serving on {host}:{port}", TAKEN)]
    return [Finding("✗", what, f"{host}:{port}: {error.strerror}", port_remedy(error, port))]


def why_not(host: str, port: int, kind: socket.SocketKind) -> OSError | None:
    """Why it cannot be bound; None: it can."""
    try:  # as the server will
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=kind)[0]
        with socket.socket(family, kind, protocol) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error
    return None


def port_remedy(
    error: OSError, port: int, setting: str = "KAIWA_PORT", host: str = "KAIWA_HOST"
) -> str:
    """Args:
    setting, host: How the two are set.
    """
    set_to = "=" if setting.isupper() else ": "
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"{host} must be an address of this machine: 127.0.0.1, or 0.0.0.0 for all it has"
    if error.errno == errno.EACCES:
        unprivileged = port % 1000 + DEFAULT_PORT if setting != "KAIWA_PORT" else DEFAULT_PORT
        return f"ports below 1024 are for root; choose another: {setting}{set_to}{unprivileged}"
    another = port + 1 if port < MOST_PORT else DEFAULT_PORT
    return f"end what listens there, or choose another: {setting}{set_to}{another}"


def is_kaiwa(config: Config) -> bool:
    """Whether one serves already, at the same place."""
    host, port = config.server.host, config.server.port
    place = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://{place}:{port}/health", timeout=2.0) as answer:
            return is_health(answer.read(1_000_000))
    except (OSError, ValueError, urllib.error.URLError):
        return False


def is_health(body: bytes) -> bool:
    """Whether it is what a Kaiwa says of itself."""
    try:
        told = msgspec.json.decode(body)
    except ValueError:
        return False
    return isinstance(told, dict) and {"providers", "sessions", "version"} <= told.keys()


def files_found(config: Config) -> Findings:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return []
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    calls = config.server.max_sessions
    needed = FILES + FILES_OF_A_CALL * calls
    if soft in (resource.RLIM_INFINITY, -1) or soft >= needed:
        return [Finding("✓", "open files", f"{soft} may be open, {calls} calls need {needed}")]
    return [
        Finding(
            "!",
            "open files",
            f"{soft} may be open, and server.max_sessions ({calls}) need {needed}",
            f"ulimit -n {max(ENOUGH_FILES, needed)} before it starts (systemd: LimitNOFILE, docker "
            "compose: ulimits), or a smaller KAIWA_MAX_SESSIONS",
        )
    ]
