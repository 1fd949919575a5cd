"""Telephone doors: which are open, whether providers reach them, and whether we reach theirs."""

import asyncio
import os
import socket
import ssl
from urllib.parse import urlsplit

import aiohttp

from voice.addresses import is_loopback
from voice.checkup_machine import NO_ANSWER, Finding, Findings, Mark, aside
from voice.checkup_ports import is_health, is_kaiwa, port_remedy, why_not
from voice.config import Config
from voice.config_calls import TelephonyConfig
from voice.config_dial_problems import NO_TRANSFERS, makes_calls
from voice.ice_candidates import is_public
from voice.transports.telephony.twilio_rest import TwilioError, TwilioRest, Why

LIMIT_S = 6.0
MOST_BODY_BYTES = 1_000_000
EXAMPLE = "KAIWA_PUBLIC_URL=https://voice.example.com"


def doors_found(config: Config) -> Findings:
    telephony, found = config.telephony, list[Finding]()
    signing = _signing(telephony)
    doors = [*(signing if telephony.public_url else ())]
    doors += ["Asterisk"] if telephony.asterisk_password else []
    if doors:
        found.append(Finding("✓", "telephone doors", f"open: {', '.join(doors)}"))
    if telephony.twilio_account_sid and "Twilio" not in signing:
        what = "telephony.twilio_account_sid alone opens none"
        found.append(Finding("–", "telephone doors", what, "for Twilio: TWILIO_AUTH_TOKEN"))
    if telephony.vonage_application_id and "Vonage" not in signing:
        what = "telephony.vonage_application_id alone opens none"
        found.append(Finding("–", "telephone doors", what, "for Vonage: VONAGE_SIGNATURE_SECRET"))
    transfers = "transfer_call" in config.agent.tools
    if transfers and not makes_calls(telephony):
        found.append(Finding("!", "telephone doors", *NO_TRANSFERS))
    if telephony.transfer and not transfers:
        what = "telephony.transfer is set, and the model may not use it"
        remedy = "agent: {tools: [transfer_call]}"
        found.append(Finding("–", "telephone doors", what, remedy))
    if telephony.outbound_from and not config.server.api_keys:
        what = "telephony.outbound_from is set, and nobody has a key to have calls made with"
        found.append(Finding("!", "telephone doors", what, "set KAIWA_API_KEYS"))
    return found


def _signing(telephony: TelephonyConfig) -> list[str]:
    """Providers whose secrets are set and who sign our address."""
    named = {
        "Twilio": telephony.twilio_auth_token or telephony.twilio_signing_keys,
        "Telnyx": telephony.telnyx_public_key,
        "Vonage": telephony.vonage_signature_secret,
    }
    return [name for name, secret in named.items() if secret]


# --- the way in -----------------------------------------------------------------------------------


async def public_url_found(telephony: TelephonyConfig) -> Findings:
    """Whether who signs our address finds a Kaiwa there. Without one, `shut_doors` tells it."""
    url = telephony.public_url
    if not url or not _signing(telephony):
        return []
    what, found = "public URL", list[Finding]()
    parts = urlsplit(url)
    host, has_tls = parts.hostname or "", parts.scheme == "https"
    if not has_tls:
        # A simulator on this machine does without.
        mark: Mark = "!" if is_loopback(host) else "✗"
        remedy = f"a proxy with TLS before this server, and {EXAMPLE}"
        found.append(Finding(mark, what, f"{url}: providers open nothing without TLS", remedy))
    try:
        async with asyncio.timeout(LIMIT_S):
            port = parts.port or (443 if has_tls else 80)
            places = await aside(lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            addresses = [str(place[4][0]) for place in places]
            if not any(map(is_public, addresses)):
                told = f"{host} is {addresses[0]} here, where no provider is"
                remedy = "fine where it has another address outside"
                found.append(Finding("!", what, told, remedy))
            found.append(await _answer_of(url.rstrip("/")))
    except TimeoutError:
        found.append(Finding("!", what, f"{NO_ANSWER} {LIMIT_S:g} s: {url}", PROXY))
    except socket.gaierror as error:
        remedy = f"make an entry for it in the DNS, or {EXAMPLE}"
        found.append(Finding("✗", what, f"no address for {host}: {error.strerror}", remedy))
    return found


PROXY = "the proxy must run, and pass /v1/telephony on to this server; from here it may be hidden"


async def _answer_of(url: str) -> Finding:
    what = "public URL"
    try:
        async with (
            aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar()) as http,
            http.get(f"{url}/health", allow_redirects=False) as response,
        ):
            status, body = response.status, await response.content.read(MOST_BODY_BYTES)
    except (aiohttp.ClientConnectorCertificateError, ssl.SSLError, aiohttp.ClientSSLError):
        remedy = "give the proxy a certificate for this name, from an authority that all know"
        return Finding("✗", what, f"{url}: its certificate is not believed", remedy)
    except aiohttp.ClientError as error:
        number = getattr(getattr(error, "os_error", None), "errno", None)
        why = os.strerror(number) if number else type(error).__name__
        return Finding("!", what, f"{url}: {why}", PROXY)
    if is_health(body):
        return Finding("✓", what, f"a Kaiwa answers at {url}")
    told = f"{url}/health answered {status}, and is no Kaiwa's"
    return Finding("!", what, told, f"kaiwa serve must run there; {PROXY}")


# --- the way out ----------------------------------------------------------------------------------


WAY_OUT = "is HTTPS open on the way there? Behind a proxy set HTTPS_PROXY"


async def rest_found(config: Config) -> Findings:
    """Of the interface by which calls are made and transferred, where either is asked for."""
    telephony = config.telephony
    asked_for = telephony.outbound_from or "transfer_call" in config.agent.tools
    if not asked_for or not makes_calls(telephony):
        return []
    what = "Twilio's REST interface"
    rest = TwilioRest(
        telephony.twilio_account_sid,
        telephony.twilio_auth_token,
        root=telephony.twilio_api,
        limit_s=LIMIT_S,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            status = await rest.status()
    except TimeoutError:
        return [Finding("✗", what, f"{NO_ANSWER} {LIMIT_S:g} s", WAY_OUT)]
    except TwilioError as error:
        told = str(error).removeprefix("Twilio: ").rstrip(".")
        if error.why is Why.UNREACHABLE:
            return [Finding("✗", what, told, f"{WAY_OUT}; telephony.twilio_api must be Twilio's")]
        said, _, remedy = told.partition(": ")
        return [Finding("✗", what, said, remedy)]
    finally:
        await rest.aclose()
    if status != "active":
        told = f"the account is {status}"
        return [Finding("✗", what, told, "Twilio's console says why")]
    return [Finding("✓", what, f"{telephony.twilio_api} knows the account")]


def audiosocket_found(config: Config) -> Findings:
    telephony = config.telephony
    host, port = telephony.audiosocket_host, telephony.audiosocket_port
    if port is None:
        return []
    what = f"AudioSocket port {port}" if port else "AudioSocket port"
    if (error := why_not(host, port, socket.SOCK_STREAM)) is None:
        return [Finding("✓", what, f"free on {host}")]
    if is_kaiwa(config):
        return [Finding("!", what, "a Kaiwa is already serving here, and has it")]
    setting, where = "telephony.audiosocket_port", "telephony.audiosocket_host"
    remedy = port_remedy(error, port, setting, where)
    return [Finding("✗", what, f"{host}:{port}: {error.strerror}", remedy)]
