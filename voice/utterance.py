"""One turn's words, recognised in one or more segments."""

from providers.base import Hypothesis, SttFailure

TYPED = -1
"""In place of a segment, which has no such number."""


class Utterance:
    """Args:
    turn: 0 while it is not sure that it is one.
    sample: Where its sound began.
    """

    def __init__(self, turn: int, sample: int) -> None:
        self.turn = turn
        self.sample = sample
        self.committed_at: float | None = None
        self.wants_reply = False
        self.cut_answer = False
        """It took the floor from an answer that had been heard."""
        self.failed = self.is_typed = False
        self._words: dict[int, str] = {}
        self._awaited: set[int] = set()

    @classmethod
    def typed(cls, turn: int, sample: int, text: str) -> "Utterance":
        """One that was never spoken."""
        one = cls(turn, sample)
        one.is_typed, one._words = True, {TYPED: text}
        return one

    def begin(self, segment: int) -> None:
        self._words[segment] = ""
        self._awaited.add(segment)

    def receive(self, fact: Hypothesis | SttFailure) -> None:
        if isinstance(fact, Hypothesis):
            self.hear(fact)
        else:
            self.lose(fact.utterance)

    def hear(self, hypothesis: Hypothesis) -> None:
        """What comes after a segment's final says nothing any more."""
        if hypothesis.utterance in self._awaited:
            self._words[hypothesis.utterance] = hypothesis.text
            if hypothesis.is_final:
                self._awaited.remove(hypothesis.utterance)

    def lose(self, segment: int) -> None:
        """The final will not come: what was heard so far must do."""
        if segment in self._awaited:
            self._awaited.remove(segment)
            self.failed = True

    def give_up(self) -> None:
        for segment in list(self._awaited):
            self.lose(segment)

    def owns(self, segment: int) -> bool:
        return segment in self._words

    def awaits(self, segment: int) -> bool:
        return segment in self._awaited

    @property
    def owes(self) -> int:
        """How many of its segments have no final yet."""
        return len(self._awaited)

    @property
    def is_final(self) -> bool:
        return not self._awaited

    @property
    def text(self) -> str:
        return join_words(list(self._words.values()))


def join_words(pieces: list[str]) -> str:
    """With spaces, except between scripts that do without."""
    text = ""
    for piece in (piece.strip() for piece in pieces):
        if not piece:
            continue
        spaced = text and not (_unspaced(text[-1]) or _unspaced(piece[0]))
        text += f" {piece}" if spaced else piece
    return text


def _unspaced(character: str) -> bool:
    return "\u3000" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"
