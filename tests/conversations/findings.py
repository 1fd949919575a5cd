"""What happened, held against what the script says should have.

caller  ~~~~~~ w1 w2|                         |~~~~ "no, wait"
agent               |--- end of turn ---|#######x          end of turn: last word to commit
                                              |-| stop     stop: first sound to duck or cut
"""

from enum import StrEnum

import msgspec

from tests.conversations.answering import MS_A_CHARACTER, Spoken
from tests.conversations.script import ANYTHING, Answer, Turn, plain
from tests.conversations.stage import Performance, spoken_of
from voice.conversation import CUT_MARK
from voice.phrases import misheard
from voice.turn import join_words

STOP_S = 1.0
"""Who wants the floor has it within this, if the scenario allows no more."""
GAP_S = 1.0
"""Silence that an answer may get where the agent listened whether it was spoken to."""
TOLD_OF_TURNS = (
    "input_audio_buffer.speech_started",
    "kaiwa.transcript.partial",
    "kaiwa.turn.timeline",
)
OVER_S = 0.2
"""An answer that begins so long after the caller did begins over him."""
STRAY_WORDS = 2
"""By so many of its longest words may what is remembered of an answer differ from what was
heard."""


class Kind(StrEnum):
    EARLY = "turn cut off too early"
    LATE = "turn ended late"
    FALSE = "false barge-in"
    MISSED = "missed barge-in"
    LOST = "turn lost"
    WORDS = "wrong words"
    EXTRA = "turn nobody took"
    ANSWER = "answer not given"
    OVER = "began over the caller"
    HEARD = "wrong memory of what was heard"
    GAP = "answer full of holes"


class Finding(msgspec.Struct, frozen=True):
    kind: Kind
    text: str
    is_allowed: bool = False


class Commit(msgspec.Struct, frozen=True):
    at: float
    words: str


class Measured(msgspec.Struct):
    turns: int
    findings: list[Finding]
    ends_s: list[float]
    """From each turn's last word to its end."""
    stops_s: list[float]
    """From the first sound of each barge-in until nothing more was sent."""

    @property
    def wrong(self) -> list[Finding]:
        return [finding for finding in self.findings if not finding.is_allowed]


def measure(seen: Performance) -> Measured:
    measured = Measured(len(seen.scenario.turns), [], [], [])
    for number in seen.unspoken:
        text = f"{seen.scenario.lines[number].text!r} waited in vain"
        measured.findings.append(Finding(Kind.ANSWER, text))
    commits = _commits(seen)
    for turn in seen.scenario.turns:
        if all(number in seen.placed for number in turn.lines):
            _check_turn(seen, turn, _of(seen, turn, commits), measured)
    first = _start(seen, 0) if seen.scenario.turns else float("inf")
    measured.findings += [_nobodys(c) for c in commits if c.at < first and c.words]
    for answer in seen.scenario.answers:
        _check_answer(seen, answer, measured)
    _check_strays(seen, commits, measured)
    _allow(measured.findings, Kind.EARLY, seen.scenario.allows.get("early", 0))
    _allow(measured.findings, Kind.FALSE, seen.scenario.allows.get("false", 0))
    return measured


def _allow(findings: list[Finding], kind: Kind, count: float) -> None:
    for place, finding in enumerate(findings):
        if finding.kind is kind and count >= 1:
            count -= 1
            findings[place] = Finding(kind, finding.text, True)


# --- turns ----------------------------------------------------------------------------------------


def _commits(seen: Performance) -> list[Commit]:
    done = seen.call.all("conversation.item.input_audio_transcription.completed")
    words = {sent.event["item_id"]: sent.event["transcript"] for sent in done}
    commits = seen.call.all("input_audio_buffer.committed")
    return [Commit(sent.at, words.get(sent.event["item_id"], "")) for sent in commits]


def _start(seen: Performance, turn: int) -> float:
    placed = seen.placed.get(seen.scenario.turns[turn].lines[0])
    return placed.start if placed is not None else float("inf")


def _of(seen: Performance, turn: Turn, commits: list[Commit]) -> list[Commit]:
    number = seen.scenario.turns.index(turn)
    start = _start(seen, number)
    end = _start(seen, number + 1) if number + 1 < len(seen.scenario.turns) else float("inf")
    return [commit for commit in commits if start <= commit.at < end]


