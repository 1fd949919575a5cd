"""What the model is shown: instructions and history unchanged from turn to turn, news at the end.

A server's prefix cache keeps what it has read only while the bytes before it are the same. So the
passages, which change with every question, go into the last user message and are not kept in the
history; everything before only ever grows.

Where one model broke off and another goes on, `continued` asks it to, and `Seam` takes out what it
says again.
"""

import re
from collections.abc import Sequence
from enum import Enum, auto

import msgspec

from providers.base import LLMRequest, Message, Passage

CHARACTERS_PER_TOKEN = 3.2
"""A cautious mean over English and Japanese: for budgets, and for what no server has counted."""

TURNS_AT_ONCE = 8
"""So many leave together."""

GO_ON = (
    "[The line broke behind the words above; they have been spoken already. Go on with the very "
    "next word, in the same language and tone. Repeat none of them, do not greet, do not "
    "apologise and do not mention this note.]"
)
"""From the user: Anthropic takes no assistant message as the last one and moves system messages to
the beginning, and many chat templates refuse a system message anywhere else."""

ECHO_WORDS = 4
"""So many words from the beginning of a sentence on are the sentence said again."""
STEM_LETTERS = 4
"""So many letters of a word are the beginning of it; fewer may be a word: "for" of "forty"."""

FENCE = "Passages from the operator's documents; quote facts only from them:"


def messages(
    instructions: str,
    history: Sequence[Message],
    passages: Sequence[Passage],
    *,
    max_tokens: int = 4000,
) -> tuple[Message, ...]:
    """System prompt, as much of the end of the history as fits, passages in the last question.

    What is too old leaves in whole turns, from a question on, so that no answer stands without
    its question and no tool result without its call; and many turns at a time, so that the server's
    cache is lost once in a while and not with every question.
    """
    budget = max_tokens * CHARACTERS_PER_TOKEN - len(instructions)
    budget -= sum(len(passage.text) for passage in passages)
    kept = list(history[_first_that_fits(history, budget) :])
    for index in range(len(kept) - 1, -1, -1):
        if kept[index].role == "user":
            kept[index] = Message(role="user", content=with_passages(kept[index].content, passages))
            break
    system = [Message(role="system", content=instructions)] if instructions else []
    return (*system, *kept)


def _first_that_fits(history: Sequence[Message], budget: float) -> int:
    start = len(history)
    used = 0
    for index in range(len(history) - 1, -1, -1):
        used += _characters(history[index])
        if used > budget and start < len(history):
            break
        if history[index].role == "user":
            start = index
    else:
        return 0
    return _in_steps(history, start)


def _in_steps(history: Sequence[Message], start: int) -> int:
    """The next turn from `start` on that is a step; `start` where there is none."""
    turns = [index for index, message in enumerate(history) if message.role == "user"]
    later = [index for number, index in enumerate(turns) if number % TURNS_AT_ONCE == 0]
    return next((index for index in later if index >= start), start)


def _characters(message: Message) -> int:
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return len(message.content) + calls + 16


def tokens_of(request: LLMRequest) -> int:
    """What the model reads: messages and tools. Estimated."""
    messages = sum(_characters(message) for message in request.messages)
    tools = len(msgspec.json.encode(request.tools)) if request.tools else 0
    return round((messages + tools) / CHARACTERS_PER_TOKEN)


def with_passages(question: str, passages: Sequence[Passage]) -> str:
    """The question with what was found for it, fenced off as data."""
    if not passages:
        return question
    quoted = "\n".join(_quoted(passage) for passage in passages)
    return f"{FENCE}\n{quoted}\n\n{question}"


def _quoted(passage: Passage) -> str:
    source, heading = (value.replace('"', "'") for value in (passage.source, passage.heading))
    return f'<passage source="{source}" heading="{heading}">\n{passage.text}\n</passage>'


def continued(shown: Sequence[Message], said: str) -> tuple[Message, ...]:
    """What another model is shown, so that it goes on where one broke off.

    Args:
        shown: What the first one was shown; stays as it is, byte for byte.
        said: What the first one said; blank: nothing is added.
    """
    if not said.strip():
        return tuple(shown)
    spoken = Message(role="assistant", content=said.rstrip())
    return (*shown, spoken, Message(role="user", content=GO_ON))


