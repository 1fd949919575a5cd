"""The worker's side that decodes a step at a time: whose turn it is, and what is said."""

import os
from collections.abc import Sequence

from providers._worker_child import NEARLY_BYTES, STEP_BYTES, _Worker
from providers._worker_wire import (
    Begin,
    End,
    Feed,
    Final,
    FromWorker,
    Partial,
    ToWorker,
    Unpacker,
    from_worker,
    pack,
)
from tests.providers.echo_worker import Echo


def said(messages: Sequence[ToWorker], steps: int) -> list[FromWorker]:
    reader, writer = os.pipe()
    worker = _Worker(Echo(), writer)
    for message in messages:
        worker._receive(pack(message)[4:])
    for _ in range(steps):
        worker._step()
    os.close(writer)
    with open(reader, "rb") as stream:
        return [from_worker.decode(body) for body in Unpacker().feed(stream.read())]


def test_audio_sent_at_once_takes_turns_with_speech_and_what_is_nearly_through_goes_first() -> None:
    minute, spoken, nearly = 1, 2, 3
    messages: list[ToWorker] = [
        *(Begin(minute), Feed(minute, bytes(60 * 32_000)), End(minute)),
        *(Begin(spoken), Feed(spoken, bytes(STEP_BYTES))),
        *(Begin(nearly), Feed(nearly, bytes(NEARLY_BYTES)), End(nearly)),
    ]
    sent = said(messages, NEARLY_BYTES // STEP_BYTES + 2)
    assert Partial(spoken, str(STEP_BYTES)) in sent
    finals = [at for at, message in enumerate(sent) if isinstance(message, Final)]
    early = [message for message in sent[: finals[0]] if isinstance(message, Partial)]
    assert {message.job for message in early} == {nearly}


def test_a_replay_says_nothing_again_until_it_has_caught_up() -> None:
    heard = [Feed(1, bytes(5 * STEP_BYTES))]
    assert len(said([Begin(1), *heard], 5)) == 5
    again = said([Begin(1, is_replay=True), *heard], 5)
    assert again == [Partial(1, str(5 * STEP_BYTES))]
