"""One caller's audio on its way to VAD and STT, and what they make of it.

    arrived   |###############################|  position
    judged    |#########################|         STT is fed up to here, never further:
    kept           |####################|         a burst of audio is heard in the order it was said
                   prefix

Where the client says when a turn ends, VAD is left out and everything goes straight to STT.
"""

from collections.abc import Callable

from msgspec import Struct

from providers.base import (
    LISTEN_RATE_HZ,
    STT,
    TURN_WINDOW_S,
    VAD,
    Hypothesis,
    SttFailure,
    SttStream,
    TurnModel,
    VadFrame,
    VadStream,
)
from voice.audio import Listening
from voice.endpoint import samples
from voice.errors import ClientError
from voice.events import JudgePause
from voice.facts import PauseJudged
from voice.settings import AudioFormat
from voice.speech import SpeechDetector, SpeechPaused, SpeechStarted

KEEP_MS = 2600
"""Audio behind the judged sample that a new segment may still begin in: the longest prefix a client
can ask for, and what VAD needs to be sure."""
REPLAY_MS = 30_000
"""A segment up to this length is kept whole, for a recogniser that loses it. 1 MB."""
LEAD_IN_MS = 500
"""Of what sounded before the utterance, for the turn model: pipecat gives it as much."""
TRIM_BYTES = 64_000
VAD_AHEAD_MS = 10_000
"""Audio given to VAD and not judged yet; the rest of what came at once waits here."""
MOST_KEPT_MS = 300_000
"""Audio that waits to be judged; beyond it the oldest is lost."""


class Expected(Struct, frozen=True):
    """What the recogniser is told of the caller beforehand."""

    language: str = ""
    hotwords: tuple[str, ...] = ()
    """Names and terms it shall lean to, where it can."""


