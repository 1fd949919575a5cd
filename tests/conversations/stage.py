"""Plays a script in virtual time: the caller's microphone, 20 ms at a time, through a Session.

loudspeaker ──what was played──▶ echo ─┐
lines ──words, coughs────────────▶ Tape ──frames──▶ session.hear
"""

from dataclasses import dataclass, field
from math import inf

import msgspec

from mocks.clock import now
from mocks.tts import ToneTTS
from tests.conversations.answering import (
    MS_A_CHARACTER,
    Loudspeaker,
    ScriptedAnswers,
    Spoken,
    words_ending,
)
from tests.conversations.script import Answer, Line, Scenario, ScriptError, plain
from tests.conversations.tape import Source, Tape, TapeSTT, Word, schedule
from tests.driving import FRAME_MS, FRAME_S, PLAIN, SILENT, Call, converse, pass_time
from voice.config import Config
from voice.settings_fields import EXTENSIONS

QUIET_S = 2.5
"""After so long without sound or event the call is over."""
PATIENCE_S = 5.0
"""For what a line waits for and does not happen."""
LONGEST_S = 45.0
ECHO_SOURCE = 1000
QUIET = ("click", "far")
UNHEARD = ("nobody", "mute", "echo")
"""Lines that are no sound of their own."""
_SLACK_S = 1e-6


@dataclass
class Placed:
    """A line, and when it was really spoken."""

    line: Line
    start: float
    words: list[tuple[float, Word]]

    @property
    def end(self) -> float:
        return self.start + self.line.lasts


@dataclass
class Echo:
    delay_ms: int = 0
    quiet: bool = False
    shaped: bool = False
    """It swells and fades as what is played does."""
    misheard: dict[str, str] = field(default_factory=dict)
    is_on: bool = False

    @classmethod
    def parse(cls, text: str) -> "Echo":
        how, *rest = text.split()
        if how == "off":
            return cls()
        if how not in ("loud", "quiet", "shaped"):
            raise ScriptError(f"echo must be loud, quiet, shaped or off, not {how}")
        delay_ms, *errors = rest
        misheard = dict(error.split("=", 1) for error in errors)
        return cls(int(delay_ms), how == "quiet", how == "shaped", misheard, True)


class Performance(msgspec.Struct, kw_only=True):
    """What happened."""

    scenario: Scenario
    call: Call
    placed: dict[int, Placed]
    answers: list[Spoken]
    unspoken: tuple[int, ...]
    """Lines that waited in vain for what was to come before them."""


def perform(scenario: Scenario, *, config: Config = PLAIN) -> Performance:
    tape = Tape()
    parts = scenario.parts
    for number, line in enumerate(scenario.lines):
        if line.final_text or line.final_after is not None:
            tape.sources[number] = Source(line.final_text, line.final_after or 0.0)
    stages: list[Stage] = []

    async def act(call: Call) -> None:
        stages.append(Stage(scenario, call, tape))
        await stages[0].play()

    call = converse(
        act,
        stt=TapeSTT(
            tape,
            partial_ms=float(parts.get("stt.partial", 120)),
            final_ms=float(parts.get("stt.final", 60)),
            every_ms=float(parts.get("stt.every", 0)),
        ),
        llm=ScriptedAnswers(scenario, first_token_ms=float(parts.get("llm.first_token", 50))),
        tts=ToneTTS(ms_per_char=MS_A_CHARACTER[scenario.language]),
        config=_config(config, parts),
        detection=dict(scenario.detection),
    )
    stage = stages[0]
    return Performance(
        scenario=scenario,
        call=call,
        placed=stage.placed,
        answers=stage.loudspeaker.answers,
        unspoken=tuple(range(stage.next_line, len(scenario.lines))),
    )


def _config(config: Config, parts: dict[str, str]) -> Config:
    sections: dict[str, dict[str, object]] = msgspec.to_builtins(config)
    for path, value in parts.items():
        section, _, name = path.partition(".")
        if section in ("turn", "agent", "barge_in"):
            sections[section][name] = float(value) if "." in value else int(value)
    return msgspec.convert(sections, Config)


