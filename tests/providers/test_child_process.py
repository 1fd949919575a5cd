"""A process of ours: the loop waits for nothing of it, and nothing of it is left."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from providers import _child_process
from providers._child_process import LINE_BYTES, ChildProcess, start
from tests.providers.voices import open_files, until

Run = Callable[[Coroutine[Any, Any, Any]], Any]
on_both_loops = pytest.mark.parametrize("on_loop", [asyncio.run, uvloop.run])

ECHO = "import sys; print(sys.stdin.readline(), end='', flush=True); sys.exit('its last line')"
NAMED = "open('/proc/self/comm', 'w').write(') R ('); print(flush=True); input()"
BUSY = "print(flush=True)\nwhile True: pass"


async def python(script: str) -> ChildProcess:
    return await start([sys.executable, "-c", script], os.environ)


async def ended(child: ChildProcess) -> None:
    child.kill()
    await child.wait(10)
    child.close()


@on_both_loops
def test_it_hears_answers_and_ends_with_its_last_words_and_its_status(on_loop: Run) -> None:
    async def main() -> None:
        files = open_files()
        child = await python(ECHO)
        assert child.returncode is None
        child.stdin.write("읽다\n".encode())
        await child.stdin.drain()
        assert (await child.stdout.read(100)).decode() == "읽다\n"
        await child.wait(10)
        assert child.returncode == 1 and list(child.last_lines) == ["its last line"]
        child.kill()  # whoever has its number now
        child.close()
        await until(lambda: open_files() <= files + 3)  # the loop's own, once

    on_loop(main())


def test_last_lines_are_whole_however_they_come() -> None:
    script = (
        "import os, time\nfor number in range(30): os.write(2, b'line %d\\n' % number)\n"
        "for byte in '끝\\r\\n'.encode(): os.write(2, bytes([byte])); time.sleep(0.01)\n"
        "os.write(2, b'x' * 100_000)"
    )

    async def main() -> list[str]:
        child = await python(script)
        await child.wait(10)
        child.close()
        return list(child.last_lines)

    *lines, end, endless = asyncio.run(main())
    assert lines == [f"line {number}" for number in range(12, 30)]
    assert end == "끝" and endless == "x" * LINE_BYTES


@on_both_loops
def test_the_loop_turns_while_one_is_started(on_loop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    spawn = _child_process._spawn

    def slowly(*args: Any) -> Any:
        time.sleep(0.2)
        return spawn(*args)

    monkeypatch.setattr(_child_process, "_spawn", slowly)

    async def main() -> int:
        starting, turns = asyncio.create_task(python("input()")), 0
        while not starting.done():
            await asyncio.sleep(0.005)
            turns += 1
        await ended(await starting)
        return turns

    assert on_loop(main()) > 5


@on_both_loops
def test_cancelled_at_any_moment_of_its_start_it_is_gone(on_loop: Run) -> None:
    async def main() -> None:
        await ended(await python("input()"))
        files = open_files()
        for turns in range(12):
            starting = asyncio.create_task(python("input()"))
            for _ in range(turns):
                await asyncio.sleep(0.0 if turns < 6 else 0.002)
            if starting.cancel():
                await asyncio.wait([starting])
                assert starting.cancelled()
            else:
                await ended(starting.result())
            assert len(asyncio.all_tasks()) == 1
        await until(lambda: open_files() <= files)

    on_loop(main())


def test_what_cannot_be_started_is_an_error_and_leaves_nothing() -> None:
    async def main() -> None:
        await ended(await python("input()"))
        files = open_files()
        with pytest.raises(FileNotFoundError):
            await start(["/no/such/program"], {})
        assert open_files() == files

    asyncio.run(main())


@pytest.mark.parametrize(
    ("script", "at_rest"), [(NAMED, True), (BUSY, False)], ids=["waits", "computes"]
)
def test_what_it_does_is_told_by_the_system(script: str, at_rest: bool) -> None:
    async def main() -> None:
        child = await python(script)
        await child.stdout.read(1)
        await until(lambda: child.is_at_rest is at_rest and not child.is_stopped)
        os.kill(child.pid, signal.SIGSTOP)
        await until(lambda: child.is_stopped)
        os.kill(child.pid, signal.SIGCONT)
        await until(lambda: child.is_at_rest is at_rest and not child.is_stopped)
        await ended(child)
        assert child.returncode == -signal.SIGKILL
        assert not child.is_stopped and not child.is_at_rest

    asyncio.run(main())
