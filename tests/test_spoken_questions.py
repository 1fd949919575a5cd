"""Questions asked aloud of the sample documents, and what is spoken back, in real time.

    flite ─▶ microphone ─▶ server ─▶ sources, transcript, audio
                                          └── against espeak's own audio of the same words

Four calls at once on one server: ten questions in each of two voices, one caller who cuts in, and
one who writes in Japanese.
"""

import asyncio
import contextlib
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from providers.base import SpeechAudio
from providers.tts_espeak import EspeakTTS
from tests.speech import RATE_HZ, Caller, Noted, Samples, calling, flite, resample, serving, words
from voice.clauses import ClauseSplitter

ROOT = Path(__file__).parent.parent
VOICES = ("rms", "slt")
LEAST_RIGHT = 0.9
SPEED = 1.5
"""Of the answers in the two long calls, to save the tests' time; the one that cuts in is at 1.0."""
BLOCK = RATE_HZ // 100
"""10 ms, for energy envelopes."""
QUIET_RMS = 30.0
DRIFT_BLOCKS = 6
"""espeak speaks the same words up to 20 ms longer or shorter from one time to the next."""
LEAST_LIKENESS = 0.95
LENGTH_TOLERANCE = 0.03
LONGEST_PAUSE_MS = 700
LONGEST_LEAD_MS = 100
LATEST_MS = 100
"""How late a piece of sound may be for a listener who buffers nothing."""
CUT_AFTER_S = 1.5
KANA = re.compile("[ぁ-ヿ]")
STOP_LIMIT_MS = 250
"""Real speech begins softer than the bench's, and the machine is shared by four calls."""
CONFIRM_LIMIT_MS = 900
"""Speech of 600 ms is a turn, whatever its words; more than that is the machine's."""


class Question(msgspec.Struct, frozen=True):
    question: str
    source: str


JAPANESE = Question("本は何冊借りられますか", "ja/riyou-annai.md")


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
    late_ms: float

    @property
    def cited(self) -> str:
        return str(self.sources[0]["source"]) if self.sources else "-"


class CutIn(msgspec.Struct, frozen=True):
    """An answer that was cut, and the one that came instead."""

    first_words: str
    """The first answer's whole text."""
    kept: str
    """What the history holds of it."""
    kept_status: str
    heard_words: int
    """How many of its words had been played in full when the sound stopped."""
    stop_ms: float
    """From the caller's first loud sample to the last frame received."""
    confirm_ms: float
    """To the word that it was cut."""
    timeline: dict[str, Any]
    second: Answered


class Day(msgspec.Struct, frozen=True):
    """What the calls brought."""

    answers: dict[str, list[Answered]]
    cut_in: CutIn
    japanese: Answered


def canonical() -> list[Question]:
    tree = tomllib.loads((ROOT / "tests" / "rag" / "questions.toml").read_text("utf-8"))
    return [Question(q["question"], q["source"]) for q in tree["canonical"]]


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("day")
    said = {
        voice: [(one, flite(one.question, voice, folder)) for one in canonical()]
        for voice in VOICES
    }

    async def calls(url: str) -> Day:
        answers, cut, written = await asyncio.gather(
            asyncio.gather(*(ask_all(url, said[voice]) for voice in VOICES)),
            cut_in(url, said["rms"]),
            write(url, JAPANESE),
        )
        return Day(dict(zip(VOICES, answers, strict=True)), cut, written)

    with serving(folder) as url:
        yield asyncio.run(calls(url))


# --- asking -----------------------------------------------------------------------------------


async def ask_all(url: str, said: list[tuple[Question, Samples]]) -> list[Answered]:
    async with calling(url, speed=SPEED) as caller:
        await caller.pause(0.5)
        return [await ask(caller, question, speech) for question, speech in said]


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
        late_ms=late_ms(caller, item_id),
    )


async def write(url: str, question: Question) -> Answered:
    """Types the question, and listens."""
    content = [{"type": "input_text", "text": question.question}]
    item = {"type": "message", "role": "user", "content": content}
    async with calling(url) as caller:
        await caller.send({"type": "conversation.item.create", "item": item})
        await caller.send({"type": "response.create"})
        over = await caller.until(lambda n: n.type == "kaiwa.turn.timeline")
        return answered(caller, question, caller.notes, over.event)


def late_ms(caller: Caller, item_id: str) -> float:
    """How late the latest piece of sound was for a listener who began to play with the first."""
    pieces = caller.deltas.get(item_id, [(0.0, 0)])
    played_s, worst_s = 0.0, 0.0
    for at, size in pieces:
        worst_s = max(worst_s, at - pieces[0][0] - played_s)
        played_s += size / 2 / RATE_HZ
    return worst_s * 1000


