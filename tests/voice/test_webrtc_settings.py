from pathlib import Path

import pytest

from voice.config import load, shown
from voice.config_calls import WebrtcConfig
from voice.errors import ConfigError
from voice.webrtc_settings import port_range, webrtc_problems

SECRET = "what-kaiwa-shares-with-coturn"


def test_what_is_set_by_default_is_right_and_asks_nobody() -> None:
    webrtc = WebrtcConfig()
    assert list(webrtc_problems(webrtc)) == []
    assert webrtc.ice_servers == webrtc.own_ice_servers == ()


def test_a_range_of_ports_is_two_numbers() -> None:
    assert port_range("") is None
    assert port_range("50000-50199") == (50_000, 50_199)
    assert port_range("50000 - 50000") == (50_000, 50_000)


@pytest.mark.parametrize("text", ["50000", "50199-50000", "80-90", "50000-70000", "a-b", "1-2-3"])
def test_what_is_no_range_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="50000-50199"):
        port_range(text)
    assert [path for path, _ in webrtc_problems(WebrtcConfig(ports=text))] == ["webrtc.ports"]


@pytest.mark.parametrize(
    "url",
    [
        *("stun:stun.example.com", "stun:192.0.2.1:3478", "stuns:stun.example.com:5349"),
        *("stun:[2001:db8::1]:3478", "stun:turn.example.com?transport=udp"),
    ],
)
def test_stun_servers_are_told_by_their_addresses(url: str) -> None:
    problems = list(webrtc_problems(WebrtcConfig(ice_servers=(url,))))
    assert (problems == []) == ("transport" not in url)


@pytest.mark.parametrize(
    "url",
    [
        *("stun.example.com", "https://stun.example.com", "turn://x", "turn:x@y", "stun:"),
        *("turn:a b", "turn:x:0", "turn:x:65536", "turn:192.168.1.300"),
    ],
)
def test_what_is_no_server_is_told_with_one_that_is(url: str) -> None:
    found = dict(webrtc_problems(WebrtcConfig(ice_servers=(url,), turn_secret=SECRET)))
    assert "such as stun:stun.example.com" in found["webrtc.ice_servers"]


def test_a_relay_without_a_secret_is_told_with_what_to_set() -> None:
    found = dict(webrtc_problems(WebrtcConfig(ice_servers=("turn:turn.example.com",))))
    assert "KAIWA_TURN_SECRET" in found["webrtc.turn_secret"]


def test_a_secret_without_a_relay_is_told_with_what_to_set() -> None:
    found = dict(webrtc_problems(WebrtcConfig(turn_secret=SECRET)))
    assert "KAIWA_ICE_SERVERS=turn:" in found["webrtc.ice_servers"]
    only_stun = WebrtcConfig(turn_secret=SECRET, ice_servers=("stun:stun.example.com",))
    assert "webrtc.ice_servers" in dict(webrtc_problems(only_stun))


def test_a_login_that_ends_before_the_longest_call_is_told(tmp_path: Path) -> None:
    file = tmp_path / "kaiwa.yaml"
    file.write_text("profile: mock\nagent: {max_call_s: 20000}\n", "utf-8")
    relay = {"KAIWA_ICE_SERVERS": "turn:turn.example.com", "KAIWA_TURN_SECRET": SECRET}
    with pytest.raises(ConfigError, match="webrtc.turn_credential_s: must be at least .*20000"):
        load(file=file, environment=relay)
    assert load(file=file, environment={}).agent.max_call_s == 20_000


def test_a_secret_that_callers_could_guess_is_told_and_not_shown() -> None:
    relay = WebrtcConfig(ice_servers=("turn:turn.example.com",), turn_secret="north")
    found = dict(webrtc_problems(relay))
    assert "openssl rand -hex 32" in found["webrtc.turn_secret"]
    assert "north" not in found["webrtc.turn_secret"]


@pytest.mark.parametrize(
    "address",
    ["169.254.1.1", "example.com", "0.0.0.0", "127.0.0.1", "224.0.0.1", "1.2.3"],
)
def test_an_address_that_no_caller_could_reach_is_told(address: str) -> None:
    found = dict(webrtc_problems(WebrtcConfig(public_address=address)))
    assert address in found["webrtc.public_address"]


def test_own_addresses_may_be_networks() -> None:
    assert (
        list(webrtc_problems(WebrtcConfig(addresses=("10.0.0.0/8", "192.0.2.7", "fd00::2")))) == []
    )
    found = dict(webrtc_problems(WebrtcConfig(addresses=("eth0",))))
    assert "eth0" in found["webrtc.addresses"]
    found = dict(webrtc_problems(WebrtcConfig(addresses=("0.0.0.0",))))
    assert "name none" in found["webrtc.addresses"]


@pytest.mark.parametrize("ports", ["50000", "[50000, 50199]", "5e4"])
@pytest.mark.parametrize("path", ["webrtc.ports", "sip.rtp_ports"])
def test_a_number_where_a_range_is_wanted_is_told_with_the_form(
    path: str, ports: str, tmp_path: Path
) -> None:
    section, _, key = path.partition(".")
    file = tmp_path / "kaiwa.yaml"
    file.write_text(f"profile: mock\n{section}: {{{key}: {ports}}}\n", "utf-8")
    with pytest.raises(ConfigError, match=rf"^{path}: must be FIRST-LAST.*50000-50199"):
        load(file=file, environment={})


def test_variables_set_them_and_every_wrong_one_is_told_at_once() -> None:
    environment = {
        "KAIWA_WEBRTC_UDP": "50000-50199",
        "KAIWA_PUBLIC_ADDRESS": "198.51.100.7",
        "KAIWA_ICE_SERVERS": "stun:stun.example.com, turn:turn.example.com",
        "KAIWA_TURN_SECRET": SECRET,
    }
    webrtc = load(profile="mock", environment=environment).webrtc
    assert webrtc.ice_servers == ("stun:stun.example.com", "turn:turn.example.com")
    wrong = {**environment, "KAIWA_WEBRTC_UDP": "many", "KAIWA_TURN_SECRET": ""}
    with pytest.raises(ConfigError) as raised:
        load(profile="mock", environment=wrong)
    told = str(raised.value)
    assert "webrtc.ports" in told and "KAIWA_WEBRTC_UDP" in told and "webrtc.turn_secret" in told


def test_the_secret_is_shown_to_nobody() -> None:
    assert shown("webrtc.turn_secret", "north") == "set"
