"""A session's facts as they stand in a recording: by their class's name, as MessagePack."""

from typing import Any, get_args

import msgspec
from msgspec import Struct

from providers.base import Fault, Hypothesis, ProviderError, Slot, SttFailure, VadFrame
from voice import reply_facts
from voice.client_events import CLIENT_EVENT_TYPES
from voice.facts import (
    AudioIn,
    Complaint,
    HangUp,
    KeyPressed,
    Opened,
    PauseJudged,
    Resumed,
    Returned,
    Suspended,
    TransferEnded,
)
from voice.recording import RecordingError, Told


class _Failure(Struct, frozen=True):
    """A ProviderError."""

    slot: Slot
    provider: str
    fault: Fault
    message: str
    was_told: bool


def _without_class(value: Any) -> Any:
    if isinstance(value, ProviderError):
        return _Failure(value.slot, value.provider, value.fault, value.message, value.was_told)
    raise NotImplementedError(f"{type(value).__name__} cannot be recorded")


def _with_class(kind: type, value: Any) -> Any:
    if kind is not ProviderError:
        raise NotImplementedError(kind.__name__)
    failure = msgspec.convert(value, _Failure)
    error = ProviderError(failure.slot, failure.provider, failure.fault, failure.message)
    error.was_told = failure.was_told
    return error


_encoder = msgspec.msgpack.Encoder(enc_hook=_without_class)

FACTS: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        *(Opened, AudioIn, Complaint, HangUp, VadFrame, Hypothesis, SttFailure, PauseJudged),
        *(Suspended, Resumed, KeyPressed, Returned, TransferEnded),
        *CLIENT_EVENT_TYPES.values(),
        *get_args(reply_facts.Fact),
        reply_facts.Foreseen,
    )
}
_fact_decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
    name: msgspec.msgpack.Decoder(kind, dec_hook=_with_class) for name, kind in FACTS.items()
}


def packed(fact: Any) -> tuple[str, msgspec.Raw]:
    """Raises:
    NotImplementedError: It is none of a session's facts.
    """
    name = type(fact).__name__
    if name not in FACTS:
        raise NotImplementedError(f"{name} cannot be recorded")
    return name, msgspec.Raw(_encoder.encode(fact))


def unpacked(told: Told) -> Any:
    """Raises:
    RecordingError: Another version's.
    """
    decoder = _fact_decoders.get(told.kind)
    if decoder is None:
        raise RecordingError(f"holds {told.kind}, which this version does not know")
    try:
        return decoder.decode(told.fact)
    except msgspec.DecodeError as error:
        raise RecordingError(f"holds another version's {told.kind}: {error}") from None
