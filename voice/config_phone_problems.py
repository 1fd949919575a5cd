"""What is wrong with the settings of the telephone doors, and what would be right."""

import base64
import binascii
import re
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import UUID

from voice.addresses import masked
from voice.config_calls import TelephonyConfig

Problem = tuple[str, str]

LEAST_SECRET = 16
"""Characters, as of server.api_keys. Vonage recommends no fewer than 32 bits for what it signs
with: who has seen one signed request tries all of these in minutes, without asking anybody.

Source: https://developer.vonage.com/en/messages/concepts/signed-webhooks"""
KEY_BYTES = 32
WEBHOOKS = "/v1/telephony/"
ACCOUNT = re.compile(r"AC[0-9a-fA-F]{32}")
NEW_SECRET = 'Make one with: python3 -c "import secrets; print(secrets.token_urlsafe(32))"'
OF_PROVIDERS = {
    "twilio_auth_token": "Twilio's console shows it under Account Info, 32 characters",
    "vonage_signature_secret": "Choose a longer one in Vonage's dashboard, API settings",
    "asterisk_password": NEW_SECRET,
}
"""Where the secret comes from."""


def phone_problems(config: TelephonyConfig) -> Iterator[Problem]:
    if wrong := _no_public_url(config.public_url):
        yield "telephony.public_url", wrong
    if config.telnyx_public_key and not _is_key(config.telnyx_public_key):
        yield (
            "telephony.telnyx_public_key",
            "is no Ed25519 key in base64; Telnyx's portal shows it under Keys & Credentials, "
            "Public Key",
        )
    for name, remedy in OF_PROVIDERS.items():
        if 0 < len(getattr(config, name)) < LEAST_SECRET:
            yield (
                f"telephony.{name}",
                f"is shorter than {LEAST_SECRET} characters, so it can be guessed. {remedy}",
            )
    for name, secret in config.twilio_signing_keys.items():
        if len(secret) < LEAST_SECRET:
            yield (
                f"telephony.twilio_signing_keys.{name}",
                f"is shorter than {LEAST_SECRET} characters, so it can be guessed; it must be the "
                "key's secret, as Twilio has it",
            )
    yield from _name_problems(config)


def _name_problems(config: TelephonyConfig) -> Iterator[Problem]:
    """Names that would let no call in, or none of those that were meant."""
    if config.twilio_account_sid and not ACCOUNT.fullmatch(config.twilio_account_sid):
        yield (
            "telephony.twilio_account_sid",
            f"must be AC and 32 digits, as Twilio's console shows it under Account Info, got "
            f"{config.twilio_account_sid[:40]!r}",
        )
    if config.vonage_application_id and not _is_uuid(config.vonage_application_id):
        yield (
            "telephony.vonage_application_id",
            "must be the application's id, such as aaaaaaaa-bbbb-cccc-dddd-0123456789ab, got "
            f"{config.vonage_application_id[:40]!r}",
        )
    if not config.asterisk_username or ":" in config.asterisk_username:
        yield (
            "telephony.asterisk_username",
            "must be the name in Asterisk's websocket_client.conf, without a colon",
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
        if WEBHOOKS not in parts.path:
            return ""
        meant = text.partition(WEBHOOKS)[0]
        return f"{text!r} is a webhook's address; it must be the server's alone: {meant}"
    return (
        f"{masked(text)!r} is no address of a server; it must look like https://voice.example.com"
    )


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def _is_key(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) == KEY_BYTES
    except (binascii.Error, ValueError):
        return False
