"""What is wrong with the settings of calls that we make, transfer, or take from Asterisk."""

import re
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit
from uuid import UUID

from voice import addresses
from voice.config_calls import TelephonyConfig
from voice.config_sections import Config

Problem = tuple[str, str]
ADDRESS = re.compile(r"\+[1-9]\d{4,14}|sips?:[\w.+-]+@[\w.:-]+")
TARGET = re.compile(r"[\w][\w .-]{0,39}")
NUMBER = re.compile(r"\+[1-9]\d{6,14}")
PREFIX = re.compile(r"\+[1-9]\d{0,14}")
TWILIO = "https://api.twilio.com"
WIDEST = 16
"""Bits, as of sip.peers."""


NO_TRANSFERS = (
    "no call can be transferred, and transfer_call is in agent.tools",
    "set KAIWA_PUBLIC_URL, TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
)
"""What, and the remedy."""


def makes_calls(telephony: TelephonyConfig) -> bool:
    """Whether Twilio can be asked for calls, and to transfer them."""
    return all((telephony.public_url, telephony.twilio_account_sid, telephony.twilio_auth_token))


def idle_tools(config: Config) -> Iterator[str]:
    """Of what the model may do and no call will let it: a softphone's operator may know that."""
    if "transfer_call" in config.agent.tools and not makes_calls(config.telephony):
        yield f"telephony: {'; '.join(NO_TRANSFERS)}"


def dial_problems(config: Config) -> Iterator[Problem]:
    yield from _transfer_problems(config)
    yield from _outbound_problems(config)
    yield from _audiosocket_problems(config)


def _transfer_problems(config: Config) -> Iterator[Problem]:
    targets = config.telephony.transfer
    if "transfer_call" in config.agent.tools and not targets:
        yield (
            "agent.tools",
            "transfer_call needs somebody to transfer to: set telephony.transfer, "
            'for example {sales: "+49301234567"}',
        )
    for name, address in targets.items():
        if not TARGET.fullmatch(name):
            yield "telephony.transfer", f"{name[:60]!r} is no name of up to 40 letters and digits"
        if not ADDRESS.fullmatch(address):
            yield (
                f"telephony.transfer.{name}",
                'must be a number with its country, in quotes ("+49301234567"), or sip:name@host',
            )


def _audiosocket_problems(config: Config) -> Iterator[Problem]:
    telephony = config.telephony
    networks: list[IPv4Network | IPv6Network] = []
    for peer in telephony.audiosocket_peers:
        try:
            networks.append(ip_network(peer))
        except ValueError as error:
            yield "telephony.audiosocket_peers", f"holds no address and no network: {error}"
    if telephony.audiosocket_port is not None:
        yield from _audiosocket_reach(telephony, networks)
    for one in telephony.audiosocket_uuids:
        try:
            UUID(one)
        except ValueError:
            yield "telephony.audiosocket_uuids", f"{one[:60]!r} is no UUID; uuidgen makes one"


def _audiosocket_reach(
    telephony: TelephonyConfig, networks: list[IPv4Network | IPv6Network]
) -> Iterator[Problem]:
    """Whether who connects may, and nobody but them: the protocol has no key."""
    host = telephony.audiosocket_host
    if not addresses.is_host(host):
        example = "127.0.0.1, or 0.0.0.0 for all it has"
        yield (
            "telephony.audiosocket_host",
            f"{host!r} is no address of this machine, such as {example}",
        )
    elif not telephony.audiosocket_peers:
        yield "telephony.audiosocket_peers", "is empty, so nobody may connect; name Asterisk's"
    elif not addresses.is_loopback(host) and {one.is_loopback for one in networks} == {True}:
        yield (
            "telephony.audiosocket_peers",
            f"lets in this machine alone, and audiosocket_host is {host}; add Asterisk's address, "
            "or keep the host at 127.0.0.1",
        )
    if telephony.audiosocket_uuids or telephony.audiosocket_one_time:
        return
    for one in networks:
        if one.max_prefixlen - one.prefixlen > WIDEST and not one.is_private:
            yield (
                "telephony.audiosocket_peers",
                f"{one} lets strangers call; name Asterisk's address, or set "
                "telephony.audiosocket_one_time",
            )


def _outbound_problems(config: Config) -> Iterator[Problem]:
    telephony = config.telephony
    for name in ("outbound_from", "transfer_from"):
        number = getattr(telephony, name)
        if number and not NUMBER.fullmatch(number):
            yield (
                f"telephony.{name}",
                'must be a number with its country, in quotes: "+49301234567"',
            )
    if any(not PREFIX.fullmatch(prefix) for prefix in telephony.outbound_prefixes):
        yield (
            "telephony.outbound_prefixes",
            'must begin with + and a country, in quotes: ["+49", "+4179"]',
        )
    if telephony.outbound_from and not telephony.outbound_prefixes:
        yield (
            "telephony.outbound_prefixes",
            'must say whom telephony.outbound_from may call, for example ["+49"]',
        )
    needed = ("public_url", "twilio_account_sid", "twilio_auth_token")
    missing = [f"telephony.{name}" for name in needed if not getattr(telephony, name)]
    if telephony.outbound_from and missing:
        yield (
            "telephony.outbound_from",
            f"calls nobody without {' and '.join(missing)}; set what is missing, or leave it empty",
        )
    if wrong := addresses.endpoint_problem(telephony.twilio_api, TWILIO, "TWILIO_AUTH_TOKEN"):
        yield "telephony.twilio_api", wrong
    elif (api := urlsplit(telephony.twilio_api)).scheme == "http":
        if not addresses.is_loopback(api.hostname or ""):
            yield (
                "telephony.twilio_api",
                f"would be sent the account's token unencrypted; take https://{api.netloc}",
            )
