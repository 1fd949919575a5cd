"""baresip calls, asks aloud, and hears the answer: a whole call over SIP and RTP, in real time.

WAV ─▶ baresip ─▶ INVITE, RTP ─▶ kaiwa serve ─▶ transcript, in its log
                                     └──▶ echo, by espeak ─▶ RTP ─▶ baresip ─▶ WAV
                                                                    └── against espeak's own audio
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.baresip import Baresip, spoken
from tests.served import Served
from tests.speech import Samples, flite, human_speech, word_errors, words
from tests.test_spoken_questions import espeak, likeness, sounding

pytestmark = [pytest.mark.speech, pytest.mark.real_time]

QUESTION = "the museum is open on sunday morning"
STORY = "the old dog went slowly down the long road to the river and slept there until evening"
OTHER = "please stop and tell me the time"
LEAST_LIKENESS = 0.9
"""Of what was heard to what espeak says; G.711 and two resamplers lie between."""
LENGTH_TOLERANCE = 0.05
LEVEL_TOLERANCE_DB = 1.5
ANSWER_S = 60.0
"""Behind a question, for its answer: the call ends with it."""
SETTINGS: dict[str, Any] = {
    "vad": {"provider": "silero"},
    "stt": {"provider": "pocketsphinx"},
    "tts": {"provider": "espeak"},
    "turn": {"silence_ms": 500, "final_after_ms": 300, "final_limit_s": 30},
    "log": {"transcripts": True},
    "sip": {"enabled": True, "port": 0, "rtp_ports": ""},
}


class Line:
    """The server, and who calls it."""

    def __init__(self, served: Served, folder: Path) -> None:
        self.served, self._folder = served, folder
        told = [line for line in served.lines if '"sip_ready"' in line]
        self._port = int(told[0].partition('"port": ')[2].partition(",")[0])
        self._calls: list[Baresip] = []

    def call(self, codec: str, whole: Samples, *, more: str = "") -> Baresip:
        folder = self._folder / f"call-{len(self._calls)}"
        self._calls.append(Baresip(folder, self._port, codec, whole, more=more))
        return self._calls[-1]

    def turn(self) -> dict[str, Any]:
        return self.served.logged("turn")

    def over(self) -> dict[str, Any]:
        return self.served.logged("sip_call_over")

    def stop(self) -> None:
        for call in self._calls:
            call.stop()


@pytest.fixture
def line(serving: Callable[..., Served], tmp_path: Path) -> Iterator[Line]:
    line = Line(serving(**SETTINGS), tmp_path)
    yield line
    line.stop()


def is_answer(heard: Samples, answered: str) -> None:
    """Fails unless `heard` is what espeak makes of the words, from the first to the last."""
    expected = espeak(answered)
    loud, wanted = sounding(heard), sounding(expected)
    assert abs(len(loud) / len(wanted) - 1) <= LENGTH_TOLERANCE, (len(loud), len(wanted))
    level_db = 20 * np.log10(np.sqrt((loud**2).mean()) / np.sqrt((wanted**2).mean()))
    assert abs(level_db) <= LEVEL_TOLERANCE_DB
    assert likeness(heard, expected) >= LEAST_LIKENESS


@pytest.mark.parametrize(
    ("codec", "more"), [("PCMU", ""), ("opus", ";transport=tcp"), ("G722/16000/1", "")]
)
def test_a_question_is_understood_and_its_answer_heard(
    line: Line, tmp_path: Path, codec: str, more: str
) -> None:
    call = line.call(codec, spoken(0.5, flite(QUESTION, "rms", tmp_path), ANSWER_S), more=more)
    turn = line.turn()
    assert word_errors(words(QUESTION), words(turn["asked"])) <= 2, turn["asked"]
    heard, over = call.heard(), line.over()
    assert (over["codec"], over["lost"], over["late"]) == (codec.partition("/")[0].lower(), 0, 0)
    is_answer(heard, turn["answered"])


def test_human_speech_is_understood_and_its_answer_heard(line: Line) -> None:
    file, text, samples = next(one for one in human_speech() if one[0] == "goforward.wav")
    call = line.call("PCMU", spoken(0.5, samples, ANSWER_S))
    turn = line.turn()
    errors = word_errors(words(text), words(turn["asked"]))
    assert errors <= len(words(text)) * 0.5, f"{file}: {turn['asked']}"
    is_answer(call.heard(), turn["answered"])
    line.over()


def test_who_speaks_again_is_listened_to(line: Line, tmp_path: Path) -> None:
    story, other = (flite(text, "rms", tmp_path) for text in (STORY, OTHER))
    call = line.call("PCMU", spoken(0.5, story, 4.0, other, ANSWER_S))
    cut, next_turn = line.turn(), line.turn()
    assert cut["cut_in_ms"] is not None, cut
    assert word_errors(words(OTHER), words(next_turn["asked"])) <= 3, next_turn["asked"]
    heard_s = len(sounding(call.heard())) / 100
    whole_s = [len(sounding(espeak(one["answered"]))) / 100 for one in (cut, next_turn)]
    assert heard_s < sum(whole_s) - 0.5, "the first answer went on to its end"
    assert heard_s > whole_s[1] * 0.95
    line.over()
