"""One call's floor: what the caller says becomes turns, and the turns' orders are carried out.

audio, VAD,  ──▶ TurnTaker ──orders──┬─▶ Utterances ─▶ server events
hypotheses                           └─▶ Answering, Answers ─▶ server events, frames
"""

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
from voice import events, metrics, rules, settings, wire
from voice.answering import Answering
from voice.answers import Answers, Outbox
from voice.backlog import Backlog
from voice.carrier import Carrier, Target
from voice.chain import NobodyLeft
from voice.config import Config
from voice.conversation import Conversation
from voice.ear import Ear
from voice.echo_energy import EchoEnergy
from voice.facts import PauseJudged
from voice.finals import Finals
from voice.house import House
from voice.ids import Ids
from voice.initiative import Initiative
from voice.keypad import Keypad, KeypadRules
from voice.load import Level, Pace
from voice.providers import Providers
from voice.record import Record
from voice.spoken_words import SpokenWords
from voice.timeline import Outcome
from voice.timeline import Stage as Stamp
from voice.turn import Caller, TurnTaker
from voice.utterances import Utterances


class Floor:
    """Args:
    carrier: How the call comes in.
    outbox: For the sound; events go by `send`, which numbers them.
    post: Takes what providers and replies say into the call's inbox.
    failed: Told of every failure of a recogniser.
    transfer: Asks the carrier for it; a TransferEnded follows.
    """

    def __init__(
        self,
        session_id: str,
        *,
        config: Config,
        providers: Providers,
        ids: Ids,
        figures: metrics.Figures,
        carrier: Carrier,
        outbox: Outbox,
        send: Callable[[wire.ServerEvent], None],
        post: Callable[[object], None],
        failed: Callable[[ProviderError], None],
        transfer: Callable[[Target], None],
    ) -> None:
        self.config, self.ids, self.send = config, ids, send
        self.carrier = carrier
        self._on_failed, self.transfer = failed, transfer
        self.defaults = rules.session_defaults(config, providers)
        self.effective = settings.initial(session_id, self.defaults)
        self.settings = carrier.fixed(settings.typed(self.effective))
        self._words = SpokenWords(self.language, rules.delays(config, self.settings))
        self._echo = EchoEnergy()
        self.turns = TurnTaker(rules.turn_rules(config, self.settings), self._words, self._echo)
        self.initiative = Initiative(rules.initiative_rules(config, self.settings, self.language()))
        self.house = House(rules.house_rules(config, self.language(), carrier))
        self.keypad = Keypad(
            KeypadRules(pause_s=config.keypad.pause_ms / 1000, end=config.keypad.end)
        )
        self.over = ""
        """Why the call ends; empty while it goes on."""
        self.away = False
        """Nothing comes from the far end: nothing is said unasked."""
        self.ear = Ear(
            vad=providers.vad,
            stt=providers.stt,
            post=post,
            form=self.settings.audio.input.format,
            expected=rules.expected(config, self.settings),
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
            carrier=carrier,
            house=self.house,
            outbox=outbox,
            send=send,
            post=post,
            ended=lambda answer, at: self.answering.ended(answer, at),
        )
        self.answering = Answering(
            turns=self.turns,
            answers=self.answers,
            utterances=self.utterances,
            initiative=self.initiative,
            house=self.house,
            conversation=self.conversation,
            record=self.record,
            settings=lambda: self.settings,
            language=self.language,
            send=send,
        )
        self._backlog = Backlog()
        self._finals = Finals(config.turn.final_limit_s, self._backlog)
        self._load_level = providers.load_level
        self._partials = Pace(providers.load_level)

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
            self.carry_out(self.turns.arrive(len(pcm) // 2, at, self.ear.delay_s), at)
        if not automatic:
            self.ear.feed(self.ear.position)

    def judge(self, frame: VadFrame, at: float) -> None:
        self.turns.terms.nearness.hear(frame)
        answer = self.answers.current
        if answer is not None or self.turns.caller is Caller.UNSURE:
            playout = None if answer is None else answer.playout
            self._echo.hear(frame, self.turns.clock.spoken_at(frame.end_sample), playout)
        for fact in self.ear.judge(frame):
            self.answering.tell_what_sounds(at)
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
                self.turns.hears_anew(self._backlog.left_s(at))
                return
        if self.turns.caller is Caller.UNSURE:
            self.answering.tell_what_sounds(at)
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
        self._look_ahead(at)

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
                    self.answering.interrupt(at)
                case events.Duck():
                    self.answering.duck(True, at)
                case events.Unduck():
                    self.answering.duck(False, at)
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
                    self._finals.settled()
                    self.record.timeline(command.turn).stamp(Stamp.FINAL, at)
                    self.utterances.understood(command.turn, command.text)
                    self._heard(command.text)
                case events.Misheard():
                    self._finals.settled()
                    self.utterances.misheard(command.turn)
                case events.Typed():
                    self.record.timeline(command.turn).stamp(Stamp.REQUEST, at)
                    self.utterances.typed(command.turn, command.text)
                    self._heard(command.text)
                case events.StartReply():
                    self.answering.start(command, at)
                case events.SkipReply():
                    self.answering.skip(command, commands, at)
        if self.answering.options is not None and not self.turns.reply_pending:
            self.answering.void_request("turn_detected", Outcome.INTERRUPTED, at)
        if commands:
            self._look_ahead(at)

    def _heard(self, text: str) -> None:
        """The words of a turn are known."""
        self.initiative.understood(text)
        if text:
            self.house.went_on()
            self.tell_model()

    def tell_model(self) -> None:
        """What became of its calls of the house's tools."""
        results, self.house.results = self.house.results, []
        for result in results:
            self.conversation.note(result.behind, result.messages)

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

    def _dismiss(self, command: events.Dismiss) -> None:
        was = "backchannel" if command.text else "nothing"
        was = "echo" if command.echo else "far" if command.far else was
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
        limit_s = self._finals.expect(at)
        self.turns.rules = msgspec.structs.replace(self.turns.rules, final_limit_s=limit_s)
        automatic = self.turns.rules.automatic
        position = self.turns.clock.position
        self.utterances.commit(command.turn, position, detected=automatic)
        if automatic:
            self._listen_afresh()

    def _listen_afresh(self) -> None:
        """What was heard is over before its sound is: what follows is something new."""
        if self.ear.speaking and self.turns.caller is Caller.SILENT:
            self.ear.reset(rules.threshold(self.config, self.settings))

    def apply_rules(self, at: float) -> None:
        """The settings have changed. How long finals are waited for now has not."""
        changed = rules.turn_rules(self.config, self.settings)
        limit_s = self.turns.rules.final_limit_s
        self.turns.rules = msgspec.structs.replace(changed, final_limit_s=limit_s)
        self._words.set_delays(rules.delays(self.config, self.settings))
        self.initiative.rules = rules.initiative_rules(self.config, self.settings, self.language())
        self.house.rules = rules.house_rules(self.config, self.language(), self.carrier)
        self._look_ahead(at)

    def language(self) -> str:
        return rules.language(self.config, self.settings)
