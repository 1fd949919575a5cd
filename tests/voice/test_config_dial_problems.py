"""Settings of calls that we make, transfer, or take from Asterisk: what contradicts itself."""

import json
from pathlib import Path
from typing import Any

import pytest

from voice.config import load
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


def test_a_transfer_needs_somebody_to_transfer_to(tmp_path: Path) -> None:
    told = problem(tmp_path, agent={"tools": ["transfer_call"]})
    assert "agent.tools" in told and "telephony.transfer" in told


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
