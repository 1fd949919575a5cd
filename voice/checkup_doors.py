"""What `kaiwa doctor` looks at of the doors that are open: WebRTC, telephone providers, SIP."""

from voice.checkup_ice import ice_server_found
from voice.checkup_machine import Check, aside
from voice.checkup_phone import audiosocket_found, doors_found, public_url_found, rest_found
from voice.checkup_registrar import registrar_found
from voice.checkup_sip import idle_found, sip_port_found, sound_ports_found
from voice.checkup_webrtc import address_found, opus_found, ports_found
from voice.config import Config
from voice.webrtc_settings import is_relay


def door_checks(config: Config) -> list[Check]:
    return [*_webrtc(config), *_telephony(config), *_sip(config)]


def _webrtc(config: Config) -> list[Check]:
    webrtc, sip = config.webrtc, config.sip
    checks: list[Check] = []
    if webrtc.enabled or (sip.enabled and "opus" in sip.codecs):
        checks.append(("libopus", "✗", aside(opus_found)))
    if not webrtc.enabled:
        return checks
    checks.append(("WebRTC ports", "✗", aside(lambda: ports_found(config))))
    checks.append(("WebRTC address", "!", aside(lambda: address_found(config))))
    for url in dict.fromkeys((*webrtc.ice_servers, *webrtc.own_ice_servers)):
        checks.append((url, "✗" if is_relay(url) else "!", ice_server_found(webrtc, url)))
    return checks


def _telephony(config: Config) -> list[Check]:
    return [
        ("telephone doors", "!", aside(lambda: doors_found(config))),
        ("public URL", "!", public_url_found(config.telephony)),
        ("Twilio's REST interface", "✗", rest_found(config)),
        ("AudioSocket port", "✗", aside(lambda: audiosocket_found(config))),
    ]


def _sip(config: Config) -> list[Check]:
    sip = config.sip
    if not sip.enabled:
        return [("SIP", "–", aside(lambda: idle_found(sip)))]
    return [
        ("SIP port", "✗", aside(lambda: sip_port_found(config))),
        ("SIP sound ports", "✗", aside(lambda: sound_ports_found(config))),
        ("SIP registrar", "✗", registrar_found(sip)),
    ]
