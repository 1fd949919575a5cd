"""The caller's audio between VAD and STT: fed in order, up to what was judged, and bounded."""

import asyncio
from typing import Any

import pytest

from mocks.clock import run_virtual
from mocks.turn import ScriptedTurnModel
from mocks.vad import LoudnessVAD
from providers.base import VadFrame
from tests.driving import LOUD, RATE_HZ, SILENT
from voice.ear import KEEP_MS, MOST_KEPT_MS, TRIM_BYTES, VAD_AHEAD_MS, Ear, Expected
from voice.errors import ClientError
from voice.events import JudgePause
from voice.facts import PauseJudged
from voice.settings import AudioFormat

FORM = AudioFormat(rate=RATE_HZ)


class ListeningSTT:
    """Keeps what it was fed, stream by stream."""

    def __init__(self) -> None:
        self.streams: list[ListeningStream] = []
        self.hotwords: tuple[str, ...] = ()

    def open(
        self, sink: Any, *, language: str = "", hotwords: tuple[str, ...] = ()
    ) -> "ListeningStream":
        self.streams.append(ListeningStream(language))
        self.hotwords = hotwords
        return self.streams[-1]

    @property
    def open_streams(self) -> list[str]:
        return [stream.language for stream in self.streams if not stream.closed]


class ListeningStream:
    def __init__(self, language: str) -> None:
        self.language = language
        self.fed = bytearray()
        self.done: list[str] = []
        self.closed = False

    def begin(self, utterance: int) -> None:
        self.done.append(f"begin {utterance}")

    def feed(self, pcm: bytes) -> None:
        self.fed += pcm

    def end(self) -> None:
        self.done.append("end")

    def abandon(self, utterance: int | None = None) -> None:
        self.done.append("abandon")

    def close(self) -> None:
        self.closed = True


class DeafVAD(LoudnessVAD):
    """Never judges anything."""

    def open(self, sink: Any) -> Any:
        return super().open(lambda frame: None)


def listening(
    vad: Any = None, form: AudioFormat = FORM, turn_model: Any = None
) -> tuple[Ear, ListeningSTT, list[Any]]:
    posted: list[Any] = []
    stt = ListeningSTT()
    parts: Any = {"vad": vad or LoudnessVAD(), "stt": stt, "post": posted.append}
    parts["turn_model"] = turn_model
    ear = Ear(**parts, form=form, expected=Expected("en"), threshold=0.5, min_speech_ms=64)
    return ear, stt, posted


def numbered(start: int, count: int) -> bytes:
    return b"".join((n % 30_000).to_bytes(2, "little") for n in range(start, start + count))


def test_the_turn_model_hears_the_last_8_s_though_the_recogniser_had_them_in_pieces() -> None:
    async def scenario() -> None:
        model = ScriptedTurnModel(0.7)
        ear, stt, posted = listening(turn_model=model)
        for second in range(12):
            ear.hear(numbered(second * RATE_HZ, RATE_HZ), judged=False)
            ear.begin(second + 1, second * RATE_HZ)
            ear.feed(ear.position)
            ear.end()
        assert ear.judge_pause(JudgePause(11 * RATE_HZ, 0))
        assert model.heard == [numbered(4 * RATE_HZ, 8 * RATE_HZ)]
        ear.judge_pause(JudgePause(11 * RATE_HZ, 9 * RATE_HZ))
        assert model.heard[1] == numbered(9 * RATE_HZ - 8000, 3 * RATE_HZ + 8000)
        await asyncio.sleep(0.1)
        assert posted[-1] == PauseJudged(11 * RATE_HZ, 0.7)

    run_virtual(scenario())


def test_without_a_turn_model_nobody_is_asked() -> None:
    ear, _, posted = listening()
    assert not ear.judge_pause(JudgePause(0, 0)) and posted == []


def test_the_recogniser_hears_from_where_it_was_told_up_to_what_was_judged() -> None:
    ear, stt, _ = listening()
    ear.hear(numbered(0, 3200), judged=False)
    ear.begin(1, 1000)
    ear.feed(2000)
    ear.feed(1500)
    ear.hear(numbered(3200, 800), judged=False)
    ear.feed(4000)
    assert bytes(stt.streams[0].fed) == numbered(1000, 3000)
    ear.end()
    assert stt.streams[0].done == ["begin 1", "end"]


def test_nothing_is_fed_between_two_utterances() -> None:
    ear, stt, _ = listening()
    ear.hear(numbered(0, 1600), judged=False)
    ear.begin(1, 0)
    ear.abandon()
    ear.feed(1600)
    assert bytes(stt.streams[0].fed) == b""


def test_a_lost_segment_is_heard_anew_from_its_beginning_once_and_goes_on() -> None:
    ear, stt, _ = listening()
    ear.hear(numbered(0, 160_000), judged=False)
    ear.begin(7, 1000)
    ear.feed(160_000)
    stt.streams[0].fed.clear()
    assert not ear.begin_again(6), "another segment"
    assert ear.begin_again(7)
    ear.hear(numbered(160_000, 800), judged=False)
    ear.feed(160_800)
    assert bytes(stt.streams[0].fed) == numbered(1000, 159_800)
    assert stt.streams[0].done == ["begin 7", "begin 7"]
    assert not ear.begin_again(7), "once is enough"


