"""Settings of calls that we make, transfer, or take from Asterisk: what contradicts itself."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from voice.build import warnings
from voice.config import load
from voice.config_calls import TelephonyConfig
from voice.config_sections import Config
from voice.config_talk import AgentConfig
from voice.errors import ConfigError

NUMBER = "+49301234567"


def problem(folder: Path, **sections: Any) -> str:
    file = folder / "kaiwa.yaml"
    file.write_text(json.dumps({"profile": "mock", **sections}), "utf-8")
    with pytest.raises(ConfigError) as wrong:
        load(file=file, environment={})
    return str(wrong.value)


@pytest.mark.parametrize(
    ("telephony", "path", "said"),
    [
        ({"transfer": {"sales": "030 123"}}, "telephony.transfer.sales", "in quotes"),
        ({"transfer": {"sales": "tel:+4930"}}, "telephony.transfer.sales", "sip:name@host"),
        ({"transfer": {"-": NUMBER}}, "telephony.transfer", "no name"),
        ({"transfer": {"a" * 41: NUMBER}}, "telephony.transfer", "no name"),
        ({"outbound_from": "12345"}, "telephony.outbound_from", "its country"),
        ({"transfer_from": "+0"}, "telephony.transfer_from", "its country"),
        ({"outbound_from": NUMBER}, "telephony.outbound_prefixes", "whom"),
        (
            {"outbound_from": NUMBER, "outbound_prefixes": ["49"]},
            "telephony.outbound_prefixes",
            "must begin with +",
        ),
        (
            {"outbound_from": NUMBER, "outbound_prefixes": ["+"]},
            "telephony.outbound_prefixes",
            "must begin with +",
        ),
        ({"twilio_api": "api.twilio.com"}, "telephony.twilio_api", "http"),
        ({"outbound_from": NUMBER}, "telephony.outbound_from", "telephony.twilio_auth_token"),
        ({"twilio_api": "http://api.twilio.com"}, "telephony.twilio_api", "https://api.twilio.com"),
        ({"twilio_api": "http://10.0.0.7:80"}, "telephony.twilio_api", "unencrypted"),
        (
            {"audiosocket_port": 9092, "audiosocket_host": "0.0.0.0"},
            "telephony.audiosocket_peers",
            "Asterisk's address",
        ),
        (
            {
                "audiosocket_port": 9092,
                "audiosocket_host": "0.0.0.0",
                "audiosocket_peers": ["0.0.0.0/0"],
            },
            "telephony.audiosocket_peers",
            "strangers",
        ),
        ({"audiosocket_port": 9092, "audiosocket_peers": []}, "audiosocket_peers", "nobody"),
        ({"audiosocket_port": 9092, "audiosocket_host": "a b"}, "audiosocket_host", "127.0.0.1"),
        ({"audiosocket_peers": ["10.0.0.1/8"]}, "telephony.audiosocket_peers", "host bits"),
        ({"audiosocket_peers": ["asterisk"]}, "telephony.audiosocket_peers", "asterisk"),
        ({"audiosocket_uuids": ["1234"]}, "telephony.audiosocket_uuids", "uuidgen"),
        ({"audiosocket_port": 70_000}, "telephony.audiosocket_port", "<= 65535"),
    ],
)
def test_it_is_told_by_its_path(
    telephony: dict[str, Any], path: str, said: str, tmp_path: Path
) -> None:
    told = problem(tmp_path, telephony=telephony)
    assert path in told and said in told


@pytest.mark.parametrize(
    "telephony",
    [
        {"twilio_api": "http://127.0.0.1:8080"},
        {"twilio_api": "https://api.dublin.ie1.twilio.com"},
        {"audiosocket_host": "0.0.0.0"},  # no port: it is shut
        {
            "audiosocket_port": 9092,
            "audiosocket_host": "0.0.0.0",
            "audiosocket_peers": ["0.0.0.0/0"],
            "audiosocket_one_time": True,
        },
        {
            "audiosocket_port": 9092,
            "audiosocket_host": "kaiwa_1",
            "audiosocket_peers": ["172.16.0.0/12", "fd00::/8"],
        },
    ],
)
def test_what_an_exchange_needs_is_taken(telephony: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "kaiwa.yaml"
    file.write_text(json.dumps({"profile": "mock", "telephony": telephony}), "utf-8")
    load(file=file, environment={})


def test_a_number_without_quotes_is_told_and_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "kaiwa.yaml"
    file.write_text(f"telephony: {{outbound_from: {NUMBER}}}\n", "utf-8")
    with pytest.raises(ConfigError, match="telephony.outbound_from: .* in quotes") as wrong:
        load(file=file, environment={})
    assert "301234567 " not in str(wrong.value) and "got" not in str(wrong.value)


def test_a_transfer_needs_somebody_to_transfer_to(tmp_path: Path) -> None:
    told = problem(tmp_path, agent={"tools": ["transfer_call"]})
    assert "agent.tools" in told and "telephony.transfer" in told


def test_a_transfer_that_nobody_could_be_asked_for_is_warned_of() -> None:
    settings = Config(agent=AgentConfig(tools=("transfer_call",)))
    (told,) = warnings(settings)
    assert told.startswith("telephony: no call can be transferred") and "TWILIO_AUTH_TOKEN" in told
    twilio = TelephonyConfig(
        public_url="https://voice.example.com",
        twilio_account_sid="AC0123456789abcdef0123456789abcdef",
        twilio_auth_token=16 * "x",
    )
    assert warnings(msgspec.structs.replace(settings, telephony=twilio)) == []


def test_there_are_no_other_tools(tmp_path: Path) -> None:
    assert "hang_up, transfer_call" in problem(tmp_path, agent={"tools": ["dance"]})


def test_what_can_be_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "kaiwa.yaml"
    file.write_text(
        """
profile: mock
agent: {tools: [hang_up, transfer_call]}
keypad: {end: "*", pause_ms: 0}
telephony:
  public_url: https://voice.example.com
  twilio_account_sid: AC0123456789abcdef0123456789abcdef
  twilio_auth_token: 0123456789abcdef0123456789abcdeX
  transfer: {sales: "+49301234567", front desk: "sip:desk@example.com:5060", Büro 2: "+4179123456"}
  outbound_from: "+15005550006"
  outbound_prefixes: ["+49", "+4179"]
  audiosocket_peers: ["10.0.0.0/8", "::1"]
  audiosocket_uuids: ["12345678-1234-5678-1234-567812345678"]
""",
        "utf-8",
    )
    config = load(file=file, environment={})
    assert config.agent.tools == ("hang_up", "transfer_call")
    assert list(config.telephony.transfer) == ["sales", "front desk", "Büro 2"]
