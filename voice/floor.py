"""One call's floor: what the caller says becomes turns, and the turns' orders are carried out.

audio, VAD,  ──▶ TurnTaker ──orders──┬─▶ Utterances ─▶ server events
hypotheses                           └─▶ Answers ─▶ server events, frames
"""

import re
from collections.abc import Callable

import msgspec

from providers.base import (
    LISTEN_RATE_HZ,
    Fault,
    Hypothesis,
    ProviderError,
    SttFailure,
    VadFrame,
)
from voice import events, metrics, settings, wire
from voice.answer import Answer
from voice.answers import Answers, Outbox
from voice.backlog import Backlog
from voice.chain import NobodyLeft
from voice.config import Config
from voice.conversation import Conversation, text_of
from voice.ear import Ear, Expected
from voice.echo_energy import EchoEnergy
from voice.facts import PauseJudged
from voice.ids import Ids
from voice.initiative import HangUp, Initiative, Say
from voice.load import Level, Pace
from voice.phrases import misheard
from voice.providers import Providers
from voice.record import Closing, Record
from voice.requests import ReplyOptions
from voice.response import Ending
from voice.rules import delays, initiative_rules, session_defaults, turn_rules
from voice.spoken_words import SpokenWords
from voice.timeline import Outcome
from voice.timeline import Stage as Stamp
from voice.turn import Caller, TurnTaker
from voice.utterances import Utterances

MOST_HOTWORDS = 100
"""Every one makes the search longer."""


LONGEST_HOTWORD = 40
"""What is longer is a sentence about what will be said, as others' recognisers take it."""

LAST_WORDS_MS = 1000
"""Of an answer's end: what may still come back when it is over."""


