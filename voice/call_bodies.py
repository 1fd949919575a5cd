"""What requests for calls bring in their bodies: an offer, raw or as a form, and a session; what a
client secret shall hold. All that is wrong with one is told at once.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec
from litestar import Request
from litestar.datastructures import UploadFile
from msgspec import Meta, Struct

from voice import sdp
from voice.client_secrets import LONGEST_S, MOST_SETTINGS_BYTES, SHORTEST_S, USUAL_S
from voice.errors import ClientError
from voice.ice_candidates import Reach
from voice.sdp_lines import MOST_BYTES, SdpError
from voice.settings import MAX_SESSION_BYTES
from voice.transports.websocket import Refusal
from voice.wrong_fields import refused, wrong_fields

SDP = "application/sdp"
FORM = "multipart/form-data"
MOST_FORM_BYTES = MOST_BYTES + MAX_SESSION_BYTES + 4096
"""More than its parts may have, so that who sends a long one is told which it is."""

Object = dict[str, Any]
Prepared = Callable[[Object], Object]
"""The session that settings would make. Raises ClientError."""


# --- offers ---------------------------------------------------------------------------------------


async def offer_of(
    request: Request[Any, Any, Any], kept: Object | None, prepared: Prepared
) -> tuple[bytes, Object | None]:
    """Args:
        kept: What the caller's key brings; settings of the request's own go before it.
    Returns:
        The offer as it came, and the settings, which are right.
    Raises:
        Refusal: 400, 413, 415.
    """
    given, session = await _parts(request)
    settings = kept
    wrong: list[ClientError] = []
    if given is None:
        missing = "The form has no part sdp: it is the offer."
        wrong.append(ClientError("missing_required_parameter", missing, "sdp"))
    try:
        if session is not None:
            settings = await _settings(session)
        if settings is not None:
            prepared(settings)
    except ClientError as error:
        await asyncio.sleep(0)
        wrong += [*_wrong_offer(given), error]
    if given is None or wrong:
        raise _refusal(wrong)
    return given, settings


async def _parts(request: Request[Any, Any, Any]) -> tuple[bytes | None, bytes | None]:
    """The offer, the session."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == SDP:
        return await request.body(), None
    if kind != FORM:
        message = f"Content-Type must be {SDP}, or {FORM} with the parts sdp and session."
        raise Refusal(415, "unsupported_media_type", message)
    form = await request.form()
    return await _part(form.get("sdp")), await _part(form.get("session"))


async def _part(part: Any) -> bytes | None:
    if isinstance(part, UploadFile):
        return await part.read()
    return part.encode() if isinstance(part, str) else None


async def _settings(session: bytes) -> Object:
    if len(session) > MOST_SETTINGS_BYTES:
        raise _too_long(f"session has {len(session)} bytes")
    try:
        value = msgspec.json.decode(session)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        message = f"session is not JSON: {error}."
        raise ClientError("invalid_json", message, "session") from None
    if not isinstance(value, dict):
        raise ClientError("invalid_value", "session must be a JSON object.", "session")
    await asyncio.sleep(0)  # to decode it took up to 1 ms, to look through it takes as long
    return value


def _wrong_offer(offer: bytes | None) -> list[ClientError]:
    """Looked for here where something else is wrong; else it is whoever answers it who says so."""
    if offer is None:
        return []
    try:
        sdp.read(offer, Reach())
    except SdpError as error:
        return [ClientError(error.code, error.message, "sdp")]
    return []


def _refusal(wrong: list[ClientError]) -> Refusal:
    """All that is wrong, in the name of the first."""
    message = " ".join(error.message for error in wrong)
    return Refusal(400, wrong[0].code, message, param=wrong[0].param)


def _too_long(what: str) -> Refusal:
    """Measured: 64 KiB of any JSON are decoded within 0.9 ms, 256 KiB within 5 ms."""
    message = (
        f"{what}; it may have {MOST_SETTINGS_BYTES // 1024} KiB here. What is longer can follow in "
        "a session.update."
    )
    return Refusal(413, "string_above_max_length", message, param="session")


# --- client secrets -------------------------------------------------------------------------------


class ExpiresAfter(Struct, frozen=True):
    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Meta(ge=SHORTEST_S, le=LONGEST_S)] = USUAL_S


class SecretWanted(Struct, frozen=True):
    expires_after: ExpiresAfter | None = None
    session: Object | None = None


def wanted_secret(data: bytes, prepared: Prepared) -> tuple[SecretWanted, Object]:
    """And the session that it would open.

    Raises:
        Refusal: 400.
    """
    try:
        body = msgspec.json.decode(data or b"{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refusal(400, "invalid_json", f"The body is not JSON: {error}") from None
    wrong = [error for error in [refused(wrong_fields(body, SecretWanted))] if error]
    session = body.get("session") if isinstance(body, dict) else None
    effective: Object = {}
    try:
        effective = prepared(session if isinstance(session, dict) else {})
    except ClientError as error:
        wrong.append(error)
    if wrong:
        raise _refusal(wrong)
    return msgspec.convert(body, SecretWanted), effective
