"""pocketsphinx: English, streaming, its model in its wheel. In worker processes of its own."""

from collections.abc import Sequence

from providers._job_stream import JobStream, check, ping
from providers._workers import WorkerPool, WorkersError
from providers.base import Fault, ProviderError, ProviderInfo, Slot, SttSink

MODULE = "providers._pocketsphinx_worker"
SPEAKS = frozenset({"en"})
"""Primary language tags; whatever else is asked for, it hears English."""


class PocketsphinxSTT:
    """Implements `providers.base.STT`."""

    def __init__(self, *, workers: int | None = None, decoders: int = 4) -> None:
        """Args:
        workers: Processes; default: one less than there are cores.
        decoders: Utterances one process decodes in turns; 95 MB each once it was needed.
            Further utterances wait, their audio kept, and so does a call's next for its last.
        """
        self.pool = WorkerPool(MODULE, count=workers, places=decoders)

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.STT, provider="pocketsphinx", model="en-us")

    async def start(self) -> None:
        try:
            await self.pool.start()
        except WorkersError as error:
            raise _error(Fault.CRASHED, f"{error}; reinstall pocketsphinx") from error

    async def check(self) -> None:
        await check(self.open, _error)

    async def ping(self) -> None:
        ping(self.pool, _error)

    async def aclose(self) -> None:
        await self.pool.aclose()

    def open(self, sink: SttSink, *, language: str = "", hotwords: Sequence[str] = ()) -> JobStream:
        if not self.pool.is_open:
            raise _error(Fault.CRASHED, "not running; call start() before open()")
        return JobStream(self.pool, sink, _error, language=language)


def _error(fault: Fault, message: str) -> ProviderError:
    return ProviderError(Slot.STT, "pocketsphinx", fault, message)
