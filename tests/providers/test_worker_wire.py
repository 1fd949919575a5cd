"""What passes between the server and a worker."""

import pytest

from providers._worker_wire import Begin, End, Feed, ToWorker, Unpacker, pack, to_worker


def test_messages_survive_any_cutting_of_the_pipe() -> None:
    sent: list[ToWorker] = [Begin(1, "en", "m"), Feed(1, bytes(range(256)) * 9), End(1)]
    stream = b"".join(pack(message) for message in sent)
    for size in (1, 3, 7, 1000, len(stream)):
        unpacker = Unpacker()
        got = [
            to_worker.decode(body)
            for start in range(0, len(stream), size)
            for body in unpacker.feed(stream[start : start + size])
        ]
        assert got == sent


def test_an_absurd_length_is_an_error_not_a_wait() -> None:
    with pytest.raises(ValueError, match="something else"):
        list(Unpacker().feed(b"\xff\xff\xff\xff"))
