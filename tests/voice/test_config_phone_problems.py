"""What is wrong with the telephone doors' settings, as the operator is told."""

import pytest

from voice.build import warnings
from voice.config import Config, TelephonyConfig
from voice.config_phone_problems import phone_problems

PUBLIC = "https://voice.example.com"


@pytest.mark.parametrize(
    "url", [PUBLIC, "https://voice.example.com/", "http://10.0.0.7:8000", f"{PUBLIC}/kaiwa"]
)
def test_addresses_of_servers_are_fine(url: str) -> None:
    assert list(phone_problems(TelephonyConfig(public_url=url))) == []


@pytest.mark.parametrize(
    "url",
    [
        "voice.example.com", "wss://voice.example.com", "https://", "https://me:secret@x.com",
        "https://x.com?key=secret", "https://x.com#a", "ftp://x.com", "https://x.com:port", "text",
    ],
)  # fmt: skip
def test_others_are_told_and_no_secret_is_shown(url: str) -> None:
    ((path, told),) = phone_problems(TelephonyConfig(public_url=url))
    assert path == "telephony.public_url" and PUBLIC in told and "secret" not in told


@pytest.mark.parametrize("key", ["x", "AAAA", "A" * 44, "é"])
def test_a_key_that_is_none_is_told(key: str) -> None:
    ((path, told),) = phone_problems(TelephonyConfig(telnyx_public_key=key))
    assert path == "telephony.telnyx_public_key" and "Ed25519" in told


def test_a_short_password_is_told() -> None:
    ((path, told),) = phone_problems(TelephonyConfig(asterisk_password="short"))
    assert path == "telephony.asterisk_password" and "token_urlsafe" in told


def test_secrets_without_an_address_open_nothing_and_that_is_told_as_a_warning() -> None:
    alone = TelephonyConfig(twilio_auth_token="t" * 32)
    (told,) = warnings(Config(telephony=alone))
    assert "twilio_auth_token" in told and "KAIWA_PUBLIC_URL" in told and "ttt" not in told
    both = TelephonyConfig(twilio_auth_token="t" * 32, public_url=PUBLIC)
    assert warnings(Config(telephony=both)) == []
    assert warnings(Config(telephony=TelephonyConfig(asterisk_password="p" * 16))) == []
