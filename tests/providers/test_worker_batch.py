"""Messages on their way from the reader thread to the decode thread."""

import threading

from providers._worker_batch import BACKLOG_BYTES, Inbox
from providers._worker_wire import End, Feed


def test_the_inbox_gathers_but_lets_nobody_wait_who_has_ended() -> None:
    inbox = Inbox()
    inbox.put([Feed(1, b"ab")])
    assert inbox.take(60, 0) == [Feed(1, b"ab")]
    inbox.put([Feed(1, b"ab")])
    inbox.put([End(1)])
    assert inbox.take(60, 60) == [Feed(1, b"ab"), End(1)]
    assert inbox.take(0, 60) == []


def test_more_than_can_be_decoded_stays_in_the_pipe() -> None:
    inbox = Inbox()
    inbox.backlog_bytes = BACKLOG_BYTES
    is_in = threading.Event()

    def read() -> None:
        inbox.put([Feed(1, b"ab")])
        is_in.set()

    reader = threading.Thread(target=read)
    reader.start()
    assert inbox.take(60, 0) == [Feed(1, b"ab")] and not is_in.is_set()
    inbox.backlog_bytes = 0
    inbox.take(0, 0)
    assert is_in.wait(60)
    reader.join()
