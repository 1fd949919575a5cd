"""One generator process full of callers: `python -m voice.bench.worker`, spoken to over its pipes.

    parent                               worker
    task, one JSON line            →
                                   ←     {"kind": "connected"}    all callers are in
    open                           →     turns that begin now are measured
                                   ←     {"kind": "progress"}     a measured turn is over
                                   ←     {"kind": "finished"}     all are; the callers go on talking
    close                          →
                                   ←     {"kind": "result", …}
    at any time                    ←     {"kind": "failed", "message": …}

Processes of their own, so that nothing the parent does delays a frame or a time stamp.
"""

import asyncio
import base64
import contextlib
import gc
import random
import sys
import time
from collections.abc import Coroutine
from typing import Any

import msgspec
from websockets.uri import parse_uri

from voice.bench.caller import (
    CONNECT_LIMIT_S,
    EXTENSIONS,
    Line,
    append_frame,
    session_update,
)
from voice.bench.config import BenchConfig, BenchError
from voice.bench.figures import TurnFigures, turn_figures
from voice.bench.speech import background, frames, made_speech, read_speech
from voice.bench.turns import EXTENSIONS_EVENT_ID, Plan

BACKGROUND_FRAMES = 50


class Task(msgspec.Struct, frozen=True):
    """The share of one process in one step."""

    config: BenchConfig
    callers: tuple[int, ...]
    """Numbers of the callers in the whole step."""
    of: int
    """How many the whole step has."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What the callers of one process saw."""

    turns: tuple[TurnFigures, ...]
    lags_ms: tuple[float, ...]
    """How late each frame of the window was sent."""
    errors: int
    error_texts: tuple[str, ...]
    unasked: int
    closed: tuple[str, ...]
    """Why connections ended that should not have."""


class Message(msgspec.Struct, frozen=True):
    """From the worker to its parent."""

    kind: str
    message: str = ""
    result: Result | None = None


def _say(message: Message) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.buffer.flush()


def plan_of(config: BenchConfig, caller: int, speech_frames: int) -> Plan:
    """Gaps vary so that callers do not fall into step, and ends of speech meet every alignment."""
    rng = random.Random(config.seed * 1_000_003 + caller)
    gap = config.gap_ms / 1000
    gaps = tuple(rng.uniform(0.75 * gap, 1.25 * gap) for _ in range(64))
    return Plan(
        turns=config.turns,
        warmup_turns=config.warmup_turns,
        speech_frames=speech_frames,
        gaps=gaps,
        barge_in_every=config.barge_in_every,
        barge_in_after=config.barge_in_after_ms / 1000,
        start_buffer=config.start_buffer_ms / 1000,
        timeout=config.timeout_s,
    )


def _append_frames(pcm: list[bytes]) -> list[bytes]:
    return [append_frame(base64.b64encode(frame).decode()) for frame in pcm]


def _first_messages(config: BenchConfig) -> list[dict[str, Any]]:
    messages = [session_update(config.silence_ms)]
    if config.extensions:
        # A message of its own, so that a server without extensions refuses this one alone.
        extended = {"type": "realtime", "include": list(EXTENSIONS)}
        messages.append(
            {"type": "session.update", "event_id": EXTENSIONS_EVENT_ID, "session": extended}
        )
    return messages


class Generator:
    """The lines of one process."""

    def __init__(self, task: Task) -> None:
        self._task = task
        config = task.config
        speech = read_speech(config.wav) if config.wav else made_speech()
        self._speech = _append_frames(frames(speech.samples, config.frame_ms))
        self._background = _append_frames(
            background(config.noise_dbfs, config.frame_ms, BACKGROUND_FRAMES, config.seed)
        )
        self._messages = _first_messages(config)
        self._turns_over = asyncio.Event()
        self._lines: list[tuple[int, Line]] = []
        self._opened_at = 0.0

    async def connect(self) -> None:
        """Callers come in evenly over `ramp_s`, each at its own place in the common row.

        Raises:
            BenchError: If one of them gets no session.
        """
        async with asyncio.TaskGroup() as group:
            for caller in self._task.callers:
                group.create_task(self._connect(caller))

    async def _connect(self, caller: int) -> None:
        config = self._task.config
        await asyncio.sleep(config.ramp_s * caller / self._task.of)
        uri = parse_uri(config.url)
        line = Line(
            uri,
            plan=plan_of(config, caller, len(self._speech)),
            first_messages=self._messages,
            speech=self._speech,
            background=self._background,
            api_key=config.api_key,
            on_turn=self._turns_over.set,
        )
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await loop.create_connection(
                    lambda: line, uri.host, uri.port, ssl=True if uri.secure else None
                )
                await line.ready
        except TimeoutError:
            raise BenchError(
                f"{config.url}: no session within {CONNECT_LIMIT_S:g} s; "
                "a server of this wire answers session.created, then session.updated"
            ) from None
        except OSError as error:
            raise BenchError(f"{config.url}: {error}; is the server running there?") from None
        except BenchError as error:
            raise BenchError(f"{config.url}, caller {caller + 1}: {error}") from None
        frame_s = config.frame_ms / 1000
        line.start_talking(phase=frame_s * caller / self._task.of, frame_s=frame_s)
        self._lines.append((caller, line))

    def open_window(self) -> None:
        self._opened_at = time.monotonic()
        for _, line in self._lines:
            line.open_window()

    async def finished(self) -> None:
        """Returns when every caller has its measured turns, or is gone."""
        while not all(line.caller is not None and line.caller.finished for _, line in self._lines):
            # The last turns end in a pause, or by a connection that closes: look once a second too.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._turns_over.wait()
            if self._turns_over.is_set():
                self._turns_over.clear()
                _say(Message("progress", message=str(self._measured())))

    def _measured(self) -> int:
        return sum(line.caller.measured for _, line in self._lines if line.caller is not None)

    async def hang_up(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _, line in self._lines:
                group.create_task(line.hang_up())

    def result(self) -> Result:
        lines = sorted(self._lines, key=lambda pair: pair[0])
        callers = [
            (number, line.caller, line.silence_ms)
            for number, line in lines
            if line.caller is not None
        ]
        return Result(
            turns=tuple(
                turn_figures(turn, caller=number, opened_at=self._opened_at, silence_ms=silence_ms)
                for number, caller, silence_ms in callers
                for turn in caller.turns
                if turn.measured
            ),
            lags_ms=tuple(round(lag * 1000, 2) for _, line in self._lines for lag in line.lags),
            errors=sum(caller.error_count for _, caller, _ in callers),
            error_texts=tuple(text for _, caller, _ in callers for text in caller.errors)[:20],
            unasked=sum(caller.unasked_responses for _, caller, _ in callers),
            closed=tuple(caller.closed_with for _, caller, _ in callers if caller.closed_with),
        )


async def _work() -> None:
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    task = msgspec.json.decode(await commands.readline(), type=Task)
    generator = Generator(task)
    await generator.connect()
    # A collection in the middle of the run would be a pause that the server is blamed for.
    gc.collect()
    gc.freeze()
    gc.disable()
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
