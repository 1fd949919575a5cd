"""What a machine brings along for `kaiwa doctor`: models, GPU, disk."""

import asyncio
import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec

from voice.config import Config
from voice.makers import chosen, links
from voice.model_folders import why_unreadable
from voice.model_store import ModelsError, ModelStore

LITTLE_BYTES, LEAST_BYTES = 2_000_000_000, 200_000_000
"""Of free disk: an index and a log need some, a model gigabytes."""
SMI_LIMIT_S = 5.0
NO_ANSWER = "no answer within"
"""A finding that begins so: something may still wait in a thread."""

Mark = Literal["✓", "!", "–", "✗"]
T = TypeVar("T")


class Finding(msgspec.Struct, frozen=True):
    mark: Mark
    what: str
    found: str
    remedy: str = ""


Findings = list[Finding]
Check = tuple[str, Mark, Awaitable[Findings]]
"""What is looked at, and its mark where no answer comes in time."""


async def aside(work: Callable[[], T]) -> T:
    """In a thread that may hang without keeping the process."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(give: Callable[[Any], None], value: Any) -> None:
        if not future.done():
            give(value)

    def run() -> None:
        give, value = future.set_result, None
        try:
            value = work()
        except Exception as error:
            give, value = future.set_exception, error  # type: ignore[assignment]
        with contextlib.suppress(RuntimeError):  # the loop is closed, nobody waits
            loop.call_soon_threadsafe(settle, give, value)

    threading.Thread(target=run, daemon=True, name="doctor").start()
    return await future


def models_found(config: Config) -> Findings:
    found: Findings = []
    for slot, folder in (("stt", config.stt.model_dir), ("tts", config.tts.model_dir)):
        what = f"models: {slot}"
        if why := why_unreadable(folder):
            said, _, remedy = why.partition("; ")
            found.append(Finding("!", what, said, remedy))
        elif held := sorted({path.parent for path in Path(folder).glob("**/*.onnx")}):
            found.append(Finding("✓", what, ", ".join(map(str, held))))
        elif (instead := chosen(config, slot)) == "sherpa":
            found.append(Finding("✗", what, f"none in {folder}", f"kaiwa models list {slot}"))
        else:
            remedy = f"for better ones: kaiwa models list {slot}"
            found.append(Finding("–", what, f"none in {folder}; {instead} needs none", remedy))
    return [*found, *_pulled(ModelStore(Path(config.stt.model_dir).parent))]


def _pulled(store: ModelStore) -> Iterator[Finding]:
    """Sizes only; `kaiwa models verify` reads contents."""
    try:
        for name, size in store.begun().items():
            said = f"{size / 1e6:,.0f} MB of it are here"
            yield Finding("–", f"model {name}", said, f"to go on: kaiwa models pull {name}")
        for name, pulled in store.pulled().items():
            if store.is_here(name, pulled):
                for trouble in store.check(name, by_size=True):
                    remedy = f"kaiwa models pull --force {name}"
                    yield Finding("✗", f"model {name}", f"{trouble.path} {trouble.what}", remedy)
    except ModelsError as error:
        said, _, remedy = str(error).partition("; ")
        yield Finding("!", "models", said, remedy)


def wants_gpu(config: Config) -> bool:
    stt = any(
        own.stt.device == "cuda" and chosen(own, "stt") == "sherpa" for own in links(config, "stt")
    )
    embeds = any(
        own.embedder.device == "cuda" and chosen(own, "embedder") == "sentence-transformers"
        for own in links(config, "embedder")
    )
    return stt or embeds


async def gpu_found(config: Config) -> Findings:
    needed: Mark = "✗" if wants_gpu(config) else "–"
    try:
        cards = await aside(_nvidia_smi)
    except subprocess.TimeoutExpired:
        remedy = "the driver hangs: see dmesg; mostly only a restart of the machine helps"
        return [Finding(needed, "GPU", f"nvidia-smi said nothing for {SMI_LIMIT_S:g} s", remedy)]
    if not cards:
        remedy = "install NVIDIA's driver, or set the device to cpu" if needed == "✗" else ""
        return [Finding(needed, "GPU", "nvidia-smi shows none on this machine", remedy)]
    libraries = ", ".join(await aside(lambda: list(_gpu_libraries())))
    return [Finding("✓", "GPU", f"{'; '.join(cards)}. {libraries}")]


def _nvidia_smi() -> list[str]:
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = ("--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    done = subprocess.run(
        [program, *query], capture_output=True, text=True, errors="replace", timeout=SMI_LIMIT_S
    )
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    return [line.strip() for line in lines if line.strip()]


def _gpu_libraries() -> Iterator[str]:
    """Whether what searches and what runs models can use it."""
    import faiss
    import onnxruntime

    count = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    yield f"faiss uses {count}" if count else "faiss is the CPU build (faiss-gpu-cu12 uses it)"
    able = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    yield "onnxruntime can use it" if able else "onnxruntime is the CPU build"


def disk_found(config: Config) -> Findings:
    found: dict[int, Finding] = {}
    for folder in (Path(config.rag.index), Path(config.stt.model_dir)):
        parts = (folder.absolute(), *folder.absolute().parents)
        place = next(path for path in parts if os.access(path, os.F_OK))
        free = shutil.disk_usage(place).free
        mark: Mark = "✓" if free > LITTLE_BYTES else "!" if free > LEAST_BYTES else "✗"
        remedy = "" if mark == "✓" else "make room: a log and an index need 0.2 GB, models 1 GB"
        found[place.stat().st_dev] = Finding(
            mark, "disk", f"{free / 1e9:,.1f} GB free at {place}", remedy
        )
    return list(found.values())
