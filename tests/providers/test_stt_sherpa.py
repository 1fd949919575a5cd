"""Real decoding in the worker process: with models of random weights, and with our own."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from structlog.testing import capture_logs

from providers._batches import PARTIAL_S
from providers._sherpa_symbols import PIECE, read_symbols
from providers._worker import RESTART_S
from providers._workers import WorkerPool
from providers.base import Fault, Hypothesis, ProviderError, SttFailure
from providers.stt_sherpa import SherpaSTT
from tests import speech as speech_of
from tests.providers import tiny_models
from tests.providers.tiny_graph import write_graph

OWN_MODEL = Path(__file__).parents[2] / "providers" / "tiny_en"
Result = Hypothesis | SttFailure
FRAME_BYTES = 640


def speech(seconds: float, seed: int) -> bytes:
    """Three wandering tones, swelling like syllables."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * 16_000)) / 16_000
    wander = t + 0.05 * np.sin(2 * np.pi * 1.7 * t)
    tones = [
        np.sin(2 * np.pi * hz * wander) * (0.5 + 0.5 * np.sin(2 * np.pi * beat * t + phase))
        for hz, beat, phase in rng.uniform([100, 1, 0], [3000, 6, 6], (3, 3))
    ]
    return bytes((np.sum(tones, axis=0) * 3000).astype("<i2").tobytes())


def word_errors(said: str, heard: str) -> int:
    """Levenshtein distance in words."""
    row = list(range(len(heard.split()) + 1))
    for i, word in enumerate(said.split(), 1):
        before, row = row, [i]
        for j, other in enumerate(heard.split(), 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (word != other)))
    return row[-1]


class Call:
    """One stream and what came back from it."""

    def __init__(self, stt: SherpaSTT, **options: Any) -> None:
        self.results: list[Result] = []
        self._changed = asyncio.Event()
        self.stream = stt.open(self._receive, **options)

    def _receive(self, result: Result) -> None:
        self.results.append(result)
        self._changed.set()

    async def until(self, is_it: Callable[[Result], bool]) -> Result:
        async with asyncio.timeout(120):
            while True:
                if (found := next(filter(is_it, self.results), None)) is not None:
                    return found
                self._changed.clear()
                await self._changed.wait()

    async def final(self, utterance: int) -> str:
        result = await self.until(
            lambda r: r.utterance == utterance and (isinstance(r, SttFailure) or r.is_final)
        )
        assert isinstance(result, Hypothesis), result
        return result.text

    def say(self, utterance: int, pcm: bytes) -> None:
        self.stream.begin(utterance)
        self.feed(pcm)
        self.stream.end()

    def feed(self, pcm: bytes) -> None:
        for start in range(0, len(pcm), FRAME_BYTES):
            self.stream.feed(pcm[start : start + FRAME_BYTES])


@contextlib.asynccontextmanager
async def started(folder: Path, **options: Any) -> AsyncIterator[SherpaSTT]:
    stt = SherpaSTT(folder, **options)
    await stt.start()
    try:
        yield stt
    finally:
        await stt.aclose()


def pool_of(stt: SherpaSTT) -> WorkerPool:
    assert stt.pool is not None
    return stt.pool


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    folder.mkdir()
    tiny_models.nemo_ctc(folder)
    return folder


@pytest.mark.parametrize("kind", list(tiny_models.MAKERS))
def test_callers_decoded_together_are_understood_like_each_alone(tmp_path: Path, kind: str) -> None:
    tiny_models.MAKERS[kind](tmp_path)
    utterances = [speech(0.7 + 0.31 * number, number) for number in range(6)]

    async def run() -> tuple[list[str], list[str]]:
        async with started(tmp_path) as stt:
            alone = []
            for number, pcm in enumerate(utterances):
                call = Call(stt)
                call.say(number, pcm)
                alone.append(await call.final(number))
            calls = [Call(stt) for _ in utterances]
            for number, call in enumerate(calls):
                call.stream.begin(number)
            for start in range(0, max(map(len, utterances)), FRAME_BYTES):
                for call, pcm in zip(calls, utterances, strict=True):
                    call.stream.feed(pcm[start : start + FRAME_BYTES])
            for call in calls:
                call.stream.end()
            return alone, [await call.final(number) for number, call in enumerate(calls)]

    alone, together = asyncio.run(run())
    assert together == alone
    assert all(alone) and len(set(alone)) == len(alone), alone
    assert all(text == text.lower().strip() and "\u2581" not in text for text in alone)


