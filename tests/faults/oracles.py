"""What must hold in every cell, whatever failed: the ten oracles. Each tells what does not."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from tests.driving import SentEvent
from tests.faults import evidence
from tests.faults.caller import Caller, Turn
from tests.faults.cell import Seen, seen
from tests.faults.matrix import Cell
from tests.faults.speech import PRIVATE
from tests.faults.stack import run
from voice.phrases import APOLOGY

SILENCE_S = 3.0
NEXT_TURN_S = 5.0
NAMED_S = 2.0
CLEARED_S = 15.0
HANG_UP_S = 2.0
TOLD_S = 8.0
"""When a caller who can hear nothing is told so: the longest limits, of the LLM's first words and
the voice's, and a little."""
FUZZ_S = 0.1
"""Of what is looked at every 100 ms."""
MS_PER_CHAR = 65.0
CLAUSE_MS = 24 * MS_PER_CHAR
FRAME_MS = 40.0

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
    """2: No more than 3 s without a word, once one is due: also where there is no voice."""
    for caller, turn in evidence.turns(found):
        if not turn.cut and not any(evidence.within(caller, turn, f.at) for f in caller.sounds()):
            yield f"{caller.name}: not a sound behind {turn.asked.question!r}"
        for since, gap_s in evidence.gaps(caller, turn):
            if gap_s > SILENCE_S + FUZZ_S:
                yield f"{caller.name}: {gap_s:.2f} s of silence from {since:.2f} on"


def answers(found: Seen) -> Complaints:
    """3: Every question is understood and answered; after the repair at once.

    Where nobody is left in a slot, its failure is told: in words while there is a voice, by the
    response's status in any case.
    """
    for caller, turn in evidence.turns(found):
        excused = evidence.excused(found, turn)
        heard = evidence.heard(caller, turn)
        if not (
            heard == turn.asked.question or ("stt" in excused and evidence.is_part(heard, turn))
        ):
            yield f"{caller.name}: {turn.asked.question!r} was heard as {heard!r}"
        if turn.cut:
            continue
        if turn.over is None:
            yield f"{caller.name}: no answer to {turn.asked.question!r}"
        for event in evidence.responses(caller, turn):
            yield from _judged(found, caller, turn, event)
        if heard is None and not evidence.is_told_lost(caller, turn):
            yield f"{caller.name}: was not told that {turn.asked.question!r} is lost"
        if heard is None and "tts" not in excused and not evidence.asks_again(caller, turn):
            yield f"{caller.name}: was not asked to say {turn.asked.question!r} again"
        first = next((f.at for f in caller.sounds() if evidence.within(caller, turn, f.at)), None)
        if turn.began >= found.repaired_at and (first is None or first > turn.spoken + NEXT_TURN_S):
            yield f"{caller.name}: the turn after the repair was answered at {first}"


def _judged(found: Seen, caller: Caller, turn: Turn, done: SentEvent) -> Complaints:
    """A response may only fail by a slot that has nobody left, and then says so."""
    if (details := done.event["response"]["status_details"]) is None:
        return
    excused = evidence.excused(found, turn)
    slot = details.get("error", {}).get("code", "").partition("_")[0]
    if slot not in excused:
        yield f"{caller.name}: answer at {done.at:.2f} ended so: {details}"
    elif "tts" not in excused and not evidence.said(caller, turn).endswith(APOLOGY["en"]):
        yield f"{caller.name}: {slot} failed, and no apology was spoken"
    elif done.at > turn.spoken + TOLD_S and not any(
        evidence.within(caller, turn, f.at) for f in caller.sounds()
    ):
        yield f"{caller.name}: was told only at {done.at:.2f} that {slot} failed"


def counts(found: Seen) -> Complaints:
    """4: Fallbacks are counted where they served, and nowhere else."""
    cell = found.cell
    limping = {slot: _must_serve(found, slot) for slot in cell.slots - cell.dead}
    for name, count in found.fallbacks.items():
        if limping.get(name) and count < 1:
            yield f"{name}: no fallback was counted"
        if count and name not in limping:
            yield f"{name}: {count} fallbacks were counted where nobody stood in"


