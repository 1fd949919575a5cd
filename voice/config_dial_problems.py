"""What is wrong with the settings of calls that we make, transfer, or take from Asterisk."""

import re
from collections.abc import Iterator
from ipaddress import ip_network
from uuid import UUID

from voice import addresses
from voice.config_sections import Config

Problem = tuple[str, str]
ADDRESS = re.compile(r"\+[1-9]\d{4,14}|sips?:[\w.+-]+@[\w.:-]+")
TARGET = re.compile(r"[\w][\w .-]{0,39}")
NUMBER = re.compile(r"\+[1-9]\d{6,14}")
PREFIX = re.compile(r"\+[1-9]\d{0,14}")
TWILIO = "https://api.twilio.com"


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
    for peer in telephony.audiosocket_peers:
        try:
            ip_network(peer)
        except ValueError as error:
            yield "telephony.audiosocket_peers", f"holds no address and no network: {error}"
    for one in telephony.audiosocket_uuids:
        try:
            UUID(one)
        except ValueError:
            yield "telephony.audiosocket_uuids", f"{one[:60]!r} is no UUID; uuidgen makes one"


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
    if wrong := addresses.endpoint_problem(telephony.twilio_api, TWILIO, "TWILIO_AUTH_TOKEN"):
        yield "telephony.twilio_api", wrong
