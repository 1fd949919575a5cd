"""Conversations over networks that lose, delay and reorder: does the server hear what was said?

    python -m tests.networks            the whole grid (make networks; some minutes)
    python -m tests.networks --human    word errors of human speech at 5 % loss against none

One caller of tests/webrtc holds one call after the other with a server of its own, both in
namespaces that tests/network.py joins:

    caller   ~~~~ 2 s of speech ~~~~ ... room ...            ~~~~ 2 s ~~~~ ... room ...
    server                                    ###answer###
                                    |-latency-|

Latency is taken from the sound alone: from the last packet of speech on its way to the first packet
of the answer at the caller.
"""

import argparse
import asyncio
import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from tests.network import NEAR, Conditions, Network, inside, network, run_inside
from tests.served import Served, written
from tests.speech import human_speech, resample, room_noise, word_errors, words
from tests.webrtc import opus
from tests.webrtc.caller import Caller, Received, speak
from voice.bench.speech import made_speech

KEY = "a-key-of-this-test"
SETTINGS: dict[str, Any] = {
    "server": {"host": NEAR, "api_keys": [KEY]},
    "webrtc": {"offers_per_minute": 10_000},
    "vad": {"provider": "silero"},
    "mock": {"stt_text": "yes", "tts_first_audio_ms": 5.0},
    "turn": {"silence_ms": 500},
}
HUMAN: dict[str, Any] = {
    "stt": {"provider": "pocketsphinx"},
    "vad": {"provider": "silero"},
}
"""The recogniser that every installation has; what answers does not matter here."""
DELAY_MS = 40.0
LOSSES = (0.0, 0.01, 0.05, 0.10)
JITTERS_MS = (0.0, 20.0, 50.0)
BURSTS = Conditions(loss=0.10, stay=0.7, jitter_ms=10.0, delay_ms=DELAY_MS)
GRID = (
    *(
        Conditions(loss=loss, jitter_ms=jitter_ms, delay_ms=DELAY_MS)
        for loss, jitter_ms in itertools.product(LOSSES, JITTERS_MS)
    ),
    BURSTS,
)
SPURT_GAP_S = 0.25
LEAST_SPURT = 10
"""Packets. Silence that keeps the path open comes alone."""


# --- what is said ---------------------------------------------------------------------------------


class Voice:
    """Packets of speech and of the room, coded once."""

    def __init__(self, expected_loss: float) -> None:
        percent = round(expected_loss * 100)
        room = resample(room_noise(4 * 24_000, 1), 24_000, opus.RATE_HZ)
        self.room = opus.packets(room, expected_loss=percent)
        said = resample(made_speech().samples, 24_000, opus.RATE_HZ)
        self.sentence = opus.packets(said, expected_loss=percent)

    def pause(self, seconds: float) -> list[bytes]:
        return list(itertools.islice(itertools.cycle(self.room), round(seconds * 50)))


# --- what comes back ------------------------------------------------------------------------------


class Spurt(msgspec.Struct, frozen=True):
    """Sound without a pause."""

    begins: float
    ends: float
    packets: int
    missing: int


def spurts(received: Sequence[Received]) -> list[Spurt]:
    """By RTP timestamps, so that lost packets make no pause."""
    found: list[list[Received]] = []
    for packet in sorted(received, key=lambda one: one.timestamp):
        if found and packet.timestamp - found[-1][-1].timestamp < SPURT_GAP_S * opus.RATE_HZ:
            found[-1].append(packet)
        else:
            found.append([packet])
    return [_spurt(run) for run in found if len(run) >= LEAST_SPURT]


def _spurt(run: Sequence[Received]) -> Spurt:
    while len(run) > 1 and run[1].timestamp - run[0].timestamp > 3 * opus.FRAME_SAMPLES:
        run = run[1:]  # silence that kept the path open, just before
    whole = (run[-1].timestamp - run[0].timestamp) // opus.FRAME_SAMPLES + 1
    return Spurt(
        begins=min(packet.at for packet in run[:5]),
        ends=run[-1].at,
        packets=len(run),
        missing=whole - len({packet.timestamp for packet in run}),
    )


# --- one call -------------------------------------------------------------------------------------