def _nobodys(commit: Commit) -> Finding:
    return Finding(Kind.EXTRA, f"{commit.words!r} at {commit.at:.2f}")


def _check_turn(seen: Performance, turn: Turn, mine: list[Commit], measured: Measured) -> None:
    ended = max(seen.placed[number].end for number in turn.lines)
    worded = [commit for commit in mine if commit.words]
    early = [commit for commit in worded if commit.at < ended]
    after = [commit for commit in worded if commit.at >= ended]
    for commit in early:
        text = f"{commit.words!r} at {commit.at:.2f}, {ended - commit.at:.2f} s too soon"
        measured.findings.append(Finding(Kind.EARLY, text))
    if not after:
        measured.findings.append(Finding(Kind.LOST, f"{turn.ways[0]!r}"))
        return
    delay_s = after[0].at - ended
    measured.ends_s.append(delay_s)
    if delay_s > turn.within + 1e-6:
        text = f"{turn.ways[0]!r} {delay_s:.2f} s behind its last word, not {turn.within:.2f}"
        measured.findings.append(Finding(Kind.LATE, text))
    said = join_words([commit.words for commit in (*early, after[0])])
    if not any(_is_said(way, said) for way in turn.ways):
        measured.findings.append(Finding(Kind.WORDS, f"{said!r}, not {turn.ways[0]!r}"))
    measured.findings += [_nobodys(commit) for commit in after[1:]]


def _is_said(way: str, said: str) -> bool:
    if way.startswith(ANYTHING):
        return plain(said).endswith(plain(way))
    return plain(said) == plain(way)


# --- answers --------------------------------------------------------------------------------------


def _check_answer(seen: Performance, answer: Answer, measured: Measured) -> None:
    spoken = spoken_of(answer, seen.answers) or _wordless(seen, answer)
    findings = measured.findings
    if answer.is_cut and answer.never_heard:
        if spoken is not None and spoken.played_ms:
            findings.append(Finding(Kind.MISSED, f"{answer.text!r} was heard all the same"))
        return
    if spoken is None:
        findings.append(Finding(Kind.ANSWER, repr(answer.text)))
        return
    interrupted = _interrupted(seen, spoken)
    if answer.is_cut:
        _check_barge_in(seen, answer, spoken, measured)
    elif interrupted and answer.is_cut is False:
        text = f"{answer.text!r} was cut after {spoken.played_ms / 1000:.2f} s"
        findings.append(Finding(Kind.FALSE, text))
    elif answer.is_cut is False:
        _check_whole(seen, answer, spoken, findings)
    if interrupted and answer.is_cut is not False:
        _check_memory(seen, answer, spoken, findings)


def _wordless(seen: Performance, answer: Answer) -> Spoken | None:
    """The response that was cut before it had a word."""
    turn = seen.scenario.turns[answer.turn]
    ended = max((seen.placed[n].end for n in turn.lines if n in seen.placed), default=float("inf"))
    return next(
        (s for s in seen.answers if s.created_at > ended and s.was_cut and not s.text), None
    )


def _interrupted(seen: Performance, spoken: Spoken) -> bool:
    turns = seen.call.all("kaiwa.turn.timeline")
    mine = [sent.event for sent in turns if sent.event["response_id"] == spoken.id]
    return spoken.was_cut or any(event["outcome"] == "interrupted" for event in mine)


def _check_barge_in(seen: Performance, answer: Answer, spoken: Spoken, measured: Measured) -> None:
    number = answer.turn + 1
    start = _start(seen, number) if number < len(seen.scenario.turns) else spoken.created_at
    limit_s = seen.scenario.allows.get("stop", STOP_S)
    if not _interrupted(seen, spoken) or spoken.ended_at is None:
        measured.findings.append(Finding(Kind.MISSED, f"{answer.text!r} went on to its end"))
        return
    if spoken.ended_at < start:
        text = f"{answer.text!r} was cut before anybody spoke"
        measured.findings.append(Finding(Kind.FALSE, text))
        return
    if spoken.ended_at - start > limit_s + 1e-6:
        text = f"{answer.text!r} was cut after {spoken.ended_at - start:.2f} s"
        measured.findings.append(Finding(Kind.MISSED, text))
    ducks = [
        sent.at
        for sent in seen.call.all("kaiwa.speech.ducked")
        if sent.event["ducked"] and start <= sent.at <= spoken.ended_at
    ]
    measured.stops_s.append(min([*ducks, spoken.ended_at]) - start)


