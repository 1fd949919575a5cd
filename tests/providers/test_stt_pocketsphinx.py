"""The recogniser on speech of people (SPEECH_DIR) and of flite, through the worker pool."""

import asyncio
import csv
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from providers.base import Hypothesis, ProviderError, SttFailure
from providers.stt_pocketsphinx import PocketsphinxSTT
from tests.needed import needed
from tests.speech import read_wav, word_errors

Result = Hypothesis | SttFailure
STEP_BYTES = 640


class Call:
    """One stream and what came back from it."""

    def __init__(self, stt: PocketsphinxSTT) -> None:
        self.results: list[Result] = []
        self._changed = asyncio.Event()
        self.stream = stt.open(self._receive)

    def _receive(self, result: Result) -> None:
        self.results.append(result)
        self._changed.set()

    async def until(self, utterance: int, *, final: bool) -> Result:
        async with asyncio.timeout(120):
            while True:
                for result in self.results:
                    if result.utterance == utterance and (
                        isinstance(result, SttFailure) or result.is_final or not final
                    ):
                        return result
                self._changed.clear()
                await self._changed.wait()

    async def say(self, utterance: int, pcm: bytes) -> Hypothesis:
        """Everything but the last 300 ms, then a partial must come; then the rest."""
        cut = max(0, len(pcm) - 9600)
        self.stream.begin(utterance)
        for start in range(0, cut, STEP_BYTES):
            self.stream.feed(pcm[start : min(cut, start + STEP_BYTES)])
        partial = await self.until(utterance, final=False)
        assert isinstance(partial, Hypothesis) and not partial.is_final and partial.text
        self.stream.feed(pcm[cut:])
        self.stream.end()
        final = await self.until(utterance, final=True)
        assert isinstance(final, Hypothesis)
        return final


async def started() -> PocketsphinxSTT:
    stt = PocketsphinxSTT(workers=1)
    await stt.start()
    return stt


