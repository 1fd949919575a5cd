"""What every HTTP provider needs: addresses, a session, failures turned into ProviderError."""

import contextlib
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import aiohttp

from providers._proxy import VARIABLE as PROXY
from providers._proxy import proxy_of
from providers._said import as_text, complaints, complaints_of, short, words_of
from providers.base import Fault, ProviderError, Slot

_SENT: WeakKeyDictionary[aiohttp.ClientResponse, bytes] = WeakKeyDictionary()
"""The body that each is the answer to; whoever reads it may be another task than who asked."""
_VERSION = re.compile(r"/v\d[^/]*(/|$)")


class HttpFailure(ProviderError):
    """A ProviderError that knows how long the server asked to be left alone."""

    retry_after_s: float | None = None
    is_cut: bool = False
    """The connection broke in the middle of the answer; the request may succeed when sent again."""


def api_root(endpoint: str, variable: str, *known_paths: str) -> str:
    """The address below which the API lies, without a slash at its end.

        http://gpu:8000                       -> http://gpu:8000/v1
        http://gpu:8000/v1/chat/completions   -> http://gpu:8000/v1
        https://host/v1beta/openai/           -> https://host/v1beta/openai

    Args:
        variable: What the endpoint is called in the configuration, for the error.
        known_paths: Ends of the path that do not belong to the root, e.g. "/chat/completions".
    Raises:
        ValueError: If it is no HTTP address, or has a key or password in it.
    """
    address = endpoint.strip()
    parts = urlsplit(address)
    if parts.username or parts.password or parts.query:
        raise ValueError(f"{variable} must hold no key or password; set {_key_variable(variable)}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{variable} must be like http://127.0.0.1:8000, got {address!r}")
    path = parts.path.rstrip("/")
    for known in known_paths:
        path = path.removesuffix(known)
    if not _VERSION.search(path):
        path += "/v1"
    return urlunsplit((parts.scheme, parts.netloc, path, "", ""))


def check_key(key: str, variable: str) -> None:
    """Raises ValueError, without showing it, for a key that no header can carry."""
    if not all("!" <= char <= "~" for char in key):
        raise ValueError(f"{variable} holds a space, a line break or a letter outside ASCII")


def open_session(
    root: str, *, api_key: str = "", connect_s: float = 2.0, keep_alive_s: float = 30.0
) -> aiohttp.ClientSession:
    """A session without a limit on connections, cookies or compression.

    Compression would hold tokens back at the server. Only connecting has a time limit here; the
    other limits depend on what is read and belong to the reader.

    Args:
        root: Of the server, which tells the proxy; see `providers._proxy`.
        keep_alive_s: How long an idle connection is kept, unless the server closes it before.
    """
    headers = {"Accept-Encoding": "identity", "User-Agent": "kaiwa"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=keep_alive_s, ttl_dns_cache=60),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_s),
        headers=headers,
        proxy=proxy_of(root),
        auto_decompress=False,
        middlewares=(_remember,),
    )


