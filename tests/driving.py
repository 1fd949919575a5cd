"""One call in virtual time: a caller who speaks on a schedule, and everything sent to the client.

    call.say(1.0)    loud 20 ms frames, in real time      call.sent     (time, event) in order
    call.hush(0.5)   silent ones                          call.frames   (time, frame) in order
    call.tell(...)   a client event, as JSON              call.story()  both, one line each

Audio goes in at 16 kHz, so that no filter blurs the times.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from mocks.clock import now, run_virtual
from mocks.llm import EchoLLM
from mocks.retriever import ScriptedRetriever
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from mocks.vad import LoudnessVAD
from providers.base import ProviderError, SpeechAudio, TurnModel
from voice import metrics, wire
from voice.carrier import WEBSOCKET, Carrier, Target
from voice.config import Config, SpeculationConfig, TtsConfig
from voice.facts import KeyPressed
from voice.playout import Frame
from voice.providers import Providers, Recited
from voice.session import Session
from voice.settings import AudioFormat
from voice.tape import Tape

RATE_HZ = 16_000
FRAME_MS = 20
FRAME_S = FRAME_MS / 1000
_SAMPLES = RATE_HZ * FRAME_MS // 1000
LOUD = (9000 * np.sin(2 * np.pi * 250 * np.arange(_SAMPLES) / RATE_HZ)).astype("<i2").tobytes()
SILENT = bytes(2 * _SAMPLES)

ALL_EXTENSIONS = (
    "kaiwa.transcript.partial",
    "kaiwa.turn.sources",
    "kaiwa.turn.timeline",
    "kaiwa.speech.marks",
    "kaiwa.speech.ducked",
)


class SentEvent(msgspec.Struct, frozen=True):
    at: float
    event: dict[str, Any]
    """As the client reads it."""

    @property
    def type(self) -> str:
        kind: str = self.event["type"]
        return kind


class SentFrame(msgspec.Struct, frozen=True):
    at: float
    frame: Frame
    item_id: str
    form: AudioFormat

    @property
    def ms(self) -> float:
        return len(self.frame.pcm) / 2 / self.form.rate_hz * 1000


class Client:
    """Keeps what the session sends; implements its Outbox."""

    def __init__(self) -> None:
        self.log: list[SentEvent | SentFrame] = []
        self.cleared_at: list[float] = []
        self.ended: list[tuple[float, int, str]] = []

    def send(self, event: wire.ServerEvent) -> None:
        self.log.append(SentEvent(now(), json.loads(wire.encode(event))))

    def sound(self, event: wire.AudioDelta, frame: Frame, form: AudioFormat) -> None:
        assert event.event_id
        self.log.append(SentFrame(now(), frame, event.item_id, form))

    def clear(self) -> None:
        self.cleared_at.append(now())

    def end(self, code: int, reason: str) -> None:
        self.ended.append((now(), code, reason))


PLAIN = Config(
    tts=TtsConfig(sentence_gap_ms=0, clause_gap_ms=0),
    speculation=SpeculationConfig(enabled=False),
)
"""Without silence between clauses, so that what is sounded is what the voice gave; and every stage
begins where the last one ended."""


class Call:
    """A session on mock providers, and both ends of its line."""

    def __init__(
        self,
        *,
        stt: EchoSTT | None = None,
        llm: EchoLLM | None = None,
        tts: ToneTTS | None = None,
        vad: Any = None,
        retriever: ScriptedRetriever | None = None,
        turn: TurnModel | None = None,
        recitals: Recited | None = None,
        config: Config | None = None,
        load_level: Callable[[], int] = lambda: 0,
        tape: Tape | None = None,
        carrier: Carrier = WEBSOCKET,
    ) -> None:
        self.client = Client()
        self.vad = vad or LoudnessVAD()
        self.stt, self.llm, self.tts = stt or EchoSTT(), llm or EchoLLM(), tts or ToneTTS()
        self.retriever = retriever
        self.failures: list[ProviderError] = []
        self.closings = 0
        self.transfers: list[tuple[float, Target]] = []
        self.config = config or PLAIN
        self.figures = metrics.Figures()
        self.session = Session(
            "sess_test",
            config=self.config,
            providers=Providers(
                self.vad,
                self.stt,
                self.llm,
                self.tts,
                retriever,
                turn=turn,
                recitals=recitals,
                load_level=load_level,
            ),
            outbox=self.client,
            figures=self.figures,
            now=now,
            closed=self._closed,
            failed=lambda slot, error: self.failures.append(error),
            tape=tape,
            carrier=carrier,
            transfer=lambda target: self.transfers.append((now(), target)),
        )

    def _closed(self, session: Session) -> None:
        self.closings += 1

    # --- the caller's end -------------------------------------------------------------------------

    async def say(self, seconds: float) -> None:
        await self.stream(LOUD, seconds)

    async def hush(self, seconds: float) -> None:
        await self.stream(SILENT, seconds)

    async def stream(self, frame: bytes, seconds: float) -> None:
        """Frames in real time, each handed over when its last sample has been spoken."""
        for _ in range(round(seconds / FRAME_S)):
            await pass_time(FRAME_S)
            self.session.hear(frame)

    async def hush_until(self, at: float) -> None:
        """Silence up to `at`, in whole frames, and the rest without."""
        await self.hush(max(0.0, at - now()) // FRAME_S * FRAME_S)
        if at > now():
            await pass_time(at - now())

    # --- the client's end -------------------------------------------------------------------------

    def press(self, *keys: str) -> None:
        for key in keys:
            self.session.post(KeyPressed(key, 1_800_000_000))

    def tell(self, kind: str, **fields: Any) -> None:
        self.session.post(wire.decode(json.dumps({"type": kind, **fields})))

    def update(self, **session: Any) -> None:
        self.tell("session.update", session={"type": "realtime", **session})

    def listen_at_16_khz(self, **detection: Any) -> None:
        """The usual beginning: our own input rate, and all extensions.

        Args:
            detection: Fields of `turn_detection`; `off=True`: null.
        """
        spoken_in: dict[str, Any] = {"format": {"type": "audio/pcm", "rate": RATE_HZ}}
        if detection:
            spoken_in["turn_detection"] = None if detection.get("off") else detection
        self.update(audio={"input": spoken_in}, include=list(ALL_EXTENSIONS))

    def write(self, text: str) -> None:
        content = [{"type": "input_text", "text": text}]
        item = {"type": "message", "role": "user", "content": content}
        self.tell("conversation.item.create", item=item)

    def report(self, item_id: str, played_ms: float) -> None:
        self.tell("kaiwa.playback.report", item_id=item_id, played_ms=played_ms)

    # --- what was sent ----------------------------------------------------------------------------

    @property
    def sent(self) -> list[SentEvent]:
        return [entry for entry in self.client.log if isinstance(entry, SentEvent)]

    @property
    def frames(self) -> list[SentFrame]:
        return [entry for entry in self.client.log if isinstance(entry, SentFrame)]

    def all(self, kind: str) -> list[SentEvent]:
        return [entry for entry in self.sent if entry.type == kind]

    def one(self, kind: str) -> SentEvent:
        found = self.all(kind)
        assert len(found) == 1, f"{len(found)} × {kind} in\n" + "\n".join(self.story())
        return found[0]

    def last(self, kind: str) -> SentEvent:
        return self.all(kind)[-1]

    def done(self) -> list[tuple[str, str]]:
        """(status, reason or error code) of every response.done."""
        return [_ending(entry.event["response"]) for entry in self.all("response.done")]

    def outcomes(self) -> list[str]:
        return [entry.event["outcome"] for entry in self.all("kaiwa.turn.timeline")]

    def errors(self) -> list[str]:
        return [entry.event["error"]["code"] for entry in self.all("error")]

    def sound(self, turn: int | None = None) -> bytes:
        """All the audio sent, or one turn's."""
        return b"".join(s.frame.pcm for s in self.frames if turn in (None, s.frame.turn))

    def sound_ms(self, turn: int | None = None) -> float:
        return sum(s.ms for s in self.frames if turn in (None, s.frame.turn))

    def history(self) -> list[tuple[str, str]]:
        return [(entry.role, entry.content) for entry in self.session.conversation.messages()]

    def story(self, *, leave_out: str = r"kaiwa\.|session\.|.*transcription\.delta") -> list[str]:
        """A line for each event but those left out; the frames between two as one."""
        return list(_lines(self.client.log, re.compile(leave_out)))

    def streams(self) -> dict[str, int]:
        """What the providers still work on."""
        running = {"llm": self.llm.running, "tts": self.tts.running, "stt": self.stt.open_streams}
        if self.retriever is not None:
            running["retriever"] = self.retriever.running
        return {slot: count for slot, count in running.items() if count}


