"""What must hold in every cell, whatever failed: the ten oracles. Each tells what does not."""

import re
from collections.abc import Callable, Iterator

from tests.driving import SentEvent
from tests.faults.caller import Caller, Turn
from tests.faults.cell import Seen
from tests.faults.speech import PRIVATE
from voice.conversation import CUT_MARK
from voice.phrases import APOLOGY, HOLD, MISHEARD

SILENCE_S = 3.0
NEXT_TURN_S = 5.0
NAMED_S = 2.0
CLEARED_S = 15.0
HANG_UP_S = 2.0
FUZZ_S = 0.1
"""Of what is looked at every 100 ms."""
MS_PER_CHAR = 65.0
CLAUSE_MS = 24 * MS_PER_CHAR
FRAME_MS = 40.0
NOTICES = (*HOLD["en"], APOLOGY["en"], MISHEARD["en"])

Complaints = Iterator[str]


def lives(found: Seen) -> Complaints:
    """1: The session goes on, or was closed by whoever wanted it."""
    for caller in found.callers:
        for at, code, reason in caller.client.ended:
            yield f"{caller.name}: ended with {code} {reason!r} at {at:.2f}"
    for line in found.log:
        if line.level in ("error", "critical", "exception"):
            yield f"logged {line}"


def is_never_silent(found: Seen) -> Complaints:
    """2: No more than 3 s without a word, once one is due."""
    for caller, turn in _turns(found):
        for since, gap_s in _gaps(caller, turn):
            if gap_s > SILENCE_S + FUZZ_S:
                yield f"{caller.name}: {gap_s:.2f} s of silence from {since:.2f} on"


def answers(found: Seen) -> Complaints:
    """3: Every question is understood and answered; after the repair at once."""
    for caller, turn in _turns(found):
        heard = [e for e in caller.of(_TRANSCRIBED) if _within(caller, turn, e.at)]
        if [event.event["transcript"] for event in heard] != [turn.asked.question]:
            yield f"{caller.name}: {turn.asked.question!r} was heard as {_transcripts(heard)}"
        if turn.cut:
            continue
        if turn.over is None:
            yield f"{caller.name}: no answer to {turn.asked.question!r}"
        for event in _responses(caller, turn):
            if event.event["response"]["status"] != "completed":
                details = event.event["response"]["status_details"]
                yield f"{caller.name}: answer at {event.at:.2f} ended so: {details}"
        first = next((f.at for f in caller.sounds() if _within(caller, turn, f.at)), None)
        if turn.began >= found.repaired_at and (first is None or first > turn.spoken + NEXT_TURN_S):
            yield f"{caller.name}: the turn after the repair was answered at {first}"


def counts(found: Seen) -> Complaints:
    """4: Fallbacks are counted where they served, and nowhere else."""
    slot = "rag" if found.cell.part in ("embedder", "reranker") else found.cell.part
    for name, count in found.fallbacks.items():
        if name == slot and count < 1 and found.was_met:
            yield f"{name}: no fallback was counted"
        if count and (name != slot or not found.was_met):
            yield f"{name}: {count} fallbacks were counted where nothing failed"


def tells(found: Seen) -> Complaints:
    """5: Health names it within 2 s of the first failure and is well within 15 s of the repair."""
    slot = found.cell.part
    failed = [line.at for line in _told_of(found)]
    named = next((at for at, all in found.warnings if any(slot in one for one in all)), None)
    before = found.warnings[0][1] if found.warnings else ()
    if before:
        yield f"was not well before: {before}"
    if failed and (named is None or named > failed[0] + NAMED_S + FUZZ_S):
        yield f"failed at {failed[0]:.2f}, named at {named}"
    if not failed and named is None and found.was_met:
        yield "was never named"
    if found.well_at is None or found.well_at > found.repaired_at + CLEARED_S:
        last = found.warnings[-1]
        yield f"repaired at {found.repaired_at:.2f}, well at {found.well_at}; last {last}"


def repeats_nothing(found: Seen) -> Complaints:
    """6: Each word of the right answer once, in order, and nothing else but a notice."""
    for caller, turn in _turns(found):
        wanted = _words(turn.asked.answer)
        text = _said(caller, turn)
        said = _words(_without_notices(text))
        if turn.cut:
            wanted = wanted[: len(said)]
        if said != wanted:
            yield f"{caller.name}: said {' '.join(said)!r} instead of {' '.join(wanted)!r}"
        most_ms = MS_PER_CHAR * len(text) + FRAME_MS * (2 + 2 * text.count("."))
        sounded_ms = sum(f.ms for f in caller.sounds() if _within(caller, turn, f.at))
        if sounded_ms > most_ms:
            yield f"{caller.name}: {sounded_ms:.0f} ms of sound for {len(text)} letters"


