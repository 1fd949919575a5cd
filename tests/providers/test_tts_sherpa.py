import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from providers._worker import RESTART_S
from providers.base import Fault, ProviderError, SpeechAudio
from providers.tts_sherpa import SherpaTTS, files_of
from tests.providers import tiny_voice
from tests.providers.voices import say as say_text
from tests.providers.voices import say_again

TEXT = "We open at nine."
LONG = "one two three four. " * 8
SLOW = 1500
"""Layers that make a sentence of LONG take some 50 ms."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_voice.write(tmp_path_factory.mktemp("tiny"))


def with_voice(model: Path, work: Callable[[SherpaTTS], Awaitable[Any]], **options: Any) -> Any:
    """What `work` makes of a voice that has been started."""

    async def main() -> Any:
        tts = SherpaTTS(model, **options)
        try:
            async with asyncio.timeout(60):
                await tts.start()
                return await work(tts)
        finally:
            await tts.aclose()

    return asyncio.run(main())


async def say(tts: SherpaTTS, text: str = TEXT, **options: Any) -> bytes:
    return await say_text(tts, text, **options)


def failure(model: Path, work: Callable[[SherpaTTS], Awaitable[Any]], **options: Any) -> str:
    with pytest.raises(ProviderError) as caught:
        with_voice(model, work, **options)
    return f"{caught.value.fault.value}: {caught.value}"


def pid_of(tts: SherpaTTS) -> int:
    assert tts._process.pid is not None
    return tts._process.pid


# --- speaking -------------------------------------------------------------------------------------


def test_every_letter_is_heard(model: Path) -> None:
    async def work(tts: SherpaTTS) -> bytes:
        assert tts.rate_hz == tiny_voice.RATE_HZ
        return await say(tts)

    pcm = np.frombuffer(with_voice(model, work), "<i2")
    assert len(pcm) == len(TEXT) * tiny_voice.SAMPLES_PER_LETTER
    assert np.abs(pcm.reshape(len(TEXT), -1)).max(axis=1).min() > 300


def test_speed_is_obeyed(model: Path) -> None:
    async def work(tts: SherpaTTS) -> tuple[int, int]:
        return len(await say(tts)), len(await say(tts, speed=2.0))

    normal, fast = with_voice(model, work)
    assert fast == normal / 2


def test_a_sentence_is_heard_while_the_next_is_being_made(tmp_path: Path) -> None:
    async def work(tts: SherpaTTS) -> int:
        pieces = 0
        async with aclosing(tts.stream(LONG)) as events:
            async for event in events:
                assert isinstance(event, SpeechAudio)
                pieces += 1
        return pieces

    assert with_voice(tiny_voice.write(tmp_path / "slow", layers=SLOW), work) >= 8


@pytest.mark.real_time
def test_the_loop_is_free_while_it_speaks(tmp_path: Path) -> None:
    async def work(tts: SherpaTTS) -> float:
        loop, late_s = asyncio.get_running_loop(), [0.0]
        speaking = asyncio.create_task(say(tts, LONG * 2))
        while not speaking.done():
            due = loop.time() + 0.005
            await asyncio.sleep(0.005)
            late_s.append(loop.time() - due)
        await speaking
        return sorted(late_s)[len(late_s) // 2]

    # A loop that was held would be late by a sentence at least, each time.
    assert with_voice(tiny_voice.write(tmp_path / "slow", layers=SLOW), work) < 0.02


@pytest.mark.parametrize("voice", ["1", "anna", "99", ""])
def test_an_unknown_voice_is_the_voices_own(model: Path, voice: str) -> None:
    assert with_voice(model, lambda tts: say(tts, voice=voice))


def test_nothing_to_say_is_nothing(model: Path) -> None:
    assert with_voice(model, lambda tts: say(tts, " \n")) == b""


# --- cutting off ----------------------------------------------------------------------------------


@pytest.mark.real_time
def test_a_clause_cut_off_frees_the_voice_at_the_next_sentence(tmp_path: Path) -> None:
    async def work(tts: SherpaTTS) -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await say(tts, LONG * 4)
        whole_s = loop.time() - began
        async with aclosing(tts.stream(LONG * 4)) as events:
            await anext(events)
        began = loop.time()
        await say(tts, "one two three four.")
        return whole_s, loop.time() - began

    whole_s, after_s = with_voice(tiny_voice.write(tmp_path / "slow", layers=SLOW), work)
    assert after_s < whole_s / 4


@pytest.mark.real_time
def test_a_cancelled_waiter_is_never_spoken(tmp_path: Path) -> None:
    async def work(tts: SherpaTTS) -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await say(tts, LONG)
        alone_s = loop.time() - began
        began = loop.time()
        first = asyncio.create_task(say(tts, LONG))
        waiters = [asyncio.create_task(say(tts, LONG)) for _ in range(8)]
        await asyncio.sleep(0)
        for waiter in waiters:
            waiter.cancel()
        await first
        await say(tts, "one.")
        return alone_s, loop.time() - began

    alone_s, took_s = with_voice(tiny_voice.write(tmp_path / "slow", layers=SLOW), work)
    assert took_s < 4 * alone_s


# --- failing --------------------------------------------------------------------------------------


@pytest.mark.real_time
def test_a_killed_process_costs_its_clause_and_is_back_in_a_pause_and_a_start(model: Path) -> None:
    async def work(tts: SherpaTTS) -> None:
        loop = asyncio.get_running_loop()
        await tts.aclose()
        began = loop.time()
        await tts.start()
        start_s = loop.time() - began
        os.kill(pid_of(tts), signal.SIGSTOP)
        speaking = asyncio.create_task(say(tts))
        await asyncio.sleep(0)
        os.kill(pid_of(tts), signal.SIGKILL)
        with pytest.raises(ProviderError) as caught:
            await speaking
        assert caught.value.fault is Fault.CRASHED
        began = loop.time()
        assert await say_again(tts)
        assert loop.time() - began < RESTART_S + 3 * start_s + 1.0
        assert tts.restarts == 1

    with_voice(model, work)


def test_a_process_that_hangs_is_a_timeout(model: Path) -> None:
    async def work(tts: SherpaTTS) -> None:
        os.kill(pid_of(tts), signal.SIGSTOP)
        await say(tts)

    assert failure(model, work, first_audio_s=0.2).startswith("timeout: ")


def test_samples_that_are_no_numbers_and_silence_are_refused_at_the_start(tmp_path: Path) -> None:
    nan = failure(tiny_voice.write(tmp_path / "nan", sound="nan"), say)
    assert nan.startswith("broken: ") and "NaN" in nan
    silent = failure(tiny_voice.write(tmp_path / "silent", sound="silence"), say)
    assert silent.startswith("broken: ")  # "too short": sherpa-onnx shrinks silences itself


def test_a_text_in_letters_that_the_voice_does_not_know_is_told(model: Path) -> None:
    assert "no audio at all" in failure(model, lambda tts: say(tts, "日本語です"))


def test_a_voice_of_another_script_is_checked_with_a_word_it_knows(tmp_path: Path) -> None:
    voice = tiny_voice.write(tmp_path / "ja", letters=" はい。")
    assert with_voice(voice, lambda tts: say(tts, "はいはい。"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(b"no model"), "download the model"),
        (lambda folder: (folder / "tokens.txt").write_text("a b c d\n"), "download the model"),
        (lambda folder: (folder / "tokens.txt").unlink(), "holds no tokens.txt"),
        (lambda folder: (folder / "model.onnx").unlink(), "holds no *.onnx"),
    ],
)
def test_a_damaged_model_is_an_error_that_says_what_to_do_and_not_our_end(
    tmp_path: Path, damage: Callable[[Path], Any], words: str
) -> None:
    damage(tiny_voice.write(tmp_path / "voice"))
    assert words in failure(tmp_path / "voice", say)


def test_metadata_that_makes_the_library_exit_is_an_error_too(tmp_path: Path) -> None:
    error = failure(tiny_voice.write(tmp_path / "voice", sample_rate=None), say)
    assert error.startswith("broken: ") and "did not start" in error and "sample_rate" in error


def test_a_speaker_that_there_is_not_is_refused_at_start(model: Path) -> None:
    assert "TTS_VOICE must be 0..2" in failure(model, say, voice="3")
    with pytest.raises(ValueError, match="TTS_VOICE must be a speaker's number"):
        SherpaTTS(model, voice="anna")


def test_before_start_and_after_close_it_says_so(model: Path) -> None:
    async def main() -> None:
        tts = SherpaTTS(model)
        with pytest.raises(ProviderError, match=r"call start\(\)"):
            await say(tts)
        await tts.start()
        await tts.start()
        await tts.aclose()
        await tts.aclose()
        with pytest.raises(ProviderError, match=r"call start\(\)"):
            await say(tts)

    asyncio.run(main())


# --- files ----------------------------------------------------------------------------------------


def directory(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else path.write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["en_GB-alan.onnx", "espeak-ng-data/", "en.json"], ("vits", "en_GB-alan.onnx")),
        (["model.onnx", "model.int8.onnx", "lexicon.txt"], ("vits", "model.onnx")),
        (["vits.onnx", "vits.int8.onnx"], ("vits", "vits.onnx")),
        (["model.int8.onnx", "voices.bin", "espeak-ng-data/"], ("kokoro", "model.int8.onnx")),
        (["model-steps-3.onnx", "vocos-22khz-univ.onnx"], ("matcha", "model-steps-3.onnx")),
    ],
)
def test_the_kind_of_model_is_told_by_its_files(
    tmp_path: Path, names: list[str], expected: tuple[str, str]
) -> None:
    files = files_of(directory(tmp_path / "m", "tokens.txt", *names))
    assert (files.kind, Path(files.model).name) == expected


def test_lexicons_rules_and_data_are_found(tmp_path: Path) -> None:
    names = ["tokens.txt", "model.onnx", "voices.bin", "lexicon-us-en.txt", "lexicon-zh.txt"]
    root = directory(tmp_path / "m", *names, "date.fst", "phone.fst", "espeak-ng-data/", "dict/")
    files = files_of(root, threads=2)
    assert files.lexicon == f"{root}/lexicon-us-en.txt,{root}/lexicon-zh.txt"
    assert files.rule_fsts == f"{root}/date.fst,{root}/phone.fst" and files.threads == 2
    assert files.data_dir == f"{root}/espeak-ng-data" and files.dict_dir == f"{root}/dict"


def test_a_vocoder_may_lie_one_above(tmp_path: Path) -> None:
    directory(tmp_path, "hifigan_v2.onnx")
    root = directory(tmp_path / "m", "tokens.txt", "model-steps-3.onnx")
    assert Path(files_of(root).vocoder).name == "hifigan_v2.onnx"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["tokens.txt", "model-steps-3.onnx"], "needs a vocoder"),
        (["tokens.txt", "a.onnx", "b.onnx"], "keep one of a.onnx, b.onnx"),
    ],
)
def test_what_is_missing_or_too_much_is_named(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        files_of(directory(tmp_path / "m", *names))


def test_no_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no directory"):
        files_of(tmp_path / "nowhere")
