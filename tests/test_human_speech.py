"""People's speech through the whole server: one call, one file after another, in real time."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.speech import (
    RATE_HZ,
    Caller,
    Noted,
    Samples,
    Spoken,
    calling,
    human_speech,
    serving,
    word_errors,
    words,
)

FINALS = (
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.failed",
)
MOST_ERRORS = 0.40
PAUSE_S = 0.9
PREFIX_MS = 300
"""What server_vad hears before the speech it found."""
FRINGE_DB = -30.0
"""What lies so far below a file's loudest 20 ms is its room, not its speech."""


class Turn(msgspec.Struct, frozen=True):
    """A committed item, by the caller's audio in ms."""

    item_id: str
    start_ms: float
    end_ms: float
    text: str


class Heard(msgspec.Struct, frozen=True):
    """What became of one file."""

    file: str
    said: list[str]
    turns: list[Turn]
    partial_s: float | None
    """From the file's start to its first partial; None: there was none before its end."""
    missed: float
    """Share of its speech that no turn covers, in energy."""

    @property
    def words(self) -> list[str]:
        return words(" ".join(turn.text for turn in self.turns))

    @property
    def errors(self) -> int:
        return word_errors(self.said, self.words)


async def speak_all(url: str, files: list[tuple[str, str, Samples]]) -> tuple[Caller, list[Spoken]]:
    """All the files in one call that is to write, not to answer."""
    async with calling(url, create_response=False) as caller:
        await caller.pause(PAUSE_S)
        spoken = []
        for _, _, samples in files:
            spoken.append(await caller.say(samples))
            await caller.pause(PAUSE_S)
        await caller.pause(PAUSE_S)
        for commit in caller.of("input_audio_buffer.committed"):
            await caller.until(_is_final_of(commit.event["item_id"]))
        return caller, spoken


def _is_final_of(item_id: str) -> Callable[[Noted], bool]:
    return lambda note: note.type in FINALS and note.event["item_id"] == item_id


def turns_of(caller: Caller) -> list[Turn]:
    """The committed items in the order of their commitment."""
    started = {n.event["item_id"]: n.event for n in caller.of("input_audio_buffer.speech_started")}
    stopped = {n.event["item_id"]: n.event for n in caller.of("input_audio_buffer.speech_stopped")}
    texts = {n.event["item_id"]: n.event.get("transcript", "") for n in caller.of(*FINALS)}
    items = [n.event["item_id"] for n in caller.of("input_audio_buffer.committed")]
    assert list(texts) == items, "finals come in the order of their utterances, each once"
    return [
        Turn(i, started[i]["audio_start_ms"], stopped[i]["audio_end_ms"], texts[i]) for i in items
    ]


def missed_share(samples: Samples, spoken: Spoken, turns: list[Turn]) -> float:
    """How much of the speech's energy lies outside all turns."""
    size = RATE_HZ // 50
    blocks = samples[: len(samples) // size * size].astype(np.float64).reshape(-1, size)
    energy = (blocks**2).mean(axis=1)
    energy[energy < energy.max() * 10 ** (FRINGE_DB / 10)] = 0
    at_ms = spoken.start_ms + np.arange(len(energy)) * 20.0
    covered = np.zeros(len(energy), bool)
    for turn in turns:
        covered |= (at_ms >= turn.start_ms - 20) & (at_ms < turn.end_ms)
    return float(energy[~covered].sum() / energy.sum())


def heard_of(
    caller: Caller, files: list[tuple[str, str, Samples]], spoken: list[Spoken]
) -> list[Heard]:
    turns = turns_of(caller)
    result = []
    for (file, said, samples), place in zip(files, spoken, strict=True):
        own = [
            turn
            for turn in turns
            if place.start_ms - PREFIX_MS - 100 <= turn.start_ms < place.end_ms
        ]
        ids = {turn.item_id for turn in own}
        partials = [
            note.at - place.start_ms / 1000
            for note in caller.of("kaiwa.transcript.partial")
            if note.event["item_id"] in ids and note.at < place.end_ms / 1000
        ]
        first = min(partials, default=None)
        missed = missed_share(samples, place, own)
        result.append(Heard(file, words(said), own, first, missed))
    return result


def table(heard: list[Heard]) -> str:
    lines = []
    for one in heard:
        partial = "none" if one.partial_s is None else f"{one.partial_s * 1000:4.0f} ms"
        text = " | ".join(turn.text for turn in one.turns)
        lines.append(
            f"{one.file:20} {one.errors:2}/{len(one.said):<2} partial {partial} "
            f"missed {one.missed:.1%}  {text}"
        )
    errors, said = sum(one.errors for one in heard), sum(len(one.said) for one in heard)
    return "\n".join([*lines, f"{'all':20} {errors}/{said} = {errors / said:.1%}"])


@pytest.mark.speech
@pytest.mark.real_time
def test_all_that_people_say_in_one_call_is_heard_in_order_and_mostly_understood(
    tmp_path: Path,
) -> None:
    files = human_speech()
    with serving(tmp_path) as url:
        caller, spoken = asyncio.run(speak_all(url, files))
    heard = heard_of(caller, files, spoken)
    print(table(heard))
    assert [one.file for one in heard if one.partial_s is None] == []
    assert [one.file for one in heard if not one.words or one.missed > 0.01] == []
    own = [turn.item_id for one in heard for turn in one.turns]
    assert own == [turn.item_id for turn in turns_of(caller)], "a turn that nobody spoke"
    errors, said = sum(one.errors for one in heard), sum(len(one.said) for one in heard)
    assert errors <= MOST_ERRORS * said
