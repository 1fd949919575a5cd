"""The agent's side of a script: its words by what it was asked, and the caller's loudspeaker."""

import re
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import numpy as np

from mocks.llm import EchoLLM, ReasoningDelta
from providers.base import LLMEvent, LLMRequest
from tests.conversations.script import Scenario, plain
from tests.driving import FRAME_MS, Call, SentEvent, SentFrame

MS_A_CHARACTER = {"en": 65.0, "ja": 130.0, "ko": 130.0, "zh": 170.0}


class ScriptedAnswers(EchoLLM):
    """Gives the answer that the script has for these words, whoever asks and how often.

    An answer that is asked for speculatively, or with words the turn does not end with, is another
    request, and must not use up the script's answers: those are found by the question.
    """

    def __init__(self, scenario: Scenario, *, first_token_ms: float = 50.0) -> None:
        super().__init__(first_token_ms=first_token_ms)
        self._by_question = [
            (plain(way), answer.text)
            for answer in scenario.answers
            for way in scenario.turns[answer.turn].ways
        ]

    async def play(self, request: LLMRequest) -> AsyncGenerator[LLMEvent | ReasoningDelta, None]:
        answer = self._answer(plain(request.question))
        if answer is not None:
            self.script(answer)  # taken by the next line, before anybody else can ask
        async with aclosing(super().play(request)) as events:
            async for event in events:
                yield event

    def _answer(self, question: str) -> str | None:
        """Of the turn that was this, or ended with it where it was taken piece by piece."""
        whole = [text for asked, text in self._by_question if asked == question]
        ends = [
            text
            for asked, text in self._by_question
            if question and (asked.endswith(question) or question.endswith(asked))
        ]
        return next(iter((*whole, *ends)), None)


class Sounding(msgspec.Struct, frozen=True):
    """What the loudspeaker gives in one 20 ms frame."""

    item_id: str
    at_ms: float
    rms: float = 0.0


class Spoken(msgspec.Struct):
    """One response, as the client saw it."""

    id: str
    created_at: float
    item_id: str = ""
    text: str = ""
    ended_at: float | None = None
    status: str = ""
    reason: str = ""
    sent_ms: float = 0.0
    first_frame_at: float | None = None
    played_ms: float = 0.0
    silent_ms: float = 0.0
    """Gaps in what was heard, from its first sound to its last."""
    heard_all_at: float | None = None

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None and (self.was_cut or self.heard_all_at is not None)

    @property
    def was_cut(self) -> bool:
        return self.status == "cancelled"


class Loudspeaker:
    """The client that plays what it gets as it comes, in real time, and drops what was cut."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._read = 0
        self._queue: deque[SentFrame] = deque()
        self._offset_ms = 0.0
        self._gap_ms = 0.0
        self._playing: Spoken | None = None
        self.answers: list[Spoken] = []
        self.past: list[Sounding | None] = []
        """Frame by frame since the call began."""

    def by_item(self, item_id: str) -> Spoken | None:
        return next((spoken for spoken in self.answers if spoken.item_id == item_id), None)

    def tick(self, now: float) -> None:
        """Plays the next 20 ms."""
        for entry in self._call.client.log[self._read :]:
            if isinstance(entry, SentFrame):
                self._frame(entry)
            else:
                self._event(entry)
        self._read = len(self._call.client.log)
        cleared = self._call.client.cleared_at
        if cleared and any(frame.at < cleared[-1] for frame in self._queue):
            self._queue = deque(frame for frame in self._queue if frame.at > cleared[-1])
            self._offset_ms = 0.0
        sounding = self._take()
        self.past.append(sounding)
        self._keep_count(sounding, now)

    def _frame(self, sent: SentFrame) -> None:
        spoken = self.by_item(sent.item_id)
        assert spoken is not None
        spoken.sent_ms += sent.ms
        if spoken.first_frame_at is None:
            spoken.first_frame_at = sent.at
        self._queue.append(sent)

    def _event(self, sent: SentEvent) -> None:
        event = sent.event
        match sent.type:
            case "response.created":
                self.answers.append(Spoken(event["response"]["id"], sent.at))
            case "response.output_item.added" if event["item"]["type"] == "message":
                self.answers[-1].item_id = event["item"]["id"]
            case "response.output_audio_transcript.delta":
                self.answers[-1].text += event["delta"]
            case "response.done":
                last = self.answers[-1]
                last.ended_at, last.status = sent.at, event["response"]["status"]
                last.reason = (event["response"]["status_details"] or {}).get("reason", "")
            case _:
                pass

    def _take(self) -> Sounding | None:
        if not self._queue:
            return None
        head = self._queue[0]
        first = int(self._offset_ms * head.form.rate_hz / 1000)
        count = FRAME_MS * head.form.rate_hz // 1000
        pcm = np.frombuffer(head.frame.pcm, "<i2")[first : first + count].astype(np.float64)
        rms = float(np.sqrt(np.mean(pcm * pcm))) if len(pcm) else 0.0
        at = Sounding(head.item_id, head.frame.at_ms + self._offset_ms, rms)
        self._offset_ms += FRAME_MS
        if self._offset_ms >= head.ms:
            self._queue.popleft()
            self._offset_ms = 0.0
        return at

    def _keep_count(self, sounding: Sounding | None, now: float) -> None:
        if sounding is not None:
            spoken = self.by_item(sounding.item_id)
            assert spoken is not None
            if spoken is self._playing:
                spoken.silent_ms += self._gap_ms
            self._playing, self._gap_ms = spoken, 0.0
            spoken.played_ms = min(sounding.at_ms + FRAME_MS, spoken.sent_ms)
        else:
            self._gap_ms += FRAME_MS
        for spoken in self.answers:
            whole = spoken.status == "completed" and spoken.played_ms >= spoken.sent_ms - 1
            if whole and spoken.heard_all_at is None:
                spoken.heard_all_at = now


def words_ending(text: str, from_ms: float, to_ms: float, language: str) -> list[str]:
    """The words of an answer whose sound ends between the two."""
    per_character = MS_A_CHARACTER[language]
    return [
        match.group()
        for match in re.finditer(_ANSWER_WORD, text)
        if from_ms < match.end() * per_character <= to_ms
    ]


_ANSWER_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]{1,2}|[^\s\u3040-\u30ff\u3400-\u9fff]+"
)
