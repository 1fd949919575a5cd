"""A caller for the tests that speak: a server of its own, an open microphone, a notebook.

    microphone   ~~~~ question ~~~~ ........ room noise ........ ~~~~ question ~~~~
                 20 ms frames in real time, from the first to the last moment of the call
    notebook     every event with its arrival; every answer's audio by its item

Positions in the caller's audio are milliseconds since the call began, as the wire counts them.
"""

import asyncio
import base64
import contextlib
import csv
import json
import os
import queue
import subprocess
import sys
import threading
import time
import wave
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import websockets
import yaml
from numpy.typing import NDArray

from tests.needed import needed
from voice.resample import Resampler

ROOT = Path(__file__).parent.parent
RATE_HZ = 24_000
FRAME_MS = 20
FRAME_SAMPLES = RATE_HZ * FRAME_MS // 1000
START_LIMIT_S = 120.0
UNHURRIED = {"load": {"lag_ms": [60_000] * 4}}
"""Nothing is left out, however busy the machine."""
ROOM_RMS = 30.0
"""-61 dBFS: a quiet room at a close microphone. Digital silence would flatter the detector."""
EXTENSIONS = [
    "kaiwa.transcript.partial",
    "kaiwa.turn.sources",
    "kaiwa.turn.timeline",
    "kaiwa.speech.marks",
]

WRITTEN_OUT = {"mr": "mister", "mrs": "missus", "dr": "doctor"}

Samples = NDArray[np.int16]


# --- speech -----------------------------------------------------------------------------------


def read_wav(path: Path, rate_hz: int = RATE_HZ) -> Samples:
    """A mono WAV of 16 bits, as [n] samples at `rate_hz`."""
    with wave.open(str(path)) as file:
        source_hz = file.getframerate()
        samples: Samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return resample(samples, source_hz, rate_hz)


def resample(samples: Samples, source_hz: int, rate_hz: int = RATE_HZ) -> Samples:
    if source_hz == rate_hz:
        return samples
    return Resampler(source_hz, rate_hz).whole(samples)


def flite(text: str, voice: str, folder: Path) -> Samples:
    """`text` in one of flite's voices. Skips the test where flite is missing; fails it on CI."""
    program = needed("flite")
    wav = folder / f"{voice}-{abs(hash(text))}.wav"
    subprocess.run([program, "-voice", voice, "-t", text, "-o", str(wav)], check=True)
    return read_wav(wav)


def human_speech() -> list[tuple[str, str, Samples]]:
    """File name, what is said in it, its samples. Skips the test without SPEECH_DIR."""
    folder = os.environ.get("SPEECH_DIR")
    if not folder:
        pytest.skip("SPEECH_DIR names no folder with human speech")
    with open(Path(folder) / "transcripts.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [(row["file"], row["text"], read_wav(Path(folder) / row["file"])) for row in rows]


def room_noise(count: int, seed: int) -> Samples:
    """Noise whose low tones are the loudest, as rooms have it."""
    white = np.random.default_rng(seed).standard_normal(count + 64)
    soft = np.convolve(white, np.exp(-np.arange(64) / 8.0), "valid")[:count]
    noise: Samples = np.round(soft / soft.std() * ROOM_RMS).astype(np.int16)
    return noise


def words(text: str) -> list[str]:
    """Lower case, without punctuation, abbreviations as they are said."""
    kept = "".join(c if c.isalnum() or c == "'" else " " for c in text.lower())
    return [WRITTEN_OUT.get(word, word) for word in kept.split()]


def word_errors(said: list[str], heard: list[str]) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (word != other)))
    return row[-1]


# --- the server -------------------------------------------------------------------------------


@contextlib.contextmanager
def serving(folder: Path, settings: dict[str, Any] | None = None) -> Iterator[str]:
    """The embedded profile over the sample documents, as a process of its own.

    Args:
        folder: For its index, its configuration and its log.
        settings: Sections of the configuration that differ from the profile.
    Yields:
        The address of its WebSocket.
    """
    config, index = folder / "kaiwa.yaml", folder / "index"
    config.write_text(yaml.safe_dump({"profile": "embedded", **UNHURRIED, **(settings or {})}))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KAIWA_", "LLM_"))}
    environment["RAG_INDEX_PATH"] = str(index)
    kaiwa = [sys.executable, "-m", "voice.cli"]
    ingest = [*kaiwa, "ingest", str(ROOT / "rag" / "samples"), "--index", str(index)]
    subprocess.run(ingest, env=environment, check=True, capture_output=True)
    serve = [*kaiwa, "serve", "--config", str(config), "--port", "0"]
    process = subprocess.Popen(serve, env=environment, stderr=subprocess.PIPE, text=True)
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    log: list[str] = []

    def follow() -> None:
        assert process.stderr is not None
        for line in process.stderr:
            log.append(line)
            lines.put(line)
        lines.put("")

    reader = threading.Thread(target=follow)
    reader.start()
    try:
        yield _ready_url(lines, log)
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()
        (folder / "server.log").write_text("".join(log))
    problems = [line for line in log if '"level": "error"' in line or "Traceback" in line]
    assert problems == []


