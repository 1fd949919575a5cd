"""sherpa-onnx in a worker process: one recogniser for all callers, decoded in batches."""

import asyncio
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec
import structlog

from providers._job_stream import JobStream, check, ping
from providers._sherpa_models import ModelError, SherpaModel, find_model
from providers._worker import Pauses
from providers._worker_wire import BEAT_S
from providers._workers import WorkerPool, WorkersError
from providers.base import Fault, ProviderError, ProviderInfo, Slot, SttSink

log = structlog.get_logger(__name__)

MODULE = "providers._sherpa_worker"
DEVICES = ("cpu", "cuda")
PLACES = 512
"""Utterances under way at a time; further ones wait. A machine is too slow long before."""
START_LIMIT_S = 120
"""A large model from a slow disk, onto a GPU."""

AFTER_CRASH_TIMES = 6
"""Pauses of a worker that never was ready, 3 to 60 s: whoever watches asks every 2 s for a start,
and what crashes while it loads does so again and takes a core each time."""
REMEDY = "`kaiwa models verify` tells whether its files are still what came"


class SherpaSTT:
    """Implements `providers.base.STT`. Streaming models only; our turn-taking ends utterances."""

    def __init__(
        self,
        model_dir: str | Path,
        *,
        provider: str = "cpu",
        device: int = 0,
        threads: int = 1,
        max_batch: int = 32,
        batch_wait_ms: float = 10.0,
        hotwords: Sequence[str] = (),
        hotwords_score: float = 1.5,
        tail_ms: int = 0,
        hang_limit_s: float = 6 * BEAT_S,
    ) -> None:
        """Args:
        model_dir: Holds the model, or one folder that does.
        provider: "cpu" or "cuda", which is refused where the library would fall back to the CPU.
        device: Of CUDA.
        threads: Of the library within one batch.
        max_batch: Streams decoded in one call, at most.
        batch_wait_ms: What the first stream of a batch may wait for others.
        hotwords: Expected in every call, beside each call's own. Transducers only.
        hotwords_score: Added for every symbol of a hotword; 0: none, and transducers are decoded
            greedily, which takes less CPU.
        tail_ms: Silence fed behind the end of speech; 0: as much as the kind of model needs.
        hang_limit_s: A worker that says nothing for so long is killed and started again.
        """
        self.model_dir = Path(model_dir)
        self._provider, self._device = provider, device
        self._threads, self._max_batch, self._batch_wait_ms = threads, max_batch, batch_wait_ms
        self._hotwords, self._hotwords_score = tuple(hotwords), hotwords_score
        self._tail_ms = tail_ms
        self._hang_limit_s = hang_limit_s
        self._model: SherpaModel | None = None
        self._starting = asyncio.Lock()
        self._crash = ""
        """How the last start ended; it is told again until `_not_before`."""
        self._not_before = 0.0
        self._pauses = Pauses()
        self._closings = 0
        """A start that sees one more than when it began gives up."""
        self._loading: WorkerPool | None = None
        """The one that is being started."""
        self.pool: WorkerPool | None = None

    @property
    def info(self) -> ProviderInfo:
        on = "cpu" if self._provider == "cpu" else f"{self._provider}:{self._device}"
        model = self._model
        return ProviderInfo(
            slot=Slot.STT,
            provider="sherpa",
            endpoint=f"in-process, {on}",
            model=f"{model.name} ({model.kind.value})" if model else self.model_dir.name,
        )

    async def start(self) -> None:
        """Where it is closed meanwhile, that is an error, and nothing of it is left."""
        closings = self._closings
        async with self._starting:
            if self.pool is not None:
                return
            if self._provider not in DEVICES:
                expected = " or ".join(DEVICES)
                raise _error(Fault.REFUSED, f"provider is {self._provider!r}, expected {expected}")
            if find_spec("sherpa_onnx") is None:
                raise _error(Fault.REFUSED, "not installed; pip install sherpa-onnx")
            model = await asyncio.to_thread(self._find_model)
            if not model.takes_hotwords and self._hotwords:
                log.warning("hotwords_ignored", kind=model.kind.value, takes="transducer")
            now = asyncio.get_running_loop().time
            if self._closings != closings:
                raise _closed()
            if self._crash and now() < self._not_before:
                raise _error(Fault.CRASHED, self._crash)
            pool = self._loading = WorkerPool(
                MODULE,
                arguments=[self._settings(model)],
                count=1,
                places=PLACES,
                start_limit_s=START_LIMIT_S,
                hang_limit_s=self._hang_limit_s,
            )
            try:
                await pool.start()
            except WorkersError as error:
                if self._closings != closings:
                    raise _closed() from error
                if error.is_refusal:
                    raise _error(Fault.REFUSED, str(error)) from error
                self._crash = f"model in {self.model_dir}: {error}; {REMEDY}"
                self._not_before = now() + AFTER_CRASH_TIMES * self._pauses.after(0)
                raise _error(Fault.CRASHED, self._crash) from error
            finally:
                self._loading = None
            self._model, self.pool, self._crash = model, pool, ""

    async def check(self) -> None:
        await check(self.open, _error)

    async def ping(self) -> None:
        ping(self.pool, _error)

    async def aclose(self) -> None:
        self._closings += 1
        pool, self.pool = self.pool or self._loading, None
        if pool is not None:
            await pool.aclose()

    def open(self, sink: SttSink, *, language: str = "", hotwords: Sequence[str] = ()) -> JobStream:
        if self.pool is None:
            raise _error(Fault.CRASHED, "not running; call start() before open()")
        words = tuple(dict.fromkeys((*self._hotwords, *hotwords)))
        return JobStream(self.pool, sink, _error, language=language, hotwords=words)

    def _find_model(self) -> SherpaModel:
        try:
            return find_model(self.model_dir, prefers_int8=self._provider == "cpu")
        except (ModelError, OSError) as error:
            raise _error(Fault.REFUSED, f"{error} (STT_MODEL_DIR)") from error

    def _settings(self, model: SherpaModel) -> str:
        settings = {
            "model": model,
            "provider": self._provider,
            "device": self._device,
            "threads": self._threads,
            "max_batch": self._max_batch,
            "batch_wait_ms": self._batch_wait_ms,
            "tail_ms": self._tail_ms or model.tail_ms,
            "hotwords_score": self._hotwords_score,
        }
        return msgspec.json.encode(settings).decode()


def _closed() -> ProviderError:
    return _error(Fault.CRASHED, "closed while it started")


def _error(fault: Fault, message: str) -> ProviderError:
    return ProviderError(Slot.STT, "sherpa", fault, message)
