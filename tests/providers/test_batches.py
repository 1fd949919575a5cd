"""Which utterances are decoded together, and what is said of them."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers._batches import FEWEST, HOLD_S, Batches
from providers._worker_wire import (
    Abandon,
    Begin,
    End,
    Failed,
    Feed,
    Final,
    FromWorker,
    Partial,
    ToWorker,
    Trying,
)

STEP = 3200


class Hearing:
    """Says how many bytes it has decoded, in steps of 3200; its tail is half a step."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting = self.decoded = 0

    @property
    def is_ready(self) -> bool:
        return self.waiting >= STEP

    def feed(self, pcm: bytes) -> None:
        if pcm.startswith(b"bad"):
            raise RuntimeError("bad audio")
        self.waiting += len(pcm)

    def end(self) -> None:
        self.waiting += STEP // 2

    def text(self) -> str:
        return str(self.decoded)


class Recogniser:
    def __init__(self) -> None:
        self.now = 0.0
        self.each_s = 0.0
        self.batches: list[list[str]] = []
        self.poison = ""

    def begin(self, message: Begin) -> Hearing:
        if message.memory == "no":
            raise RuntimeError("cannot begin")
        return Hearing(str(message.job))

    def decode(self, utterances: Sequence[Hearing]) -> None:
        self.batches.append([utterance.name for utterance in utterances])
        self.now += self.each_s * len(utterances)
        for utterance in utterances:
            if utterance.name == self.poison:
                raise RuntimeError("poison")
            utterance.waiting -= STEP
            utterance.decoded += STEP


class Worker:
    """Batches on a clock of its own, and what they said."""

    def __init__(self, max_batch: int = 32) -> None:
        self.recogniser = Recogniser()
        self.said: list[FromWorker] = []
        self.batches = Batches(
            self.recogniser,
            self.said.append,
            max_batch=max_batch,
            clock=lambda: self.recogniser.now,
        )

    def hear(self, *messages: ToWorker) -> None:
        self.batches.receive(messages)

    def run(self) -> None:
        while not self.batches.turn():
            pass

    def finals(self) -> list[int]:
        return [message.job for message in self.said if isinstance(message, Final)]


def spoken(number: int, steps: float) -> list[ToWorker]:
    return [Begin(number), Feed(number, bytes(int(steps * STEP)))]


def test_those_who_speak_at_once_are_decoded_at_once() -> None:
    worker = Worker()
    for number in (1, 2, 3):
        worker.hear(*spoken(number, 1))
    worker.run()
    assert worker.recogniser.batches == [["1", "2", "3"]]


def test_a_batch_has_its_limit_and_the_rest_take_turns() -> None:
    worker = Worker(max_batch=2)
    for number in (1, 2, 3):
        worker.hear(*spoken(number, 2))
    worker.run()
    assert worker.recogniser.batches == [["1", "2"], ["3", "1"], ["2", "3"]]


def test_who_has_ended_goes_first() -> None:
    worker = Worker(max_batch=1)
    worker.hear(*spoken(1, 3), *spoken(2, 3), *spoken(3, 1), End(3))
    worker.run()
    assert worker.recogniser.batches[0] == ["3"] and worker.finals() == [3]


def test_the_tail_is_decoded_before_the_final_and_a_rest_below_a_step_is_not_lost() -> None:
    worker = Worker()
    worker.hear(*spoken(1, 1.5), End(1))
    worker.run()
    assert worker.said[-1] == Final(1, str(2 * STEP))


def test_an_utterance_without_audio_ends_in_an_empty_final_at_once() -> None:
    worker = Worker()
    worker.hear(Begin(1), End(1))
    assert worker.said == [Final(1, "0")]


def test_a_slow_recogniser_gets_smaller_batches() -> None:
    worker = Worker()
    worker.recogniser.each_s = HOLD_S / 8
    for number in range(1, 33):
        worker.hear(*spoken(number, 12))
    worker.run()
    sizes = [len(batch) for batch in worker.recogniser.batches]
    assert sizes[0] == 32 and 8 <= sizes[12] <= 10
    worker.recogniser.each_s = 10 * HOLD_S
    for number in range(1, 33):
        worker.hear(Feed(number, bytes(STEP * 12)))
    worker.run()
    assert len(worker.recogniser.batches[-8]) == FEWEST