@pytest.fixture
def speech() -> list[tuple[Path, str]]:
    folder = os.environ.get("SPEECH_DIR")
    if not folder:
        pytest.skip("SPEECH_DIR names no folder with human speech")
    with open(Path(folder) / "transcripts.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [(Path(folder) / row["file"], row["text"]) for row in rows]


@pytest.mark.speech
@pytest.mark.parametrize("one_call", [False, True])
def test_human_speech_is_understood_with_at_most_forty_percent_word_errors(
    speech: list[tuple[Path, str]], one_call: bool
) -> None:
    """Each file as a call of its own, then all of them one after another in one call."""

    async def run() -> float:
        stt = await started()
        errors = words = 0
        call = Call(stt)
        for number, (path, text) in enumerate(speech, 1):
            if not one_call:
                call = Call(stt)
            pcm = read_wav(path, 16_000).tobytes()
            began = asyncio.get_running_loop().time()
            final = await call.say(number, pcm)
            took = asyncio.get_running_loop().time() - began
            wrong = word_errors(text.split(), final.text.split())
            errors, words = errors + wrong, words + len(text.split())
            rtf = took / (len(pcm) / 32_000)
            print(f"{path.name} {wrong}/{len(text.split())} rtf {rtf:.2f}: {final.text}")
        await stt.aclose()
        return errors / words

    rate = asyncio.run(run())
    print(f"word error rate {rate:.3f}")
    assert rate <= 0.40


@pytest.mark.speech
@pytest.mark.parametrize("voice", ["rms", "slt"])
def test_flite_speech_is_understood(tmp_path: Path, voice: str) -> None:
    flite = needed("flite")
    text = "what are your opening hours on monday"
    wav = tmp_path / "question.wav"
    subprocess.run([flite, "-voice", voice, "-t", text, "-o", str(wav)], check=True)

    async def run() -> str:
        stt = await started()
        final = await Call(stt).say(1, read_wav(wav, 16_000).tobytes())
        await stt.aclose()
        return final.text

    heard = asyncio.run(run())
    assert word_errors(text.split(), heard.split()) <= 2, heard


def test_silence_and_clicks_end_in_an_empty_final() -> None:
    async def run() -> list[Result]:
        stt = await started()
        call = Call(stt)
        finals: list[Result] = []
        for number, pcm in enumerate([b"", bytes(2), bytes(1000), bytes(64_000)], 1):
            call.stream.begin(number)
            call.stream.feed(pcm)
            call.stream.end()
            finals.append(await call.until(number, final=True))
        await stt.aclose()
        return finals

    assert asyncio.run(run()) == [Hypothesis(n, "", True) for n in (1, 2, 3, 4)]


def test_an_abandoned_utterance_says_nothing_more_and_the_next_one_is_heard() -> None:
    async def run() -> list[Result]:
        stt = await started()
        call = Call(stt)
        call.stream.begin(1)
        call.stream.feed(bytes(32_000))
        call.stream.abandon()
        call.stream.begin(2)
        call.stream.end()
        await call.until(2, final=True)
        await stt.aclose()
        return call.results

    assert {result.utterance for result in asyncio.run(run())} == {2}


def test_an_ended_utterance_that_is_given_up_costs_nothing_more() -> None:
    """12 s in one piece, and End: heard to the final, and given up at once"""

    def cpu_ticks(pid: int) -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        return int(fields[11]) + int(fields[12])

    noise = np.random.default_rng(1).normal(0, 3000, 12 * 16_000).astype("<i2").tobytes()

    async def run() -> tuple[list[Result], list[int]]:
        stt = PocketsphinxSTT(workers=1, decoders=1)
        await stt.start()
        (pid,), call = stt.pool.pids, Call(stt)
        ticks: list[int] = []
        for number in (1, 2):
            before = cpu_ticks(pid)
            call.stream.begin(number)
            call.stream.feed(noise)
            call.stream.end()
            if number == 1:
                await call.until(1, final=True)
            else:
                call.stream.abandon(2)
                call.stream.abandon(2)
            await asyncio.sleep(0.5)
            ticks.append(cpu_ticks(pid) - before)
        call.stream.begin(3)
        call.stream.end()
        await call.until(3, final=True)
        await stt.aclose()
        return call.results, ticks

    results, (whole, given_up) = asyncio.run(run())
    assert {result.utterance for result in results} == {1, 3}
    assert given_up < whole / 3


def test_more_utterances_than_decoders_all_get_their_final() -> None:
    async def run() -> list[Result]:
        stt = PocketsphinxSTT(workers=1, decoders=1)
        await stt.start()
        calls = [Call(stt) for _ in range(4)]
        for call in calls:
            call.stream.begin(7)
            call.stream.feed(bytes(16_000))
        for call in reversed(calls):
            call.stream.end()
        finals = [await call.until(7, final=True) for call in calls]
        await stt.aclose()
        return finals

    assert asyncio.run(run()) == [Hypothesis(7, "", True)] * 4


def test_check_succeeds_when_running_and_says_what_to_do_when_not() -> None:
    async def run() -> None:
        stt = PocketsphinxSTT(workers=1)
        with pytest.raises(ProviderError, match="start"):
            await stt.check()
        await stt.start()
        await stt.check()
        await stt.aclose()
        await stt.aclose()

    asyncio.run(run())


@pytest.mark.real_time
def test_pings_succeed_while_it_decodes_and_tell_a_death_within_two_seconds() -> None:
    async def run() -> ProviderError:
        stt = await started()
        call = Call(stt)
        call.stream.begin(1)
        call.stream.feed(np.random.default_rng(1).integers(-900, 900, 64_000, "<i2").tobytes())
        call.stream.end()
        final = asyncio.ensure_future(call.until(1, final=True))
        while not final.done():
            await stt.ping()
            await asyncio.sleep(0.02)
        os.kill(stt.pool.pids[0], signal.SIGKILL)
        told = None
        async with asyncio.timeout(2):
            while told is None:
                try:
                    await stt.ping()
                    await asyncio.sleep(0.01)
                except ProviderError as error:
                    told = error
        await stt.aclose()
        return told

    assert "worker_died" in str(asyncio.run(run()))


def test_odd_bytes_are_refused_by_name() -> None:
    async def run() -> None:
        stt = await started()
        call = Call(stt)
        call.stream.begin(1)
        with pytest.raises(ValueError, match="pcm must be whole 16-bit samples, got 3 bytes"):
            call.stream.feed(b"abc")
        await stt.aclose()

    asyncio.run(run())
