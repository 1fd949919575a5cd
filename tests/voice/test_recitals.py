"""What Kaiwa says by itself is there as sound, also when the voice is not."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
import pytest

from mocks.clock import now, run_virtual
from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from mocks.vad import ScriptedVAD
from providers.base import Fault, ProviderInfo, Slot, SpeechAudio, SpeechEvent
from voice.chain_tts import ChainTTS
from voice.config import Config, TtsConfig
from voice.desk import Desk
from voice.patience import Patience
from voice.phrases import LANGUAGES, all_phrases, apology
from voice.providers import Providers
from voice.recitals import REST_S, START_LIMIT_S, TRY_AGAIN_S, Recitals
from voice.reload import Fresh
from voice.templates import prompt_of

DOWN = ScriptedFault(kind="fail", request=0, fault=Fault.UNREACHABLE, message="refused")
SORRY = apology("en")


class Remote(ToneTTS):
    @property
    def info(self) -> ProviderInfo:
        return msgspec.structs.replace(super().info, endpoint="http://gpu")


def recitals(tts: Any, language: str = "en") -> Recitals:
    return Recitals(tts, voice="default", language=language)


def chained(*voices: ToneTTS) -> ChainTTS:
    patience = Patience(Slot.TTS, "audio", 5.0, 3.0)
    return ChainTTS(voices, now=now, patience=patience, attempt_s=1.5)


async def made(kept: Recitals) -> Recitals:
    await kept.start()
    await kept.start()
    return kept


@pytest.mark.parametrize("language", ["", "en-GB", "ja", "ko", "zh", "fr"])
def test_every_sentence_of_the_language_is_kept_in_the_operators_voice(language: str) -> None:
    async def scenario() -> None:
        kept = await made(recitals(ToneTTS(), language))
        for text in all_phrases(language):
            pcm = kept.sound(text, "default")
            assert pcm == kept.spare(text)
            assert pcm is not None and len(pcm) / 2 / ToneTTS().rate_hz > 0.03 * len(text)
        await kept.aclose()

    run_virtual(scenario())


def test_who_speaks_another_language_than_the_operator_has_spares_too() -> None:
    async def scenario() -> None:
        kept = await made(recitals(ToneTTS(), "en"))
        await asyncio.sleep(5)
        assert all(kept.spare(text) for tongue in LANGUAGES for text in all_phrases(tongue))
        await kept.aclose()

    run_virtual(scenario())


def test_other_languages_are_left_to_the_voice_in_this_process() -> None:
    async def scenario() -> None:
        remote = Remote()
        kept = await made(recitals(chained(remote, ToneTTS()), "en"))
        await asyncio.sleep(5)
        assert kept.spare(apology("ja")) and set(remote.texts) == set(all_phrases("en"))
        await kept.aclose()
        alone = await made(recitals(Remote(), "en"))
        await asyncio.sleep(REST_S - 1)
        assert not alone.spare(apology("ja")), "callers come first"
        await asyncio.sleep(15 * (REST_S + 2))
        assert alone.spare(apology("zh"))
        await alone.aclose()

    run_virtual(scenario())


def test_for_another_voice_it_is_only_a_spare() -> None:
    async def scenario() -> None:
        kept = await made(recitals(ToneTTS()))
        assert kept.sound(SORRY, "alloy") is None and kept.spare(SORRY)
        assert kept.spare("Any other sentence.") is None
        await kept.aclose()

    run_virtual(scenario())


def test_a_voice_that_is_not_there_yet_is_asked_again_and_no_task_is_left() -> None:
    async def scenario() -> None:
        tts = ToneTTS(faults=[DOWN])
        kept = await made(recitals(tts))
        assert kept.spare(SORRY) is None
        tts.faults.set()
        await asyncio.sleep(TRY_AGAIN_S + 1)
        assert kept.spare(SORRY)
        await asyncio.sleep(5)
        assert [
            task.get_name() for task in asyncio.all_tasks() if task.get_name() == "recitals"
        ] == []
        await kept.aclose()

    run_virtual(scenario())


def test_of_a_chain_the_first_voice_that_can_says_it_and_nothing_is_counted() -> None:
    async def scenario() -> None:
        first, second = ToneTTS(faults=[DOWN]), ToneTTS(rate_hz=16_000)
        chain = chained(first, second)
        kept = await made(recitals(chain))
        pcm = kept.spare(SORRY)
        assert pcm is not None
        assert len(pcm) / 2 / first.rate_hz == pytest.approx(0.065 * len(SORRY), abs=0.05)
        assert chain.fallback_count == 0 and not chain.links[0].problem
        await kept.aclose()

    run_virtual(scenario())


def test_a_voice_that_hangs_holds_the_server_up_no_longer_and_closing_ends_it() -> None:
    async def scenario() -> None:
        tts = ToneTTS(faults=[ScriptedFault(kind="stall", request=0)])
        began = now()
        kept = await made(recitals(tts))
        assert now() - began == pytest.approx(START_LIMIT_S)
        await kept.aclose()
        assert tts.running == 0

    run_virtual(scenario())


# --- another voice --------------------------------------------------------------------------------


class Pitched(ToneTTS):
    """Every voice has a loudness of its own."""

    def stream(
        self, text: str, *, voice: str = "", language: str = "", speed: float = 1.0
    ) -> AsyncGenerator[SpeechEvent, None]:
        return self._told(super().stream(text), len(voice))

    async def _told(
        self, events: AsyncGenerator[SpeechEvent, None], value: int
    ) -> AsyncGenerator[SpeechEvent, None]:
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, SpeechAudio):
                    event = SpeechAudio(bytes([value]) * len(event.pcm))
                yield event


def test_after_a_change_of_the_voice_all_is_said_anew_in_it_and_is_spare_until_then() -> None:
    async def scenario() -> None:
        tts = Pitched()
        kept = await made(recitals(tts))
        before = kept.spare(SORRY)
        kept.follow(voice="alloy", language="en")
        assert kept.sound(SORRY, "alloy") is None and kept.spare(SORRY) == before
        assert kept.sound(SORRY, "default") == before, "calls that began with it go on with it"
        await asyncio.sleep(5)
        for text in all_phrases("en"):
            pcm = kept.sound(text, "alloy")
            assert pcm and set(pcm) == {len("alloy")} and kept.sound(text, "default") is None
        said = len(tts.texts)
        kept.follow(voice="alloy", language="en")
        await asyncio.sleep(5)
        assert len(tts.texts) == said, "the same once more is no change"
        await kept.aclose()

    run_virtual(scenario())


def test_a_server_that_callers_wait_for_says_them_anew_one_by_one() -> None:
    async def scenario() -> None:
        remote = Remote()
        kept = await made(recitals(remote))
        said = len(remote.texts)
        kept.follow(voice="alloy", language="en")
        await asyncio.sleep(REST_S - 1)
        assert len(remote.texts) == said
        await asyncio.sleep(REST_S)
        assert len(remote.texts) == said + 1
        await asyncio.sleep(len(all_phrases("en")) * (REST_S + 2))
        assert all(kept.sound(text, "alloy") for text in all_phrases("en"))
        await kept.aclose()

    run_virtual(scenario())


def test_a_voice_that_is_changed_while_it_speaks_leaves_no_task() -> None:
    async def scenario() -> None:
        tts = Pitched(faults=[ScriptedFault(kind="stall", request=0)])
        kept = recitals(tts)
        starting = asyncio.create_task(kept.start())
        await asyncio.sleep(1)
        tts.faults.set()
        kept.follow(voice="alloy", language="ja")
        await starting
        assert kept.sound(apology("ja"), "alloy")
        await kept.aclose()
        assert tts.running == 0 and len(asyncio.all_tasks()) == 1

    run_virtual(scenario())


def test_what_a_stand_in_said_is_said_anew_once_the_first_voice_is_back() -> None:
    async def scenario() -> None:
        first, second = ToneTTS(faults=[DOWN]), Pitched()
        chain = chained(first, second)
        kept = await made(recitals(chain))
        stood_in = kept.sound(SORRY, "default")
        assert stood_in and set(stood_in) == {len("default")}
        first.faults.set()
        await asyncio.sleep(3 * TRY_AGAIN_S)
        again = kept.sound(SORRY, "default")
        assert again and set(again) != {len("default")}
        said = len(first.texts)
        await asyncio.sleep(10 * TRY_AGAIN_S)
        assert len(first.texts) == said, "once is enough"
        await kept.aclose()

    run_virtual(scenario())


def test_a_reload_that_changes_the_voice_changes_what_kaiwa_says_by_itself() -> None:
    async def scenario() -> None:
        tts = Pitched(first_audio_ms=0, rtf=0)
        kept = await made(recitals(tts))
        config = Config()
        fresh = Fresh(
            msgspec.structs.replace(config, tts=TtsConfig(voice="alloy")), prompt_of(config)
        )
        llm, stt, vad = EchoLLM(), EchoSTT(), ScriptedVAD([])
        providers = Providers(vad=vad, stt=stt, llm=llm, tts=tts, recitals=kept)
        desk = Desk(config, providers, {}, None, reread=lambda: fresh)
        outcome = await desk.reload()
        assert [one.setting for one in outcome.changed if one.setting != "agent.prompt"] == [
            "tts.voice"
        ]
        async with asyncio.timeout(30):
            while kept.sound(SORRY, "alloy") is None:  # noqa: ASYNC110  # it tells nobody
                await asyncio.sleep(0.01)
        await kept.aclose()

    asyncio.run(scenario())
