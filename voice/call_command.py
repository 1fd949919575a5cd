"""`kaiwa call`: has a running server call somebody."""

from typing import Any

import aiohttp
import msgspec

from voice.errors import KaiwaError

LIMIT_S = 30.0
"""Twilio is asked meanwhile."""


async def run_call(url: str, api_key: str, to: str, machine_detection: str = "") -> dict[str, Any]:
    """Returns:
        What the server says: `call`, `status`.
    Raises:
        KaiwaError: Nobody is called; in the server's own words.
    """
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    body = {"to": to, "machine_detection": machine_detection}
    address = f"{url.rstrip('/')}/api/telephony/calls"
    limit = aiohttp.ClientTimeout(total=LIMIT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=limit) as http,
            http.post(address, json=body, headers=headers, allow_redirects=False) as answer,
        ):
            status, data = answer.status, await answer.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        why = str(error) or "no answer in time"
        raise KaiwaError(f"call: {address}: {why}. Does kaiwa serve run there? (--url)") from None
    try:
        told: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.DecodeError:
        raise KaiwaError(f"call: {address} is no Kaiwa: it answered {status}. (--url)") from None
    if status == 201:
        return told
    if status == 401:
        raise KaiwaError("call: the server wants a key of its own: KAIWA_API_KEY or --api-key.")
    raise KaiwaError(f"call: {_words(told) or f'it answered {status}'}")


def _words(told: dict[str, Any]) -> str:
    error = told.get("error")
    if isinstance(error, dict):
        return str(error.get("message", ""))
    return ""
