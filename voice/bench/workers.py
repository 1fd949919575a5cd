"""Generator processes, as their parent sees them."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import msgspec

from voice.bench.config import BenchError
from voice.bench.task import Message, Task

RESULT_LIMIT_BYTES = 1 << 30
"""A worker's result is one line."""
WORKER_LIMIT_S = 15.0
"""To close its lines and end."""
ROOT = str(Path(__file__).resolve().parents[2])
"""The package may not be installed: then a child must look for it where this process found it."""


@contextlib.asynccontextmanager
async def hired(task: Task) -> AsyncGenerator[Process, None]:
    """A generator process with its task, gone when this is left."""
    path = os.pathsep.join(filter(None, (ROOT, os.environ.get("PYTHONPATH"))))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "voice.bench.worker"),
        stdin=PIPE,
        stdout=PIPE,
        env={**os.environ, "PYTHONPATH": path},
        limit=RESULT_LIMIT_BYTES,
    )
    try:
        await tell(process, msgspec.json.encode(task).decode())
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(WORKER_LIMIT_S if sys.exc_info()[0] is None else 0.5):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            await process.wait()


async def tell(process: Process, line: str) -> None:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):  # Its end shows when the next answer is read.
        process.stdin.write(line.encode() + b"\n")
        await process.stdin.drain()


async def expect(
    process: Process, kind: str, on_turns: Callable[[int], None] | None = None
) -> Message:
    """The next message of that kind; progress on the way is passed on."""
    assert process.stdout is not None
    while line := await process.stdout.readline():
        message = msgspec.json.decode(line, type=Message)
        if message.kind == kind:
            return message
        if message.kind == "failed":
            raise BenchError(message.message)
        if message.kind == "progress" and on_turns is not None:
            on_turns(int(message.message))
    raise BenchError("a generator process ended before its time; its traceback is above")


async def all_of(waiting: Sequence[Coroutine[Any, Any, Message]]) -> list[Message]:
    """All their messages, or the first failure as itself."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one) for one in waiting]
    except* BenchError as failures:
        raise BenchError(str(failures.exceptions[0])) from None
    return [task.result() for task in tasks]