def _must_serve(found: Seen, slot: str) -> bool:
    """An apology is one clause: a voice that breaks off in it leaves nothing to another."""
    return evidence.is_met(found, slot) and not (slot == "tts" and "llm" in found.cell.dead)


def tells(found: Seen) -> Complaints:
    """5: Health names it within 2 s of the first failure and is well within 15 s of the repair."""
    before = found.warnings[0][1] if found.warnings else ()
    if before:
        yield f"was not well before: {before}"
    for slot in sorted(found.cell.slots):
        failed = [line.at for line in evidence.told_of(found, slot)]
        named = found.named_at(slot)
        if failed and (named is None or named > failed[0] + NAMED_S + FUZZ_S):
            yield f"{slot} failed at {failed[0]:.2f}, named at {named}"
        if not failed and named is None and evidence.is_met(found, slot):
            yield f"{slot} was never named"
    yield from is_well_again(found)


def is_well_again(found: Seen) -> Complaints:
    if found.well_at is None or found.well_at > found.repaired_at + CLEARED_S:
        last = found.warnings[-1]
        yield f"repaired at {found.repaired_at:.2f}, well at {found.well_at}; last {last}"


def repeats_nothing(found: Seen) -> Complaints:
    """6: Each word of the right answer once, in order, and nothing else but a notice."""
    for caller, turn in evidence.turns(found):
        wanted = evidence.words(evidence.right_answer(caller, turn))
        text = evidence.said(caller, turn)
        said = evidence.words(evidence.without_notices(text))
        if turn.cut or evidence.failed(caller, turn):
            wanted = wanted[: len(said)]
        if said != wanted:
            yield f"{caller.name}: said {' '.join(said)!r} instead of {' '.join(wanted)!r}"
        most_ms = MS_PER_CHAR * len(text) + FRAME_MS * (2 + 2 * text.count("."))
        sounded_ms = sum(f.ms for f in caller.sounds() if evidence.within(caller, turn, f.at))
        if sounded_ms > most_ms:
            yield f"{caller.name}: {sounded_ms:.0f} ms of sound for {len(text)} letters"


def remembers(found: Seen) -> Complaints:
    """7: The history is what was asked and understood, and what was heard of the answers."""
    for caller in found.callers:
        entries = caller.history()
        asked = [content for role, content in entries if role == "user"]
        understood = [heard for turn in caller.turns if (heard := evidence.heard(caller, turn))]
        if asked != understood:
            yield f"{caller.name}: the history's questions are {asked}"
            continue
        for turn in caller.turns:
            if entries and entries[0] == ("user", evidence.heard(caller, turn)):
                del entries[0]
            kept = ""
            said = evidence.said(caller, turn)
            if entries and entries[0][0] == "assistant" and evidence.is_kept(entries[0][1], said):
                kept = entries.pop(0)[1]
            heard_ms = evidence.heard_ms(caller, turn)
            if abs(heard_ms - MS_PER_CHAR * len(kept)) > CLAUSE_MS:
                yield f"{caller.name}: {kept!r} is kept, {heard_ms:.0f} ms were heard"
        if entries:
            yield f"{caller.name}: {entries[0]} is kept where something else was said"


def gives_back(found: Seen) -> Complaints:
    """8: No task, file or request is left, and nobody waits to hang up."""
    if found.running:
        yield f"still running: {found.running}"
    if found.after is None or not found.after.within(found.before):
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
    for slot in sorted(found.cell.slots):
        lines = evidence.told_of(found, slot)
        if not lines and evidence.is_met(found, slot):
            yield f"no line tells of {slot}"
        told = [(line.at, evidence.what(line)) for line in lines]
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


@cache
def judged(cell: Cell, index: Path) -> tuple[str, ...]:
    """All complaints about a Kaiwa that nobody has broken."""
    return tuple(complaints(run(seen(cell, index))))