@pytest.mark.parametrize("kind", ["nemo_ctc", "zipformer2_ctc"])
def test_with_a_graph_only_what_it_allows_is_heard(tmp_path: Path, kind: str) -> None:
    tiny_models.MAKERS[kind](tmp_path)
    symbols = [symbol.lower() for symbol in read_symbols(tmp_path / "tokens.txt")]

    async def heard() -> set[str]:
        async with started(tmp_path) as stt:
            call = Call(stt)
            call.say(1, speech(3, 1))
            return set((await call.final(1)).split())

    first, *others = sorted(asyncio.run(heard()))
    assert others
    write_graph(tmp_path / "HLG.fst", [symbols.index(PIECE + first), symbols.index("<blk>")])
    assert asyncio.run(heard()) == {first}


def test_partials_grow_into_the_final_and_none_comes_twice(tiny: Path) -> None:
    pcm = speech(3, 1)

    async def run() -> list[Result]:
        async with started(tiny) as stt:
            call = Call(stt)
            call.stream.begin(1)
            for start in range(0, len(pcm), 32_000):
                heard = set(call.results)
                call.feed(pcm[start : start + 32_000])
                await call.until(lambda result, heard=heard: result not in heard)  # type: ignore[misc]
            call.stream.end()
            await call.final(1)
            return call.results

    results = asyncio.run(run())
    texts = [result.text for result in results if isinstance(result, Hypothesis)]
    assert [isinstance(r, Hypothesis) and r.is_final for r in results].count(True) == 1
    assert len(texts) >= 4 and all(a != b for a, b in zip(texts[:-1], texts[1:-1], strict=False))
    assert all(texts[-1].startswith(text) for text in texts)


@pytest.mark.real_time
def test_partials_of_speech_at_its_own_pace_keep_their_distance(tiny: Path) -> None:
    async def run() -> tuple[list[float], float]:
        loop = asyncio.get_running_loop()
        async with started(tiny) as stt:
            came: list[float] = []
            stream = stt.open(lambda result: came.append(loop.time()))
            stream.begin(1)
            pcm, began = speech(1.5, 2), loop.time()
            for number, start in enumerate(range(0, len(pcm), FRAME_BYTES), 1):
                stream.feed(pcm[start : start + FRAME_BYTES])
                await asyncio.sleep(began + number * 0.02 - loop.time())
            return came, loop.time() - began

    came, lasted = asyncio.run(run())
    assert 2 <= len(came) <= lasted / PARTIAL_S + 1


def test_silence_clicks_and_the_loudest_noise_end_in_a_final(tiny: Path) -> None:
    square = np.tile(np.array([32767, -32768], "<i2"), 4000).tobytes()
    inputs = [b"", bytes(2), bytes(1000), bytes(64_000), b"\xff\x7f" * 8000, square]

    async def run() -> list[str]:
        async with started(tiny) as stt:
            call = Call(stt)
            finals = []
            for number, pcm in enumerate(inputs):
                call.say(number, pcm)
                finals.append(await call.final(number))
            assert pool_of(stt).restarts == 0
            return finals

    assert asyncio.run(run())[0] == ""


