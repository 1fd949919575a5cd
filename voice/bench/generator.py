"""The callers of one process: connected when they are due, measured while the window is open."""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable

import aiohttp
from websockets.uri import parse_uri

from voice.bench.caller import CONNECT_LIMIT_S, Line
from voice.bench.config import BenchConfig, BenchError
from voice.bench.distribution import Tally
from voice.bench.figures import turn_figures
from voice.bench.messages import first_messages
from voice.bench.phone import Phone
from voice.bench.phone_way import way_in
from voice.bench.schedule import Call
from voice.bench.server import http_url
from voice.bench.sound import sound_of
from voice.bench.task import Result, Task
from voice.bench.tongue import Realtime, Tongue
from voice.bench.turn import Plan

KEPT_TEXTS = 20


def plan_of(
    config: BenchConfig, call: Call, speech_frames: int, bytes_per_second: int = 48_000
) -> Plan:
    """Gaps vary so that callers do not fall into step, and ends of speech meet every alignment."""
    rng = random.Random(config.seed * 1_000_003 + call.number)
    gap = config.gap_ms / 1000
    gaps = tuple(rng.uniform(0.75 * gap, 1.25 * gap) for _ in range(64))
    return Plan(
        turns=call.turns or config.turns,
        warmup_turns=0 if call.turns else config.warmup_turns,
        speech_frames=speech_frames,
        gaps=gaps,
        cuts=call.cuts,
        barge_in_after=config.barge_in_after_ms / 1000,
        frame_s=config.frame_ms / 1000,
        start_buffer=config.start_buffer_ms / 1000,
        timeout=config.timeout_s,
        hangs_up_after=call.turns,
        is_rude=call.is_rude,
        bytes_per_second=bytes_per_second,
    )


class Servers:
    """Least connections: the next caller gets the address with the fewest.

    Each process counts its own callers only; they begin at different addresses, so that what is
    even for each is even for all.
    """

    def __init__(self, urls: tuple[str, ...], worker: int) -> None:
        first = worker % len(urls)
        self._urls = [*urls[first:], *urls[:first]]
        self._callers = [0] * len(urls)

    def take(self) -> tuple[str, Callable[[], None]]:
        """An address, and what to call when the caller is gone."""
        chosen = min(range(len(self._urls)), key=self._callers.__getitem__)
        self._callers[chosen] += 1

        def give_back() -> None:
            self._callers[chosen] -= 1

        return self._urls[chosen], give_back