async def cut_in(url: str, said: list[tuple[Question, Samples]]) -> CutIn:
    """Asks for the longest answer and does not wait for its end."""
    questions = {question.source: (question, speech) for question, speech in said}
    long_one, other = questions["cancellation.txt"], questions["accessibility.html"]
    async with calling(url) as caller:
        await caller.pause(0.5)
        await caller.say(long_one[1])
        begun = await caller.until(lambda n: n.type == "response.output_audio_transcript.delta")
        item_id = begun.event["item_id"]
        await caller.pause(CUT_AFTER_S)
        since = len(caller.notes)
        spoken = await caller.say(other[1])
        over = await caller.until(_timeline_with("completed"), since=since)
        at = next(n for n, note in enumerate(caller.notes) if note.type == "kaiwa.turn.timeline")
        second = answered(caller, other[0], caller.notes[at + 1 :], over.event)
        await caller.send({"type": "conversation.item.retrieve", "item_id": item_id})
        kept = await caller.until(lambda n: n.type == "conversation.item.retrieved", since=since)
    item, pieces = kept.event["item"], caller.deltas[item_id]
    heard_ms = (caller.notes[at].at - pieces[0][0]) * 1000
    cut_s, stopped_s = caller.of("response.done")[0].at, pieces[-1][0]
    began_ms = spoken.start_ms + first_loud_ms(other[1])
    whole = caller.of("response.output_audio_transcript.done")[0].event["transcript"]
    return CutIn(
        first_words=whole,
        kept=item["content"][0]["transcript"],
        kept_status=item["status"],
        heard_words=words_before(caller, item_id, whole, heard_ms),
        stop_ms=stopped_s * 1000 - began_ms,
        confirm_ms=cut_s * 1000 - began_ms,
        timeline=caller.notes[at].event,
        second=second,
    )


def _timeline_with(outcome: str) -> Callable[[Noted], bool]:
    return lambda n: n.type == "kaiwa.turn.timeline" and n.event["outcome"] == outcome


def words_before(caller: Caller, item_id: str, text: str, ms: float) -> int:
    """How many words of the text had ended by then, as the server's marks place them."""
    notes = [n for n in caller.of("kaiwa.speech.marks") if n.event["item_id"] == item_id]
    marks: list[tuple[int, int]] = [(at, end) for n in notes for at, end in n.event["marks"]]
    ended = max((chars for chars, at_ms in marks if at_ms <= ms), default=0)
    return len(words(text[:ended]))


def first_loud_ms(samples: Samples) -> float:
    """Where the voice rises to 30 dB below its peak."""
    level = np.abs(samples.astype(np.int32))
    return int((level > level.max() * 10 ** (-30 / 20)).argmax()) * 1000 / RATE_HZ


# --- what came back ---------------------------------------------------------------------------


def espeak(text: str, *, speed: float = 1.0) -> Samples:
    """What the synthesizer says by itself, cut into clauses as the server cuts, at 24 kHz."""

    async def run() -> Samples:
        tts = EspeakTTS()
        await tts.start()
        splitter = ClauseSplitter()
        pcm = b""
        for clause in [*splitter.feed(text), *splitter.flush()]:
            async with contextlib.aclosing(tts.stream(clause, speed=speed)) as events:
                pcm += b"".join([e.pcm async for e in events if isinstance(e, SpeechAudio)])
        return resample(np.frombuffer(pcm, "<i2"), tts.rate_hz)

    return asyncio.run(run())