def test_a_model_that_answers_nan_hurts_nobody_else(tiny: Path, tmp_path: Path) -> None:
    """Batched with it, as the weights are everybody's; only its text is void."""
    model = onnx.load(tiny / "model.onnx")
    for weight in model.graph.initializer:
        if weight.data_type == onnx.TensorProto.FLOAT:
            array = onnx.numpy_helper.to_array(weight)
            weight.CopyFrom(onnx.numpy_helper.from_array(array * np.nan, weight.name))
    onnx.save(model, tiny / "model.onnx")

    async def run() -> int:
        async with started(tiny) as stt:
            calls = [Call(stt) for _ in range(3)]
            for call in calls:
                call.say(1, speech(1, 1))
            for call in calls:
                await call.final(1)
            await stt.check()
            return pool_of(stt).restarts

    assert asyncio.run(run()) == 0


def test_forty_seconds_in_one_breath_are_heard_to_the_end(tiny: Path) -> None:
    pcm = speech(40, 3)

    async def run() -> tuple[str, str]:
        async with started(tiny) as stt:
            call = Call(stt)
            call.say(1, pcm)
            call.say(2, pcm[: len(pcm) // 2])
            return await call.final(1), await call.final(2)

    whole, half = asyncio.run(run())
    words = half.split()
    assert len(whole.split()) > 1.5 * len(words)
    assert whole.split()[: len(words) - 2] == words[:-2]


# --- the worker dies ---


async def heard_with(
    folder: Path, blow: Callable[[int], None], **options: Any
) -> tuple[list[list[Result]], float, int]:
    """Three callers, in mid-utterance of whom the worker is dealt a blow.

    Returns:
        What each heard, how many starts of a worker the last one waited behind the blow, restarts.
    """
    pcms = [speech(2, seed) for seed in range(3)]
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with started(folder, **options) as stt:
        start_s = loop.time() - began
        calls = [Call(stt) for _ in pcms]
        for call, pcm in zip(calls, pcms, strict=True):
            call.stream.begin(1)
            call.feed(pcm[:32_000])
        for call in calls:
            await call.until(lambda _: True)
        blow(pool_of(stt).pids[0])
        at = loop.time()
        for call, pcm in zip(calls, pcms, strict=True):
            call.feed(pcm[32_000:])
            call.stream.end()
        for call in calls:
            await call.final(1)
        starts = (loop.time() - at - RESTART_S) / start_s
        await stt.check()
        assert pool_of(stt)._jobs == {}
        return [call.results for call in calls], starts, pool_of(stt).restarts


@pytest.mark.real_time
def test_a_crash_in_mid_utterance_loses_and_doubles_nothing_and_is_over_in_a_pause_and_a_start(
    tiny: Path,
) -> None:
    unhurt, _, _ = asyncio.run(heard_with(tiny, lambda pid: None))
    hurt, starts, restarts = asyncio.run(heard_with(tiny, lambda pid: os.kill(pid, signal.SIGKILL)))
    assert restarts == 1
    assert [results[-1] for results in hurt] == [results[-1] for results in unhurt]
    for results in hurt:
        texts = [r.text for r in results if isinstance(r, Hypothesis) and not r.is_final]
        assert texts == sorted(set(texts), key=len)
        assert len([r for r in results if isinstance(r, Hypothesis) and r.is_final]) == 1
    assert starts < 3


@pytest.mark.real_time
def test_a_worker_that_hangs_is_found_killed_and_replaced(tiny: Path) -> None:
    unhurt, _, _ = asyncio.run(heard_with(tiny, lambda pid: None))

    def stop(pid: int) -> None:
        os.kill(pid, signal.SIGSTOP)

    hurt, _, restarts = asyncio.run(heard_with(tiny, stop, hang_limit_s=1.2))
    assert restarts == 1
    assert [results[-1] for results in hurt] == [results[-1] for results in unhurt]


async def pinged_until(stt: SherpaSTT, is_well: bool) -> ProviderError | None:
    """As the watch does, only oftener."""
    async with asyncio.timeout(60):
        while True:
            try:
                await stt.ping()
            except ProviderError as error:
                if not is_well:
                    return error
            else:
                if is_well:
                    return None
            await asyncio.sleep(0.01)


@pytest.mark.real_time
def test_an_idle_death_is_told_by_the_next_ping_and_repaired_without_anybody_asking(
    tiny: Path,
) -> None:
    async def run() -> tuple[ProviderError | None, float, int]:
        loop = asyncio.get_running_loop()
        async with started(tiny) as stt:
            await stt.ping()
            os.kill(pool_of(stt).pids[0], signal.SIGKILL)
            at = loop.time()
            told = await pinged_until(stt, False)
            took = loop.time() - at
            await pinged_until(stt, True)
            await stt.check()
            return told, took, pool_of(stt).restarts

    told, took, restarts = asyncio.run(run())
    assert told is not None and told.fault is Fault.CRASHED and "memory" in str(told)
    assert took < 1 and restarts == 1


@pytest.mark.real_time
def test_a_worker_that_hangs_is_told_by_a_ping(tiny: Path) -> None:
    async def run() -> ProviderError | None:
        async with started(tiny, hang_limit_s=3) as stt:
            os.kill(pool_of(stt).pids[0], signal.SIGSTOP)
            return await pinged_until(stt, False)

    assert "is stopped, as by SIGSTOP" in str(asyncio.run(run()))


def test_a_ping_of_one_that_is_not_running_says_what_to_do(tiny: Path) -> None:
    with pytest.raises(ProviderError, match=r"not running; call start\(\)"):
        asyncio.run(SherpaSTT(tiny).ping())


def test_pings_succeed_while_it_is_busy_with_our_own_requests(tiny: Path) -> None:
    """Twenty callers send half a minute each at once; the worker decodes for seconds."""
    pcm = speech(30, 5)

    async def run() -> int:
        async with started(tiny) as stt:
            calls = [Call(stt) for _ in range(20)]
            for call in calls:
                call.say(1, pcm)
            finals = asyncio.gather(*[call.final(1) for call in calls])
            pings = 0
            while not finals.done():
                await stt.ping()
                pings += 1
                await asyncio.sleep(0.01)
            await finals
            return pings

    assert asyncio.run(run()) >= 3


@pytest.mark.real_time
def test_an_idle_worker_is_not_taken_for_hanging(tiny: Path) -> None:
    async def run() -> int:
        async with started(tiny, hang_limit_s=0.8) as stt:
            await asyncio.sleep(2)
            return pool_of(stt).restarts

    assert asyncio.run(run()) == 0


def test_a_worker_that_cannot_start_again_fails_the_utterance_and_recovers_with_its_model(
    tiny: Path,
) -> None:
    async def run() -> tuple[SttFailure, str]:
        async with started(tiny) as stt:
            call = Call(stt)
            call.stream.begin(1)
            model = (tiny / "model.onnx").read_bytes()
            (tiny / "model.onnx").write_bytes(b"")
            os.kill(pool_of(stt).pids[0], signal.SIGKILL)
            call.stream.end()
            lost = await call.until(lambda result: isinstance(result, SttFailure))
            assert isinstance(lost, SttFailure)
            (tiny / "model.onnx").write_bytes(model)
            for number in range(2, 12):
                call.say(number, speech(1, 1))
                found = await call.until(
                    lambda r, n=number: (
                        r.utterance == n  # type: ignore[misc]
                        and (isinstance(r, SttFailure) or r.is_final)
                    )
                )
                if isinstance(found, Hypothesis):
                    return lost, found.text
            raise AssertionError("it did not come back")

    lost, text = asyncio.run(run())
    assert "model.onnx" in str(lost.error) and lost.error.fault is Fault.CRASHED
    assert text


# --- hotwords ---


def test_hotwords_of_a_call_reach_its_stream_and_no_other(tmp_path: Path) -> None:
    tiny_models.transducer(tmp_path)
    pcm = speech(2, 4)

    async def run() -> tuple[str, str, str]:
        async with started(tmp_path, hotwords_score=6.0) as stt:
            calls = [
                Call(stt),
                Call(stt, hotwords=["Gi me"]),
                Call(stt, hotwords=["", "daka", "xyz:?"]),
            ]
            for call in calls:
                call.say(1, pcm)
            plain, boosted, unspellable = [await call.final(1) for call in calls]
            assert pool_of(stt).restarts == 0
            return plain, boosted, unspellable

    plain, boosted, unspellable = asyncio.run(run())
    assert boosted.count("gi me") > 2 and "gi me" not in plain
    assert unspellable == plain


def test_hotwords_of_the_provider_are_everybodys(tmp_path: Path) -> None:
    tiny_models.transducer(tmp_path, words=("<blk>", "a", "b", "c", "d", "e"))

    async def run() -> str:
        async with started(tmp_path, hotwords=["DEAD"], hotwords_score=6.0) as stt:
            call = Call(stt)
            call.say(1, speech(2, 4))
            return await call.final(1)

    assert "dead" in asyncio.run(run())


@pytest.mark.parametrize("kind", ["nemo_ctc", "transducer"])
def test_where_hotwords_cannot_be_used_they_do_no_harm(tmp_path: Path, kind: str) -> None:
    tiny_models.MAKERS[kind](tmp_path)

    async def run() -> None:
        async with started(tmp_path, hotwords=["da ka"], hotwords_score=0.0) as stt:
            call = Call(stt, hotwords=["ri/ri", "#4", "@x", "\n"])
            call.say(1, speech(1, 4))
            assert await call.final(1)

    asyncio.run(run())


# --- what cannot be started ---


async def refusal(folder: Path, **options: Any) -> ProviderError:
    stt = SherpaSTT(folder, **options)
    with pytest.raises(ProviderError) as caught:
        await stt.start()
    with pytest.raises(ProviderError, match="start"):
        stt.open(lambda result: None)
    await stt.aclose()
    return caught.value


def test_a_wrong_folder_is_named_with_what_is_needed(tmp_path: Path) -> None:
    error = asyncio.run(refusal(tmp_path))
    assert error.fault is Fault.REFUSED and str(tmp_path) in str(error)
    assert "holds nothing; a streaming sherpa-onnx model is needed" in str(error)


def test_a_model_that_the_library_cannot_read_is_named(tiny: Path) -> None:
    model = onnx.load(tiny / "model.onnx")
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tiny / "model.onnx")
    error = asyncio.run(refusal(tiny))
    assert error.fault is Fault.REFUSED and str(tiny / "model.onnx") in str(error)


def test_a_model_on_which_the_library_exits_is_named_with_its_last_words(tiny: Path) -> None:
    model = onnx.load(tiny / "model.onnx")
    kept = [entry for entry in model.metadata_props if entry.key != "vocab_size"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tiny / "model.onnx")
    error = asyncio.run(refusal(tiny))
    assert str(tiny) in str(error) and "vocab_size" in str(error)
    assert error.message.endswith(
        "`kaiwa models verify` tells whether its files are still what came"
    )


def test_what_crashes_while_it_loads_is_not_started_again_at_once(tiny: Path) -> None:
    model = onnx.load(tiny / "model.onnx")
    kept = [entry for entry in model.metadata_props if entry.key != "vocab_size"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    onnx.save(model, tiny / "model.onnx")

    async def started_twice() -> list[str]:
        stt, said = SherpaSTT(tiny), []
        for _ in range(2):
            with pytest.raises(ProviderError) as caught:
                await stt.start()
            said.append(caught.value.message)
        return said

    with capture_logs() as logged:
        first, again = asyncio.run(started_twice())
    assert first == again and "vocab_size" in first
    assert [line["event"] for line in logged].count("worker_died") == 1


def test_cuda_is_refused_where_the_library_would_quietly_use_the_cpu(tiny: Path) -> None:
    error = asyncio.run(refusal(tiny, provider="cuda", device=1))
    assert error.fault is Fault.REFUSED
    assert "cuda:1 asked for, but this build of sherpa-onnx has no CUDA" in str(error)


def test_an_unknown_device_is_refused_by_name(tiny: Path) -> None:
    error = asyncio.run(refusal(tiny, provider="tpu"))
    assert "provider is 'tpu', expected cpu or cuda" in str(error)


def test_the_model_and_its_device_are_told(tiny: Path) -> None:
    async def run() -> None:
        async with started(tiny) as stt:
            await stt.start()
            await stt.check()
            assert stt.info.endpoint == "in-process, cpu"
            assert stt.info.model == "tiny (nemo_ctc)"

    asyncio.run(run())
    assert SherpaSTT("x", provider="cuda", device=1).info.endpoint == "in-process, cuda:1"


def test_odd_bytes_are_refused_by_name(tiny: Path) -> None:
    async def run() -> None:
        async with started(tiny) as stt:
            call = Call(stt)
            call.stream.begin(1)
            with pytest.raises(ValueError, match="pcm must be whole 16-bit samples, got 3 bytes"):
                call.stream.feed(b"abc")

    asyncio.run(run())


@pytest.mark.real_time
def test_closing_leaves_no_process(tiny: Path) -> None:
    async def run() -> int:
        async with started(tiny) as stt:
            (pid,) = pool_of(stt).pids
            Call(stt).say(1, speech(20, 1))
        await stt.aclose()
        return pid

    with pytest.raises(ProcessLookupError):
        os.kill(asyncio.run(run()), 0)


def children() -> set[int]:
    """Of this process: other tests' servers and browsers are among them."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


@pytest.mark.parametrize("wait_s", [0.0, 0.001, 0.02, 0.2, 0.5])
def test_closed_while_it_starts_the_start_ends_at_once_and_no_process_is_left(
    tiny: Path, wait_s: float
) -> None:
    """start ─▶ finds the model ─▶ its worker loads ─▶ aclose: the start ends with an error"""

    before = children()

    async def run() -> None:
        stt = SherpaSTT(tiny)
        start = asyncio.create_task(stt.start())
        await asyncio.sleep(wait_s)
        await stt.aclose()
        async with asyncio.timeout(10):
            with contextlib.suppress(ProviderError):  # ready before it was closed
                await start
                assert wait_s >= 0.2
        assert stt.pool is None and children() <= before
        if wait_s == 0.02:  # and it may be started again
            await stt.start()
            await stt.check()
            await stt.aclose()
            assert children() <= before

    with capture_logs() as logged:
        asyncio.run(run())
    assert [line for line in logged if line["log_level"] == "error"] == []


# --- our own model ---


@pytest.mark.speech
def test_our_own_model_understands_sentences_it_was_not_trained_on(tmp_path: Path) -> None:
    lines = (OWN_MODEL / "held_out.txt").read_text("utf-8").splitlines()
    sentences = [line for line in lines if line and not line.startswith("#")][:8]
    spoken = [
        speech_of.resample(speech_of.flite(text, "slt", tmp_path), speech_of.RATE_HZ, 16_000)
        for text in sentences
    ]

    async def run() -> list[str]:
        async with started(OWN_MODEL) as stt:
            calls = [Call(stt) for _ in sentences]
            for call, samples in zip(calls, spoken, strict=True):
                call.say(1, samples.astype("<i2").tobytes())
            return [await call.final(1) for call in calls]

    heard = asyncio.run(run())
    wrong = sum(map(word_errors, sentences, heard))
    rate = wrong / sum(len(text.split()) for text in sentences)
    print(f"word error rate {rate:.2f}", *zip(sentences, heard, strict=True), sep="\n")
    assert rate <= 0.15
