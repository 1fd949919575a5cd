"""What a machine brings along for `kaiwa doctor`: models, GPU, port, disk."""

import asyncio
import contextlib
import errno
import os
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
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
MOST_PORT, DEFAULT_PORT = 65_535, 8000

Mark = Literal["✓", "!", "–", "✗"]
T = TypeVar("T")


class Finding(msgspec.Struct, frozen=True):
    mark: Mark
    what: str
    found: str
    remedy: str = ""


Findings = list[Finding]


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


def port_found(config: Config) -> Findings:
    host, port = config.server.host, config.server.port
    what = f"port {port}"
    if not port:
        return [Finding("✓", "port", "any free one")]
    try:  # as the server will
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if _is_kaiwa(host, port):
            return [Finding("!", what, f"a Kaiwa is already serving on {host}:{port}", TAKEN)]
        return [Finding("✗", what, f"{host}:{port}: {error.strerror}", _port_remedy(error, port))]
    return [Finding("✓", what, f"free on {host}")]


TAKEN = "stop that one, or take another port: KAIWA_PORT=8001"


def _port_remedy(error: OSError, port: int) -> str:
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "KAIWA_HOST must be an address of this machine: 127.0.0.1, or 0.0.0.0 for all it has"
    if error.errno == errno.EACCES:
        return "ports below 1024 are for root; choose another: KAIWA_PORT=8000"
    another = port + 1 if port < MOST_PORT else DEFAULT_PORT
    return f"end what listens there, or choose another: KAIWA_PORT={another}"


def _is_kaiwa(host: str, port: int) -> bool:
    place = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"http://{place}:{port}/health", timeout=2.0) as answer:
            body = msgspec.json.decode(answer.read(1_000_000))
    except (OSError, ValueError, urllib.error.URLError):
        return False
    return isinstance(body, dict) and {"providers", "sessions", "version"} <= body.keys()


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
