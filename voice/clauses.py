"""A reply's tokens in, speakable clauses out, each as soon as its end is certain.

    tokens   Yes,| we| are| open| from| nine| to| five|.| Closed| on| Sundays|,| and| …
    clauses  "Yes, we are open from nine to five."      " Closed on Sundays, and …"

Marks are strong (. ! ? 。 a line's end: always cut) or weak (, ; : 、 — …: cut where the clause is
long enough). The first clause is short, because the caller waits for it; the later ones are longer,
because they sound better and are made while the first is heard.

What a mark at the very end of the text so far means, before the next character is known:

    ! ? 。 、   certain, but within quotes or brackets, which may close right behind it
    ,          certain, but behind a digit
    .          certain behind Japanese, Chinese or Korean; behind a Latin word see `_eager`
"""

import re
from collections.abc import Iterator

from voice.hypothesis import UNSPACED
from voice.plaintext import PlainText

_STRONG = frozenset("!?。！？｡।؟\u06d4")
_WEAK = frozenset(",;:、，；：､،؛—…")
_MARKS = _STRONG | _WEAK | frozenset(".．")
_PAIRS = {"(": ")", "[": "]", "“": "”", "‘": "’", "«": "»", "「": "」", "『": "』"}
_PAIRS |= {"（": "）", "【": "】", "《": "》", "〈": "〉", "［": "］"}
_CLOSERS = frozenset(_PAIRS.values()) | frozenset("\"'＂")
_CLOSER_CHARS = "".join(_CLOSERS)
_TAIL_CHARS = "".join(_CLOSERS | _MARKS)
_CJK_QUOTES = frozenset("「『（【《〈")
_NEVER_FIRST = (
    _CLOSERS | _MARKS | frozenset("ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮー々ゝゞヽヾ％°")
)

_WIDE = re.compile(rf"[{UNSPACED}\u1100-\u11ff\uac00-\ud7a3\uff01-\uff60]")
_UNSPACED = re.compile(rf"[{UNSPACED}]")
_ADDRESS = re.compile(r"[./@]")
_INITIALS = re.compile(r"(?:[A-Za-z]|[A-Za-z](?:\.[A-Za-z])+)\Z")
_HARD_LIMIT = 4
"""So many times `max_chars` even an address or a number is cut, and what holds no word dropped:
nothing said is that long."""

# Before these dots a sentence goes on,
_TITLES = frozenset(
    "dr mr mrs ms prof st mt rev hon gen col sgt capt lt e.g i.e vs cf approx".split()
)
# before these only if a figure follows,
_NUMBERED = frozenset("no nos fig figs vol p pp art sec ch eq tel ext".split())
# and before these unless a capital follows.
_MAY_END = frozenset(
    "etc inc ltd co corp jr sr dept est ave blvd rd min max incl a.m p.m ph.d al ed eds "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue wed thu fri sat sun".split()
)
_ABBREVIATIONS = _TITLES | _NUMBERED | _MAY_END

_BEFORE_ADDRESS = frozenset(
    "at on to from via visit see called named site website page domain email mail file "
    "server host address url link run".split()
)
"""Words an address or a file's name follows."""


# Behind a letter or a space nothing is decided that the next character could change.
_PIECE = re.compile(r"[\s\S]{1,128}(?:(?<=\s)|(?<=[^\W_]))|[\s\S]{1,128}")


def pieces(text: str) -> Iterator[str]:
    """A long text as tokens that give the same clauses; the worst takes under 1 ms to split."""
    return (piece.group() for piece in _PIECE.finditer(text))