def remembers(found: Seen) -> Complaints:
    """7: The history is what was asked, and what was heard of the answers."""
    for caller in found.callers:
        entries = caller.history()
        asked = [content for role, content in entries if role == "user"]
        if asked != [turn.asked.question for turn in caller.turns]:
            yield f"{caller.name}: the history's questions are {asked}"
            continue
        for turn in caller.turns:
            at = entries.index(("user", turn.asked.question))
            kept = " ".join(c for role, c in _until_next_question(entries[at + 1 :]))
            said = _said(caller, turn)
            heard_ms = _heard_ms(caller, turn)
            if not said.startswith(kept.removesuffix(CUT_MARK).rstrip()):
                yield f"{caller.name}: {kept!r} is kept where {said!r} was said"
            elif abs(heard_ms - MS_PER_CHAR * len(kept)) > CLAUSE_MS:
                yield f"{caller.name}: {kept!r} is kept, {heard_ms:.0f} ms were heard"


def gives_back(found: Seen) -> Complaints:
    """8: No task, file or request is left, and nobody waits to hang up."""
    if found.running:
        yield f"still running: {found.running}"
    if found.before is None or found.after is None or found.after != found.before:
        yield f"{found.before} before, {found.after} after"
    for seconds in found.hang_ups_s:
        if seconds > HANG_UP_S:
            yield f"hanging up took {seconds:.2f} s"


def serves_others(found: Seen) -> Complaints:
    """9: The neighbour has a whole answer, as soon as anybody. What it says is judged above."""
    neighbour = found.callers[-1]
    if not neighbour.turns or any(turn.over is None for turn in neighbour.turns):
        yield f"{len(neighbour.turns)} turns, not all were answered"


def logs(found: Seen) -> Complaints:
    """10: A failure is one line that names the slot and what failed, and no word of the call."""
    lines = _told_of(found)
    if not lines and found.was_met:
        yield "no line tells of it"
    told = [(line.at, str(line.fields.get("error", line.fields.get("problem")))) for line in lines]
    for one in sorted({one for one in told if told.count(one) > 1}):
        yield f"told twice: {one}"
    for line in lines:
        if line.fields["event"] == "provider_failed" and not line.fields.get("fault"):
            yield f"names no fault: {line}"
    yield from keeps_quiet(found)


def keeps_quiet(found: Seen) -> Complaints:
    """No word of a call stands in the log."""
    for line in found.log:
        if leaked := PRIVATE & set(re.findall(r"\w+", str(line.fields).lower())):
            yield f"words of the call, {sorted(leaked)}, in {line}"


ORACLES: tuple[Callable[[Seen], Complaints], ...] = (
    lives, is_never_silent, answers, counts, tells, repeats_nothing, remembers, gives_back,
    serves_others, logs,
)  # fmt: skip


def complaints(found: Seen) -> list[str]:
    """All that does not hold, each with its oracle's name."""
    return [f"{oracle.__name__}: {what}" for oracle in ORACLES for what in oracle(found)]


# --- what was seen --------------------------------------------------------------------------------

_TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
_TELLING = ("provider_failed", "documents_unhealthy")


def _turns(found: Seen) -> Iterator[tuple[Caller, Turn]]:
    for caller in found.callers:
        for turn in caller.turns:
            yield caller, turn


def _within(caller: Caller, turn: Turn, at: float) -> bool:
    """Whether it came between the turn's last word and that of the next one."""
    later = [other.spoken for other in caller.turns if other.spoken > turn.spoken]
    return turn.spoken < at <= min(later, default=float("inf"))


def _responses(caller: Caller, turn: Turn) -> list[SentEvent]:
    """Begun in the turn."""
    begun = {
        event.event["response"]["id"]
        for event in caller.of("response.created")
        if _within(caller, turn, event.at)
    }
    return [e for e in caller.responses() if e.event["response"]["id"] in begun]


def _said(caller: Caller, turn: Turn) -> str:
    """Its words as they were sent, whether the answer came to its end or not."""
    deltas = caller.of("response.output_audio_transcript.delta")
    return "".join(e.event["delta"] for e in deltas if _within(caller, turn, e.at))


def _without_notices(text: str) -> str:
    for notice in NOTICES:
        text = text.replace(notice, " ")
    return text


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def _transcripts(events: list[SentEvent]) -> list[str]:
    return [event.event["transcript"] for event in events]


def _gaps(caller: Caller, turn: Turn) -> Iterator[tuple[float, float]]:
    """(since, seconds) of silence from the end of the question to that of the answer."""
    if turn.cut and not caller.sounds():
        return
    until = turn.spoken
    for frame in caller.sounds():
        if _within(caller, turn, frame.at):
            begins = max(frame.at, until)
            yield until, begins - until
            until = begins + frame.ms / 1000


def _heard_ms(caller: Caller, turn: Turn) -> float:
    """What the caller can have heard, up to where the answer was cut."""
    ends = [e.at for e in _responses(caller, turn) if e.event["response"]["status"] == "cancelled"]
    end = min(ends, default=float("inf"))
    until, heard = turn.spoken, 0.0
    for frame in caller.sounds():
        if _within(caller, turn, frame.at):
            begins = max(frame.at, until)
            until = begins + frame.ms / 1000
            heard += max(0.0, min(until, end) - begins)
    return heard * 1000


def _until_next_question(entries: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for role, content in entries:
        if role == "user":
            return
        yield role, content


def _told_of(found: Seen) -> list:  # type: ignore[type-arg]
    part = found.cell.part
    return [
        line
        for line in found.log
        if line.fields["event"] in _TELLING
        and part in f"{line.fields.get('error', '')} {line.fields.get('problem', '')}"
    ]