def _lines(log: list[SentEvent | SentFrame], hidden: re.Pattern[str]) -> Iterator[str]:
    frames: list[SentFrame] = []
    for entry in log:
        if isinstance(entry, SentFrame):
            frames.append(entry)
        elif not hidden.match(entry.type):
            yield from _frame_line(frames)
            frames = []
            detail = _detail(entry.event)
            yield f"{entry.at:.3f} {entry.type}" + (f" {detail}" if detail else "")
    yield from _frame_line(frames)


def _frame_line(frames: list[SentFrame]) -> Iterator[str]:
    if frames:
        first, last = frames[0], frames[-1]
        span = f"{first.frame.at_ms}..{last.frame.at_ms + last.ms:.0f} ms"
        yield f"{first.at:.3f} … {last.at:.3f} sound {span}"


def _detail(event: dict[str, Any]) -> str:
    match event["type"].rsplit(".", 1)[-1]:
        case "error":
            code: str = event["error"]["code"]
            return code
        case "speech_started":
            return f"{event['audio_start_ms']} ms"
        case "speech_stopped" | "truncated":
            return f"{event['audio_end_ms']} ms"
        case "completed":
            return repr(event["transcript"])
        case "delta":
            return repr(event["delta"])
        case "done" if "response" in event:
            return " ".join(_ending(event["response"])).strip()
        case _:
            return ""