async def _remember(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    body = request.body
    sent = body if isinstance(body, bytes) else await body.as_bytes()
    response = await send(request)
    _SENT[response] = sent
    return response


def own_words(response: aiohttp.ClientResponse) -> str:
    """What was said in the request that it answers; see `providers._said`."""
    return words_of(_SENT.get(response, b""))


class Failures:
    """Makes the ProviderErrors of one provider; no text of theirs ever shows its key."""

    def __init__(self, slot: Slot, provider: str, root: str, variable: str, api_key: str) -> None:
        self.slot = slot
        self._provider = provider
        self._root = root
        self._variable = variable
        self._api_key = api_key

    def make(self, fault: Fault, message: str) -> HttpFailure:
        if self._api_key:
            message = message.replace(self._api_key, "***")
        return HttpFailure(self.slot, self._provider, fault, message)

    def of_connection(self, error: Exception) -> HttpFailure:
        """For what aiohttp raises before an answer is there."""
        if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
            return self._of_proxy(error)
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            host = urlsplit(self._root).hostname
            return self.make(
                Fault.UNREACHABLE, f"no address for host {host!r}: check {self._variable}"
            )
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            why = "no connection in time"
        elif isinstance(error, aiohttp.ClientSSLError):
            why = f"TLS failed ({short(str(error))})"
        elif isinstance(error, aiohttp.ClientConnectorError):
            why = error.os_error.strerror or type(error.os_error).__name__
        elif isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL):
            return self.make(
                Fault.BROKEN, f"{self._root} does not speak HTTP: check {self._variable}"
            )
        else:
            why = str(error) or type(error).__name__
        return self.make(
            Fault.UNREACHABLE,
            f"{short(why)}: is the server at {self._root} running? ({self._variable})",
        )

    def _of_proxy(
        self, error: aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError
    ) -> HttpFailure:
        host = urlsplit(self._root).hostname
        why = "cannot be reached"
        if isinstance(error, aiohttp.ClientHttpProxyError):
            why = f"refused to connect us ({error.status} {short(error.message)})"
        return self.make(
            Fault.UNREACHABLE,
            f"the proxy that {PROXY} names {why}: check {PROXY}, or put {host} into NO_PROXY",
        )

    def of_status(
        self, response: aiohttp.ClientResponse, body: bytes, hint: str = ""
    ) -> HttpFailure:
        """For an answer that is none: status, the server's own words, and the remedy.

        Args:
            hint: Of ours, what more may help.
        """
        status, said = response.status, error_text(body, own_words(response))
        failure = self.make(fault_of_status(status), self._remedy(response, said) + hint)
        failure.retry_after_s = retry_after_s(response.headers)
        return failure

    def _remedy(self, response: aiohttp.ClientResponse, said: str) -> str:
        status = response.status
        words = f"HTTP {status}" + (f" ({said})" if said else "")
        if status in (401, 403):
            key = _key_variable(self._variable)
            return f"{words}: " + (f"check {key}" if self._api_key else f"set {key}")
        if 300 <= status < 400:
            where = response.headers.get("Location", "elsewhere")
            return f"{words}: it redirects to {short(where)}; set {self._variable} to that"
        if status in (429, 503):
            return f"{words}: the server takes no more now; try later or give it fewer callers"
        if status in (404, 405):
            return f"{words}: nothing of that name at {self._root}; check {self._variable}"
        if status in (502, 504):
            return f"{words}: the proxy at {self._root} does not reach its server"
        return f"{words} from {self._root}" + ("; see its log" if status >= 500 else "")


def fault_of_status(status: int) -> Fault:
    if status in (429, 503, 529):
        return Fault.OVERLOADED
    if status in (502, 504):
        return Fault.UNREACHABLE
    if status == 408:
        return Fault.TIMEOUT
    return Fault.REFUSED if 300 <= status < 500 else Fault.BROKEN


def error_text(body: bytes, own: str = "") -> str:
    """The server's words: `{"error": {"message": …}}`, `{"error": …}`, `{"detail": …}` or text.

    Args:
        own: Of the request, from `own_words`; nothing of it stands in the result.
    """
    return as_text(complaints(body, own))


def error_message(error: Any, own: str = "") -> str:
    """The words in the value of an "error" field, likewise."""
    return as_text(complaints_of(error, own))


def _key_variable(endpoint_variable: str) -> str:
    return endpoint_variable.replace("ENDPOINT", "API_KEY")


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds the server asks for; None if it does not. Infinite where it cannot be understood.

    A date is taken against the answer's own `Date`, so that no two clocks must agree. OpenAI's
    `retry-after-ms` is finer and goes first.
    """
    with contextlib.suppress(ValueError):
        return max(0.0, float(headers.get("retry-after-ms", "")) / 1000)
    value = headers.get("Retry-After", "")
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        then = parsedate_to_datetime(value)
        now = parsedate_to_datetime(headers.get("Date", ""))
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError):
        return float("inf")