def test_partials_say_something_new_and_keep_their_distance() -> None:
    worker = Worker()
    worker.hear(Begin(1))
    for _ in range(30):
        worker.hear(Feed(1, bytes(STEP)))
        worker.batches.turn()
        worker.recogniser.now += 0.03
    partials = [message for message in worker.said if isinstance(message, Partial)]
    assert 8 <= len(partials) <= 10 and len(set(partials)) == len(partials)


def test_the_last_partial_comes_though_nothing_is_decoded_behind_it() -> None:
    worker = Worker()
    worker.hear(*spoken(1, 1))
    worker.recogniser.now = 1.0
    worker.run()
    worker.hear(Feed(1, bytes(STEP)))
    assert 0 < worker.batches.turn() <= 0.1 and worker.said == [Partial(1, str(STEP))]
    worker.recogniser.now += 0.1
    worker.batches.turn()
    assert worker.said[-1] == Partial(1, str(2 * STEP))


def test_after_an_abandon_nothing_more_is_decoded_or_said() -> None:
    worker = Worker()
    worker.hear(*spoken(1, 5))
    worker.hear(Abandon(1), Feed(1, bytes(STEP)), End(1))
    worker.run()
    assert worker.said == [] and worker.recogniser.batches == []
    assert worker.batches.backlog_bytes == 0


@pytest.mark.parametrize(
    "messages",
    [[Begin(1, memory="no"), Feed(1, b"x" * STEP), End(1)], [Begin(1), Feed(1, b"bad "), End(1)]],
)
def test_what_fails_by_itself_fails_alone(messages: list[ToWorker]) -> None:
    worker = Worker()
    worker.hear(*spoken(2, 2), End(2), *messages)
    worker.run()
    failed = [message for message in worker.said if isinstance(message, Failed)]
    assert [message.job for message in failed] == [1] and worker.finals() == [2]


def test_a_batch_that_goes_wrong_ends_the_worker_for_none_in_it_can_go_on() -> None:
    worker = Worker()
    worker.recogniser.poison = "2"
    worker.hear(*spoken(1, 1), *spoken(2, 1))
    with pytest.raises(RuntimeError, match="poison"):
        worker.run()


def test_those_who_were_with_a_dead_worker_are_tried_one_by_one_and_named_before() -> None:
    worker = Worker()
    worker.recogniser.poison = "2"
    for number in (1, 2, 3):
        message = Begin(number, careful=number != 3)
        worker.hear(message, Feed(number, bytes(2 * STEP)), End(number))
    worker.run()
    assert sorted(worker.finals()) == [1, 3]
    assert [m.job for m in worker.said if isinstance(m, Failed)] == [2]
    assert all(len(batch) == 1 for batch in worker.recogniser.batches)
    at = worker.said.index(next(m for m in worker.said if isinstance(m, Failed)))
    assert worker.said[at - 1] == Trying(2) and worker.said[at + 1] == Trying(0)


def test_a_replay_says_nothing_again_until_it_has_caught_up() -> None:
    worker = Worker()
    worker.recogniser.each_s = 0.2
    worker.hear(Begin(1, is_replay=True), Feed(1, bytes(20 * STEP)))
    worker.run()
    assert [m for m in worker.said if isinstance(m, Partial)] == [Partial(1, str(20 * STEP))]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_is_begun_fed_ended_and_abandoned_nothing_stays_behind(
    data: st.DataObject,
) -> None:
    worker = Worker(max_batch=data.draw(st.integers(1, 4)))
    for _ in range(data.draw(st.integers(1, 40))):
        number = data.draw(st.integers(1, 6))
        careful = data.draw(st.booleans())
        messages: list[ToWorker] = [
            *(Begin(number, careful=careful), Feed(number, bytes(5000))),
            *(End(number), Abandon(number)),
        ]
        message = data.draw(st.sampled_from(messages))
        if isinstance(message, Begin) and number in worker.batches._jobs:
            continue
        worker.hear(message)
        if data.draw(st.booleans()):
            worker.batches.turn()
    for number in range(1, 7):
        worker.hear(End(number))
    worker.run()
    assert worker.batches._jobs == worker.batches._ready == worker.batches._changed == {}
