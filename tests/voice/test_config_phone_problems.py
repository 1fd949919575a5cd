"""What is wrong with the telephone doors' settings, as the operator is told."""

from typing import Any

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
        f"{PUBLIC}/v1/telephony/twilio/voice",
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


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("asterisk_password", "hush", "token_urlsafe"),
        ("vonage_signature_secret", "x", "Vonage's dashboard"),
        ("twilio_auth_token", "fifteen-letters", "Twilio's console"),
    ],
)
def test_a_secret_that_can_be_guessed_is_told_and_not_shown(
    setting: str, value: str, remedy: str
) -> None:
    given: Any = {setting: value}
    ((path, told),) = phone_problems(TelephonyConfig(**given))
    assert path == f"telephony.{setting}" and "16 characters" in told and remedy in told
    assert len(value) == 1 or value not in told, "it is shown to nobody"
    assert list(phone_problems(TelephonyConfig(**{**given, setting: "x" * 16}))) == []


def test_a_short_signing_key_is_told_by_its_id() -> None:
    ((path, told),) = phone_problems(TelephonyConfig(twilio_signing_keys={"key_1": "hush"}))
    assert path == "telephony.twilio_signing_keys.key_1" and "hush" not in told


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("twilio_account_sid", "SK" + "1" * 32),
        ("twilio_account_sid", "AC1"),
        ("vonage_application_id", "my-application"),
        ("asterisk_username", ""),
        ("asterisk_username", "kaiwa:secret"),
    ],
)
def test_a_name_that_lets_no_call_in_is_told(setting: str, value: str) -> None:
    given: Any = {setting: value}
    ((path, told),) = phone_problems(TelephonyConfig(**given))
    assert path == f"telephony.{setting}" and "must be" in told


def test_a_webhooks_address_is_told_with_the_servers() -> None:
    url = f"{PUBLIC}/kaiwa/v1/telephony/twilio/voice"
    ((_, told),) = phone_problems(TelephonyConfig(public_url=url))
    assert told.endswith(f"alone: {PUBLIC}/kaiwa")


def test_secrets_without_an_address_open_nothing_and_that_is_told_as_a_warning() -> None:
    alone = TelephonyConfig(twilio_auth_token="t" * 32)
    (told,) = warnings(Config(telephony=alone))
    assert "twilio_auth_token" in told and "KAIWA_PUBLIC_URL" in told and "ttt" not in told
    both = TelephonyConfig(twilio_auth_token="t" * 32, public_url=PUBLIC)
    assert warnings(Config(telephony=both)) == []
    assert warnings(Config(telephony=TelephonyConfig(asterisk_password="p" * 16))) == []