_LETTERLIKE = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Han. A character counts as
a word."""
_WORD = re.compile(rf"[{_LETTERLIKE}]|(?:(?![{_LETTERLIKE}])[\w'’])+")
_SENTENCE_END = re.compile(r"[.!?…。！？]")
_OPENING = "\"'“‘«„([{（「『"


class _At(Enum):
    SEAM = auto()
    """The first words may yet be a repetition."""
    JOIN = auto()
    """They are decided; the first word that is new has not come."""
    REST = auto()


class Seam:
    """Takes out of a continuation's beginning what was said already.

        said  "We open at nine and"    continuation  "at nine and close at five."
        feed + flush                                           " close at five."

    Compared by words, whatever their case, spaces and marks. Taken out is the longest beginning
    that repeats the end of what was said, or a sentence of it from its beginning on (ECHO_WORDS).
    A last word that was cut in the middle is completed. What comes back begins with the space that
    it needs behind `said`, and comes as soon as it is certain: mostly with the first word.

    Source: longest suffix that is a prefix, by keeping all places where the words still agree.
    """

    def __init__(self, said: str) -> None:
        words = list(_WORD.finditer(said))
        self._said = [word.group().casefold() for word in words]
        self._starts_sentence = [
            number == 0 or bool(_SENTENCE_END.search(said[words[number - 1].end() : word.start()]))
            for number, word in enumerate(words)
        ]
        self._may_be_cut = bool(words) and words[-1].end() == len(said)
        self._ends_in = said[-1:]
        self._places = list(range(len(words)))
        """Words of `said` with which a repetition may have begun."""
        self._agreed = 0
        """Words of the continuation that agree with `said` at all those places."""
        self._upto = 0
        """What is to be taken out of `_text`."""
        self._completes = False
        self._echoed = 0
        self._text = ""
        self._at = _At.SEAM

    def feed(self, text: str) -> str:
        """What of the continuation so far is new and has not been returned."""
        return self._take(text, is_all=False)

    def flush(self) -> str:
        """The rest, when nothing more comes."""
        return self._take("", is_all=True)

    def _take(self, text: str, *, is_all: bool) -> str:
        if self._at is _At.REST:
            return text
        self._text += text
        if self._at is _At.SEAM:
            if not self._is_decided(is_all=is_all):
                return ""
            self._text = self._text[max(self._upto, self._echoed) :]
            self._completes = self._completes and self._upto >= self._echoed
            self._at = _At.JOIN
        return self._joined(is_all=is_all)

    def _is_decided(self, *, is_all: bool) -> bool:
        """Goes through the words that came, until no repetition can grow further."""
        words = list(_WORD.finditer(self._text))
        for word in words[self._agreed :]:
            if not self._places:
                break
            heard = word.group().casefold()
            whole = is_all or word.end() < len(self._text) or _is_single(heard)
            if not whole:
                return not any(self._may_become(place, heard) for place in self._places)
            self._agree(word, heard)
        return is_all or not self._places

    def _may_become(self, place: int, heard: str) -> bool:
        """Whether a word that is not over may agree, or complete the word that was cut."""
        wanted = self._said[place + self._agreed]
        is_last = place + self._agreed == len(self._said) - 1
        return wanted.startswith(heard) or (
            is_last and self._may_be_cut and heard.startswith(wanted)
        )

    def _agree(self, word: re.Match[str], heard: str) -> None:
        kept = []
        for place in self._places:
            at = place + self._agreed
            wanted, is_last = self._said[at], at == len(self._said) - 1
            if wanted == heard:
                if is_last:
                    self._upto, self._completes = word.end(), False
                else:
                    kept.append(place)
                if self._starts_sentence[place] and self._agreed + 1 >= ECHO_WORDS:
                    self._echoed = word.end()
            elif is_last and self._is_completed_by(heard, wanted):
                self._upto, self._completes = word.start() + len(wanted), True
        self._places = kept
        self._agreed += 1

    def _is_completed_by(self, heard: str, wanted: str) -> bool:
        if not self._may_be_cut or not heard.startswith(wanted) or _is_single(wanted):
            return False
        return self._agreed > 0 or len(wanted) >= STEM_LETTERS

    def _joined(self, *, is_all: bool) -> str:
        """The new words with what must stand between them and what was said."""
        if self._completes:
            self._at, text, self._text = _At.REST, self._text, ""
            return text
        text = self._text.lstrip()
        took_out = self._upto or self._echoed
        if took_out and not self._ends_in.isalnum():
            # The mark behind the last word was said with it.
            while text and not text[0].isalnum() and text[0] not in _OPENING:
                text = text[1:].lstrip()
        if not text and not is_all:
            return ""
        self._at, self._text = _At.REST, ""
        return " " + text if text and self._needs_space(text[0]) else text

    def _needs_space(self, first: str) -> bool:
        if not self._ends_in or self._ends_in.isspace() or self._ends_in in _OPENING:
            return False
        if _is_single(first) or (_is_single(self._ends_in) or self._ends_in in "。！？、"):
            return False
        return first.isalnum() or first in _OPENING


def _is_single(text: str) -> bool:
    """Whether it is a character of a script without spaces."""
    return len(text) == 1 and re.match(f"[{_LETTERLIKE}]", text) is not None
