"""One generator process full of callers: `python -m voice.bench.worker`, spoken to over its pipes.

    parent                               worker
    task, one JSON line            →
                                   ←     {"kind": "connected"}    the first callers are in
    open                           →     turns that begin now are measured
                                   ←     {"kind": "progress"}     a measured turn is over
                                   ←     {"kind": "finished"}     all are; the callers go on talking
    close                          →
                                   ←     {"kind": "result", …}
    at any time                    ←     {"kind": "failed", "message": …}

Processes of their own, so that nothing the parent does delays a frame or a time stamp.
"""

import asyncio
import contextlib
import gc
import sys
from collections.abc import Coroutine
from typing import Any

import msgspec

from voice.bench.config import BenchError
from voice.bench.generator import Generator
from voice.bench.task import Message, Task

TASK_LIMIT_BYTES = 1 << 28
"""A task is one line, and holds every call that will come."""


def _say(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


async def _work() -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader(limit=TASK_LIMIT_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    task = msgspec.json.decode(await commands.readline(), type=Task)

    def tell(measured: int) -> None:
        _say(Message("progress", message=str(measured)))

    generator = Generator(task, tell)
    await generator.connect()
    # A collection in the middle of the run would be a pause that the server is blamed for.
    gc.collect()
    gc.freeze()
    gc.disable()
    arriving = asyncio.create_task(generator.receive_arrivals())
    try:
        _say(Message("connected"))
        if await commands.readline() != b"open\n":
            return
        generator.open_window()
        told = asyncio.create_task(commands.readline())
        finished = asyncio.create_task(generator.finished())
        await asyncio.wait({told, finished}, return_when=asyncio.FIRST_COMPLETED)
        if not finished.done():  # The parent is gone; nobody is left to report to.
            finished.cancel()
            return
        await finished
        _say(Message("finished"))
        await told
        result = generator.result()
    finally:
        arriving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await arriving
    await generator.hang_up()
    _say(Message("result", result=result))


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:  # There is none for Windows.
        asyncio.run(work)
    else:
        uvloop.run(work)


def main() -> None:
    try:
        _run(_work())
    except* BenchError as failures:
        _say(Message("failed", message=str(failures.exceptions[0])))
        sys.exit(1)
    except* KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
