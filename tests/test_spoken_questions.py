"""Questions asked aloud of the sample documents, and what is spoken back, in real time.

    flite ─▶ microphone ─▶ server ─▶ sources, transcript, audio
                                          └── against espeak's own audio of the same words
"""

import asyncio
import contextlib
import sys
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
# The modules beside this one are no package. The root comes first: the folder has a `voice` too.
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from speech import RATE_HZ, Caller, Noted, Samples, calling, flite, room_noise, serving

from providers.base import SpeechAudio
from providers.tts_espeak import EspeakTTS
from voice.clauses import ClauseSplitter

VOICES = ("rms", "slt")
LEAST_RIGHT = 9
BLOCK = RATE_HZ // 100
"""10 ms, for energy envelopes."""
LONGEST_GAP_MS = 700
"""Between two clauses. A person's pause between sentences is about half a second."""


class Question(msgspec.Struct, frozen=True):
    question: str
    source: str
    answer: str


class Answered(msgspec.Struct, frozen=True):
    """One question as it went over the wire and came back."""

    question: Question
    heard: str
    sources: list[dict[str, Any]]
    item_id: str
    transcript: str
    deltas: str
    """The transcript's pieces, joined."""
    audio: Samples
    timeline: dict[str, Any]
    gaps_s: float
    """The longest the audio was behind a listener who began to play at its first piece."""

    @property
    def cited(self) -> str:
        return str(self.sources[0]["source"]) if self.sources else "-"


def canonical() -> list[Question]:
    tree = tomllib.loads((ROOT / "tests" / "rag" / "questions.toml").read_text("utf-8"))
    return [Question(q["question"], q["source"], q["answer"]) for q in tree["canonical"]]


# --- asking -----------------------------------------------------------------------------------


async def ask(caller: Caller, question: Question, speech: Samples) -> Answered:
    """Speaks, and listens to the end of the answer's sound."""
    since = len(caller.notes)
    await caller.say(speech)
    over = await caller.until(lambda n: n.type == "kaiwa.turn.timeline", since=since)
    return answered(caller, question, caller.notes[since:], over.event)


def answered(
    caller: Caller, question: Question, notes: list[Noted], timeline: dict[str, Any]
) -> Answered:
    def the(kind: str, field: str, default: Any = "") -> Any:
        found = [n.event[field] for n in notes if n.type == kind]
        assert len(found) <= 1, f"{kind} came {len(found)} times"
        return found[0] if found else default

    item_id = the("response.output_audio_transcript.done", "item_id")
    deltas = [n.event["delta"] for n in notes if n.type == "response.output_audio_transcript.delta"]
    return Answered(
        question=question,
        heard=the("conversation.item.input_audio_transcription.completed", "transcript"),
        sources=the("kaiwa.turn.sources", "sources", []),
        item_id=item_id,
        transcript=the("response.output_audio_transcript.done", "transcript"),
        deltas="".join(deltas),
        audio=np.frombuffer(bytes(caller.audio.get(item_id, b"")), "<i2"),
        timeline=timeline,
        gaps_s=late_s(caller, item_id),
    )


def late_s(caller: Caller, item_id: str) -> float:
    """How late the latest piece of sound was for a listener without a buffer."""
    pieces = caller.deltas.get(item_id, [])
    if not pieces:
        return 0.0
    began, played_s, worst = pieces[0][0], 0.0, 0.0
    for at, size in pieces:
        worst = max(worst, at - (began + played_s))
        played_s += size / 2 / RATE_HZ
    return worst


# --- what came back ---------------------------------------------------------------------------


def espeak(text: str) -> list[Samples]:
    """What the synthesizer says by itself, clause by clause as the server cuts them, at 24 kHz."""

    async def run() -> list[Samples]:
        tts = EspeakTTS()
        await tts.start()
        splitter = ClauseSplitter()
        clauses = []
        for clause in [*splitter.feed(text), *splitter.flush()]:
            async with contextlib.aclosing(tts.stream(clause)) as events:
                pcm = b"".join([e.pcm async for e in events if isinstance(e, SpeechAudio)])
            samples = np.frombuffer(pcm, "<i2")
            clauses.append(soxr.resample(samples, tts.rate_hz, RATE_HZ))
        return clauses

    return asyncio.run(run())


def envelope(samples: Samples) -> NDArray[np.float64]:
    """[n] RMS of each 10 ms."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].astype(np.float64).reshape(-1, BLOCK)
    loud: NDArray[np.float64] = np.sqrt((blocks**2).mean(axis=1))
    return loud


def likeness(one: Samples, other: Samples) -> float:
    """Correlation of two energy envelopes, the best within 50 ms of shift; 1 is the same."""
    a, b = envelope(one), envelope(other)
    size = max(len(a), len(b))
    a, b = np.pad(a, (0, size - len(a))), np.pad(b, (0, size - len(b)))
    return max(float(np.corrcoef(a, np.roll(b, shift))[0, 1]) for shift in range(-5, 6))
