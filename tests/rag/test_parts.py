import sys
import threading
import time
from types import SimpleNamespace

import msgspec
import pytest

from rag import parts
from rag.types import Chunk

MANY = [
    Chunk(id=str(n), source="a.md", title="", heading="", start=0, end=1, text=f"Text {n}.")
    for n in range(20_000)
]


class Waiting:
    """A thread that wants to run all the time, as an event loop does; counts how often it may."""

    def __enter__(self) -> "Waiting":
        self._is_over, self.runs = False, 0
        self._interval = sys.getswitchinterval()
        # Nobody is made to give the interpreter away; it must be given.
        sys.setswitchinterval(1000.0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()
        sys.setswitchinterval(self._interval)

    def _run(self) -> None:
        while not self._is_over:
            self.runs += 1
            time.sleep(0)


def test_structs_come_back_and_others_run_while_they_are_decoded() -> None:
    data = parts.structs_bytes(MANY)
    with Waiting() as waiting:
        before = waiting.runs
        found = parts.structs_from(data, Chunk)
        runs = waiting.runs - before
    assert found == tuple(MANY) and runs > 50


def test_others_run_while_structs_are_dropped() -> None:
    held: list[msgspec.Struct] = list(parts.structs_from(parts.structs_bytes(MANY), Chunk))
    with Waiting() as waiting:
        before = waiting.runs
        parts.drop(held)
        runs = waiting.runs - before
    assert held == [] and runs > 50


def test_what_holds_something_else_is_refused() -> None:
    with pytest.raises(msgspec.MsgspecError):
        parts.structs_from(parts.structs_bytes(MANY[:2])[:-1], Chunk)
    with pytest.raises(msgspec.MsgspecError):
        parts.structs_from(msgspec.msgpack.encode([{"id": 1}]), Chunk)
    with pytest.raises(msgspec.MsgspecError):
        parts.structs_from(msgspec.msgpack.encode({"id": 1}), Chunk)


@pytest.mark.parametrize(
    ("module", "device"),
    [
        (SimpleNamespace(get_num_gpus=lambda: 0), "cpu"),  # faiss-cpu
        (SimpleNamespace(get_num_gpus=lambda: 0, StandardGpuResources=object), "cpu"),
        (SimpleNamespace(get_num_gpus=lambda: 2, StandardGpuResources=object), "gpu"),
    ],
)
def test_the_gpu_is_used_where_the_build_knows_one_and_one_is_there(
    module: SimpleNamespace, device: str
) -> None:
    assert parts.pick_device(module) == device