class ClauseSplitter:
    """One reply. Clauses joined are the reply's plain text, each run of white space as one.

    A clause begins with the space or line break that parts it from the last one, so that joining
    needs no rule; it always holds a letter or a digit. Lengths are in characters, a character of a
    wide script counting as two.
    """

    def __init__(
        self, *, first_min_chars: int = 12, min_chars: int = 70, max_chars: int = 220
    ) -> None:
        """Args:
        first_min_chars: From which length on the first clause may end at a weak mark.
        min_chars: The same for the later ones.
        max_chars: At which length a clause without a fitting mark is cut at the best place.
        """
        self._first_min = first_min_chars
        self._min = min_chars
        self._max = max_chars
        self._plain = PlainText()
        self._emitted = 0
        self._gap = ""
        self._open: list[str] = []
        """What would close the brackets and quotes that are open, also from earlier clauses."""
        self._start("")

    def feed(self, text: str) -> list[str]:
        """The clauses that are complete by now. For what may be long, see `pieces`."""
        return self._split(self._plain.feed(text))

    def flush(self) -> list[str]:
        """The rest, as the reply's end decides it."""
        clauses = self._split(self._plain.flush())
        if self._speakable:
            clauses.append(self._cut(len(self._text)))
        self._start("")
        return clauses

    # --- scanning ------------------------------------------------------------------------------

    def _start(self, text: str) -> None:
        """Begins a clause, with what a forced cut left over."""
        self._text = ""
        self._width = 0
        self._speakable = False
        self._word_at = 0
        """Where its first letter or digit stands, if it has one."""
        self._level = ""
        """The mark the clause now ends with, behind it at most closing quotes; or nothing."""
        self._closed = False
        self._weak_at = 0
        self._space_at = 0
        for char in text:
            if char.isspace():
                self._space_at = len(self._text)
            self._append(char)

    def _split(self, plain: str) -> list[str]:
        clauses = []
        for index, char in enumerate(plain):
            following = plain[index + 1] if index + 1 < len(plain) else ""
            clauses += self._space(char) if char.isspace() else self._char(char, following)
        return clauses

    def _space(self, char: str) -> list[str]:
        line_end = char == "\n"
        first_space = not self._gap
        self._gap = "\n" if line_end or self._gap == "\n" else " "
        ends = self._speakable if line_end else first_space and self._ends_before(" ")
        if line_end:
            self._open.clear()
        return [self._cut(len(self._text))] if ends else []

    def _char(self, char: str, following: str) -> list[str]:
        clauses = []
        if self._ends_before(char):
            clauses.append(self._cut(len(self._text)))
        if self._gap:
            if (self._text or self._emitted) and not self._text.endswith((" ", "\n")):
                # Between two figures a space may be part of a number.
                if not (self._text[-1:].isdigit() and char.isdigit()):
                    self._space_at = len(self._text)
                self._text += self._gap
                self._width += 1
            self._gap = ""
            self._level = ""
        if self._width > self._max:
            clauses += self._force(char)
        self._append(char)
        if self._ends_before(following):
            clauses.append(self._cut(len(self._text)))
        return clauses

    def _append(self, char: str) -> None:
        self._text += char
        self._width += 2 if _WIDE.match(char) else 1
        if not self._speakable and char.isalnum():
            self._speakable = True
            self._word_at = len(self._text) - 1
        closes = self._close(char)
        if char in _MARKS:
            self._level = char
            self._closed = False
        elif closes and self._level:
            self._closed = True
        else:
            self._level = ""
            self._closed = False

    def _close(self, char: str) -> bool:
        """Keeps book of brackets and quotes; whether this one closes some."""
        if self._open and char == self._open[-1]:
            self._open.pop()
            return True
        if self._level and char in _CLOSERS:
            return True
        if char in _PAIRS:
            self._open.append(_PAIRS[char])
        elif char == '"':
            self._open.append(char)
        return False

    # --- judging -------------------------------------------------------------------------------

    def _ends_before(self, char: str) -> bool:
        """Whether the clause ends here: `char` comes next; "" where nobody knows yet."""
        mark = self._level
        if not mark or not self._speakable:
            return False
        if char and not self._gap and (char in _MARKS or char in _CLOSERS):
            return False
        if char == "" and (self._open or self._closed):
            # What is open may close; behind what closed, Japanese goes on with と.
            return False
        if mark in ".．":
            return self._dot_ends(char)
        if mark in _STRONG:
            return self._strong_ends(char)
        return self._weak_ends(mark, char)

    def _long_enough(self) -> bool:
        return self._width >= (self._min if self._emitted else self._first_min)

    def _strong_ends(self, char: str) -> bool:
        if self._level in "!?" and _ADDRESS.search(self._word()) and not (char.isspace()):
            return False
        quoted = self._closed and self._text[-1] in "」』）】》〉"
        inside = any(opener in self._text for opener in _CJK_QUOTES) and bool(self._open)
        if (quoted and not char.isspace()) or inside:
            return self._long_enough()
        return True

    def _weak_ends(self, mark: str, char: str) -> bool:
        if mark in ",;:" and not self._closed:
            word = self._word()
            tight = mark == ":" or word[-1:].isdigit() or _ADDRESS.search(word)
            if tight and not char.isspace():
                return False
        if mark == "…" and not char:
            return False
        self._weak_at = len(self._text)
        return self._long_enough()

    def _dot_ends(self, char: str) -> bool:
        word = self._word()
        if self._text.rstrip(_CLOSER_CHARS).endswith(".."):
            return bool(char) and char != "." and self._weak_ends("...", char)
        if word and _UNSPACED.match(word[-1]) or "\uac00" <= word[-1:] <= "\ud7a3":
            return True
        if not char:
            return self._eager(word)
        if not char.isspace() and not self._gap:
            return self._closed or bool(_UNSPACED.match(char))
        return self._dot_ends_word(word, "" if char.isspace() else char)

    def _dot_ends_word(self, word: str, char: str) -> bool:
        """A dot with a space behind it; `char` begins the next word, "" if that is not known."""
        lower = word.lower()
        if lower in _TITLES or (_INITIALS.match(word) and word != "I" and lower not in _MAY_END):
            return False
        if lower in _NUMBERED:
            return bool(char) and not char.isdigit()
        if lower in _MAY_END:
            return bool(char) and char.isupper()
        # "1. Open the lid": a list's number, not a sentence.
        return not (word.isdigit() and self._text.strip() == f"{word}.")

    def _eager(self, word: str) -> bool:
        """Whether a dot that nothing follows yet surely ends the sentence.

        Waiting costs one token, 10-25 ms, and only where somebody waits for it: before the first
        clause. Cutting wrongly costs an address that is never understood ("example." "com"). So
        only the first clause is cut early, and only behind a plain lower-case word, the third or a
        later one, that no word like "at" or "visit" announces as an address. What is left wrong is
        a bare domain without such a word whose dot is a token of its own; byte-pair vocabularies
        keep ".com" whole.
        """
        if self._emitted or self._closed or word in _ABBREVIATIONS or word == "www":
            return False
        words = self._text.split()
        if len(words) < 3 or len(word) < 3:
            return False
        announced = words[-2].lower().strip("'\"“(,:") in _BEFORE_ADDRESS
        return word.isalpha() and word.islower() and not announced

    def _word(self) -> str:
        """What stands before the mark and what closed behind it, back to the last space."""
        text = self._text.rstrip(_TAIL_CHARS)
        return text[max(text.rfind(" "), text.rfind("\n")) + 1 :].lstrip("\"'“‘([«「『（【")

    # --- cutting -------------------------------------------------------------------------------

    def _cut(self, at: int) -> str:
        clause, rest = self._text[:at], self._text[at:]
        self._emitted += 1
        self._start(rest)
        return clause

    def _force(self, following: str) -> list[str]:
        """Too long: cut at a weak mark, else at a space, else between two wide characters."""
        text = self._text
        if not self._speakable:
            if self._width > self._max * _HARD_LIMIT:
                self._start("")
            return []
        for at in (self._weak_at, self._space_at):
            if self._word_at < at < len(text):
                return [self._cut(at)]
        apart = _UNSPACED.match(text[-1]) or _UNSPACED.match(following)
        bound = following in _NEVER_FIRST or text[-1] in "っッ"
        if (apart and not bound) or self._width > self._max * _HARD_LIMIT:
            return [self._cut(len(text))]
        return []
