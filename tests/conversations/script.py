"""Conversations as they are written in tests/conversations/*.talk, one file for each kind.

[a thought in mid-sentence]  en  semantic auto      name, language, turn detection
  0.00   caller  I'd like a table for               at this second of the call
  +0.90  caller  eight people                       so long after the line above ended
         turn    <1.2                               here a turn ends: 1.2 s later at most
         agent   For eight, ‖ of course.            its answer; ‖: the caller cuts it about here
  a+0.60 caller  no, for nine                       when 0.6 s of the answer have been heard
         turn
         agent   For nine.                          no ‖: it is heard to its end

when     7.5 second of the call; +0.9 behind the line above; t+0.1 behind the end of the turn above;
         a+0.6 into the answer above; z-0.1 before its end, z+0.5 behind it
who      caller   words that are meant for the agent; (1.2) behind them: how long they take
         hum      words that are not: the agent shall go on
         far      somebody else's words, across the room: 20 dB below the caller's
         cough    a sound without words, so many seconds; also noise, a longer one
         click    40 ms, too short to be speech
         nobody   nothing, but the call lasts at least until here
         mute     the client sends no audio for so many seconds
         echo     from here on the agent's voice comes back: path in ms, word=heard; loud and
                  quiet are even, shaped swells as what is played does; or off
quietly  the line above is said 20 dB below the caller's usual voice
hears    +0.3 WORDS   what the recogniser believes at that moment of the line above
final    +0.9 WORDS   its final comes so much later; words left out: as spoken; `never`: it is lost
turn     <1.2 WORDS   if other than those of the lines above; several ways, parted by " / ";
                             *WORDS: other words, the agent's own, may stand before them
asks     1                   so often the agent asks what was said, of sound without a word
allows   early 1, false 1, stop 2.5, gap 0.8      exceptions, each a line
with     stt.final=60 stt.partial=120 stt.every=0 llm.first_token=50 language=none turn.…=…
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from voice.turn import join_words

LANGUAGES = ("en", "ja", "ko", "zh")
SECONDS_A_CHARACTER = {"en": 0.065, "ja": 0.13, "ko": 0.13, "zh": 0.17}
"""Of ordinary talk: 150 English words a minute, 7 or 8 morae or syllables a second, 6 in
Chinese."""
SHORTEST_S = 0.24
"""One syllable, said by itself."""
CUT = "‖"
ANYTHING = "*"

Who = Literal["caller", "hum", "far", "cough", "noise", "click", "nobody", "mute", "echo"]
WORDED = ("caller", "hum", "far")


class When(msgspec.Struct, frozen=True):
    anchor: Literal["", "+", "t", "a", "z"]
    """Nothing: the call's own time."""
    offset: float
    of: int = -1
    """Number of the turn or answer that is meant."""


class Belief(msgspec.Struct, frozen=True):
    """What the recogniser makes of a line, `at` seconds into it."""

    at: float
    text: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    when: When
    who: Who
    text: str = ""
    lasts: float = 0.0
    beliefs: tuple[Belief, ...] = ()
    final_text: str = ""
    is_far: bool = False
    """Twenty decibels below the caller's usual voice."""
    final_after: float | None = None
    """Seconds on top of the recogniser's own; infinite: never."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    lines: tuple[int, ...]
    ways: tuple[str, ...]
    within: float
    """Seconds from the last word in which it must have ended."""


class Answer(msgspec.Struct, frozen=True):
    text: str
    is_cut: bool | None
    """None: it may be cut or not, nearly all of it being heard."""
    turn: int

    @property
    def never_heard(self) -> bool:
        return self.is_cut is True and not self.heard

    heard: str = ""
    """Up to the cut, roughly."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    kind: str
    language: str
    detection: dict[str, str | int | bool]
    lines: tuple[Line, ...]
    turns: tuple[Turn, ...]
    answers: tuple[Answer, ...]
    asks: int
    allows: dict[str, float]
    parts: dict[str, str]


_HEAD = re.compile(r"\[(?P<name>[^]]+)\]\s+(?P<language>\w\w)\s+(?P<detection>.+)")
_LINE = re.compile(r"(?P<when>(?:[+tazTAZ]?[+-])?\d+\.?\d*)?\s*(?P<word>[a-z]+)\b\s*(?P<rest>.*)")
_LASTS = re.compile(r"\s*\((\d+\.?\d*)\)$")
_OFFSET = re.compile(r"\+(\d+\.?\d*)\s*(.*)")
_WITHIN = re.compile(r"<(\d+\.?\d*)\s*(.*)")


class ScriptError(Exception):
    """The script cannot be read; never a finding about the agent."""


def read(path: Path) -> list[Scenario]:
    blocks = re.split(r"(?m)^(?=\[)", path.read_text("utf-8"))
    return [parse(block, path.stem) for block in blocks if block.startswith("[")]


def parse(block: str, kind: str) -> Scenario:
    """Raises:
    ScriptError: With the line that cannot be read.
    """
    head, *rest = block.strip().splitlines()
    match = _HEAD.fullmatch(head.strip())
    if match is None or match["language"] not in LANGUAGES:
        raise ScriptError(f"not [NAME] LANGUAGE DETECTION: {head!r}")
    reader = _Reader(match["language"])
    for number, line in enumerate(rest, 2):
        if line.strip() and not line.strip().startswith("#"):
            try:
                reader.read(line.strip())
            except (ValueError, IndexError, AttributeError) as error:
                raise ScriptError(f"{match['name']}, line {number}: {line!r}: {error}") from error
    return Scenario(
        name=match["name"],
        kind=kind,
        language=match["language"],
        detection=_detection(match["detection"].split()),
        lines=tuple(reader.lines),
        turns=tuple(reader.turns),
        answers=tuple(reader.answers),
        asks=reader.asks,
        allows=reader.allows,
        parts=reader.parts,
    )


