"""`kaiwa ask`: one turn on the terminal, through the very session that a caller gets.

    question.wav ──▶ hear(), in real time ─┐              ┌─▶ words, sources, timeline
                                           ├─▶ Session ──▶┤
    "words"      ──▶ item, response.create ┘              └─▶ --speak-to answer.wav

The answer's sound is taken as fast as it is made, and reported as heard at once.
"""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from voice import settings, wire
from voice.build import build
from voice.config import Config
from voice.errors import KaiwaError
from voice.logs import configure
from voice.metrics import Figures
from voice.playout import BYTES_PER_SAMPLE, Frame
from voice.providers import Providers
from voice.session import Session
from voice.wav import Recording, read_wav, write_wav

PIECE_S = 0.02
NOTHING_HEARD_S = 1.5
"""Silence behind the recording after which nobody has spoken."""
TURN_LIMIT_S = 120.0
BAR_CELLS = 40
ALL_AT_ONCE_MS = 3_600_000
"""Lead of the sound: a file is written, not listened to."""


class Terminal:
    """The session's Outbox: shows a turn as it goes, and keeps its sound."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("loading", spinner="dots")
        self._sources: list[wire.Source] = []
        self.session: Session | None = None
        self.sound_pcm = bytearray()
        self.speech_heard = False
        self.outcomes: list[str] = []
        self.ended = asyncio.Event()
        """Set with every turn that is over."""

    def show(self, doing: str) -> None:
        self._status.update(doing)
        self._status.start()

    def hide(self) -> None:
        self._status.stop()

    # --- the session's Outbox ---------------------------------------------------------------------

    def send(self, event: wire.ServerEvent) -> None:
        match event:
            case wire.SpeechStartedEvent():
                self.speech_heard = True
            case wire.PartialTranscript():
                self._status.update(escape(event.text))
            case wire.TranscriptionCompleted():
                self._say("you", event.transcript or "(nothing understood)", end="\n")
            case wire.TranscriptionFailed() | wire.Error():
                self._say("error", event.error.message, end="\n")
            case wire.TurnSources():
                self._sources = event.sources
            case wire.ResponseCreated():
                self._say("kaiwa", "")
            case wire.TranscriptDelta():
                self._print(event.delta)
            case wire.ResponseDone():
                self._done(event.response)
            case wire.TurnTimeline():
                self._over(event.record)

    def sound(self, event: wire.AudioDelta, frame: Frame, form: settings.AudioFormat) -> None:
        self.sound_pcm += frame.pcm
        played_ms = frame.at_ms + len(frame.pcm) / BYTES_PER_SAMPLE / form.rate_hz * 1000
        if self.session is not None:
            self.session.post(wire.PlaybackReport(item_id=event.item_id, played_ms=played_ms))

    def clear(self) -> None:
        pass  # what was handed over counts as heard

    def end(self, code: int, reason: str) -> None:
        self._say("error", f"the call ended: {reason} ({code})", end="\n")
        self.outcomes.append("failed")
        self.ended.set()

    # --- showing ----------------------------------------------------------------------------------

    def _say(self, who: str, text: str, *, end: str = "") -> None:
        self.hide()
        colour = {"you": "cyan", "kaiwa": "green"}.get(who, "red")
        self._console.print(f"[bold {colour}]{who:<7}[/]", end="")
        self._print(text, end=end)

    def _print(self, text: str, *, end: str = "") -> None:
        self._console.print(text, end=end, markup=False, highlight=False, soft_wrap=True)

    def _done(self, response: wire.ResponseBody) -> None:
        self._print("", end="\n")
        details = response.status_details
        if details is not None and isinstance(details.error, wire.StatusError):
            self._say("error", details.error.message, end="\n")
        for source in self._sources:
            place = f"{source.source} › {source.heading}" if source.heading else source.source
            self._print(f"       ▸ {place}  {source.score:.2f}", end="\n")
        self._sources = []

    def _over(self, record: dict[str, Any]) -> None:
        self.hide()
        self._console.print(bars(record))
        self.outcomes.append(record["outcome"])
        self.ended.set()


def bars(record: dict[str, Any]) -> Table:
    """A turn's timeline, each span where it lies on the way to the total."""
    table = Table.grid(padding=(0, 1))
    table.add_column(min_width=16)
    table.add_column(justify="right", min_width=9)
    table.add_column(style="cyan")
    total_ms = record["total_ms"]
    cells_per_ms = BAR_CELLS / total_ms if total_ms else 0.0
    before_ms = 0.0
    for span in record["spans"]:
        start, end = before_ms * cells_per_ms, (before_ms + span["ms"]) * cells_per_ms
        bar = " " * round(start) + ("▇" * (round(end) - round(start)) or "▏")
        table.add_row(f"  {span['name']}", f"{span['ms']:.1f} ms", bar)
        before_ms += span["ms"]
    table.add_row("  [bold]total[/]", f"[bold]{total_ms:.1f} ms[/]", record["outcome"])
    return table


