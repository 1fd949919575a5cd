"""What WebRTC calls need of this machine: libopus, UDP ports, an address that callers reach."""

from voice.checkup_machine import Finding, Findings, Mark
from voice.checkup_ports import MOST_PORT, is_kaiwa
from voice.config import LOOPBACK, Config
from voice.config_calls import WebrtcConfig
from voice.errors import ConfigError
from voice.webrtc_settings import is_relay, port_range

RANGE = "KAIWA_WEBRTC_UDP=50000-50199"


def opus_found() -> Findings:
    from voice.transports.opus import REMEDY, library

    try:
        library()
    except ConfigError as error:
        return [Finding("✗", "libopus", str(error).partition(":")[0], REMEDY)]
    return [Finding("✓", "libopus", "loaded")]


def ports_found(config: Config) -> Findings:
    """Whether every call that is let in finds one, on each address that it uses."""
    from voice.transports.webrtc_calls import places
    from voice.transports.webrtc_ice import local_addresses

    ports, calls, what = port_range(config.webrtc.ports), config.server.max_sessions, "WebRTC ports"
    counted = {a: _free_on(a, ports, calls) for a in local_addresses(places(config)[0])}
    free = {address: count for address, count in counted.items() if count}
    span = f"UDP {config.webrtc.ports}" if ports else "any free UDP port"
    if not free:
        found = f"none of {span} is free on {', '.join(counted)}"
        return [Finding("✗", what, found, f"another range: {RANGE}")]
    fewest = min(free, key=lambda address: free[address])
    if ports is None or free[fewest] >= calls:
        room = f": room for {calls} calls" if ports else ""
        return [Finding("✓", what, f"{span} on {', '.join(free)}{room}")]
    told = f"{free[fewest]} of {ports[1] - ports[0] + 1} UDP ports are free on {fewest}"
    if ports[1] - ports[0] + 1 >= calls and is_kaiwa(config):
        return [Finding("✓", what, f"{told}, beside those of the Kaiwa that is serving")]
    last = ports[0] + calls - 1
    more = f"KAIWA_WEBRTC_UDP={ports[0]}-{last}" if last <= MOST_PORT else "a range from below"
    remedy = f"{more}, without ports that others have; or KAIWA_MAX_SESSIONS={free[fewest]}"
    told = f"{told}, and server.max_sessions is {calls}: who finds none is refused"
    return [Finding("!", what, told, remedy)]


def _free_on(address: str, ports: tuple[int, int] | None, enough: int) -> int:
    """How many can be had; no more than enough are counted."""
    from voice.transports.udp_ports import bound

    if ports is None:
        ports, enough = (0, 0), 1
    count = 0
    for port in range(ports[0], ports[1] + 1):
        if (udp := bound(address, (port, port))) is not None:
            udp.close()
            count += 1
        if count == enough:
            break
    return count


def address_found(config: Config) -> Findings:
    """What callers are told, and whether it looks as if they could reach it."""
    from voice.transports.webrtc_calls import places
    from voice.transports.webrtc_ice import is_private_only, local_addresses

    webrtc, gathering = config.webrtc, places(config)[0]
    own = [address for address in local_addresses(gathering) if address not in LOOPBACK]
    if webrtc.addresses and not own and not set(webrtc.addresses) & set(LOOPBACK):
        remedy = "name those that `ip address` shows, or none, for all of them"
        named = ", ".join(webrtc.addresses)
        return [Finding("✗", "WebRTC address", f"no address of this machine is in {named}", remedy)]
    if webrtc.public_address:
        return [_announced(webrtc, own)]
    if own and not is_private_only(gathering):
        return [Finding("✓", "WebRTC address", f"callers reach {', '.join(own)}")]
    return [_private(config, own)]


def _announced(webrtc: WebrtcConfig, own: list[str]) -> Finding:
    from voice.transports.webrtc_ice import machine_addresses

    public = webrtc.public_address
    if public in machine_addresses():
        return Finding("✓", "WebRTC address", f"callers are told {public}, which is this machine's")
    if not own:
        version = "IPv6" if ":" in public else "IPv4"
        remedy = f"give it a way out, or take KAIWA_PUBLIC_ADDRESS={public} away"
        return Finding("!", "WebRTC address", f"this machine has no way out over {version}", remedy)
    told = f"callers are told {public}, which has to be passed on to {own[0]}"
    if webrtc.ports:
        return Finding("✓", "WebRTC address", f"{told}: UDP {webrtc.ports}")
    remedy = f"name a few, and have them passed on: {RANGE}"
    return Finding("!", "WebRTC address", f"{told}, with every UDP port there is", remedy)


def _private(config: Config, own: list[str]) -> Finding:
    """No address that is known everywhere: a LAN, or a NAT that nobody thought of."""
    webrtc, server = config.webrtc, config.server
    told = f"only private addresses: {', '.join(own) or '127.0.0.1'}"
    if any(map(is_relay, (*webrtc.ice_servers, *webrtc.own_ice_servers))):
        return Finding("✓", "WebRTC address", f"{told}; from outside callers take the relay")
    outside = server.host not in LOOPBACK or server.allowed_origins or config.telephony.public_url
    mark: Mark = "!" if outside else "✓"
    remedy = (
        "in a LAN this is enough. Where callers come from outside, this machine is behind a NAT: "
        f"KAIWA_PUBLIC_ADDRESS, the address that they see, and {RANGE}, passed on to it"
    )
    return Finding(mark, "WebRTC address", told, remedy if outside else "")
