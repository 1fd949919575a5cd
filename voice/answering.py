"""The turn-taker's orders about answers: begun, held back, let go on, cut; and each turn's record.

StartReply ──▶ start ──▶ Answers        Duck, Unduck ──▶ duck ──▶ Playout, kaiwa.speech.ducked
Interrupt  ──▶ cut   ──▶ Answers ──▶ ended ──▶ close_turn ──▶ Record, kaiwa.turn.timeline
"""

from collections.abc import Callable

import msgspec

from voice import events, metrics, wire
from voice.answer import Answer
from voice.answers import Answers
from voice.conversation import Conversation, text_of
from voice.house import House
from voice.initiative import Initiative
from voice.phrases import misheard
from voice.record import Closing, Record
from voice.requests import ReplyOptions
from voice.response import Ending
from voice.settings import Settings
from voice.timeline import Outcome
from voice.timeline import Stage as Stamp
from voice.turn import Caller, TurnTaker
from voice.utterances import Utterances

ECHO_LATE_MS = 1500
"""So long before a sound may have been spoken what it is an echo of: own_voice.ECHO_TAIL_MS on its
way, 300 that are recognised in front of it, and what the estimate of what is heard is wrong by. A
word that was said earlier is the caller's who asks back: "nine?" """
LAST_WORDS_MS = 1000
"""Of an answer's end: what may still come back when it is over."""


class Answering:
    """Args:
    settings: The session's, as they are now; `language`: what its caller speaks.
    """

    def __init__(
        self,
        *,
        turns: TurnTaker,
        answers: Answers,
        utterances: Utterances,
        initiative: Initiative,
        house: House,
        conversation: Conversation,
        record: Record,
        settings: Callable[[], Settings],
        language: Callable[[], str],
        send: Callable[[wire.ServerEvent], None],
    ) -> None:
        self._turns, self._answers, self._utterances = turns, answers, utterances
        self._initiative, self._conversation, self._record = initiative, conversation, record
        self._house = house
        self._settings, self._language, self._send = settings, language, send
        self._ducked = False
        self.options: ReplyOptions | None = None
        """Of the answer that the client asked for and that has not begun."""

    def start(self, command: events.StartReply, at: float) -> None:
        options, self.options = self.options or ReplyOptions(self._settings()), None
        turn, language = command.turn, self._language()
        own = self._initiative.answers() or command.say
        self._answers.begin(
            turn,
            options,
            item_id=self._utterances.item_id(turn),
            language=language,
            at=at,
            say=own or (misheard(language) if command.lost or command.wordless else ""),
        )
        if command.wordless and self._answers.current is not None:
            self._answers.current.outcome = Outcome.NO_SPEECH
        if own and self._answers.current is not None:  # as it should be, not for want of an answer
            self._answers.current.outcome = Outcome.COMPLETED

    def void_request(self, reason: str, outcome: Outcome, at: float) -> None:
        """What the client asked for will not begin: it is told so, or it would wait for it."""
        options, self.options = self.options, None
        if options is not None:
            turn = self._turns.voided_turn()
            self._record.timeline(turn).stamp(Stamp.REQUEST, at)
            self._answers.void(turn, options, reason)
            self.close_turn(turn, outcome, at)

    # --- while it sounds --------------------------------------------------------------------------

    def tell_what_sounds(self, at: float) -> None:
        """The turn-taker needs to know it before it is told of speech."""
        answer, voice = self._answers.current, self._turns.voice
        if answer is not None:
            voice.sounding_at = answer.playout.sounding_at
            voice.spoken = self._may_come_back(answer, at)
            voice.voiced = answer.response.settings.spoken

    def _may_come_back(self, answer: Answer, at: float) -> str:
        """Of its words, in what the caller's microphone hears: all that were said since it began,
        and a little before."""
        turns, since_s = self._turns, 0.0
        if turns.caller is Caller.UNSURE:
            since_s = at - turns.clock.spoken_at(turns.speech_sample)
        return answer.spoken_text(at, since_s * 1000 + ECHO_LATE_MS)

    def duck(self, ducked: bool, at: float) -> None:
        """Holds the answer's sound back, or lets it go on."""
        if ducked == self._ducked:
            return
        self._ducked, answer = ducked, self._answers.current
        if answer is not None:
            if ducked:
                answer.playout.hold()
            else:
                answer.playout.release(at)
        if self._settings().wants("kaiwa.speech.ducked"):
            self._send(wire.SpeechDucked(ducked=ducked))

    def interrupt(self, at: float) -> None:
        """The caller has the floor."""
        metrics.BARGE_INS.labels("turn").inc()
        self.cut("turn_detected", Outcome.INTERRUPTED, at)
        self.duck(False, at)

    def cut(self, reason: str, outcome: Outcome, at: float) -> None:
        self._answers.cut(Ending(status="cancelled", reason=reason), outcome, at)

    # --- the end ----------------------------------------------------------------------------------

    def ended(self, answer: Answer, at: float) -> None:
        """It is over, for the caller's ear too."""
        if answer.outcome is Outcome.INTERRUPTED:
            self._initiative.was_cut()
            self._house.went_on()
        elif answer.outcome is Outcome.COMPLETED and answer.playout.is_drained(at):
            spoke = bool(answer.text.strip())
            behind = answer.item_id or self._conversation.last_id or ""
            self._house.ordered(answer.orders, behind=behind, spoke=spoke)
        if answer.turn == self._turns.answering:
            self._turns.voice.sounding_at = answer.playout.sounding_at
            self._turns.voice.spoken = self._may_come_back(answer, at)
        self._turns.reply_ended(answer.turn, answer.spoken_text(at, LAST_WORDS_MS))
        self.close_turn(answer.turn, answer.outcome, at, answer)

    def skip(self, command: events.SkipReply, orders: list[events.Command], at: float) -> None:
        """Args:
        orders: That it came with.
        """
        outcome = Outcome.NO_SPEECH if command.no_speech else Outcome.NO_REPLY
        lost = events.Misheard(command.turn) in orders
        self.close_turn(command.turn, Outcome.FAILED if lost else outcome, at)

    def close_turn(
        self, turn: int, outcome: Outcome, at: float, answer: Answer | None = None
    ) -> None:
        item_id = self._utterances.item_id(turn)
        item = self._conversation.get(item_id) if item_id else None
        closing = Closing(item_id=item_id, asked=text_of(item) if item else "")
        if answer is not None:
            closing = msgspec.structs.replace(
                closing,
                response_id=answer.response.id,
                cut_in_ms=answer.cut_in_ms,
                problem=answer.problem,
                answered=answer.text,
            )
        tell = self._settings().wants("kaiwa.turn.timeline")
        self._record.close(turn, outcome, at, closing, tell=tell)
        self._utterances.forget(turn)