def _ending(response: dict[str, Any]) -> tuple[str, str]:
    details = response["status_details"] or {}
    return response["status"], details.get("reason") or details.get("error", {}).get("code", "")


async def pass_time(seconds: float) -> None:
    await asyncio.sleep(seconds)


async def spoken(tts: ToneTTS, *texts: str) -> bytes:
    """What a voice like `tts` gives for these clauses."""
    voice = ToneTTS(rate_hz=tts.rate_hz, ms_per_char=tts.ms_per_char, first_audio_ms=0, rtf=0)
    pcm = b""
    for text in texts:
        async for event in voice.stream(text):
            if isinstance(event, SpeechAudio):
                pcm += event.pcm
    return pcm


def converse(scenario: Callable[[Call], Awaitable[None]], /, **parts: Any) -> Call:
    """Runs one call from its opening to its close, and sees that nothing is left behind.

    Args:
        scenario: What happens between; input is at 16 kHz already.
        parts: Of `Call`; `detection`: of `listen_at_16_khz`; `settings`: of the set-up.
    """

    async def run() -> Call:
        detection, settings = parts.pop("detection", {}), parts.pop("settings", None)
        call = Call(**parts)
        call.session.open(settings)
        call.listen_at_16_khz(**detection)
        await scenario(call)
        await call.session.close()
        assert call.streams() == {}
        assert call.closings == 1
        check_legal(call)
        return call

    return run_virtual(run())


# --- what holds for every call --------------------------------------------------------------------


def check_legal(call: Call) -> None:
    """The life-cycle of responses and items, over everything that was sent."""
    active: str | None = None
    active_turn = 0
    added: dict[str, set[str]] = {"response.output_item": set(), "conversation.item": set()}
    ids: set[str] = set()
    for entry in call.client.log:
        if isinstance(entry, SentFrame):
            assert active is not None, f"sound outside a response at {entry.at}"
            assert entry.frame.turn == active_turn, f"sound of an older turn at {entry.at}"
            continue
        event = entry.event
        if entry.type != "input_audio_buffer.dtmf_event_received":
            assert event["event_id"] not in ids
            ids.add(event["event_id"])
        if entry.type == "response.created":
            assert active is None, f"a second active response at {entry.at}"
            active, turn = event["response"]["id"], event["response"]["kaiwa"]["turn"]
            assert turn > active_turn
            active_turn = turn
        elif entry.type == "response.done":
            assert event["response"]["id"] == active
            assert not added["response.output_item"], "an output item was never done"
            output = event["response"]["output"]
            assert "in_progress" not in {item["status"] for item in output}
            assert [item["type"] for item in output].count("message") <= 1
            active = None
        elif entry.type.startswith("response."):
            assert event["response_id"] == active, f"{entry.type} outside its response"
        kind, _, verb = entry.type.rpartition(".")
        if kind in added and verb in ("added", "done"):
            item_id = event["item"]["id"]
            if verb == "added":
                assert item_id not in added[kind], f"{item_id} added twice"
                added[kind].add(item_id)
            else:
                assert item_id in added[kind], f"{item_id} done but not added"
                added[kind].discard(item_id)
    if active is None:
        assert not added["conversation.item"], "an item was never done"