class Floor:
    """Args:
    outbox: For the sound; events go by `send`, which numbers them.
    post: Takes what providers and replies say into the call's inbox.
    failed: Told of every failure of a recogniser.
    """

    def __init__(
        self,
        session_id: str,
        *,
        config: Config,
        providers: Providers,
        ids: Ids,
        figures: metrics.Figures,
        outbox: Outbox,
        send: Callable[[wire.ServerEvent], None],
        post: Callable[[object], None],
        failed: Callable[[ProviderError], None],
    ) -> None:
        self.config, self.ids, self.send = config, ids, send
        self._on_failed = failed
        self.defaults = session_defaults(config, providers)
        self.effective = settings.initial(session_id, self.defaults)
        self.settings = settings.typed(self.effective)
        self._words = SpokenWords(self.language, delays(config, self.settings))
        self._echo = EchoEnergy()
        self.turns = TurnTaker(turn_rules(config, self.settings), self._words, self._echo)
        self.initiative = Initiative(initiative_rules(config, self.settings, self.language()))
        self.over = ""
        """Why the call ends; empty while it goes on."""
        self.ear = Ear(
            vad=providers.vad,
            stt=providers.stt,
            post=post,
            form=self.settings.audio.input.format,
            expected=self.expected(),
            threshold=config.vad.threshold,
            min_speech_ms=config.vad.min_speech_ms,
            turn_model=providers.turn,
        )
        self.conversation = Conversation()
        self.record = Record(
            session_id, figures=figures, send=send, log_words=config.log.transcripts
        )
        self.utterances = Utterances(
            ids=ids, conversation=self.conversation, settings=lambda: self.settings, send=send
        )
        self.answers = Answers(
            session_id,
            config=config,
            providers=providers,
            ids=ids,
            conversation=self.conversation,
            record=self.record,
            outbox=outbox,
            send=send,
            post=post,
            ended=self._answer_ended,
        )
        self._backlog, self._unsettled = Backlog(), 0
        self._ducked = False
        self._load_level = providers.load_level
        self._partials = Pace(providers.load_level)
        self.options: ReplyOptions | None = None
        """Of the answer that the client asked for and that has not begun."""

    # --- the caller's audio -----------------------------------------------------------------------

    def hear(self, data: bytes, at: float) -> None:
        """Raises:
        ClientError: Half a sample; or more at once than can be kept.
        """
        pcm = self.ear.convert(data)
        if not pcm:
            return
        automatic = self.turns.rules.automatic
        self.initiative.client_is_ready(at)
        try:
            self.ear.hear(pcm, judged=automatic)
        finally:
            self._backlog.arrive(len(pcm) / 2 / LISTEN_RATE_HZ, at)
            self.carry_out(self.turns.arrive(len(pcm) // 2, at), at)
        if not automatic:
            self.ear.feed(self.ear.position)

    def judge(self, frame: VadFrame, at: float) -> None:
        answer = self.answers.current
        if answer is not None or self.turns.caller is Caller.UNSURE:
            playout = None if answer is None else answer.playout
            self._echo.hear(frame, self.turns.clock.spoken_at(frame.end_sample), playout)
        for fact in self.ear.judge(frame):
            self._tell_what_sounds(at)
            self.carry_out(self.turns.receive(fact, at), at)
            self._look_ahead(at)
        self.ear.feed(frame.end_sample)
        self.carry_out(self.turns.judge(frame.end_sample, at), at)

    def recognised(self, fact: Hypothesis | SttFailure, at: float) -> None:
        if isinstance(fact, SttFailure):
            self._on_failed(fact.error)
            # What crashed has been replayed to other workers by its pool, and crashed them too.
            crashed = fact.error.fault is Fault.CRASHED
            in_vain = crashed or isinstance(fact.error, NobodyLeft)
            if not in_vain and (seconds := self.ear.begin_again(fact.utterance)):
                self._backlog.arrive(seconds, at)
                return
        if self.turns.caller is Caller.UNSURE:
            self._tell_what_sounds(at)
        turn = self.turns.turn_of(fact.utterance)
        commands = self.turns.receive(fact, at)
        if turn is not None and isinstance(fact, Hypothesis) and fact.text and not fact.is_final:
            self._show(turn, self.turns.text_of(turn) or fact.text, at)
        self.carry_out(commands, at)
        self._look_ahead(at)

    def _judge_pause(self, command: events.JudgePause) -> None:
        if self._load_level() < Level.NO_SPECULATION and self.ear.judge_pause(command):
            metrics.TURN_OPINIONS.labels("asked").inc()

    def pause_judged(self, fact: PauseJudged, at: float) -> None:
        in_time = self.turns.awaits_judgement_of(fact.sample)
        was = "complete" if fact.complete >= 0.5 else "incomplete"
        metrics.TURN_OPINIONS.labels(was if in_time else "late").inc()
        self.carry_out(self.turns.receive(fact, at), at)

    def _tell_what_sounds(self, at: float) -> None:
        answer = self.answers.current
        if answer is not None:
            voice = self.turns.voice
            voice.sounding_at = answer.playout.sounding_at
            voice.spoken = answer.spoken_text(at)
            voice.voiced = answer.response.settings.spoken

    def _show(self, turn: int, text: str, at: float) -> None:
        self.record.timeline(turn).stamp(Stamp.PARTIAL, at)
        if self._partials.shows(turn, at):
            self.utterances.show(turn, text)

    # --- orders of the turn-taker -----------------------------------------------------------------

    def carry_out(self, commands: list[events.Command], at: float) -> None:
        for command in commands:
            match command:
                case events.OpenUtterance():
                    self._open_utterance(command, at)
                case events.Interrupt():
                    metrics.BARGE_INS.labels("turn").inc()
                    self.cut("turn_detected", Outcome.INTERRUPTED, at)
                    self._duck(False, at)
                case events.Duck():
                    self._duck(True, at)
                case events.Unduck():
                    self._duck(False, at)
                case events.Dismiss():
                    self._dismiss(command)
                case events.BeginSegment():
                    self._begin_segment(command)
                case events.JudgePause():
                    self._judge_pause(command)
                case events.EndSegment():
                    self.ear.end()
                case events.AbandonSegment():
                    self.ear.abandon()
                case events.CommitUtterance():
                    self._commit(command, at)
                case events.Understood():
                    self._unsettled -= 1
                    self.record.timeline(command.turn).stamp(Stamp.FINAL, at)
                    self.utterances.understood(command.turn, command.text)
                    self.initiative.understood(command.text)
                case events.Misheard():
                    self._unsettled -= 1
                    self.utterances.misheard(command.turn)
                case events.StartReply():
                    self._start_reply(command, at)
                case events.SkipReply():
                    self.close_turn(command.turn, _skipped(command, commands), at)
        if self.options is not None and not self.turns.reply_pending:
            self.void_request("turn_detected", Outcome.INTERRUPTED, at)
        if commands:
            self._look_ahead(at)

    def _look_ahead(self, at: float) -> None:
        """An answer may be begun that nobody has asked for yet, or be in vain."""
        self.answers.foresight.look(self.turns, self.settings, self.language(), at)

    def _open_utterance(self, command: events.OpenUtterance, at: float) -> None:
        self._begin_turn(command.turn, command.sample)
        self.utterances.announce(command.turn)
        if text := self.turns.text_of(command.turn):  # it was heard before it was sure to be a turn
            self._show(command.turn, text, at)

    def _begin_turn(self, turn: int, sample: int) -> None:
        if not self.record.is_open(turn):
            self.utterances.begin(turn, sample)
            started = self.turns.clock.spoken_at(self.turns.speech_sample)
            self.record.timeline(turn).stamp(Stamp.SPEECH_START, started)

    def _duck(self, ducked: bool, at: float) -> None:
        """Holds the answer's sound back, or lets it go on."""
        if ducked == self._ducked:
            return
        self._ducked, answer = ducked, self.answers.current
        if answer is not None:
            if ducked:
                answer.playout.hold()
            else:
                answer.playout.release(at)
        if self.settings.wants("kaiwa.speech.ducked"):
            self.send(wire.SpeechDucked(ducked=ducked))

    def _dismiss(self, command: events.Dismiss) -> None:
        was = "echo" if command.echo else "backchannel" if command.text else "nothing"
        metrics.BARGE_INS.labels(was).inc()
        self._listen_afresh()

    def _begin_segment(self, command: events.BeginSegment) -> None:
        if command.turn:
            self._begin_turn(command.turn, command.sample)
        self.ear.begin(command.segment, command.sample)

    def _commit(self, command: events.CommitUtterance, at: float) -> None:
        timeline = self.record.timeline(command.turn)
        timeline.stamp(Stamp.SPEECH_END, min(at, self.turns.clock.spoken_at(command.sample)))
        timeline.stamp(Stamp.ENDPOINT, at)
        self._wait_for_final(at)
        automatic = self.turns.rules.automatic
        position = self.turns.clock.position
        self.utterances.commit(command.turn, position, detected=automatic)
        if automatic:
            self._listen_afresh()

    def _wait_for_final(self, at: float) -> None:
        """A recogniser that has a backlog to hear first is waited for, as long as anything is."""
        rules = self.turns.rules
        limit_s = self.config.turn.final_limit_s + self._backlog.left_s(at)
        if self._unsettled:
            limit_s = max(limit_s, rules.final_limit_s)
        self._unsettled += 1
        self.turns.rules = msgspec.structs.replace(rules, final_limit_s=limit_s)

    def _listen_afresh(self) -> None:
        """What was heard is over before its sound is: what follows is something new."""
        if self.ear.speaking and self.turns.caller is Caller.SILENT:
            self.ear.reset(self.threshold())

    def apply_rules(self) -> None:
        """The settings have changed. How long finals are waited for now has not."""
        rules = turn_rules(self.config, self.settings)
        limit_s = self.turns.rules.final_limit_s
        self.turns.rules = msgspec.structs.replace(rules, final_limit_s=limit_s)
        self._words.set_delays(delays(self.config, self.settings))
        self.initiative.rules = initiative_rules(self.config, self.settings, self.language())

    def threshold(self) -> float:
        detection = self.settings.audio.input.turn_detection
        if detection is not None and detection.type == "server_vad":
            return detection.threshold
        return self.config.vad.threshold

    def language(self) -> str:
        transcription = self.settings.audio.input.transcription
        asked = transcription.language if transcription is not None else ""
        return asked or self.config.stt.language

    def expected(self) -> Expected:
        """A client names its hotwords in `transcription.prompt`, separated by commas."""
        transcription = self.settings.audio.input.transcription
        prompt = transcription.prompt if transcription is not None else ""
        named = (" ".join(part.split()) for part in re.split("[,、，\n]", prompt))
        hotwords = tuple(word for word in named if 0 < len(word) <= LONGEST_HOTWORD)
        return Expected(self.language(), hotwords[:MOST_HOTWORDS])

    # --- the answer -------------------------------------------------------------------------------

    def _start_reply(self, command: events.StartReply, at: float) -> None:
        options, self.options = self.options or ReplyOptions(self.settings), None
        turn, language = command.turn, self.language()
        own = self.initiative.answers() or command.say
        self.answers.begin(
            turn,
            options,
            item_id=self.utterances.item_id(turn),
            language=language,
            at=at,
            say=own or (misheard(language) if command.lost else ""),
        )
        if own and self.answers.current is not None:  # as it should be, not for want of an answer
            self.answers.current.outcome = Outcome.COMPLETED

    def take_initiative(self, at: float) -> None:
        """Says what is due unasked, or ends the call."""
        if not self.initiative.watches:
            return
        quiet = self.turns.quiet and self.answers.current is None
        match self.initiative.tick(at, quiet=quiet):
            case HangUp(why=why):
                self.over = why
            case Say(text=text):
                self.carry_out(self.turns.speak_up(text), at)

    def void_request(self, reason: str, outcome: Outcome, at: float) -> None:
        """What the client asked for will not begin: it is told so, or it would wait for it."""
        options, self.options = self.options, None
        if options is not None:
            turn = self.turns.voided_turn()
            self.record.timeline(turn).stamp(Stamp.REQUEST, at)
            self.answers.void(turn, options, reason)
            self.close_turn(turn, outcome, at)

    def cut(self, reason: str, outcome: Outcome, at: float) -> None:
        self.answers.cut(Ending(status="cancelled", reason=reason), outcome, at)

    def _answer_ended(self, answer: Answer, at: float) -> None:
        if answer.outcome is Outcome.INTERRUPTED:
            self.initiative.was_cut()
        self.turns.reply_ended(answer.turn, answer.spoken_text(at, LAST_WORDS_MS))
        self.close_turn(answer.turn, answer.outcome, at, answer)

    def close_turn(
        self, turn: int, outcome: Outcome, at: float, answer: Answer | None = None
    ) -> None:
        item_id = self.utterances.item_id(turn)
        item = self.conversation.get(item_id) if item_id else None
        closing = Closing(item_id=item_id, asked=text_of(item) if item else "")
        if answer is not None:
            closing = msgspec.structs.replace(
                closing,
                response_id=answer.response.id,
                cut_in_ms=answer.cut_in_ms,
                problem=answer.problem,
                answered=answer.text,
            )
        tell = self.settings.wants("kaiwa.turn.timeline")
        self.record.close(turn, outcome, at, closing, tell=tell)
        self.utterances.forget(turn)


def _skipped(skip: events.SkipReply, orders: list[events.Command]) -> Outcome:
    if events.Misheard(skip.turn) in orders:
        return Outcome.FAILED
    return Outcome.NO_SPEECH if skip.no_speech else Outcome.NO_REPLY