class Talk(msgspec.Struct, frozen=True):
    """What a call was like at its far end."""

    session: str
    setup_s: float
    turns: int
    """Committed by the server: each sentence should be one."""
    answers: int
    latency_ms: list[float]
    packets: int
    """Sent by the caller."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """And how the server heard it."""

    conditions: Conditions
    sentences: int
    talk: Talk
    received: int
    """Of the packets that were sent, late ones included."""
    missing: int
    """Of the packets that were sent, not heard: neither played nor recovered from a copy."""
    wait_ms: float
    """What a hole was waited for in the end."""

    @property
    def thirds_ms(self) -> tuple[float, float]:
        """The latency of the first and of the last third of the turns."""
        after = self.talk.latency_ms or [0.0]
        third = max(1, len(after) // 3)
        return statistics.median(after[:third]), statistics.median(after[-third:])

    @property
    def growth_ms(self) -> float:
        first, last = self.thirds_ms
        return last - first

    @property
    def network_loss(self) -> float:
        return 1 - self.received / max(1, self.talk.packets)

    @property
    def heard_loss(self) -> float:
        return self.missing / max(1, self.talk.packets)


async def converse(url: str, conditions: Conditions, sentences: int) -> Talk:
    """A call of so many sentences, each of which waits for its answer."""
    async with _http() as http:
        caller, ends = await _talk(url, http, Voice(conditions.loss), sentences)
    answers = spurts(caller.received)
    return Talk(
        session=caller.of("session.created")[0].event["session"]["id"],
        setup_s=caller.setup_s,
        turns=len(caller.of("input_audio_buffer.committed")),
        answers=len(answers),
        latency_ms=[round(one) for one in latencies_ms(ends, answers)],
        packets=caller.sent,
    )


async def _talk(
    url: str, http: aiohttp.ClientSession, voice: Voice, sentences: int
) -> tuple[Caller, list[float]]:
    """The caller, and when each sentence's last packet was sent."""
    caller, ends = Caller(), []
    await caller.connect(f"{url}v1/realtime/calls", http)
    try:
        await speak([caller], voice.pause(0.8))
        for number in range(sentences):
            await speak([caller], voice.sentence)
            ends.append(time.monotonic())
            for _ in range(25):
                await speak([caller], voice.pause(0.2))
                answers = spurts(caller.received)
                quiet = answers and time.monotonic() - answers[-1].ends > 2 * SPURT_GAP_S
                if len(answers) > number and quiet:
                    break
        await speak([caller], voice.pause(1.0))
    finally:
        await caller.close()
    return caller, ends


def _http() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"})


def latencies_ms(ends: Sequence[float], answers: Sequence[Spurt]) -> list[float]:
    """From each end of speech to the first answer after it, where there is one before the next."""
    found = []
    for end, following in itertools.zip_longest(ends, ends[1:], fillvalue=float("inf")):
        begun = [answer.begins for answer in answers if end < answer.begins < following]
        found += [(begun[0] - end) * 1000] if begun else []
    return found


# --- over the grid --------------------------------------------------------------------------------


@contextlib.contextmanager
def far_from_a_server(
    settings: dict[str, Any] | None = None, *, seed: int = 1
) -> Iterator[tuple[Network, Served]]:
    """A network that is good as yet, and a server at its near end."""
    with network(seed=seed) as made, tempfile.TemporaryDirectory() as folder:
        config = written(Path(folder), {**SETTINGS, **(settings or {})})
        served = Served(config, within=inside(made.near))
        try:
            yield made, served
        finally:
            served.stop()


def calls_over(
    made: Network, served: Served, grid: Iterable[Conditions], *, sentences: int
) -> Iterator[Call]:
    """One call after the other, each under its own conditions."""
    for conditions in grid:
        made.becomes(conditions)
        work = partial(asyncio.run, converse(served.url, conditions, sentences))
        talk = run_inside(made.far, work)
        quality = served.logged("webrtc_quality", session=talk.session)
        yield Call(
            conditions=conditions,
            sentences=sentences,
            talk=talk,
            received=quality["received"]["packets"],
            missing=quality["received"]["lost"] - quality["recovered"],
            wait_ms=quality["wait_ms"],
        )


async def set_up(url: str, callers: int) -> list[float]:
    """Seconds until each of so many callers, one after the other, could talk."""
    took = []
    for _ in range(callers):
        caller = Caller()
        async with _http() as http:  # a connection of its own for each, as callers have it
            try:
                await caller.connect(f"{url}v1/realtime/calls", http)
                took.append(round(caller.setup_s, 2))
            finally:
                await caller.close()
    return took


def setups_over(made: Network, url: str, conditions: Conditions, callers: int) -> list[float]:
    made.becomes(conditions)
    return run_inside(made.far, partial(asyncio.run, set_up(url, callers)))


# --- human speech ---------------------------------------------------------------------------------