def test_a_lost_segment_that_has_ended_or_is_too_long_stays_lost() -> None:
    ear, stt, _ = listening()
    second = numbered(0, RATE_HZ)
    ear.begin(1, 0)
    for n in range(1, 40):
        ear.hear(second, judged=False)
        ear.feed(n * RATE_HZ)
    assert not ear.begin_again(1)
    assert len(ear._kept) <= 2 * RATE_HZ * (KEEP_MS / 1000 + 1) + TRIM_BYTES
    ear.begin(2, ear.position)
    ear.end()
    assert not ear.begin_again(2)
    assert stt.streams[0].done == ["begin 1", "begin 2", "end"]


def test_positions_go_on_when_vad_is_switched_off_and_on() -> None:
    async def run() -> None:
        ear, _, posted = listening()
        ear.hear(SILENT * 8, judged=True)
        ear.hear(LOUD * 5, judged=False)
        ear.hear(LOUD * 8, judged=True)
        await asyncio.sleep(0.1)
        frames = [fact for fact in posted if isinstance(fact, VadFrame)]
        assert frames[-1].end_sample == 13 * 320 + 5 * 512
        ear.close()

    run_virtual(run())


class SlowVAD(LoudnessVAD):
    """Says when it has judged what it was fed: when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.fed = bytearray()
        self.sink: Any = None

    def open(self, sink: Any) -> Any:
        self.sink = sink
        return self

    def feed(self, pcm: bytes) -> None:
        self.fed += pcm

    def close(self) -> None:
        return None


def test_a_burst_waits_for_vad_and_is_judged_whole() -> None:
    vad = SlowVAD()
    ear, _, posted = listening(vad)
    burst = numbered(0, 100 * RATE_HZ)
    ear.hear(burst, judged=True)
    ends: list[int] = []
    while len(vad.fed) < len(burst):
        assert len(vad.fed) // 2 - sum(ends[-1:]) <= VAD_AHEAD_MS * RATE_HZ // 1000
        ends.append(len(vad.fed) // 2)
        vad.sink(VadFrame(ends[-1], 0.0, (0.0,) * 8))
        ear.judge(posted.pop())
    assert bytes(vad.fed) == burst and len(ends) == 9


@pytest.mark.parametrize("seconds", [30, 900])
def test_what_is_kept_stays_bounded_even_if_vad_never_answers(seconds: int) -> None:
    async def run() -> None:
        ear, _, _ = listening(DeafVAD())
        second = bytes(2 * RATE_HZ)
        complaints = []
        for _ in range(seconds):
            try:
                ear.hear(second, judged=True)
            except ClientError as error:
                complaints.append(error.code)
        assert set(complaints) == ({"audio_dropped"} if seconds > 300 else set())
        assert len(ear._kept) <= 2 * RATE_HZ * (MOST_KEPT_MS / 1000 + 1) + TRIM_BYTES
        assert ear.position == seconds * RATE_HZ
        ear.begin(1, 0)
        ear.feed(ear.position)
        ear.close()

    run_virtual(run())


def test_an_hour_that_is_judged_keeps_no_more_than_the_longest_prefix() -> None:
    ear, _, _ = listening()
    for second in range(1, 601):
        ear.hear(bytes(2 * RATE_HZ), judged=False)
        ear.feed(second * RATE_HZ)
    assert len(ear._kept) <= KEEP_MS * 32 + TRIM_BYTES + 2 * RATE_HZ


def test_a_new_language_begins_with_the_next_utterance_and_loses_no_final() -> None:
    """Once a change in mid-utterance was forgotten, and one behind it lost the final."""
    ear, stt, _ = listening()
    ear.begin(1, 0)
    ear.expect(Expected("ja", ("Kaiwa",)))
    assert stt.open_streams == ["en"]
    ear.end()
    assert stt.open_streams == ["en"], "its final is still to come"
    ear.begin(2, 0)
    assert stt.streams[1].done == ["begin 2"]
    assert stt.open_streams == ["en", "ja"]
    assert stt.hotwords == ("Kaiwa",)
    ear.end()
    assert stt.open_streams == ["ja"]
    ear.expect(Expected("ja", ("Kaiwa",)))
    ear.begin(3, 0)
    assert stt.open_streams == ["ja"]
    ear.close()
    assert stt.open_streams == []


def test_closing_in_the_middle_of_a_change_of_language_closes_both() -> None:
    ear, stt, _ = listening()
    ear.begin(1, 0)
    ear.end()
    ear.expect(Expected("ja", ("Kaiwa",)))
    ear.begin(2, 0)
    ear.close()
    assert stt.open_streams == []


def test_half_a_sample_is_the_clients_error() -> None:
    ear, _, _ = listening()
    with pytest.raises(ClientError, match="whole pairs of bytes, got 3"):
        ear.convert(b"abc")


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
def test_a_telephones_audio_comes_at_our_rate(kind: Any) -> None:
    ear, _, _ = listening(form=AudioFormat(type=kind))
    pcm = b"".join(ear.convert(bytes([0xD5]) * 160) for _ in range(50))
    assert len(pcm) // 2 == pytest.approx(RATE_HZ, abs=400)
