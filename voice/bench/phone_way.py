"""How a telephone call comes to its media stream, signed as Twilio signs it.

POST …/twilio/voice   ──▶ TwiML: <Connect><Stream url=…><Parameter …/>
WS   …/twilio
"""

import re
import secrets
from html import unescape

import aiohttp
from twilio.request_validator import RequestValidator

from voice.bench.config import BenchError
from voice.bench.phone import WayIn

SOCKET = "/v1/telephony/twilio"
WEBHOOK = f"{SOCKET}/voice"
SIGNATURE = "X-Twilio-Signature"
_STREAM = re.compile(r'<Stream url="([^"]*)"')
_PARAMETER = re.compile(r'<Parameter name="([^"]*)" value="([^"]*)"')


async def way_in(
    http: aiohttp.ClientSession, server: str, *, auth_token: str, account: str, public_url: str
) -> WayIn:
    """Calls the webhook as Twilio does when the telephone rings.

    Args:
        server: Where it listens: http://127.0.0.1:8000.
        public_url: How its own settings call it, for that is what is signed.
    Raises:
        BenchError: The call is not answered with a stream.
    """
    call, validator = f"CA{secrets.token_hex(16)}", RequestValidator(auth_token)
    fields = {
        "CallSid": call,
        "AccountSid": account,
        "From": "+15005550006",
        "To": "+15005550001",
        "CallStatus": "ringing",
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
    }
    signature = validator.compute_signature(public_url + WEBHOOK, fields)
    try:
        async with http.post(
            server + WEBHOOK, data=fields, headers={SIGNATURE: signature}
        ) as answer:
            status, twiml = answer.status, await answer.text()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise BenchError(f"{server}{WEBHOOK}: {error or type(error).__name__}") from None
    found = _STREAM.search(twiml)
    if status != 200 or found is None:
        raise BenchError(f"{server}{WEBHOOK}: {status}: {twiml[:200]}{_advice(status)}")
    return WayIn(
        parameters={unescape(name): unescape(value) for name, value in _PARAMETER.findall(twiml)},
        headers={SIGNATURE: validator.compute_signature(unescape(found[1]), {})},
        call=call,
        account=account,
        stream=f"MZ{secrets.token_hex(16)}",
    )


def _advice(status: int) -> str:
    return {
        403: "; give the server's TWILIO_AUTH_TOKEN, and as --public-url its KAIWA_PUBLIC_URL",
        404: "; the server needs TWILIO_AUTH_TOKEN and KAIWA_PUBLIC_URL for this door",
    }.get(status, "")