def _ready_url(lines: "queue.SimpleQueue[str]", log: list[str]) -> str:
    while line := lines.get(timeout=START_LIMIT_S):
        if '"ready"' in line:
            url: str = json.loads(line)["url"]
            return url.rstrip("/").replace("http", "ws", 1) + "/v1/realtime?model=kaiwa"
    raise AssertionError("the server ended before it was ready:\n" + "".join(log))


# --- the call ---------------------------------------------------------------------------------


class Noted(msgspec.Struct, frozen=True):
    """An event and when it came, in seconds since the call began."""

    at: float
    event: dict[str, Any]

    @property
    def type(self) -> str:
        name: str = self.event["type"]
        return name


class Spoken(msgspec.Struct, frozen=True):
    """Where in the caller's audio a piece of speech lay, in ms."""

    start_ms: float
    end_ms: float


class _Saying:
    """A piece of speech on its way through the microphone."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        self.sent = 0
        self.start_ms = 0.0
        self.done: asyncio.Future[Spoken] = asyncio.get_running_loop().create_future()


class Caller:
    """One call in real time; made by `calling`."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket
        self._began = time.monotonic()
        self._changed = asyncio.Event()
        self._speech: list[_Saying] = []
        self.notes: list[Noted] = []
        self.audio: dict[str, bytearray] = {}
        """Per item of an answer: what was received of it, s16le at 24 kHz."""
        self.deltas: dict[str, list[tuple[float, int]]] = {}
        """Per item: when each piece of it came, and its length in bytes."""

    @property
    def now(self) -> float:
        return time.monotonic() - self._began

    def of(self, *types: str) -> list[Noted]:
        return [note for note in self.notes if note.type in types]

    async def send(self, event: dict[str, Any]) -> None:
        await self._socket.send(json.dumps(event))

    async def say(self, samples: Samples) -> Spoken:
        """Speaks; returns when the last sample has been sent."""
        saying = _Saying(samples)
        self._speech.append(saying)
        return await saying.done

    async def pause(self, seconds: float) -> None:
        """Says nothing, in the room's noise."""
        await self.say(room_noise(round(seconds * RATE_HZ), len(self.notes)))

    async def until(
        self, wanted: Callable[[Noted], bool], *, since: int = 0, limit_s: float = 120.0
    ) -> Noted:
        """The first event from the `since`-th on that is `wanted`, which may still come."""
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    for note in self.notes[since:]:
                        if wanted(note):
                            return note
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            seen = "\n".join(f"{n.at:8.3f} {str(n.event)[:200]}" for n in self.notes[-40:])
            raise AssertionError(
                f"nothing like it within {limit_s:g} s; last came\n{seen}"
            ) from None

    async def listen(self) -> None:
        async for message in self._socket:
            event = json.loads(message)
            if event["type"] == "response.output_audio.delta":
                item, pcm = event["item_id"], base64.b64decode(event["delta"])
                self.audio.setdefault(item, bytearray()).extend(pcm)
                self.deltas.setdefault(item, []).append((self.now, len(pcm)))
            else:
                self.notes.append(Noted(self.now, event))
            self._changed.set()

    async def speak(self) -> None:
        """The microphone: a frame every 20 ms, speech where there is some, else the room."""
        noise = room_noise(RATE_HZ * 4, 1)
        sent = 0
        while True:
            start = sent * FRAME_SAMPLES % (len(noise) - FRAME_SAMPLES)
            frame = noise[start : start + FRAME_SAMPLES]
            if self._speech:
                frame = self._next_of_speech(frame, sent * FRAME_MS)
            audio = base64.b64encode(frame.astype("<i2").tobytes()).decode()
            await self.send({"type": "input_audio_buffer.append", "audio": audio})
            sent += 1
            due = self._began + sent * FRAME_MS / 1000
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _next_of_speech(self, noise: Samples, at_ms: float) -> Samples:
        saying = self._speech[0]
        if not saying.sent:
            saying.start_ms = at_ms
        frame = saying.samples[saying.sent : saying.sent + FRAME_SAMPLES]
        saying.sent += len(frame)
        if saying.sent == len(saying.samples):
            self._speech.pop(0)
            if not saying.done.done():
                end_ms = at_ms + len(frame) * 1000 / RATE_HZ
                saying.done.set_result(Spoken(saying.start_ms, end_ms))
        return np.concatenate([frame, noise[len(frame) :]])


@contextlib.asynccontextmanager
async def calling(
    url: str, *, create_response: bool = True, speed: float = 1.0
) -> AsyncIterator[Caller]:
    """A call with all of Kaiwa's extensions; hangs up at the end.

    Args:
        speed: How fast it is answered; 1.0 is normal.
    """
    detection = {"type": "server_vad", "create_response": create_response}
    audio = {"input": {"turn_detection": detection}, "output": {"speed": speed}}
    session = {"type": "realtime", "include": EXTENSIONS, "audio": audio}
    async with websockets.connect(url, max_size=None, compression=None) as socket:
        caller = Caller(socket)
        await caller.send({"type": "session.update", "session": session})
        async with asyncio.TaskGroup() as tasks:
            work = [tasks.create_task(caller.listen()), tasks.create_task(caller.speak())]
            try:
                await caller.until(lambda note: note.type == "session.updated")
                yield caller
            finally:
                for task in work:
                    task.cancel()
    problems = caller.of("error")
    assert problems == []
