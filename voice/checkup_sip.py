"""What the SIP leg needs of this machine: its port, and ports for sound."""

import contextlib
import socket

from voice.checkup_machine import Finding, Findings, Mark
from voice.checkup_ports import is_kaiwa, port_remedy, why_not
from voice.config import Config
from voice.config_calls import SipConfig
from voice.transports.sip.ports import NoPorts, Pair, RtpPorts
from voice.webrtc_settings import port_pairs, port_range

HERE = "a Kaiwa is already serving here, and has it"


def idle_found(sip: SipConfig) -> Findings:
    """Of a leg that is off: settings that were meant for it."""
    usual = SipConfig()
    named = ("registrar", "extension", "username", "public_address", "host", "port")
    given = [f"sip.{name}" for name in named if getattr(sip, name) != getattr(usual, name)]
    if not given:
        return []
    what = f"{' and '.join(given)} {'is' if len(given) == 1 else 'are'} set, and SIP is off"
    return [Finding("–", "SIP", what, "to answer telephones: KAIWA_SIP_ENABLED=true")]


def sip_port_found(config: Config) -> Findings:
    sip = config.sip
    kinds = {"UDP": socket.SOCK_DGRAM, **({"TCP": socket.SOCK_STREAM} if sip.tcp else {})}
    what = f"SIP port {sip.port}" if sip.port else "SIP port"
    for name, kind in kinds.items():
        if (error := why_not(sip.host, sip.port, kind)) is not None:
            if is_kaiwa(config):
                return [Finding("!", what, HERE, "stop that one, or: KAIWA_SIP_PORT=5062")]
            remedy = port_remedy(error, sip.port, "KAIWA_SIP_PORT", "KAIWA_SIP_HOST")
            told = f"{name}: {sip.host}:{sip.port}: {error.strerror}"
            return [Finding("✗", what, told, remedy)]
    return [Finding("✓", what, f"{' and '.join(kinds)} free on {sip.host}")]


def sound_ports_found(config: Config) -> Findings:
    """Whether every call that is let in finds its two."""
    sip, what = config.sip, "SIP sound ports"
    ports = port_range(sip.rtp_ports)
    free = _pairs_free(sip, ports)
    told = f"{free} calls find two UDP ports each on {sip.host}"
    if free >= sip.most_calls:
        return [Finding("✓", what, f"all {sip.most_calls} {told.partition(' ')[2]}")]
    if why_not(sip.host, 0, socket.SOCK_DGRAM) is not None:
        remedy = "KAIWA_SIP_HOST must be an address of this machine"
        return [Finding("✗", what, f"{sip.host} is none of this machine's", remedy)]
    if is_kaiwa(config):
        return [Finding("!", what, f"{told} beside those of the Kaiwa that is serving")]
    mark: Mark = "!" if free else "✗"
    remedy = f"another KAIWA_SIP_RTP_UDP, or KAIWA_SIP_MOST_CALLS={max(1, free)}"
    return [Finding(mark, what, f"{told}, and sip.most_calls is {sip.most_calls}", remedy)]


def _pairs_free(sip: SipConfig, ports: tuple[int, int] | None) -> int:
    """As many calls as would be answered at a time, at most."""
    if ports is None:
        most, take = sip.most_calls, RtpPorts(sip.host, 0, 0)
    else:
        most, take = len(port_pairs(*ports)), RtpPorts(sip.host, *ports)
    with contextlib.ExitStack() as held:
        for count in range(min(most, sip.most_calls)):
            try:
                pair: Pair = take.take()
            except NoPorts:
                return count
            for one in pair:
                held.enter_context(one)
    return min(most, sip.most_calls)
