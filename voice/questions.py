"""Utterances that are over: their finals are waited for, then one of them is answered.

An answer that was due when the caller began to speak stays due until words come: a cough takes it
from nobody. Where one that was heard already was cut and no word came, the agent asks back: else
nobody would speak any more. Not twice in a row, or a drill would keep it asking.

    caller  "what are your hours"          *cough*            "on saturday"
            commit ──final──▶ due          due                 due
                              |── answer   └ no words: answer  └ words: answered instead
"""

from math import inf

from voice.events import Command, Misheard, SkipReply, StartReply, Understood
from voice.turn_rules import TurnRules
from voice.utterance import Utterance


class Questions:
    """One call's; it numbers its turns, too."""

    def __init__(self) -> None:
        self._turns = 0
        self.answering = 0
        """The turn of the answer in hand, from StartReply until the caller has heard it;
        0: none is."""
        self.waiting: list[Utterance] = []
        self.last_reply = 0
        self._wanted: int | None = None
        self._wanted_lost = self._wanted_wordless = False
        self._asks_back = False
        """The answer in hand only asks what was said."""
        self._asked = False
        """The client itself asked for the answer: it must get one, whatever was said."""
        self._reply_asked = False
        """The same of the answer that is being given."""
        self._cut_unheard = False
        """An answer was cut before its first sound, and nothing was said since."""
        self._unanswered: int | None = None

    def new_turn(self) -> int:
        self._turns += 1
        return self._turns

    def voided_turn(self) -> int:
        """A turn for an answer that was asked for and will not begin."""
        self.last_reply = self.new_turn()
        return self.last_reply

    @property
    def pending(self) -> bool:
        return self._wanted is not None or any(u.wants_reply for u in self.waiting)

    @property
    def unheard(self) -> bool:
        """Whether the caller waits for an answer's first sound."""
        return self.pending or self._cut_unheard

    def is_due(self, rules: TurnRules, caller_speaks: bool) -> bool:
        if self._wanted is None and not self._cut_unheard:
            return False
        free = self._asked or not (caller_speaks and _yields(rules))
        return free and not self.waiting and not self.answering

    # --- time -------------------------------------------------------------------------------------

    def deadline(self, rules: TurnRules) -> float:
        """Loop time at which the next final has been waited for long enough."""
        if not self.waiting:  # nearly always, and asked three times with every piece of audio
            return inf
        return min(_overdue_at(utterance, rules) for utterance in self.waiting)

    def give_up(self, rules: TurnRules, now: float) -> bool:
        """The last partials stand for finals that are overdue. Whether there is such a one."""
        if not self.waiting:
            return False
        overdue = [u for u in self.waiting if now >= _overdue_at(u, rules) - 1e-6]
        for utterance in overdue:
            utterance.give_up()
        return bool(overdue)

    # --- what happens -----------------------------------------------------------------------------

    def request(self) -> None:
        self._asked = True
        self._cut_unheard = False
        if self.waiting:
            self.waiting[-1].wants_reply = True

    def withdraw(self, rules: TurnRules) -> list[Command]:
        """What is being waited for will not be answered."""
        self._asked = self._cut_unheard = False
        for utterance in self.waiting:
            utterance.wants_reply = False
        withdrawn, self._wanted = self._wanted, None
        return [] if withdrawn is None else self._leave(withdrawn, rules)

    def caller_speaks(self, rules: TurnRules) -> list[Command]:
        """The caller takes the floor. What the client asked for by itself is not waited for."""
        if rules.create_response and not self._asked:
            return []
        self._asked = False
        for utterance in self.waiting:
            utterance.wants_reply = False
        return self._drop_wanted()

    def speak_up(self, say: str) -> list[Command]:
        """The agent says something by itself; nothing is due meanwhile."""
        turn = self.new_turn()
        self.answering, self.last_reply, self._reply_asked = turn, turn, True
        self._asks_back = False
        return [StartReply(turn, say=say)]

    def cut_heard(self, by: Utterance) -> None:
        """The answer in hand is cut; if nothing was said, the caller is asked back."""
        by.cut_answer = not self._asks_back

    def cut_unheard(self, rules: TurnRules) -> None:
        """The answer in hand is cut, and the caller has heard nothing of it."""
        self._cut_unheard = rules.create_response and not self._reply_asked

    def settle(self, rules: TurnRules, caller_speaks: bool) -> list[Command]:
        """Utterances whose finals are in, oldest first, and the answer once none is left."""
        orders: list[Command] = []
        while self.waiting and self.waiting[0].is_final:
            orders += self._settle_one(self.waiting.pop(0), rules, caller_speaks)
        if self._asked and self._wanted is None and not self.waiting:
            self._wanted, self._unanswered = self._unanswered or self.new_turn(), None
            self._wanted_lost = self._wanted_wordless = False
        if self.is_due(rules, caller_speaks):
            orders += self._start_reply()
        return orders

    def _settle_one(self, done: Utterance, rules: TurnRules, caller_speaks: bool) -> list[Command]:
        lost = done.failed and not done.text
        heard = Misheard(done.turn) if lost else Understood(done.turn, done.text)
        orders: list[Command] = [] if done.is_typed else [heard]
        wants = done.wants_reply and not (lost and caller_speaks and _yields(rules))
        wants = wants or (lost and self._asked)
        if done.text or (lost and wants):
            self._cut_unheard = False
        if wants and not caller_speaks and self._is_wordless(done):
            self._wanted, self._wanted_lost, self._wanted_wordless = done.turn, False, True
        elif not done.text and (lost or rules.automatic) and not (lost and wants):
            orders.append(SkipReply(done.turn, no_speech=True))
        elif wants:
            orders += self._drop_wanted()  # what was said before it is answered with it
            self._wanted, self._wanted_lost, self._wanted_wordless = done.turn, lost, False
        else:
            orders += self._leave(done.turn, rules)
        return orders

    def _is_wordless(self, done: Utterance) -> bool:
        """Whether nobody would say anything any more behind it."""
        other = self._wanted is not None or self._cut_unheard or self.waiting
        return done.cut_answer and not (done.text or done.failed or other)

    def _start_reply(self) -> list[Command]:
        if self._wanted is None:
            self._wanted = self.new_turn()
            self._wanted_lost = self._wanted_wordless = False
        turn, self._wanted, self._cut_unheard = self._wanted, None, False
        self._reply_asked, self._asked = self._asked, False
        orders: list[Command] = []
        if self._unanswered is not None and self._unanswered < turn:
            orders.append(SkipReply(self._unanswered, no_speech=False))
            self._unanswered = None
        if turn < self.last_reply:  # while this was being said, the client had another answered
            orders.append(SkipReply(turn, no_speech=False))
            turn = self.new_turn()
        self.answering = self.last_reply = turn
        lost, wordless = self._wanted_lost, self._wanted_wordless
        self._asks_back = lost or wordless
        return [*orders, StartReply(turn, lost=lost, wordless=wordless)]

    def _drop_wanted(self) -> list[Command]:
        dropped, self._wanted = self._wanted, None
        return [] if dropped is None else [SkipReply(dropped, no_speech=False)]

    def _leave(self, turn: int, rules: TurnRules) -> list[Command]:
        """Not answered now; where answers come on request only, the next request may mean it."""
        if rules.automatic and rules.create_response:
            return [SkipReply(turn, no_speech=False)]
        before, self._unanswered = self._unanswered, turn
        return [] if before is None else [SkipReply(before, no_speech=False)]


def _yields(rules: TurnRules) -> bool:
    """Whether no answer begins while the caller speaks."""
    return rules.automatic and rules.interrupt_response


def _overdue_at(utterance: Utterance, rules: TurnRules) -> float:
    assert utterance.committed_at is not None
    return utterance.committed_at + rules.final_limit_s
