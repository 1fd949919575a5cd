"""Who calls must know a password: digest authentication as a server asks for it (RFC 7616, 8760).

aiosipua answers challenges and makes none; its arithmetic checks what callers send. A nonce is the
time and its signature, so that nothing is kept of who was asked and never came back:

    nonce = seconds . HMAC-SHA256(key of this process, seconds and the caller's address)
"""

import hashlib
import hmac
import secrets

from aiosipua import AuthChallenge, SipDigestAuth, SipRequest, build_credentials, parse_auth
from aiosipua.header_codec import stringify_auth

REALM = "kaiwa"
NONCE_S = 60
"""So long one may be used: a stolen one is worth nothing afterwards."""
ALGORITHM = "MD5"
"""What telephones know; baresip 1.0 gives up where SHA-256 is offered beside it (RFC 8760)."""
MOST_USED = 4096


class Digest:
    def __init__(self, username: str, password: str) -> None:
        self._auth = SipDigestAuth(username, password)
        self._key = secrets.token_bytes(32)
        self._used: dict[str, int] = {}
        """By nonce, how often it was used, as its callers count: each count once."""

    def challenge(self, address: str, now: float) -> str:
        """The value of WWW-Authenticate."""
        return stringify_auth(_challenge(self._nonce(str(int(now)), address)))

    def knows(self, request: SipRequest, address: str, now: float) -> bool:
        """Whether the request proves that who sent it knows the password."""
        for value in request.headers.get("authorization"):
            given = parse_auth(value, credentials=True).params
            if self._is_ours(given.get("nonce", ""), address, now) and self._matches(
                given, request.method
            ):
                return self._is_first(given["nonce"], given["nc"])
        return False

    def _matches(self, given: dict[str, str], method: str) -> bool:
        nc, uri = given.get("nc", ""), given.get("uri", "")
        try:
            count = int(nc, 16)
        except ValueError:
            return False
        challenge = _challenge(given["nonce"])
        expected = build_credentials(
            self._auth, challenge, method, uri, nonce_count=count, cnonce=given.get("cnonce", "")
        )
        if expected is None or given.get("username") != self._auth.username:
            return False
        response = given.get("response", "").lower().encode()
        return hmac.compare_digest(expected.params["response"].encode(), response)

    def _is_first(self, nonce: str, count: str) -> bool:
        """Each count of a nonce once: what was overheard cannot be sent again."""
        number = int(count, 16)
        if number <= self._used.get(nonce, 0):
            return False
        self._used[nonce] = number
        if len(self._used) > MOST_USED:
            del self._used[next(iter(self._used))]
        return True

    def _nonce(self, second: str, address: str) -> str:
        text = f"{second} {address}".encode()
        return f"{second}.{hmac.new(self._key, text, hashlib.sha256).hexdigest()}"

    def _is_ours(self, nonce: str, address: str, now: float) -> bool:
        second, _, _ = nonce.partition(".")
        if not second.isdigit() or len(second) > 12 or not 0 <= now - int(second) <= NONCE_S:
            return False
        return hmac.compare_digest(nonce.encode(), self._nonce(second, address).encode())


def _challenge(nonce: str) -> AuthChallenge:
    told = {"realm": REALM, "nonce": nonce, "algorithm": ALGORITHM, "qop": "auth"}
    return AuthChallenge("Digest", told)
