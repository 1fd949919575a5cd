"""A voice's process: slow is not hung, hung is killed, and nothing is waited for without end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from providers import _voice_process
from providers._voice_process import VoiceProcess
from providers._voice_speech import VoiceSpeech
from providers.base import Fault, ProviderError, SpeechAudio
from tests.providers.voices import cancel, open_files, until

HANG_S = 0.5

pytestmark = pytest.mark.real_time


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_voice_process, "HANG_S", HANG_S)


def process_of(folder: Path, *lives: str) -> VoiceProcess:
    (folder / "lives").write_text(" ".join(lives))
    return VoiceProcess("hum", "tests.providers.scripted_voice", remedy="mend it")


@asynccontextmanager
async def living(folder: Path, *lives: str) -> AsyncIterator[VoiceProcess]:
    process = process_of(folder, *lives)
    try:
        async with asyncio.timeout(60):
            await process.start([str(folder)])
            yield process
    finally:
        await process.aclose()


async def say(process: VoiceProcess, text: str, first_audio_s: float) -> int:
    """Bytes of audio."""
    speech = VoiceSpeech(process, first_audio_s=first_audio_s)
    async with aclosing(speech.speak(text)) as events:
        return sum([len(event.pcm) async for event in events if isinstance(event, SpeechAudio)])


async def fault_of(process: VoiceProcess, text: str, first_audio_s: float) -> Fault:
    with pytest.raises(ProviderError) as caught:
        await say(process, text, first_audio_s)
    return caught.value.fault


def test_a_clause_that_is_late_after_a_silence_costs_no_other_caller_his(tmp_path: Path) -> None:
    """ready … idle for longer than HANG_S … slow ─ late, and given up ─▶ the next one is heard"""

    async def main() -> tuple[Fault, int, int]:
        async with living(tmp_path) as process:
            await asyncio.sleep(HANG_S + 0.2)
            impatient = asyncio.create_task(fault_of(process, "slow", 0.2))
            await asyncio.sleep(0.05)  # it is first
            heard = await say(process, "yes", 5.0)
            return await impatient, heard, process.restarts

    assert asyncio.run(main()) == (Fault.TIMEOUT, 16_000, 0)


def test_one_that_says_nothing_to_clause_after_clause_is_killed_and_the_next_one_speaks(
    tmp_path: Path,
) -> None:
    async def main() -> int:
        async with living(tmp_path) as process:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
            clauses = 0
            while not process.restarts:
                assert await fault_of(process, "yes", 0.2) in (Fault.TIMEOUT, Fault.CRASHED)
                clauses += 1
                await asyncio.sleep(0.02)
            assert await say(process, "yes", 5.0)
            return clauses

    assert asyncio.run(main()) in (3, 4)


def test_an_idle_one_that_is_stopped_is_told_of_at_once_and_replaced_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_voice_process, "STOPPED_S", 0.3)

    async def main() -> None:
        async with living(tmp_path) as process:
            process.ping()
            assert process.pid is not None
            os.kill(process.pid, signal.SIGSTOP)
            await until(lambda: "is stopped, as by SIGSTOP" in problem(process))
            os.kill(process.pid, signal.SIGCONT)
            await until(lambda: not problem(process))
            os.kill(process.pid, signal.SIGSTOP)
            await until(lambda: problem(process) != "" and process.restarts == 1, limit_s=10)
            await until(lambda: not problem(process), limit_s=10)
            assert await say(process, "yes", 5.0)

    asyncio.run(main())


def problem(process: VoiceProcess) -> str:
    try:
        process.ping()
    except ProviderError as error:
        return error.message
    return ""


def test_who_is_listening_when_it_is_closed_is_told_at_once(tmp_path: Path) -> None:
    async def main() -> Fault:
        async with living(tmp_path) as process:
            listening = asyncio.create_task(fault_of(process, "slow", 20.0))
            await asyncio.sleep(0.05)
            await process.aclose()
            async with asyncio.timeout(2):
                return await listening

    assert asyncio.run(main()) is Fault.CRASHED


def test_what_it_was_to_say_is_in_no_error_though_its_engine_prints_it(tmp_path: Path) -> None:
    async def main() -> list[str]:
        async with living(tmp_path) as process:
            said = []
            for text in ("refuse Mrs Smith's result", "die of Mrs Smith's result"):
                with pytest.raises(ProviderError) as caught:
                    await say(process, text, 5.0)
                said.append(str(caught.value))
            await until(lambda: "engine cannot" in problem(process))
            return [*said, problem(process)]

    for said in asyncio.run(main()):
        assert "engine cannot" in said and "Smith" not in said, said


def test_a_dead_one_whose_output_somebody_else_holds_open_is_replaced(tmp_path: Path) -> None:
    async def main() -> None:
        files = open_files()
        async with living(tmp_path, "held") as process:
            assert process.pid is not None
            try:
                os.kill(process.pid, signal.SIGKILL)
                while not process.restarts:
                    await fault_of(process, "yes", 0.2)
                    await asyncio.sleep(0.02)
                assert await say(process, "yes", 5.0)
            finally:
                os.kill(int((tmp_path / "holder").read_text()), signal.SIGKILL)
        await until(lambda: open_files() <= files + 2)  # the pipe, too; the loop's own, once

    asyncio.run(main())


def test_a_start_that_is_cancelled_leaves_nothing_and_may_be_tried_again(tmp_path: Path) -> None:
    async def main() -> None:
        process = process_of(tmp_path, "hang")
        files = open_files()
        starting = asyncio.create_task(process.start([str(tmp_path)]))
        await until(lambda: (tmp_path / "start-0").exists(), limit_s=60)
        pid = process.pid
        assert pid is not None
        await cancel(starting)
        assert not process.is_started and process.pid is None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        await until(lambda: open_files() <= files + 2)  # the loop's own, once
        assert len(asyncio.all_tasks()) == 1
        await process.start([str(tmp_path)])
        assert await say(process, "yes", 5.0)
        await process.aclose()

    asyncio.run(main())
