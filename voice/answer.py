"""One answer as the session holds it: its response on the wire, its sound, its place in the turn.

    facts of the reply ──▶ Response ──▶ events        Playout ──▶ frames, when they are due
                           Timeline ◀── stamps        Playout ──▶ what was heard

It lives on after `response.done`, while the caller still hears it, and a while longer, so that a
late `conversation.item.truncate` finds where the words lie in the sound.
"""

from providers.base import ProviderError, Slot, ToolCall, ToolCallDelta
from voice import wire
from voice.conversation import CUT_MARK, Conversation
from voice.playout import Frame, Playout
from voice.reply_facts import (
    Called,
    Ended,
    Fact,
    Failed,
    Marked,
    Phrased,
    Retrieved,
    Said,
    Sounded,
    Thought,
)
from voice.response import COMPLETED, Ending, Events, Response, Stage
from voice.timeline import Outcome, Timeline
from voice.timeline import Stage as Stamp

WORD_MS = 700
"""A word's length: the one that has begun to leave counts as spoken."""


class Answer:
    def __init__(
        self,
        *,
        response: Response,
        conversation: Conversation,
        timeline: Timeline,
        question_id: str,
        frame_ms: int,
        lead_ms: int,
        house_tools: frozenset[str] = frozenset(),
    ) -> None:
        self.turn = response.turn
        self.response = response
        self.timeline = timeline
        self.error: ProviderError | None = None
        self.problem = ""
        self.outcome = Outcome.COMPLETED
        self.cut_in_ms: float | None = None
        self.text = ""
        self.orders: list[ToolCall] = []
        """Calls of the house's tools, known once all is said."""
        self._house_tools = house_tools
        self._conversation = conversation
        self._question_id = question_id
        form = response.settings.audio.output.format
        self.playout = Playout(rate_hz=form.rate_hz, frame_ms=frame_ms, lead_ms=lead_ms)
        self.playout.begin(self.turn)
        self._marks: list[tuple[int, int]] = []
        self._calls: dict[int, list[ToolCallDelta]] = {}
        """Written out once all is said, though they are known before: a client acts on a call at
        once and asks for the next response, which is refused while this one is open; and one that
        the caller cut is none."""
        self._ended: Ended | None = None
        self._broke_at = 0
        """Where the voice failed, in characters of `text`: an apology may follow."""
        self._unsaid: slice | None = None
        """Of `text`: no sound of it came."""
        self._answers_from_ms: float | None = None
        """Where its own sound begins: behind what was said into a silence before it."""

    @property
    def active(self) -> bool:
        """Whether the response is still open on the wire."""
        return self.response.stage is Stage.OPEN

    @property
    def item_id(self) -> str:
        return self.response.message_id

    # --- the reply's facts ------------------------------------------------------------------------

    def receive(self, fact: Fact, at: float) -> Events:
        match fact:
            case Retrieved():
                self.timeline.stamp(Stamp.RETRIEVAL, at)
                self.problem = fact.problem
                return self._sources(fact)
            case Thought():
                self.timeline.stamp(Stamp.LLM_FIRST_TOKEN, at)
            case Phrased():
                self.timeline.stamp(Stamp.FIRST_CLAUSE, at)
            case Said():
                if not fact.holds and self._answers_from_ms is None:
                    self._answers_from_ms = self.playout.duration_ms
                self.text += fact.text
                return self.response.say(fact.text)
            case Marked():
                self.playout.mark(fact.chars, fact.at_ms)
                self._marks.append((fact.chars, round(fact.at_ms)))
            case Sounded():
                if self._answers_from_ms is not None:
                    self.timeline.stamp(Stamp.TTS_FIRST_AUDIO, at)
                self.playout.push(fact.pcm)
                return self._speech_marks()
            case Called():
                self._calls.setdefault(fact.delta.index, []).append(fact.delta)
            case Failed():
                if fact.error.slot is Slot.TTS:
                    self._break_off()
                self.error, self.problem = fact.error, str(fact.error)
                self.outcome = Outcome.FAILED
            case Ended():
                self.playout.finish()
                self._ended = fact
                return self._speech_marks()
        return []

    def _sources(self, fact: Retrieved) -> Events:
        if not fact.passages or not self.response.settings.wants("kaiwa.turn.sources"):
            return []
        sources = [
            wire.Source(
                source=passage.source,
                title=passage.title,
                heading=passage.heading,
                score=round(passage.score, 4),
                text=passage.text,
                start=passage.start,
                end=passage.end,
                chunk=passage.chunk,
            )
            for passage in fact.passages
        ]
        return [
            wire.TurnSources(
                turn=self.turn,
                response_id=self.response.id,
                item_id=self._question_id,
                sources=sources,
            )
        ]

    def _speech_marks(self) -> Events:
        marks, self._marks = self._marks, []
        if not marks or not self.response.settings.wants("kaiwa.speech.marks"):
            return []
        return [wire.SpeechMarks(response_id=self.response.id, item_id=self.item_id, marks=marks)]

    # --- sound ------------------------------------------------------------------------------------

    def frames(self, now: float) -> list[Frame]:
        """What is due; the caller of this sends it at once."""
        frames = self.playout.due(now)
        if frames and self._is_answer(self.playout.sent_ms):
            self.timeline.stamp(Stamp.TTS_START, now)
        return frames

    def next_due(self) -> float | None:
        """Loop time at which there is a frame to send, or the caller has heard the last."""
        due = self.playout.next_due()
        return self.playout.drained_at() if due is None and not self.active else due

    def finish(self) -> Events:
        """Ends the response when all is said and sent; nothing before that."""
        if self._ended is None or self.playout.has_frame or not self.active:
            return []
        finish = self._ended.finish
        usage = wire.ResponseUsage(
            total_tokens=finish.usage.input_tokens + finish.usage.output_tokens,
            input_tokens=finish.usage.input_tokens,
            output_tokens=finish.usage.output_tokens,
            input_token_details=wire.TokenDetails(
                text_tokens=finish.usage.input_tokens, cached_tokens=finish.usage.cached_tokens
            ),
            output_token_details=wire.TokenDetails(text_tokens=finish.usage.output_tokens),
        )
        ending = self._ending(finish.reason)
        if self.error is not None and self.error.slot is Slot.TTS and self.item_id:
            heard = self.heard_text(self.playout.sent_ms)  # a clause of it broke off
            apologised = len(self.text) > self._broke_at
            self._conversation.heard(self.item_id, heard, is_cut=not apologised)
        events: Events = []
        if ending.status == "completed":
            for pieces in self._calls.values():
                if pieces[0].name in self._house_tools:
                    self.orders.append(self._order(pieces))
                else:
                    events += self.response.call(pieces)
        return events + self.response.end(ending, usage)

    def _order(self, pieces: list[ToolCallDelta]) -> ToolCall:
        """No item of the client's: it would have to answer it."""
        call_id = pieces[0].call_id or f"call_{self.turn}_{len(self.orders)}"
        return ToolCall(call_id, pieces[0].name, "".join(piece.arguments for piece in pieces))

    def _ending(self, reason: str) -> Ending:
        if self.error is not None:
            slot, fault = self.error.slot.value, self.error.fault.value
            detail = wire.StatusError("server_error", f"{slot}_{fault}", str(self.error))
            return Ending(status="failed", error=detail)
        if reason == "length":
            return Ending(status="incomplete", reason="max_output_tokens")
        if reason == "content_filter":
            return Ending(status="incomplete", reason="content_filter")
        return COMPLETED

    def _break_off(self) -> None:
        """The voice failed: of the clause it was at only what is marked counts as said."""
        end_ms = self.playout.duration_ms
        said = self.playout.heard_chars(end_ms)
        self._broke_at = len(self.text)
        if said < len(self.text):
            self._unsaid = slice(said, len(self.text))
            self.playout.mark(len(self.text), end_ms)

    # --- heard ------------------------------------------------------------------------------------

    def _is_answer(self, upto_ms: float) -> bool:
        return self._answers_from_ms is not None and upto_ms > self._answers_from_ms

    def report(self, played_ms: float, now: float) -> None:
        self.playout.report(played_ms, now)
        if self._is_answer(played_ms):
            self.timeline.stamp(Stamp.HEARD, now)
        if self._conversation.is_cut(self.item_id):  # the client knows better than the estimate
            heard_ms = self.playout.heard_ms(now)
            self._conversation.heard(self.item_id, self.heard_text(heard_ms))

    def cut(self, now: float, ending: Ending, outcome: Outcome) -> Events:
        """Ends it here; the conversation keeps what was heard."""
        whole = self.playout.is_drained(now) and not self.active
        heard_ms = self.playout.clear(now)
        events = self.response.end(ending)
        if whole:
            return events
        if self.error is None:
            self.outcome = outcome
        if self.response.settings.spoken:
            self.cut_in_ms = None if outcome is Outcome.FAILED else round(heard_ms, 1)
            if self.item_id:
                self._conversation.heard(self.item_id, self.heard_text(heard_ms))
        return events

    def truncated(self, now: float) -> Events:
        """That it was cut, for a client that did not do so itself."""
        if not self.item_id or not self._conversation.is_cut(self.item_id):
            return []
        heard_ms = int(self.playout.heard_ms(now))
        return [wire.ItemTruncated(item_id=self.item_id, content_index=0, audio_end_ms=heard_ms)]

    def truncate(self, audio_end_ms: int, now: float) -> int:
        """The client says where it stopped; more than there is means all there is.

        Returns:
            The milliseconds that stand.
        """
        heard_ms = min(audio_end_ms, int(self.playout.sent_ms))
        self.playout.report(heard_ms, now)
        if heard_ms < int(self.playout.duration_ms) or self._conversation.is_cut(self.item_id):
            self._conversation.heard(self.item_id, self.heard_text(heard_ms))
        return heard_ms

    def heard_text(self, heard_ms: float) -> str:
        """The words that had been spoken by then, the last one whole or not at all."""
        text = self.text
        chars = self.playout.heard_chars(heard_ms)
        if 0 < chars < len(text) and _within_word(text, chars):
            chars = text.rfind(" ", 0, chars) + 1
        unsaid = self._unsaid
        if unsaid is None:
            return text[:chars].rstrip()
        if chars <= unsaid.stop:
            return text[: min(chars, unsaid.start)].rstrip()
        said, after = text[: unsaid.start].rstrip(), text[unsaid.stop : chars].rstrip()
        return f"{said}{CUT_MARK}{after}" if said else after.lstrip()

    def spoken_text(self, now: float, last_ms: float) -> str:
        """What the caller's room hears about now: of the last seconds, and up to what was sent."""
        from_ms = max(0.0, self.playout.heard_ms(now) - last_ms)
        to_ms = self.playout.sent_ms + WORD_MS
        marked = to_ms < self.playout.marked_ms
        to_chars = self.playout.heard_chars(to_ms) if marked else len(self.text)
        while to_chars < len(self.text) and _within_word(self.text, to_chars):
            to_chars += 1
        return self.text[self.playout.heard_chars(from_ms) : to_chars]


def _within_word(text: str, at: int) -> bool:
    """Whether a cut before `text[at]` would part a word written in letters with spaces between."""
    return at > 0 and text[at - 1].isalnum() and text[at].isalnum() and text[at].isascii()