def envelope(samples: Samples) -> NDArray[np.float64]:
    """[n] RMS of each 10 ms."""
    blocks = samples[: len(samples) // BLOCK * BLOCK].astype(np.float64).reshape(-1, BLOCK)
    loud: NDArray[np.float64] = np.sqrt((blocks**2).mean(axis=1))
    return loud


def sounding(samples: Samples) -> NDArray[np.float64]:
    """The envelope without its pauses: how long they are is another question."""
    loud = envelope(samples)
    return loud[loud > QUIET_RMS]


def likeness(one: Samples, other: Samples) -> float:
    """Correlation of what sounds in both, 10 ms by 10 ms, aligned by at most 60 ms of drift.

    A word that is missing shifts all that follows by more than that.
    Source: Sakoe and Chiba, Dynamic programming algorithm optimization, 1978 (the band).
    """
    a, b = sounding(one), sounding(other)
    cost = np.full((len(a) + 1, len(b) + 1), np.inf)
    cost[0, 0] = 0.0
    for i in range(len(a)):
        for j in range(max(0, i - DRIFT_BLOCKS), min(len(b), i + DRIFT_BLOCKS + 1)):
            before = min(cost[i, j], cost[i, j + 1], cost[i + 1, j])
            cost[i + 1, j + 1] = before + abs(a[i] - b[j])
    if not np.isfinite(cost[-1, -1]):
        return 0.0
    pairs, i, j = [], len(a), len(b)
    while i and j:
        pairs.append((a[i - 1], b[j - 1]))
        steps = ((i - 1, j - 1), (i - 1, j), (i, j - 1))
        i, j = min(steps, key=lambda step: float(cost[step]))
    return float(np.corrcoef(np.array(pairs).T)[0, 1])


def longest_pause_ms(samples: Samples) -> int:
    """Within the answer, not at its ends."""
    longest = current = 0
    for loud in np.trim_zeros(envelope(samples) > QUIET_RMS):
        current = 0 if loud else current + 10
        longest = max(longest, current)
    return longest


def dbfs(samples: Samples) -> float:
    return float(20 * np.log10(np.sqrt((samples.astype(np.float64) ** 2).mean()) / 32768))


def wrong_with(answer: Answered, speed: float) -> list[str]:
    """What a listener would complain about; nothing, if the answer is whole."""
    own = espeak(answer.transcript, speed=speed)
    long, due = len(sounding(answer.audio)), len(sounding(own))
    like = likeness(answer.audio, own)
    peak = int(np.abs(answer.audio.astype(np.int32)).max(initial=0))
    lead_ms = first_loud_ms(answer.audio)
    pause_ms = longest_pause_ms(answer.audio)
    print(
        f"  {len(answer.audio) / RATE_HZ:5.2f} s {long / due - 1:+.1%} like {like:.3f} "
        f"{dbfs(answer.audio):.1f} dBFS peak {peak} lead {lead_ms:.0f} ms "
        f"pause {pause_ms} ms late {answer.late_ms:.0f} ms  {answer.transcript}"
    )
    faults = {
        "transcript and its deltas differ": answer.deltas != answer.transcript,
        "too long or too short": abs(long / due - 1) > LENGTH_TOLERANCE,
        "not the words": like < LEAST_LIKENESS,
        "clipped": peak >= 32767,
        "too loud or too soft": not -26 < dbfs(answer.audio) < -14,
        "begins late": lead_ms > LONGEST_LEAD_MS,
        "long pause": pause_ms > LONGEST_PAUSE_MS,
        "gap in the stream": answer.late_ms > LATEST_MS,
    }
    return [fault for fault, found in faults.items() if found]


# --- tests ------------------------------------------------------------------------------------


@pytest.mark.speech
@pytest.mark.real_time
def test_nine_of_ten_spoken_questions_are_answered_from_the_right_document(day: Day) -> None:
    right = []
    for voice, answers in day.answers.items():
        for answer in answers:
            right.append(answer.cited == answer.question.source)
            score = answer.sources[0]["score"] if answer.sources else 0.0
            print(
                f"{voice} {'ok ' if right[-1] else 'NO '} {answer.cited:20} {score:.2f} "
                f"tts_start {answer.timeline['tts_start_ms']:.0f} ms  {answer.heard}"
            )
        print(f"{voice}: {sum(right[-len(answers) :])} of {len(answers)}")
    assert sum(right) >= LEAST_RIGHT * len(right)


@pytest.mark.speech
@pytest.mark.real_time
def test_every_answer_is_spoken_whole_and_once(day: Day) -> None:
    faults = {}
    for voice, answers in day.answers.items():
        for answer in answers:
            if found := wrong_with(answer, SPEED):
                faults[f"{voice}: {answer.transcript}"] = found
    assert faults == {}


@pytest.mark.speech
@pytest.mark.real_time
def test_a_spoken_question_cuts_the_answer_and_gets_its_own_in_full(day: Day) -> None:
    cut = day.cut_in
    print(
        f"stopped after {cut.stop_ms:.0f} ms, sure after {cut.confirm_ms:.0f} ms, kept "
        f"{cut.kept!r} of {cut.first_words!r}"
    )
    assert cut.timeline["outcome"] == "interrupted"
    assert cut.stop_ms <= STOP_LIMIT_MS and cut.confirm_ms <= CONFIRM_LIMIT_MS
    assert cut.kept_status == "incomplete"
    assert cut.kept and cut.first_words.startswith(cut.kept) and cut.kept != cut.first_words
    assert abs(len(words(cut.kept)) - cut.heard_words) <= 1
    assert cut.second.cited == cut.second.question.source
    assert wrong_with(cut.second, 1.0) == []


@pytest.mark.speech
@pytest.mark.real_time
def test_a_question_written_in_japanese_is_answered_in_japanese_and_spoken_whole(day: Day) -> None:
    assert day.japanese.cited == day.japanese.question.source
    assert KANA.search(day.japanese.transcript)
    assert wrong_with(day.japanese, 1.0) == []


def test_the_comparison_sees_a_word_missing_a_clause_missing_and_one_said_twice() -> None:
    first, second = "Parking is free for the first two hours.", "After that it costs two dollars."
    whole = espeak(f"{first} {second}")
    assert likeness(whole, espeak(f"{first} {second}")) >= LEAST_LIKENESS
    for other in (
        f"{first} After that it costs dollars.",
        first,
        f"{first} {second} {second}",
        f"{second} {first}",
    ):
        assert likeness(whole, espeak(other)) < LEAST_LIKENESS, other
