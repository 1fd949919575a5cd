"""What was seen, turn by turn: heard, said, failed, sounded, kept, logged."""

import re
from collections.abc import Iterator

from tests.driving import SentEvent
from tests.faults.caller import Caller, Turn
from tests.faults.cell import Seen
from tests.faults.speech import UNKNOWN
from tests.faults.stack import Line
from voice.conversation import CUT_MARK
from voice.phrases import APOLOGY, HOLD, MISHEARD

NOTICES = (*HOLD["en"], APOLOGY["en"], MISHEARD["en"])
TRANSCRIBED = "conversation.item.input_audio_transcription.completed"
LOST = "conversation.item.input_audio_transcription.failed"
TELLING = ("provider_failed", "provider_unhealthy", "documents_unhealthy")
EASY = ("slow", "stop")
"""What may be over before anybody has waited too long; where nobody stands in, it is waited for."""


def is_met(found: Seen, slot: str) -> bool:
    """Whether somebody must have waited for it in vain."""
    cell = found.cell
    if "stt" in cell.dead and slot not in ("stt", "tts"):  # nothing to look up, or to answer
        return False
    kinds = {kind for part, kind in cell.faults.items() if part.endswith(slot)}
    easy = kinds <= {"stop"} or (slot in cell.dead and kinds <= set(EASY))
    return not easy or bool(found.fallbacks.get(slot))


def excused(found: Seen, turn: Turn) -> frozenset[str]:
    """Slots that may fail in this turn: nobody was left in them."""
    is_after = turn.began >= found.repaired_at
    is_before = turn.over is not None and turn.over <= found.struck_at
    return frozenset() if is_after or is_before else found.cell.dead


def heard(caller: Caller, turn: Turn) -> str | None:
    """What was understood; None: nothing was."""
    heard = [e for e in caller.of(TRANSCRIBED) if within(caller, turn, e.at)]
    return " | ".join(event.event["transcript"] for event in heard) if heard else None


def is_told_lost(caller: Caller, turn: Turn) -> bool:
    return any(within(caller, turn, e.at) for e in caller.of(LOST))


def is_part(heard: str | None, turn: Turn) -> bool:
    """Whether it is nothing, or what had been understood when the recogniser went."""
    return heard is None or turn.asked.question.startswith(heard)


def right_answer(caller: Caller, turn: Turn) -> str:
    understood = heard(caller, turn)
    if understood == turn.asked.question:
        return turn.asked.answer
    return UNKNOWN if understood else ""


def failed(caller: Caller, turn: Turn) -> bool:
    return any(e.event["response"]["status"] == "failed" for e in responses(caller, turn))


def is_kept(kept: str, said: str) -> bool:
    """Whether it is what was said, or its beginning, or its beginning and the apology behind it."""
    before, _, after = kept.partition(CUT_MARK)
    if before == APOLOGY["en"]:  # not a word of the answer itself was heard
        return said.endswith(before)
    return said.startswith(before.rstrip()) and said.endswith(after.lstrip())


def turns(found: Seen) -> Iterator[tuple[Caller, Turn]]:
    for caller in found.callers:
        for turn in caller.turns:
            yield caller, turn


def within(caller: Caller, turn: Turn, at: float) -> bool:
    """Whether it came between the turn's last word and that of the next one."""
    later = [other.spoken for other in caller.turns if other.spoken > turn.spoken]
    return turn.spoken < at <= min(later, default=float("inf"))


def responses(caller: Caller, turn: Turn) -> list[SentEvent]:
    """Begun in the turn."""
    begun = {
        event.event["response"]["id"]
        for event in caller.of("response.created")
        if within(caller, turn, event.at)
    }
    return [e for e in caller.responses() if e.event["response"]["id"] in begun]


def said(caller: Caller, turn: Turn) -> str:
    """Its words as they were sent, whether the answer came to its end or not."""
    deltas = caller.of("response.output_audio_transcript.delta")
    return "".join(e.event["delta"] for e in deltas if within(caller, turn, e.at))


def asks_again(caller: Caller, turn: Turn) -> bool:
    return MISHEARD["en"] in said(caller, turn)


def without_notices(text: str) -> str:
    for notice in NOTICES:
        text = text.replace(notice, " ")
    return text


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def gaps(caller: Caller, turn: Turn) -> Iterator[tuple[float, float]]:
    """(since, seconds) of silence from the end of the question to that of the answer."""
    if turn.cut and not caller.sounds():
        return
    until = turn.spoken
    for frame in caller.sounds():
        if within(caller, turn, frame.at):
            begins = max(frame.at, until)
            yield until, begins - until
            until = begins + frame.ms / 1000


def heard_ms(caller: Caller, turn: Turn) -> float:
    """What the caller can have heard, up to where the answer was cut."""
    ends = [e.at for e in responses(caller, turn) if e.event["response"]["status"] == "cancelled"]
    end = min(ends, default=float("inf"))
    until, heard = turn.spoken, 0.0
    for frame in caller.sounds():
        if within(caller, turn, frame.at):
            begins = max(frame.at, until)
            until = begins + frame.ms / 1000
            heard += max(0.0, min(until, end) - begins)
    return heard * 1000


def told_of(found: Seen, slot: str) -> list[Line]:
    lines = [line for line in found.log if line.fields["event"] in TELLING]
    return [
        line
        for line in lines
        if line.fields.get("slot") == slot or re.search(rf"\b{slot}\b", what(line))
    ]


def what(line: Line) -> str:
    return str(line.fields.get("error", line.fields.get("problem", "")))
