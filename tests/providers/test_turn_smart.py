"""Smart Turn on its engine, with a network of its form that judges by the loudness of the end."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from providers._whisper_mel import log_mel
from providers.base import Fault, ProviderError
from providers.turn_smart import SmartTurn
from tests.providers import tiny_turn


def utterance(end_level: float, seconds: float = 1.2) -> bytes:
    """A hiss whose last 200 ms are `end_level` times as loud, and 200 ms of silence."""
    hiss = 3000 * np.random.default_rng(0).standard_normal(int(seconds * 16_000))
    hiss[-3200:] *= end_level
    return hiss.astype("<i2").tobytes() + bytes(2 * 3200)


FADES, STAYS = utterance(0.02), utterance(1.0)


def running(file: Path, work: Callable[[SmartTurn], Awaitable[None]], **options: float) -> None:
    async def run() -> None:
        model = SmartTurn(file, **options)
        await model.start()
        try:
            await work(model)
        finally:
            await model.aclose()
            await model.aclose()
        assert "smart-turn" not in {thread.name for thread in threading.enumerate()}

    asyncio.run(run())


async def opinion(model: SmartTurn, pcm: bytes) -> float:
    heard: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    model.judge(pcm, heard.set_result)
    async with asyncio.timeout(10):
        return await heard


def test_the_opinion_is_the_networks_on_the_features_of_the_audio(tmp_path: Path) -> None:
    async def work(model: SmartTurn) -> None:
        faded, stayed = await opinion(model, FADES), await opinion(model, STAYS)
        assert faded == pytest.approx(tiny_turn.expected(log_mel(FADES)), abs=1e-4)
        assert stayed == pytest.approx(tiny_turn.expected(log_mel(STAYS)), abs=1e-4)
        assert faded > 0.9 and stayed < 0.6
        await model.check()
        await model.ping()

    running(tiny_turn.save(tmp_path / "smart-turn.onnx"), work, limit_s=10)


def test_every_caller_gets_the_opinion_on_his_own_pause_in_turn(tmp_path: Path) -> None:
    async def work(model: SmartTurn) -> None:
        order: list[int] = []

        async def ask(caller: int) -> float:
            complete = await opinion(model, FADES if caller % 2 else STAYS)
            order.append(caller)
            return complete

        opinions = await asyncio.gather(*(ask(caller) for caller in range(6)))
        assert [complete > 0.9 for complete in opinions] == [False, True] * 3
        assert order == list(range(6))

    running(tiny_turn.save(tmp_path / "smart-turn.onnx"), work, limit_s=10)


def test_who_would_wait_too_long_gets_no_opinion_and_the_next_one_does(tmp_path: Path) -> None:
    async def work(model: SmartTurn) -> None:
        heard: list[float] = []
        for _ in range(4):
            model.judge(STAYS, heard.append)
        loop = asyncio.get_running_loop()
        while model._running is not None or model._waiting:
            await loop.run_in_executor(None, lambda: None)
        assert heard == []

    running(tiny_turn.save(tmp_path / "smart-turn.onnx"), work, limit_s=0.0)


def test_a_sink_that_fails_takes_no_opinion_from_the_others(tmp_path: Path) -> None:
    def fails(complete: float) -> None:
        raise RuntimeError("that caller's fault")

    async def work(model: SmartTurn) -> None:
        model.judge(FADES, fails)
        assert await opinion(model, FADES) > 0.9

    running(tiny_turn.save(tmp_path / "smart-turn.onnx"), work, limit_s=10)


def test_what_is_asked_when_it_is_closed_is_not_answered(tmp_path: Path) -> None:
    heard: list[float] = []

    async def work(model: SmartTurn) -> None:
        model.judge(FADES, heard.append)
        await model.aclose()
        model.judge(FADES, heard.append)
        with pytest.raises(ProviderError, match="does not run"):
            await model.ping()

    running(tiny_turn.save(tmp_path / "smart-turn.onnx"), work)
    assert heard == []


def refusal(file: Path) -> str:
    with pytest.raises(ProviderError) as refused:
        asyncio.run(SmartTurn(file).start())
    assert refused.value.fault is Fault.BROKEN
    assert "kaiwa models pull smart-turn" in refused.value.message
    return refused.value.message


def test_a_network_of_another_kind_is_refused_with_what_it_takes(tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    assert "takes input_values tensor(float) [1, 128000], not input_features" in refusal(
        tiny_turn.save(file, name="input_values", shape=(1, 128_000))
    )
    assert "[1, 128, 3000], not" in refusal(tiny_turn.save(file, shape=(1, 128, 3000)))
    assert "tensor(float16)" in refusal(tiny_turn.save(file, kind=tiny_turn.HALF))
    assert "context tensor(float) [1], not" in refusal(tiny_turn.save(file, second_input=True))
    assert "answers 2.5, which is no probability" in refusal(
        tiny_turn.save(file, with_sigmoid=False)
    )


def test_what_is_no_network_is_refused_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "smart-turn-v3.onnx"
    file.write_bytes(b"<!doctype html>")
    assert f"{file} cannot be loaded" in refusal(file)
    file.unlink()
    assert f"{file} cannot be loaded" in refusal(file)


def test_one_that_could_not_start_is_told_with_its_cause_ever_after(tmp_path: Path) -> None:
    (tmp_path / "v3.onnx").write_bytes(bytes(1000))
    model = SmartTurn(tmp_path / "v3.onnx")

    async def run() -> str:
        with pytest.raises(ProviderError):
            await model.start()
        model.judge(FADES, lambda complete: pytest.fail("an opinion out of nothing"))
        with pytest.raises(ProviderError) as told:
            await model.ping()
        return told.value.message

    message = asyncio.run(run())
    assert "v3.onnx cannot be loaded" in message and "kaiwa models pull smart-turn" in message
