"""Smart Turn v3 on onnxruntime: whether a pause sounds like the end of a turn.

    loop    judge judge | hand over ──.             deliver, hand over ──.
    thread                             `─ one run ─.                      `─ one run ─
                                                    `─ one wake-up of the loop

One pause at a time: a run takes 20 to 40 ms of a core (measured: 5 ms for the features of 3 s,
34 ms in the network), and two of them at once would take it from the calls' audio. Who has waited
for `limit_s` is given no opinion: by then the words have decided, or soon will.

The network: [1, 80, 800] log-mel features of the last 8 s in, its sigmoid out. Smart Turn v2 takes
samples, which is told from the input's name. https://github.com/pipecat-ai/smart-turn
"""

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import structlog

from providers._whisper_mel import BANDS, FRAMES, WINDOW_S, log_mel
from providers.base import LISTEN_RATE_HZ, Fault, ProviderError, ProviderInfo, Slot

log = structlog.get_logger(__name__)

INPUT = "input_features"
LIMIT_S = 0.4
HANG_S = 2.0
"""A run that takes longer than this is not coming back."""
REMEDY = (
    "Smart Turn v3 is needed: `kaiwa models pull smart-turn`; or take the file away, and words "
    "alone say when a turn is over"
)

Sink = Callable[[float], None]


class _Asked(msgspec.Struct, frozen=True):
    pcm: bytes
    sink: Sink
    at: float


class SmartTurn:
    """Implements `providers.base.TurnModel`.

    Args:
        file: The ONNX file; looked at when it starts.
        limit_s: From the question to the opinion; later than that there is none.
    """

    def __init__(self, file: Path, *, limit_s: float = LIMIT_S) -> None:
        self._file, self._limit_s = file, limit_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._work: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting: deque[_Asked] = deque()
        self._running: _Asked | None = None
        self._begun_at = 0.0
        self._starting = asyncio.Lock()
        self._trouble = "its thread does not run; restart Kaiwa"

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.TURN, provider="smart-turn", model=self._file.name)

    async def start(self) -> None:
        async with self._starting:
            if self._thread is not None:
                return
            try:
                network = await asyncio.to_thread(_Network, self._file)
            except ValueError as error:
                self._trouble = f"{error}. {REMEDY}"
                raise self._error(Fault.BROKEN, self._trouble) from error
            self._loop = asyncio.get_running_loop()
            self._work = queue.SimpleQueue()
            self._thread = threading.Thread(
                target=_work_off,
                args=(network, self._work, self._loop, self._deliver),
                name="smart-turn",
                daemon=True,
            )
            self._thread.start()

    async def check(self) -> None:
        await self.ping()
        judged: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self.judge(
            bytes(2 * LISTEN_RATE_HZ), lambda p: None if judged.done() else judged.set_result(p)
        )
        try:
            async with asyncio.timeout(HANG_S):
                await judged
        except TimeoutError:
            message = f"no opinion within {HANG_S:g} s; is the CPU overloaded?"
            raise self._error(Fault.TIMEOUT, message) from None

    async def ping(self) -> None:
        """Asks nobody: whether the thread lives, and no run is overdue."""
        if self._thread is None or not self._thread.is_alive():
            raise self._error(Fault.CRASHED, self._trouble)
        age_s = asyncio.get_running_loop().time() - self._begun_at
        if self._running is not None and age_s > HANG_S:
            message = f"no opinion for {age_s:.1f} s; is the CPU overloaded? If not, restart Kaiwa"
            raise self._error(Fault.TIMEOUT, message)

    async def aclose(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._waiting.clear()
        self._running = None
        self._work.put(None)
        await asyncio.to_thread(thread.join, 2)

    def judge(self, pcm: bytes, sink: Sink) -> None:
        if self._thread is None or self._loop is None:
            return  # a call that outlives the server's stop
        self._waiting.append(_Asked(pcm, sink, self._loop.time()))
        self._hand_over()

    # --- one at a time; all of it on the loop ---

    def _hand_over(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        while self._waiting and now - self._waiting[0].at >= self._limit_s:
            self._waiting.popleft()
        if self._waiting and self._running is None:
            self._running, self._begun_at = self._waiting.popleft(), now
            self._work.put(self._running.pcm)

    def _deliver(self, complete: float | None) -> None:
        """None: the run failed, which has been logged."""
        asked, self._running = self._running, None
        if asked is None or self._loop is None:
            return  # closed
        in_time = self._loop.time() - asked.at < self._limit_s
        self._hand_over()
        if complete is None or not in_time:
            return
        try:
            asked.sink(complete)
        except Exception:
            log.exception("turn_sink_failed")  # one caller's fault must not silence the others

    def _error(self, fault: Fault, message: str) -> ProviderError:
        return ProviderError(Slot.TURN, "smart-turn", fault, message)


class _Network:
    """Raises:
    ValueError: It cannot be loaded, or is none of Smart Turn v3's; says what it is.
    """

    def __init__(self, file: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A spinning pool would burn the core that the event loop needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own kinds, which have no common parent
            raise ValueError(f"{file} cannot be loaded ({error})") from error
        self._check_inputs(file)
        try:
            first = self.judge(bytes(2 * WINDOW_S * LISTEN_RATE_HZ))  # plans its memory
        except Exception as error:  # the same
            raise ValueError(f"{file} cannot be run ({error})") from error
        if not 0 <= first <= 1:
            raise ValueError(f"{file} answers {first:g}, which is no probability")

    def _check_inputs(self, file: Path) -> None:
        told = [f"{one.name} {one.type} {one.shape}" for one in self._session.get_inputs()]
        one = self._session.get_inputs()[0]
        fits = len(told) == 1 and one.name == INPUT and one.type == "tensor(float)"
        if not fits or one.shape[1:] != [BANDS, FRAMES]:
            wanted = f"{INPUT} tensor(float) [1, {BANDS}, {FRAMES}]"
            raise ValueError(f"{file} takes {', '.join(told)}, not {wanted}")

    def judge(self, pcm: bytes) -> float:
        outputs = self._session.run(None, {INPUT: log_mel(pcm)[np.newaxis]})
        return float(np.asarray(outputs[0]).reshape(-1)[0])


def _work_off(
    network: _Network,
    work: "queue.SimpleQueue[bytes | None]",
    loop: asyncio.AbstractEventLoop,
    deliver: Callable[[float | None], None],
) -> None:
    while (pcm := work.get()) is not None:
        complete: float | None = None
        try:
            complete = network.judge(pcm)
        except Exception:
            log.exception("turn_run_failed", samples=len(pcm) // 2)
        with contextlib.suppress(RuntimeError):  # the loop has been closed without aclose()
            loop.call_soon_threadsafe(deliver, complete)
