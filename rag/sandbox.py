"""Reads files of unknown origin in a child process with limits on memory, processor time and clock.

    parent                                   child (python -m rag.sandbox)
    length, msgpack(Request) ------------->  rag.read.read()
           <-------------------------------  length, msgpack(Reply)

One child reads many files. It is replaced after a file that killed it or ran past its time.
"""

import asyncio
import logging
import os
import struct
import sys
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from rag.read import read
from rag.read_text import Unreadable
from rag.types import Text

MEMORY_BYTES = 1 << 30
CPU_SECONDS = 20
CLOCK_SECONDS = 25.0
_LARGEST_REPLY = 64_000_000
_LENGTH = struct.Struct("<I")


class Request(msgspec.Struct, frozen=True):
    suffix: str
    data: bytes


class Reply(msgspec.Struct, frozen=True):
    text: Text | None
    reason: str = ""
    """Why there is no text."""


_replies = msgspec.msgpack.Decoder(Reply)
_requests = msgspec.msgpack.Decoder(Request)


class Sandbox:
    """Async context manager round the child process, which starts with the first file."""

    def __init__(
        self,
        *,
        memory_bytes: int = MEMORY_BYTES,
        cpu_seconds: int = CPU_SECONDS,
        clock_seconds: float = CLOCK_SECONDS,
    ) -> None:
        self._limits = (str(memory_bytes), str(cpu_seconds))
        self._clock_seconds = clock_seconds
        self._child: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def read(self, suffix: str, data: bytes) -> Text:
        """Raises:
        Unreadable: Also when reading it took too much time or memory.
        """
        try:
            async with asyncio.timeout(self._clock_seconds):
                reply = await self._ask(msgspec.msgpack.encode(Request(suffix, data)))
        except TimeoutError:
            await self._end()
            raise Unreadable(f"took longer than {self._clock_seconds:g} s to read") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            await self._end()
            raise Unreadable("took more memory or processor time to read than is allowed") from None
        except BaseException:
            await self._end()  # a reply left in the pipe would answer the next file
            raise
        if reply.text is None:
            raise Unreadable(reply.reason)
        return reply.text

    async def _ask(self, request: bytes) -> Reply:
        if self._child is None:
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "rag.sandbox",
                *self._limits,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                # Nothing of the server's environment, which may hold keys, is given on.
                env={"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
            )
        child = self._child
        assert child.stdin and child.stdout
        child.stdin.write(_LENGTH.pack(len(request)) + request)
        await child.stdin.drain()
        (length,) = _LENGTH.unpack(await child.stdout.readexactly(_LENGTH.size))
        if length > _LARGEST_REPLY:
            raise Unreadable("holds too much text; split it")
        return _replies.decode(await child.stdout.readexactly(length))

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.returncode is None:
            child.kill()
        # Reads what is left and closes the pipes: wait() alone can hang on a full one.
        await child.communicate()


def _serve(requests: BinaryIO, replies: BinaryIO, cpu_seconds: int) -> None:
    while length := requests.read(_LENGTH.size):
        request = _requests.decode(requests.read(_LENGTH.unpack(length)[0]))
        _allow_cpu(cpu_seconds)
        encoded = msgspec.msgpack.encode(_reply(request))
        replies.write(_LENGTH.pack(len(encoded)) + encoded)
        replies.flush()


def _reply(request: Request) -> Reply:
    try:
        return Reply(read(request.suffix, request.data))
    except Unreadable as refusal:
        return Reply(None, str(refusal))
    except MemoryError:
        return Reply(None, "took more memory to read than is allowed")
    except Exception as error:  # a parser's bug on a hostile file is this file's problem alone
        return Reply(None, f"could not be read ({type(error).__name__})")


def _limit_memory(memory_bytes: int) -> None:
    if sys.platform != "linux":
        return  # elsewhere the kernel ignores or refuses the limit; the clock still holds
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def _allow_cpu(seconds: int) -> None:
    """So many seconds from now: the limit counts from the process's start."""
    if sys.platform != "linux":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def main() -> None:
    memory_bytes, cpu_seconds = map(int, sys.argv[1:3])
    _limit_memory(memory_bytes)
    logging.disable()
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # a parser that prints
    _serve(sys.stdin.buffer, replies, cpu_seconds)


if __name__ == "__main__":
    main()
