"""Settings as anybody may see them: of a secret, whether it is set."""

from typing import Any

import msgspec

from voice.addresses import masked

SECRET = (
    "embedder.api_key",
    "llm.api_key",
    "llm.cache_salt",
    "reranker.api_key",
    "server.api_keys",
    "sip.extension_password",
    "sip.password",
    "telephony.asterisk_password",
    "telephony.twilio_auth_token",
    "telephony.twilio_signing_keys",
    "telephony.vonage_signature_secret",
    "tts.api_key",
    "webrtc.turn_secret",
)


def shown(path: str, value: Any) -> Any:
    """A setting as anybody may see it: of a secret, whether it is set; addresses masked."""
    if path in SECRET:
        return "set" if value else ""
    return _without_secrets(msgspec.to_builtins(value))


def _without_secrets(value: Any) -> Any:
    """A fallback is a mapping that may hold a key of its own."""
    if isinstance(value, dict):
        hidden = {path.rpartition(".")[2] for path in SECRET}
        return {key: "set" if key in hidden else _without_secrets(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_without_secrets(one) for one in value]
    return masked(value) if isinstance(value, str) else value