class Stage:
    def __init__(self, scenario: Scenario, call: Call, tape: Tape) -> None:
        self._scenario, self._call, self._tape = scenario, call, tape
        self.loudspeaker = Loudspeaker(call)
        self.placed: dict[int, Placed] = {}
        self.next_line = 0
        self._echo = Echo()
        self._muted_until = 0.0
        self._lively_at = 0.0
        self._seen = 0

    async def play(self) -> None:
        language = self._scenario.parts.get("language", self._scenario.language)
        transcription = {"model": "tape"} | ({} if language == "none" else {"language": language})
        spoken_in = {"transcription": transcription}
        self._call.update(audio={"input": spoken_in}, include=list(EXTENSIONS))
        while not self._is_over():
            at = now()
            self.loudspeaker.tick(at)
            self._place(at)
            frame = self._microphone(at)
            await pass_time(FRAME_S)
            if at >= self._muted_until - _SLACK_S:
                self._call.session.hear(frame)

    def _is_over(self) -> bool:
        at = now()
        if len(self._call.client.log) > self._seen or any(self.loudspeaker.past[-1:]):
            self._seen, self._lively_at = len(self._call.client.log), at
        if self.placed:
            self._lively_at = max(self._lively_at, max(p.end for p in self.placed.values()))
        waits = self.next_line < len(self._scenario.lines)
        patience = PATIENCE_S if waits else QUIET_S
        return at > max(self._lively_at, self._muted_until) + patience or at > LONGEST_S

    # --- lines find their time --------------------------------------------------------------------

    def _place(self, at: float) -> None:
        lines = self._scenario.lines
        while self.next_line < len(lines):
            line = lines[self.next_line]
            start = self._starts_at(line, at)
            if start is None or start > at + _SLACK_S:
                if start is not None:
                    self._lively_at = max(self._lively_at, at)
                return
            words = schedule(self.next_line, line) if line.text and line.who != "echo" else []
            self.placed[self.next_line] = Placed(line, at, words)
            if line.who == "echo":
                self._echo = Echo.parse(line.text)
            elif line.who == "mute":
                self._muted_until = at + line.lasts
            self.next_line += 1

    def _starts_at(self, line: Line, at: float) -> float | None:
        """None: not known yet."""
        when = line.when
        match when.anchor:
            case "":
                return when.offset
            case "+":
                return self.placed[self.next_line - 1].end + when.offset
            case "t":
                committed = self._committed_at(when.of)
                return None if committed is None else committed + when.offset
            case _:
                return self._in_answer(self._scenario.answers[when.of], when.offset, when.anchor)

    def _committed_at(self, turn: int) -> float | None:
        ended = max(self.placed[number].end for number in self._scenario.turns[turn].lines)
        commits = (sent.at for sent in self._call.all("input_audio_buffer.committed"))
        return next((at for at in commits if at > ended - _SLACK_S), None)

    def _in_answer(self, answer: Answer, offset: float, anchor: str) -> float | None:
        spoken = spoken_of(answer, self.loudspeaker.answers)
        if spoken is None:
            return None
        played = spoken.played_ms / 1000
        if anchor == "a":
            return 0.0 if spoken.is_over or played >= offset - _SLACK_S and played else None
        if offset < 0:
            whole = len(answer.text) * MS_A_CHARACTER[self._scenario.language] / 1000
            return 0.0 if spoken.is_over or played >= whole + offset - _SLACK_S else None
        if not spoken.is_over:
            return None
        ended = spoken.ended_at if spoken.was_cut else spoken.heard_all_at
        return (ended or 0.0) + offset

    # --- the microphone ---------------------------------------------------------------------------

    def _microphone(self, at: float) -> bytes:
        """What sounds in the 20 ms from `at` on."""
        words: list[Word] = []
        levels: set[bool] = set()
        for placed in self.placed.values():
            since = at - placed.start
            if placed.line.who in UNHEARD or since > placed.line.lasts - _SLACK_S:
                continue
            levels.add(placed.line.who in QUIET or placed.line.is_far)
            is_last = since + FRAME_S > placed.line.lasts - _SLACK_S
            until = inf if is_last else since + FRAME_S + _SLACK_S
            words += [word for end, word in placed.words if since + _SLACK_S < end <= until]
        echoed = self._echoed()
        if echoed is not None:
            said, rms = echoed
            if not levels and self._echo.shaped:
                return self._tape.echo(said, rms)
            levels.add(self._echo.quiet)
            words += said
        return self._tape.frame(words, quiet=all(levels)) if levels else SILENT

    def _echoed(self) -> tuple[list[Word], float] | None:
        """The words of the agent's that end in this frame, and how loud it is; None where nothing
        comes back."""
        back = 1 + self._echo.delay_ms // FRAME_MS
        past = self.loudspeaker.past
        sounding = past[-back] if self._echo.is_on and back <= len(past) else None
        if sounding is None:
            return None
        spoken = self.loudspeaker.by_item(sounding.item_id)
        assert spoken is not None
        from_ms, to_ms = sounding.at_ms, sounding.at_ms + FRAME_MS
        ending = words_ending(spoken.text, from_ms, to_ms, self._scenario.language)
        source = ECHO_SOURCE + self.loudspeaker.answers.index(spoken)
        return [Word(source, self._misheard(word)) for word in ending], sounding.rms

    def _misheard(self, word: str) -> str:
        bare = word.strip(".,?!。、？！").casefold()
        return self._echo.misheard.get(bare, bare)


def spoken_of(answer: Answer, answers: list[Spoken]) -> Spoken | None:
    """The response that says this, or began to."""
    wanted = plain(answer.text)
    for spoken in answers:
        text = plain(spoken.text)
        if text and wanted.startswith(text):
            return spoken
    return None