class Written(msgspec.Struct, frozen=True):
    """What became of people's speech."""

    said: list[list[str]]
    heard: list[list[str]]

    @property
    def errors(self) -> int:
        return sum(word_errors(a, b) for a, b in zip(self.said, self.heard, strict=True))

    @property
    def rate(self) -> float:
        return self.errors / sum(len(one) for one in self.said)


async def dictate(
    url: str, conditions: Conditions, files: Sequence[tuple[str, str, Any]]
) -> Written:
    """All the files in one call that is to write, not to answer."""
    voice, caller = Voice(conditions.loss), Caller()
    heard = []
    async with _http() as http:
        await caller.connect(f"{url}v1/realtime/calls", http)
        try:
            detection = {"type": "server_vad", "create_response": False}
            audio = {"input": {"turn_detection": detection}}
            caller.post({"type": "session.update", "session": {"type": "realtime", "audio": audio}})
            await caller.until("session.updated")
            await speak([caller], voice.pause(1.0))
            for _, _, samples in files:
                since = len(caller.events)
                coded = resample(samples, 24_000, opus.RATE_HZ)
                percent = round(conditions.loss * 100)
                await speak([caller], opus.packets(coded, expected_loss=percent))
                heard.append(await _written(caller, voice, since))
        finally:
            await caller.close()
    return Written([words(text) for _, text, _ in files], heard)


async def _written(caller: Caller, voice: Voice, since: int) -> list[str]:
    """The words of all turns that began since then, once the room has been quiet for 2 s."""
    finals = "conversation.item.input_audio_transcription."
    quiet = 0.0
    for _ in range(100):
        await speak([caller], voice.pause(0.2))
        new = caller.events[since:]
        begun = [note for note in new if note.type == "input_audio_buffer.speech_started"]
        done = [note for note in new if note.type in (f"{finals}completed", f"{finals}failed")]
        quiet = quiet + 0.2 if len(done) >= len(begun) else 0.0
        if quiet >= 2.0:
            break
    texts = [note.event.get("transcript", "") for note in new if note.type == f"{finals}completed"]
    return words(" ".join(texts))


def words_over(
    settings: dict[str, Any], grid: Sequence[Conditions], *, seed: int = 1
) -> list[Written]:
    """People's speech, once under each of these conditions."""
    files = human_speech()
    found = []
    with far_from_a_server(settings, seed=seed) as (made, served):
        for how in grid:
            made.becomes(how)
            found.append(
                run_inside(made.far, partial(asyncio.run, dictate(served.url, how, files)))
            )
    return found


# --- the whole grid -------------------------------------------------------------------------------


HEAD = (
    "| network | set-up | turns | answer after, at first and in the end | lost | not heard | "
    "a hole is waited for |\n|---|---:|---:|---:|---:|---:|---:|"
)


def row(call: Call) -> str:
    first, last = call.thirds_ms
    return (
        f"| {call.conditions} | {call.talk.setup_s:.2f} s | {call.talk.turns} of {call.sentences} "
        f"| {first:.0f}, {last:.0f} ms | {call.network_loss:.1%} | {call.heard_loss:.1%} "
        f"| {call.wait_ms:.0f} ms |"
    )


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--human", action="store_true", help="word errors (SPEECH_DIR)")
    asked.add_argument("--sentences", type=int, default=6)
    asked.add_argument("--seed", type=int, default=1)
    chosen = asked.parse_args()
    if chosen.human:
        compare_words(chosen.seed)
        return
    with far_from_a_server(seed=chosen.seed) as (made, served):
        print(HEAD)
        for call in calls_over(made, served, GRID, sentences=chosen.sentences):
            print(row(call), flush=True)
        bad = Conditions(loss=0.10, delay_ms=DELAY_MS)
        took = sorted(setups_over(made, served.url, bad, 20))
    print(
        f"\nset-up at 10 % loss, {len(took)} times: median {statistics.median(took):.2f} s, ",
        end="",
    )
    print(f"19 of 20 within {took[-2]:.2f} s, worst {took[-1]:.2f} s")


def compare_words(seed: int) -> None:
    grid = [Conditions(loss=loss, delay_ms=DELAY_MS, jitter_ms=20.0) for loss in (0.0, 0.05)]
    for how, what in zip(grid, words_over(HUMAN, grid, seed=seed), strict=True):
        total = sum(len(one) for one in what.said)
        print(f"{how}: {what.errors} errors in {total} words, {what.rate:.1%}", flush=True)
        for said, heard in zip(what.said, what.heard, strict=True):
            print("   ", " ".join(said), "\n   →", " ".join(heard))


if __name__ == "__main__":
    main()
