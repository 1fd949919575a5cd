"""`kaiwa bench-stt` on the terminal: how many callers the configured recogniser follows."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from providers.base import LISTEN_RATE_HZ, STT
from voice.bench.config import BenchError
from voice.bench.speech import RATE_HZ, made_speech, read_speech
from voice.bench.stt import Streams, measure, rows
from voice.build import make
from voice.config import Config
from voice.resample import Resampler

COLUMNS = ("callers", "held", "finals", "lost", *("final p50", "p95", "p99"))


def run_bench_stt(
    config: Config, callers: list[int], seconds: float, wav: str, console: Console
) -> list[Streams]:
    """Raises:
    BenchError, ProviderError: It cannot be measured.
    """
    if not callers or min(callers) < 1:
        raise BenchError("callers: name one count or more, such as 10,40,100")
    speech = read_speech(wav) if wav else made_speech()
    pcm = Resampler(RATE_HZ, LISTEN_RATE_HZ).whole(speech.samples).astype("<i2").tobytes()
    found: list[Streams] = []

    async def run() -> None:
        stt: STT = make(config, "stt")
        await stt.start()
        try:
            for count in callers:
                console.print(f"{count} callers for {seconds:g} s …", highlight=False)
                found.append(await measure(stt, count, seconds, pcm))
        finally:
            await stt.aclose()
        info = stt.info
        title = f"{info.provider} ({info.model or info.endpoint}), ms, {speech.source}"
        table = Table(*COLUMNS, "loop lag p50", "p99", "cores", title=title)
        for row in rows(found):
            table.add_row(*row)
        console.print(table)

    if np.abs(speech.samples).max() == 0:
        raise BenchError(f"wav: {wav} is silent; take one that is spoken in")
    _loop_of_the_server(run())
    return found


def _loop_of_the_server(work: Coroutine[Any, Any, None]) -> None:
    if sys.platform == "win32":
        asyncio.run(work)
    else:
        import uvloop

        uvloop.run(work)