def _detection(words: list[str]) -> dict[str, str | int | bool]:
    kind, value, *flags = words
    fields: dict[str, str | int | bool] = {"type": f"{kind}_vad"}
    if kind == "semantic":
        fields["eagerness"] = value
    else:
        fields["silence_duration_ms"] = int(value)
    if flags == ["uninterruptible"]:
        fields["interrupt_response"] = False
    elif flags:
        raise ScriptError(f"unknown flag {flags}")
    return fields


class _Reader:
    """Line by line, top down."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._taken = 0
        self.lines: list[Line] = []
        self.turns: list[Turn] = []
        self.answers: list[Answer] = []
        self.asks = 0
        self.allows: dict[str, float] = {}
        self.parts: dict[str, str] = {}

    def read(self, line: str) -> None:
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError("no such line")
        when, word, rest = match["when"], match["word"], match["rest"]
        if when is not None:
            self.lines.append(self._sound(self._when(when), word, rest))
            return
        match word:
            case "turn":
                self._turn(rest)
            case "agent":
                self._agent(rest)
            case "quietly":
                self._amend(is_far=True)
            case "hears":
                at, text = _offset(rest)
                self._amend(beliefs=(*self.lines[-1].beliefs, Belief(at, text)))
            case "final" if rest == "never":
                self._amend(final_after=float("inf"))
            case "final":
                after, text = _offset(rest)
                self._amend(final_after=after, final_text=text)
            case "asks":
                self.asks = int(rest)
            case "allows":
                name, figure = rest.split()
                if name not in ("early", "false", "stop", "gap"):
                    raise ValueError("what may be allowed: early, false, stop, gap")
                self.allows[name] = float(figure)
            case "with":
                self.parts.update(pair.split("=", 1) for pair in rest.split())  # type: ignore[misc]
            case _:
                raise ValueError("no such word, or it needs a time")

    def _when(self, text: str) -> When:
        if text[0].isdigit():
            return When("", float(text))
        if text[0] == "+":
            return When("+", float(text))
        anchor = text[0]
        count = len(self.turns) if anchor == "t" else len(self.answers)
        if not count:
            raise ValueError(f"there is nothing yet that {anchor} could mean")
        return When(anchor, float(text[1:]), count - 1)  # type: ignore[arg-type]

    def _sound(self, when: When, who: str, rest: str) -> Line:
        if who not in Who.__args__:  # type: ignore[attr-defined]
            raise ValueError(f"nobody is called {who}")
        if who in WORDED:
            lasts = _LASTS.search(rest)
            text = _LASTS.sub("", rest)
            seconds = float(lasts[1]) if lasts else talk_s(text, self._language)
            return Line(when=when, who=who, text=text, lasts=seconds)  # type: ignore[arg-type]
        if who == "echo":
            return Line(when=when, who="echo", text=rest)
        seconds = 0.04 if who == "click" else 0.0 if who == "nobody" else float(rest)
        return Line(when=when, who=who, lasts=seconds)  # type: ignore[arg-type]

    def _amend(self, **fields: object) -> None:
        self.lines[-1] = msgspec.structs.replace(self.lines[-1], **fields)

    def _turn(self, rest: str) -> None:
        within, text = 1.0, rest
        if (match := _WITHIN.fullmatch(rest)) is not None:
            within, text = float(match[1]), match[2]
        numbers = range(self._taken, len(self.lines))
        mine = tuple(number for number in numbers if self.lines[number].who == "caller")
        if not mine:
            raise ValueError("nobody has said anything for this turn")
        self._taken = len(self.lines)
        spoken = [self.lines[n].final_text or self.lines[n].text for n in mine]
        ways = tuple(text.split(" / ")) if text else (join_words(spoken),)
        self.turns.append(Turn(lines=mine, ways=ways, within=within))

    def _agent(self, rest: str) -> None:
        before, cut, after = rest.partition(CUT)
        text = re.sub(r"\s+", " ", (before + after).strip())
        heard = before.strip()
        is_cut = (None if not after.strip() else True) if cut else False
        self.answers.append(Answer(text, is_cut, len(self.turns) - 1, heard))


def _offset(rest: str) -> tuple[float, str]:
    match = _OFFSET.fullmatch(rest)
    if match is None:
        raise ValueError("needs +SECONDS first")
    return float(match[1]), match[2]


def talk_s(text: str, language: str) -> float:
    return max(SHORTEST_S, round(len(text) * SECONDS_A_CHARACTER[language] / 0.02) * 0.02)


_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]{1,2}|[^\s\u3040-\u30ff\u3400-\u9fff]+"
)


def words_of(text: str) -> Iterator[re.Match[str]]:
    """What a recogniser adds at a time: a word, or two characters where no spaces are put."""
    return _WORD.finditer(text)


def plain(text: str) -> str:
    """Without case, punctuation and spaces: what was said, however it is written down."""
    return re.sub(r"[\W_]", "", text).casefold()