class Generator:
    """The lines of one process."""

    def __init__(self, task: Task, on_turns: Callable[[int], None]) -> None:
        self._task = task
        self._on_turns = on_turns
        config = task.config
        self._sound = sound_of(config)
        self._messages = first_messages(config)
        self._servers = Servers(task.urls, task.worker)
        self._http: aiohttp.ClientSession | None = None
        self._turns_over = asyncio.Event()
        self._lines: list[tuple[int, Line]] = []
        self._refused: list[str] = []
        self._late_arrivals = Tally()
        self._ramp_s = config.ramp_s or 0.0
        self._began_at = 0.0
        self._opened_at: float | None = None
        self._window_is_over = False

    @property
    def lines(self) -> list[Line]:
        """Of those who were let in."""
        return [line for _, line in self._lines]

    # --- calls come --------------------------------------------------------------------------

    async def connect(self) -> None:
        """The callers of the beginning come in, each at its own place in the common row.

        Raises:
            BenchError: If one of them gets no session, unless that may be.
        """
        self._began_at = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for call in self._task.calls:
                if call.at_s <= self._ramp_s:
                    group.create_task(self._arrive(call))

    async def receive_arrivals(self) -> None:
        """Everybody else, when they are due and not when there is time."""
        async with asyncio.TaskGroup() as group:
            for call in self._task.calls:
                if call.at_s > self._ramp_s:
                    group.create_task(self._arrive(call))

    async def _arrive(self, call: Call) -> None:
        due = self._began_at + call.at_s
        await asyncio.sleep(due - time.monotonic())
        if self._opened_at is not None:
            self._late_arrivals.add_s([max(0.0, time.monotonic() - due)])
        try:
            await self._connect(call, due)
        except BenchError as error:
            if not self._task.may_be_refused:
                raise
            # Of a measured step; what the first callers meet belongs to it, too.
            if not self._window_is_over:
                self._refused.append(str(error))

    async def _connect(self, call: Call, due: float) -> None:
        config = self._task.config
        url, give_back = self._servers.take()
        uri = parse_uri(url)
        try:
            tongue = await self._tongue(url)
        except BenchError:
            give_back()
            raise
        speech_frames = len(self._sound.speech)
        line = Line(
            uri,
            plan=plan_of(config, call, speech_frames, tongue.bytes_per_second),
            tongue=tongue,
            on_turn=self._turns_over.set,
        )
        line.closed.add_done_callback(lambda _: give_back())
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await loop.create_connection(
                    lambda: line, uri.host, uri.port, ssl=True if uri.secure else None
                )
                await line.ready
        except TimeoutError:
            line.give_up()
            raise BenchError(
                f"{url}: no session within {CONNECT_LIMIT_S:g} s; "
                "a server of this wire answers session.created, then session.updated"
            ) from None
        except OSError as error:
            line.give_up()
            raise BenchError(f"{url}: {error}; is the server running there?") from None
        except BenchError as error:
            # Of many refusals, one line is told; a run that ends with one says whose it was.
            whose = "" if self._task.may_be_refused else f", caller {call.number + 1}"
            raise BenchError(f"{url}{whose}: {error}") from None
        line.connect_ms = (line.ready_at - due) * 1000
        frame_s = config.frame_ms / 1000
        place = call.number % self._task.of
        line.start_talking(phase=frame_s * place / self._task.of, frame_s=frame_s)
        self._lines.append((call.number, line))
        if self._opened_at is not None:
            line.open_window()
        if self._window_is_over:
            line.close_window()

    async def _tongue(self, url: str) -> Tongue:
        """Raises:
        BenchError: The telephone is not answered.
        """
        config = self._task.config
        if config.transport == "websocket":
            return Realtime(self._sound, self._messages, config.api_key)
        server = http_url(url, "")
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=CONNECT_LIMIT_S)
            self._http = aiohttp.ClientSession(timeout=timeout)
        way = await way_in(
            self._http,
            server,
            auth_token=config.twilio_auth_token,
            account=config.twilio_account_sid,
            public_url=config.public_url or server,
        )
        return Phone(self._sound, way, config.frame_ms)

    # --- the window --------------------------------------------------------------------------

    def open_window(self) -> None:
        self._opened_at = time.monotonic()
        for _, line in self._lines:
            line.open_window()
        if self._task.window_s:
            asyncio.get_running_loop().call_later(self._task.window_s, self._close_window)

    def _close_window(self) -> None:
        self._window_is_over = True
        for _, line in self._lines:
            line.close_window()

    async def finished(self) -> None:
        """Returns when every caller has its measured turns, or is gone."""
        while not self._is_finished():
            # The last turns end in a pause, or by a connection that closes: look once a second too.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._turns_over.wait()
            if self._turns_over.is_set():
                self._turns_over.clear()
                self._on_turns(self._measured())

    def _is_finished(self) -> bool:
        callers = [line.caller for _, line in self._lines if line.caller is not None]
        if self._task.window_s:
            return self._window_is_over and all(caller.is_settled for caller in callers)
        return all(caller.finished for caller in callers)

    def _measured(self) -> int:
        return sum(line.caller.measured for _, line in self._lines if line.caller is not None)

    async def hang_up(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _, line in self._lines:
                group.create_task(line.hang_up())
        if self._http is not None:
            await self._http.close()

    # --- what was seen -----------------------------------------------------------------------

    def _present_s(self, line: Line, until: float) -> float:
        """How long a caller was there while the window was open."""
        assert self._opened_at is not None
        return max(0.0, min(line.gone_at, until) - max(line.ready_at, self._opened_at))

    def result(self) -> Result:
        now, opened_at = time.monotonic(), self._opened_at or 0.0
        lines = sorted(self._lines, key=lambda pair: pair[0])
        callers = [(n, line.caller, line) for n, line in lines if line.caller is not None]
        lags = self._late_arrivals
        for _, line in lines:
            lags.add_s(line.lags)
        present = [self._present_s(line, now) for _, line in lines]
        return Result(
            turns=tuple(
                turn_figures(
                    turn,
                    caller=number,
                    opened_at=opened_at,
                    silence_ms=line.silence_ms,
                    connect_ms=line.connect_ms,
                )
                for number, caller, line in callers
                for turn in caller.turns
                if turn.measured
            ),
            lags=lags,
            session_s=sum(present),
            calls=sum(seconds > 0 for seconds in present),
            errors=sum(caller.error_count for _, caller, _ in callers),
            error_texts=tuple(t for _, caller, _ in callers for t in caller.errors)[:KEPT_TEXTS],
            unasked=sum(caller.unasked_responses for _, caller, _ in callers),
            closed=tuple(caller.closed_with for _, caller, _ in callers if caller.closed_with),
            refused=tuple(self._refused),
        )
