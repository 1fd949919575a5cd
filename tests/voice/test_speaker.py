"""However slowly words and sound come, nobody hears nothing for long."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mocks.clock import now
from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from providers.base import SpeechAudio, SpeechEvent
from tests.driving import Call, converse
from voice.config import Config, SpeculationConfig, TurnConfig
from voice.phrases import HOLD
from voice.recitals import Recitals

SPEECH_END = 1.0
CLAUSES = (
    "We are open from nine until eight.",
    " On Sundays, and on all public holidays, the doors are closed to everybody.",
    " Please ring the bell twice, and wait.",
    " Somebody will come down the stairs, through the yard, and let you in at once.",
)
SLOW = ScriptedFault(kind="slow", item=9, factor=14)
"""Of 20 ms: behind the first clause the next one is over 2 s late."""
CONFIG = Config(speculation=SpeculationConfig(enabled=False))


class Slow(ToneTTS):
    """Each clause's first sound comes so late, as from a server that gives it whole.

    Args:
    stops: In which clause, before which piece, and for how many milliseconds.
    """

    def __init__(
        self,
        firsts_ms: Sequence[float] = (30, 30, 30, 30),
        *,
        stops: tuple[int, int, float] = (0, 0, 0.0),
        **how: Any,
    ) -> None:
        super().__init__(**how)
        self._firsts_ms, self._stops = firsts_ms, stops

    async def stream(self, text: str, **how: Any) -> AsyncGenerator[SpeechEvent, None]:
        clause = CLAUSES.index(text) if text in CLAUSES else -1
        self.first_audio_ms = self._firsts_ms[clause] if clause >= 0 else 30
        at, piece, stop_ms = self._stops
        count = 0
        async with aclosing(super().stream(text, **how)) as events:
            async for event in events:
                if isinstance(event, SpeechAudio):
                    if clause == at and count == piece:
                        await asyncio.sleep(stop_ms / 1000)
                    count += 1
                yield event


def ask(
    tts: Any,
    *,
    token_ms: float = 10.0,
    config: Config = CONFIG,
    stt: EchoSTT | None = None,
    **model: Any,
) -> Call:
    kept = Recitals(ToneTTS(first_audio_ms=0, rtf=0), voice="default", language="en")

    async def scenario(call: Call) -> None:
        await kept.start()
        assert now() == 0.0
        await call.say(SPEECH_END)
        while "kaiwa.turn.timeline" not in [entry.type for entry in call.sent]:
            await call.hush(1.0)
        await kept.aclose()

    llm = EchoLLM(["".join(CLAUSES)], token_ms=token_ms, **model)
    return converse(scenario, llm=llm, tts=tts, stt=stt, recitals=kept, config=config)


def silences_s(call: Call) -> list[float]:
    """Between sounds that can be heard, from the end of the caller's speech on; what is shorter
    than 60 ms is a click."""
    sounds, plays_until = [(SPEECH_END, SPEECH_END)], 0.0
    for sent in call.frames:
        begins = max(plays_until, sent.at)
        plays_until = begins + sent.ms / 1000
        loud = np.flatnonzero(np.abs(np.frombuffer(sent.frame.pcm, "<i2").astype(int)) > 100)
        if len(loud):
            sample_s = sent.ms / 1000 / (len(sent.frame.pcm) // 2)
            since, to = begins + loud[0] * sample_s, begins + loud[-1] * sample_s
            joins = since - sounds[-1][1] < 0.02
            sounds.append((sounds.pop()[0] if joins else since, to))
    heard = [(since, to) for since, to in sounds if to - since > 0.06 or to == SPEECH_END]
    return [after[0] - before[1] for before, after in pairwise(heard)]


@pytest.mark.parametrize("final_s", [0.4, 2.2, 2.6, 2.85])
def test_who_was_long_in_being_heard_waits_no_longer_for_the_chance_of_an_answer(
    final_s: float,
) -> None:
    """A recogniser that stands in hears all of a long question anew.

    speech ends      final asked for          final      2.9
    |------ 0.2 -----|========================|---- + ---| a word, unless the answer is there
    """
    config = msgspec.structs.replace(CONFIG, turn=TurnConfig(final_limit_s=2.4))
    stt = EchoSTT(final_delay_ms=1000 * (final_s - 0.2))
    call = ask(ToneTTS(), config=config, stt=stt, first_token_ms=1500)
    assert call.outcomes() == ["completed"]
    assert max(silences_s(call)) <= 2.95
    assert (HOLD["en"][0] in call.history()[-1][1]) == (final_s > 1.0)


def test_the_pause_between_two_clauses_is_no_sound_that_breaks_a_silence() -> None:
    """It began the wait anew: 2.3 s for the words, and 2.4 s more for their sound."""
    call = ask(Slow([100, 2400, 2400, 2400]), token_ms=20, faults=[SLOW])
    assert call.outcomes() == ["completed"]
    assert max(silences_s(call)) <= 3.0


def test_a_voice_that_stops_in_mid_clause_is_waited_for_with_a_word_that_moves_no_other() -> None:
    voice = Slow(stops=(0, 8, 2900.0), rtf=0.9)
    call = ask(voice)
    assert call.outcomes() == ["completed"]
    assert max(silences_s(call)) <= 3.0
    assert call.history()[-1] == ("assistant", "".join(CLAUSES))
    held_ms = len(HOLD["en"][0]) * 65
    marks = call.last("kaiwa.speech.marks").event["marks"]
    gaps_ms = 3 * 220
    assert marks[-1] == pytest.approx(
        [len("".join(CLAUSES)), 65 * len("".join(CLAUSES)) + held_ms + gaps_ms], abs=2
    )


def test_a_word_into_the_silence_comes_as_it_is_kept_where_the_callers_voice_is_slow() -> None:
    async def other_voice(call: Call) -> None:
        call.update(audio={"output": {"voice": "alloy"}})
        await call.say(SPEECH_END)
        await call.hush(20.0)

    kept = Recitals(ToneTTS(first_audio_ms=0, rtf=0), voice="default", language="en")

    async def scenario(call: Call) -> None:
        await kept.start()
        await other_voice(call)
        await kept.aclose()

    voice = ToneTTS(first_audio_ms=1300)
    call = converse(
        scenario,
        llm=EchoLLM(["Nine."], first_token_ms=5000),
        tts=voice,
        recitals=kept,
        config=CONFIG,
    )
    assert max(silences_s(call)) <= 3.0
    assert call.history()[-1][1].startswith(f"{HOLD['en'][0]} "), "and not said twice"
    assert call.history()[-1][1].count(HOLD["en"][0]) == 1


@pytest.mark.parametrize("rate_hz", [24_000, 22_050, 16_000])
def test_a_clause_that_none_follows_yet_is_sent_to_its_end(rate_hz: int) -> None:
    """Up to 50 ms of it stayed in the filter and the last frame, and clicked a second later."""
    call = ask(Slow(rate_hz=rate_hz, rtf=0.0), token_ms=20, faults=[SLOW])
    clause_ms = 65 * len(CLAUSES[0])
    first = next(sent.at for sent in call.frames)
    early = [sent for sent in call.frames if sent.at < first + clause_ms / 1000]
    assert sum(sent.ms for sent in early) == pytest.approx(clause_ms, abs=0.1)
    mark = call.all("kaiwa.speech.marks")[0].event["marks"][-1]
    assert max(silences_s(call)) > 2.0, "the next one is late"
    assert mark[1] <= clause_ms


@settings(max_examples=25, deadline=None)
@given(
    factor=st.floats(1, 30),
    firsts_ms=st.lists(st.floats(0, 4800), min_size=4, max_size=4),
    rtf=st.sampled_from([0.05, 0.4, 1.0]),
    stops=st.tuples(st.integers(0, 3), st.integers(1, 20), st.floats(0, 2950)),
)
@example(factor=14.0, firsts_ms=[1500.0] * 4, rtf=0.4, stops=(0, 0, 0.0))
@example(factor=12.0, firsts_ms=[4800.0] * 4, rtf=1.0, stops=(1, 3, 2950.0))
def test_whatever_the_times_of_the_clauses_no_silence_lasts_three_seconds(
    factor: float,
    firsts_ms: list[float],
    rtf: float,
    stops: tuple[int, int, float],
) -> None:
    slow = ScriptedFault(kind="slow", item=9, factor=factor)
    call = ask(Slow(firsts_ms, stops=stops, rtf=rtf), token_ms=20, faults=[slow])
    assert call.outcomes() == ["completed"]
    assert max(silences_s(call)) <= 3.0