def _check_whole(
    seen: Performance, answer: Answer, spoken: Spoken, findings: list[Finding]
) -> None:
    whole_ms = len(answer.text) * MS_A_CHARACTER[seen.scenario.language]
    if abs(spoken.sent_ms - whole_ms) > 60:
        text = f"{spoken.sent_ms:.0f} ms of {whole_ms:.0f} ms of {answer.text!r}"
        findings.append(Finding(Kind.ANSWER, text))
    if ("assistant", answer.text) not in seen.call.history():
        findings.append(Finding(Kind.HEARD, f"{answer.text!r} is not in the history"))
    if spoken.silent_ms / 1000 > seen.scenario.allows.get("gap", GAP_S):
        text = f"{answer.text!r} with {spoken.silent_ms / 1000:.2f} s of silence in it"
        findings.append(Finding(Kind.GAP, text))


def _check_memory(
    seen: Performance, answer: Answer, spoken: Spoken, findings: list[Finding]
) -> None:
    """The history has the words that the loudspeaker had given."""
    heard = spoken.played_ms / MS_A_CHARACTER[seen.scenario.language]
    slack = STRAY_WORDS * max((len(word) for word in answer.text.split()), default=0)
    slack = min(slack, 20)
    kept = [text.removesuffix(CUT_MARK) for role, text in seen.call.history() if role != "user"]
    mine = [text for text in kept if plain(answer.text).startswith(plain(text))]
    remembered = max((len(text) for text in mine), default=0)
    if abs(remembered - heard) > slack:
        said = f"{heard:.0f} characters of {answer.text!r} were heard, {remembered} are kept"
        findings.append(Finding(Kind.HEARD, said))


# --- what nobody asked for ------------------------------------------------------------------------


def _check_strays(seen: Performance, commits: list[Commit], measured: Measured) -> None:
    measured.findings += _half_turns(seen)
    wanted = [spoken_of(answer, seen.answers) for answer in seen.scenario.answers]
    words = misheard(seen.scenario.language)
    asked = [spoken for spoken in seen.answers if spoken.text == words and spoken.sent_ms]
    if len(asked) != seen.scenario.asks:
        text = f"{len(asked)} times instead of {seen.scenario.asks} it asked what was said"
        measured.findings.append(Finding(Kind.ANSWER, text))
    for spoken in seen.answers:
        stray = spoken not in wanted and spoken not in asked
        if spoken.sent_ms and stray and not _is_premature(seen, spoken):
            text = f"it was answered {spoken.text!r}"
            measured.findings.append(Finding(Kind.EXTRA, text))
        if spoken.first_frame_at is not None and spoken in wanted:
            _check_over(seen, spoken, measured)
    for answer in seen.scenario.answers:
        spoken_here = spoken_of(answer, seen.answers)
        if answer.is_cut is False and spoken_here is not None:
            until = spoken_here.heard_all_at or 0.0
            empty = [c for c in commits if spoken_here.created_at < c.at < until and not c.words]
            measured.findings += [_nobodys(commit) for commit in empty]


def _half_turns(seen: Performance) -> list[Finding]:
    """What the client was told of utterances that never became a turn."""
    committed = {sent.event["item_id"] for sent in seen.call.all("input_audio_buffer.committed")}
    return [
        Finding(Kind.EXTRA, f"{sent.type} at {sent.at:.2f} of a turn that is none")
        for kind in TOLD_OF_TURNS
        for sent in seen.call.all(kind)
        if sent.event["item_id"] not in {None, *committed}
    ]


def _is_premature(seen: Performance, spoken: Spoken) -> bool:
    """Given while its turn went on: that the turn was cut off early is found already."""
    for turn in seen.scenario.turns:
        mine = [seen.placed[number] for number in turn.lines if number in seen.placed]
        if mine and mine[0].start < spoken.created_at < mine[-1].end:
            return True
    return False


def _check_over(seen: Performance, spoken: Spoken, measured: Measured) -> None:
    assert spoken.first_frame_at is not None
    for placed in seen.placed.values():
        if placed.line.who == "caller":
            if placed.start + OVER_S < spoken.first_frame_at < placed.end:
                text = f"{spoken.text!r} at {spoken.first_frame_at:.2f}"
                measured.findings.append(Finding(Kind.OVER, text))