# --- the turn -------------------------------------------------------------------------------------


async def run_ask(config: Config, question: str, speak_to: Path | None, console: Console) -> int:
    """Asks, shows, and returns the exit status: 1 where no answer came.

    Args:
        question: Words, or the path of a WAV file if it ends in .wav.
        speak_to: Where the answer's sound goes, as WAV at 24 kHz.
    Raises:
        KaiwaError, ProviderError: It cannot be asked; the text says what to do.
    """
    if speak_to is not None:
        write_wav(speak_to, b"")  # asked in vain would be worse than said at once
    recording = read_wav(Path(question)) if question.lower().endswith(".wav") else None
    if recording is None and not question.strip():
        raise KaiwaError('ask: the question is empty; try: kaiwa ask "When are you open?"')
    config = _for_a_file(config)
    configure(config.log)
    terminal = Terminal(console)
    built = build(config)
    try:
        terminal.show("loading models")
        await built.start()
        if built.library is not None and built.library.warning:
            warning = f"documents: {built.library.warning}"
            console.print(warning, style="yellow", markup=False, soft_wrap=True)
        await _turn(config, built.providers, terminal, recording, question)
    finally:
        terminal.hide()
        await built.aclose()
    if speak_to is not None and terminal.sound_pcm:
        write_wav(speak_to, bytes(terminal.sound_pcm))
        console.print(f"The answer's sound is in {escape(str(speak_to))}.", highlight=False)
    return 0 if "completed" in terminal.outcomes else 1


def _for_a_file(config: Config) -> Config:
    playout = msgspec.structs.replace(config.playout, lead_ms=ALL_AT_ONCE_MS)
    log = msgspec.structs.replace(config.log, level="ERROR")
    return msgspec.structs.replace(config, playout=playout, log=log)


async def _turn(
    config: Config,
    providers: Providers,
    terminal: Terminal,
    recording: Recording | None,
    question: str,
) -> None:
    session = Session(
        f"sess_{secrets.token_hex(8)}",
        config=config,
        providers=providers,
        outbox=terminal,
        figures=Figures(),
        now=time.monotonic,
    )
    terminal.session = session
    session.open()
    session.post(wire.SessionUpdate(session=_wishes(recording)))
    try:
        async with asyncio.timeout(TURN_LIMIT_S + _seconds(recording)):
            if recording is None:
                _write(session, question)
                await terminal.ended.wait()
            else:
                terminal.show("listening")
                await _speak(session, terminal, recording)
    except TimeoutError:
        raise KaiwaError(
            f"ask: no answer within {TURN_LIMIT_S:g} s; is the model's server overloaded?"
        ) from None
    finally:
        await session.close()


def _wishes(recording: Recording | None) -> dict[str, Any]:
    wishes: dict[str, Any] = {"include": list(settings.EXTENSIONS)}
    if recording is not None:
        form = {"type": "audio/pcm", "rate": recording.rate_hz}
        wishes["audio"] = {"input": {"format": form}}
    return wishes


def _seconds(recording: Recording | None) -> float:
    return len(recording.pcm) / BYTES_PER_SAMPLE / recording.rate_hz if recording else 0.0


def _write(session: Session, words: str) -> None:
    content = (wire.InputText(words),)
    session.post(wire.ItemCreate(item=wire.Item(type="message", role="user", content=content)))
    session.post(wire.ResponseCreate())


async def _speak(session: Session, terminal: Terminal, recording: Recording) -> None:
    """In real time, as a microphone would, with silence behind until the turn is over."""
    loop = asyncio.get_running_loop()
    size = int(recording.rate_hz * PIECE_S) * BYTES_PER_SAMPLE
    begun_at, spoken_s, at = loop.time(), _seconds(recording), 0
    while not session.closed:
        piece = recording.pcm[at : at + size]
        session.hear(piece.ljust(size, b"\0"))
        at += size
        behind_s = at / size * PIECE_S - spoken_s
        if behind_s > 0 and terminal.outcomes and not session.busy:
            return
        if behind_s > NOTHING_HEARD_S and not terminal.speech_heard:
            raise KaiwaError("ask: no speech was heard in the recording; is it loud enough?")
        await asyncio.sleep(begun_at + at / size * PIECE_S - loop.time())
