"""One utterance's audio: what is sent, what is kept, what is sent again."""

from collections.abc import Sequence

from providers._worker_job import KEEP_S, Job
from providers._worker_wire import Begin, End, Feed, ToWorker, Unpacker, to_worker


def decoded(sent: Sequence[bytes]) -> list[ToWorker]:
    return [to_worker.decode(body) for data in sent for body in Unpacker().feed(data)]


def told(job: Job) -> list[ToWorker]:
    """What a worker that takes it is told."""
    sent = [job.begin_message()]
    while (message := job.next_message()) is not None:
        sent.append(message)
    return decoded(sent)


def test_audio_beyond_the_limit_is_dropped_oldest_first_and_counted() -> None:
    job = Job(1, lambda result: None, "", "")
    job.keep(bytes(KEEP_S * 32_000))
    assert job.lost_bytes == 0
    job.keep(b"\x01\x01" * 100)
    assert job.lost_bytes == 200
    pcm = b"".join(piece.pcm for piece in told(job) if isinstance(piece, Feed))
    assert len(pcm) == KEEP_S * 32_000 and pcm.endswith(b"\x01\x01" * 100)
    job.keep(bytes(400))
    assert job.lost_bytes == 200  # what was sent already is not lost


def test_the_next_worker_is_told_all_of_it_again_and_that_it_is_again() -> None:
    job = Job(1, lambda result: None)
    job.keep(bytes(6400))
    job.is_ended = True
    first = told(job)
    assert first == [Begin(1), Feed(1, bytes(6400)), End(1)] and job.next_message() is None
    job.rewind()
    again = told(job)
    assert again == [Begin(1, careful=True, is_replay=True), *first[1:]]


def test_one_that_was_near_another_when_it_took_a_worker_down_is_a_replay_all_the_same() -> None:
    """Else its partials, said once already, would be said again from the first word on.

    begin, partials ─▶ its worker dies, of another job ─▶ the pool takes the attempt back ─▶ again
    """
    job = Job(1, lambda result: None)
    told(job)
    job.rewind()
    job.attempts -= 1
    assert told(job)[0] == Begin(1, careful=False, is_replay=True)


def test_memory_is_handed_on_past_utterances_that_no_worker_ever_had() -> None:
    jobs = [Job(1, lambda result: None)]
    jobs[0].close("learned")
    for number in range(2, 6):  # a worker that does not start: each fails in the queue
        jobs.append(Job(number, lambda result: None, former=jobs[-1]))
        jobs[-1].close()
    assert [job.former for job in jobs] == [None] * 5
    assert told(Job(6, lambda result: None, former=jobs[-1])) == [Begin(6, memory="learned")]
