"""What is wrong with the settings of the telephone doors, and what would be right."""

import base64
import binascii
from collections.abc import Iterator
from urllib.parse import urlsplit

from voice.addresses import masked
from voice.config_calls import TelephonyConfig

Problem = tuple[str, str]

LEAST_SECRET = 16
"""Characters, as of server.api_keys."""
KEY_BYTES = 32


def phone_problems(config: TelephonyConfig) -> Iterator[Problem]:
    if wrong := _no_public_url(config.public_url):
        yield "telephony.public_url", wrong
    if config.telnyx_public_key and not _is_key(config.telnyx_public_key):
        yield (
            "telephony.telnyx_public_key",
            "is no Ed25519 key in base64; Telnyx's portal shows it under Keys & Credentials, "
            "Public Key",
        )
    if 0 < len(config.asterisk_password) < LEAST_SECRET:
        yield (
            "telephony.asterisk_password",
            f"is shorter than {LEAST_SECRET} characters. "
            'Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"',
        )


def shut_doors(config: TelephonyConfig) -> Iterator[str]:
    """Of secrets without public_url: others' programs have the same variables, so that it is no
    error."""
    named = {
        "twilio_auth_token": config.twilio_auth_token,
        "twilio_signing_keys": config.twilio_signing_keys,
        "telnyx_public_key": config.telnyx_public_key,
        "vonage_signature_secret": config.vonage_signature_secret,
    }
    found = [name for name, value in named.items() if value]
    if found and not config.public_url:
        yield (
            f"telephony: {' and '.join(found)} will let no calls in while public_url is empty: "
            "what is signed names this server. Set KAIWA_PUBLIC_URL=https://voice.example.com"
        )


def _no_public_url(text: str) -> str:
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if fits and not parts.query and not parts.fragment and parts.username is None:
        return ""
    return (
        f"{masked(text)!r} is no address of a server; it must look like https://voice.example.com"
    )


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False