class Ear:
    """Args:
    post: Takes what VAD and STT say, on the event loop, in order.
    """

    def __init__(
        self,
        *,
        vad: VAD,
        stt: STT,
        post: Callable[[VadFrame | Hypothesis | SttFailure | PauseJudged], None],
        form: AudioFormat,
        expected: Expected,
        threshold: float,
        min_speech_ms: int,
        turn_model: TurnModel | None = None,
    ) -> None:
        self._vad, self._post = vad, post
        self._turn_model = turn_model
        self._keep_ms = KEEP_MS if turn_model is None else TURN_WINDOW_S * 1000
        self._listening = Listening(form)
        self._recogniser = stt
        self._expected = self._told = expected
        self._stt = self._open_stt()
        self._former: SttStream | None = None
        self._min_speech_ms = min_speech_ms
        self._threshold = threshold
        self._vad_stream: VadStream | None = None
        self._vad_from = self._vad_to = self._judged_to = 0
        self._kept = bytearray()
        self._kept_from = 0
        self._fed_to = 0
        self._live = self._lost = False
        self._segment = self._segment_from = 0
        self.position = 0
        self.reset(threshold)

    def reset(self, threshold: float) -> None:
        """Listens afresh: no speech is under way."""
        self._threshold = threshold
        self._detector = SpeechDetector(threshold=threshold, min_speech_ms=self._min_speech_ms)

    @property
    def speaking(self) -> bool:
        """Whether speech is under way, as far as it was judged."""
        return self._detector.speaking

    def set_format(self, form: AudioFormat) -> None:
        if form != self._listening.form:
            self._listening = Listening(form)

    def expect(self, expected: Expected) -> None:
        """From the next utterance on; one that is under way ends as it began."""
        self._expected = expected

    @property
    def delay_s(self) -> float:
        """By so much the audio that was heard is behind what has come."""
        return self._listening.delay_s

    def convert(self, data: bytes) -> bytes:
        """Raises:
        ClientError: Half a sample.
        """
        return self._listening.convert(data)

    def hear(self, pcm: bytes, *, judged: bool) -> None:
        """The next 16 kHz samples, to be judged by VAD or taken for speech as they are.

        Raises:
            ClientError: So much came at once that the oldest is lost; the rest is heard.
        """
        start, self.position = self.position, self.position + len(pcm) // 2
        self._kept += pcm
        if not judged:
            self._close_vad()
        elif self._vad_stream is None:
            self._open_vad(start)
        self._forget(len(self._kept) // 2 - samples(MOST_KEPT_MS))
        lost = judged and self._vad_to < self._kept_from
        if lost:
            self._close_vad()
            self._open_vad(self._kept_from)
        self._feed_vad()
        if lost:
            message = (
                f"More than {MOST_KEPT_MS // 1000} s of audio wait to be heard; the oldest are "
                "lost. Send audio no faster than it is spoken."
            )
            raise ClientError("audio_dropped", message)

    def _open_vad(self, sample: int) -> None:
        self._vad_from = self._vad_to = self._judged_to = sample
        self._vad_stream = self._vad.open(self._judged)

    def _close_vad(self) -> None:
        if self._vad_stream is not None:
            self._vad_stream.close()
            self._vad_stream = None

    def _feed_vad(self) -> None:
        """As much as it may have at a time: what it has no room for, it would drop."""
        to_sample = min(self.position, self._judged_to + samples(VAD_AHEAD_MS))
        if self._vad_stream is not None and to_sample > self._vad_to:
            start, end = self._vad_to - self._kept_from, to_sample - self._kept_from
            self._vad_to = to_sample
            self._vad_stream.feed(bytes(self._kept[start * 2 : end * 2]))

    def _judged(self, frame: VadFrame) -> None:
        shifted = frame.end_sample + self._vad_from
        self._post(VadFrame(shifted, frame.probability, frame.rms))

    def judge(self, frame: VadFrame) -> list[SpeechStarted | SpeechPaused]:
        self._judged_to = frame.end_sample
        self._feed_vad()
        return self._detector.receive(frame)

    def begin(self, segment: int, sample: int) -> None:
        if self._expected != self._told:
            self._switch()
        self._stt.begin(segment)
        self._fed_to = self._segment_from = max(sample, self._kept_from)
        self._segment, self._live, self._lost = segment, True, False

    def begin_again(self, segment: int) -> float:
        """The recogniser lost what it was hearing: once, it hears that anew.

        Returns:
            The seconds of audio it gets at once; 0 where it does not: the segment has ended, or
            began longer ago than is kept.
        """
        held = self._live and segment == self._segment and self._kept_from <= self._segment_from
        if self._lost or not held:
            return 0.0
        self._lost = True
        fed_to, self._fed_to = self._fed_to, self._segment_from
        self._stt.begin(segment)
        self.feed(fed_to)
        return (fed_to - self._segment_from) / LISTEN_RATE_HZ

    def _switch(self) -> None:
        """Opens a stream that knows better; the former one may still owe us a final."""
        self._close_former()
        self._former, self._told = self._stt, self._expected
        self._stt = self._open_stt()

    def _open_stt(self) -> SttStream:
        told = self._told
        return self._recogniser.open(self._post, language=told.language, hotwords=told.hotwords)

    def _close_former(self) -> None:
        former, self._former = self._former, None
        if former is not None:
            former.close()

    def feed(self, to_sample: int) -> None:
        """STT hears what has been judged; what can no longer be asked for is forgotten."""
        if self._live and to_sample > self._fed_to:
            start, end = self._fed_to - self._kept_from, to_sample - self._kept_from
            self._stt.feed(bytes(self._kept[start * 2 : end * 2]))
            self._fed_to = to_sample
        keep_from = to_sample - samples(self._keep_ms)
        if self._live and to_sample - self._segment_from <= samples(REPLAY_MS):
            keep_from = min(keep_from, self._segment_from)
        self._forget(keep_from - self._kept_from)

    def judge_pause(self, pause: JudgePause) -> bool:
        """Has the turn model listen to the utterance so far, with the silence behind it.

        Returns:
            Whether there is one.
        """
        if self._turn_model is None:
            return False
        start = max(
            pause.start - samples(LEAD_IN_MS),
            self.position - samples(TURN_WINDOW_S * 1000),
            self._kept_from,
        )
        pcm = bytes(self._kept[(start - self._kept_from) * 2 :])
        self._turn_model.judge(
            pcm, lambda complete: self._post(PauseJudged(pause.sample, complete))
        )
        return True

    def _forget(self, spare: int) -> None:
        """The oldest `spare` samples, once they are worth moving the rest."""
        if spare * 2 > TRIM_BYTES:
            del self._kept[: spare * 2]
            self._kept_from += spare
            self._fed_to = max(self._fed_to, self._kept_from)

    def end(self) -> None:
        self._live = False
        self._stt.end()
        self._close_former()

    def abandon(self) -> None:
        self._live = False
        self._stt.abandon()

    def close(self) -> None:
        self._kept.clear()
        self._stt.close()
        self._close_former()
        self._close_vad()
