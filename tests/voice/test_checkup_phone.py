"""What `kaiwa doctor` says of telephone doors."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from mocks.serve_twilio import ACCOUNT, OURS, TOKEN, TwilioFault, TwilioServer
from tests.served import Hosted
from voice import checkup_phone
from voice.checkup_machine import Finding, Findings
from voice.checkup_phone import audiosocket_found, doors_found, public_url_found, rest_found
from voice.config import AgentConfig, Config, ServerConfig, TelephonyConfig

TWILIO: dict[str, Any] = {
    "public_url": "https://voice.example.com",
    "twilio_account_sid": ACCOUNT,
    "twilio_auth_token": TOKEN,
}


def config(tools: tuple[Any, ...] = (), **telephony: Any) -> Config:
    return Config(
        server=ServerConfig(port=1),  # where no Kaiwa serves
        telephony=TelephonyConfig(**telephony),
        agent=AgentConfig(tools=tools),
    )


def public_url(url: str) -> Findings:
    return asyncio.run(public_url_found(TelephonyConfig(**{**TWILIO, "public_url": url})))


# --- doors ----------------------------------------------------------------------------------------


def test_open_doors_are_named() -> None:
    assert doors_found(config()) == []
    (told,) = doors_found(config(**TWILIO, asterisk_password="p" * 16))
    assert told.mark == "✓" and told.found == "open: Twilio, Asterisk"


@pytest.mark.parametrize(
    ("settings", "mark", "remedy"),
    [
        ({"twilio_account_sid": ACCOUNT}, "–", "TWILIO_AUTH_TOKEN"),
        ({"vonage_application_id": "x"}, "–", "VONAGE_SIGNATURE_SECRET"),
        ({"tools": ("transfer_call",), "transfer": {"a": "+49"}}, "!", "TWILIO_ACCOUNT_SID"),
        ({"transfer": {"a": "+49"}}, "–", "transfer_call"),
        ({"outbound_from": OURS}, "!", "KAIWA_API_KEYS"),
    ],
)
def test_half_of_what_is_needed_is_told_with_the_other_half(
    settings: dict[str, Any], mark: str, remedy: str
) -> None:
    (told,) = doors_found(config(**settings))
    assert told.mark == mark and remedy in told.remedy


# --- the public address ---------------------------------------------------------------------------


def test_a_public_address_is_asked_whether_a_kaiwa_answers(
    hosting: Callable[..., Hosted],
) -> None:
    found = public_url(hosting().url.rstrip("/"))
    assert [one.mark for one in found] == ["!", "!", "✓"]
    assert "without TLS" in found[0].found and "127.0.0.1" in found[1].found
    assert "a Kaiwa answers" in found[2].found


def test_one_where_somebody_else_answers_is_told() -> None:
    async def scenario() -> Findings:
        async with TwilioServer() as other:
            return await public_url_found(TelephonyConfig(**{**TWILIO, "public_url": other.url}))

    told = asyncio.run(scenario())[-1]
    assert told.mark == "!" and "404" in told.found and "/v1/telephony" in told.remedy


def test_one_without_tls_is_a_fault_but_on_this_machine() -> None:
    found = public_url("http://no.such.host.invalid")
    assert [one.mark for one in found] == ["✗", "✗"]
    assert "https://" in found[0].remedy and "DNS" in found[1].remedy


def test_one_where_nobody_answers_is_a_warning_for_it_may_be_hidden_from_here() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        told = public_url(f"https://127.0.0.1:{probe.getsockname()[1]}")[-1]
    assert told.mark == "!" and "refused" in told.found.lower() and "proxy" in told.remedy


@pytest.mark.real_time
def test_one_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup_phone, "LIMIT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        told = public_url(f"https://127.0.0.1:{silent.getsockname()[1]}")[-1]
    assert told.mark == "!" and told.found.startswith("no answer within 0.5 s")


def test_where_nobody_signs_it_nobody_is_asked() -> None:
    only_url = TelephonyConfig(public_url="http://no.such.host.invalid")
    assert asyncio.run(public_url_found(only_url)) == []


# --- Twilio's REST interface ----------------------------------------------------------------------


def rest(*faults: TwilioFault, status: str = "active", **telephony: Any) -> Finding:
    async def scenario() -> Findings:
        async with TwilioServer() as twilio:
            twilio.status = status
            await twilio.inject(*faults)
            settings = {**TWILIO, "twilio_api": twilio.url, "outbound_from": OURS, **telephony}
            return await rest_found(config(**settings))

    (told,) = asyncio.run(scenario())
    return told


def test_an_account_that_twilio_knows_is_well() -> None:
    assert rest().mark == "✓"


def test_a_token_that_is_not_the_accounts_is_told_and_not_shown() -> None:
    told = rest(twilio_auth_token="e" * 32)
    assert told.mark == "✗" and "credentials" in told.found
    assert "TWILIO_AUTH_TOKEN" in told.remedy and "eee" not in told.found + told.remedy


def test_an_interface_that_is_not_found_is_told_with_the_way_out() -> None:
    told = rest(twilio_api="https://no.such.host.invalid")
    assert told.mark == "✗" and told.found.startswith("no connection: ")
    assert "HTTPS_PROXY" in told.remedy and "telephony.twilio_api" in told.remedy


def test_an_account_that_twilio_has_shut_is_told() -> None:
    told = rest(status="suspended")
    assert told.mark == "✗" and "suspended" in told.found


@pytest.mark.real_time
@pytest.mark.parametrize("kind", ["garbage", "stall", "reset", "error"])
def test_what_twilio_does_not_say_is_told(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup_phone, "LIMIT_S", 0.5)
    told = rest(TwilioFault(kind=kind, times=2))  # aiohttp asks once more where a line breaks
    assert told.mark == "✗" and told.found and told.remedy


def test_who_neither_calls_nor_transfers_needs_none() -> None:
    assert asyncio.run(rest_found(config(**TWILIO))) == []


# --- AudioSocket ----------------------------------------------------------------------------------


def test_a_port_that_somebody_has_is_told() -> None:
    assert audiosocket_found(config()) == []
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        (told,) = audiosocket_found(config(audiosocket_port=port))
        assert told.mark == "✗" and f"telephony.audiosocket_port: {port + 1}" in told.remedy
    (told,) = audiosocket_found(config(audiosocket_port=port))
    assert told.mark == "✓"
