"""Which one to three sentences of the retrieved passages answer a question.

sentence's score = share of the question's words that it, its headings or the sentence before
                   it account for            (rare words count more, misheard ones still count)
                 + whether it holds what is asked for: a price, a time, a place, ...
                 + how well its passage was found
                 - what it is about that nobody asked about: an exception, a condition
"""

import re
from collections.abc import Sequence
from math import log

import msgspec

from providers._extractive_kinds import SOFT, Kind, asked_kind, holds
from providers.base import Passage
from rag.related import asked_weight, related
from rag.sentences import CJK_CHARACTER, sentences
from rag.words import FUNCTION_WEIGHT, likeness, static_weight, terms

MOST_SENTENCES = 3
LONGEST_ANSWER = 320
"""Letters: about 20 s of speech."""
_MOST_TERMS = 40

_LEAST_LIKENESS = 0.6
# Where a word of the question is found, and how much of it that accounts for. A heading speaks for
# every sentence under it, but for none in particular.
_HEADING_SHARE = 0.7
_TITLE_SHARE = 0.6
_BEFORE_SHARE = 0.5

_KIND_SHARE = 0.35
_SOFT_KIND_SHARE = 0.12
_PASSAGE_SHARE = 0.4
"""Weight of how well the whole passage was found, beside the sentence's own words."""
_EXCEPTION = 0.15
_UNASKED_HEADING = 0.1
_UNASKED_CONDITION = 0.15
_LATER = 0.02
"""Per sentence: notices give the rule first and its particulars after it."""
_AS_GOOD = 0.9
_NEARLY_AS_GOOD = 0.8
"""Share of the best score with which the sentence before, the one after, is said as well."""

# Words that point back: the sentence means little without the one before it.
_LEANING = re.compile(
    r"(?:it|its|they|their|these|those|this|he|she|then|otherwise|in that case|but|also)\b"
    r"|(?:\w+ ){0,4}(?:after|than|before|besides) that\b|(?:from|ask|look|go) there\b"
    r"|それ|その|これ|この|また|ただし|なお|그|이것|但|它|这",
    re.IGNORECASE,
)

# Words that make a sentence one about a special case.
_EXCEPTIONS = frozenset(
    terms(
        "new lost lose losing replace replacement late later miss missing damaged broken extra"
        " except unless cancel cancelling nobody instead emergency private"
    )
)
_CONDITION = re.compile(r"(?:if|when|whoever|unless|once|where) ([^,]+),", re.IGNORECASE)


class _Sentence(msgspec.Struct, frozen=True):
    text: str
    passage: int
    place: int
    """Position within its passage."""
    own: frozenset[str]
    """Its terms."""
    heading: frozenset[str]
    """Terms of the headings it stands under, without the title."""
    title: frozenset[str]
    before: frozenset[str]
    """Terms of the sentence before it, in the same passage."""


def quote(question: str, passages: Sequence[Passage]) -> str:
    """The one to three sentences that answer best, as they stand; empty without passages."""
    found = [
        sentence for rank, passage in enumerate(passages) for sentence in _split(rank, passage)
    ]
    if not found:
        return ""
    scores = _scores(question, found, passages)
    best = max(range(len(found)), key=lambda i: (scores[i], -i))
    return _joined([found[i].text for i in _with_neighbours(best, found, scores)])


def _split(rank: int, passage: Passage) -> list[_Sentence]:
    heading, title = frozenset(terms(passage.heading)), frozenset(terms(passage.title))
    before: frozenset[str] = frozenset()
    found: list[_Sentence] = []
    for start, end in sentences(passage.text):
        text = re.sub(r"^[-•*–#>\s]+", "", " ".join(passage.text[start:end].split()))
        if text:
            own = frozenset(terms(text))
            found.append(_Sentence(text, rank, len(found), own, heading, title, before))
            before = own
    return found


# --- scores ---------------------------------------------------------------------------------------


def _scores(question: str, found: Sequence[_Sentence], passages: Sequence[Passage]) -> list[float]:
    asked = [
        term for term in dict.fromkeys(terms(question)) if static_weight(term) > FUNCTION_WEIGHT
    ][:_MOST_TERMS]
    matches = [[_match(term, sentence) for sentence in found] for term in asked]
    weights = [asked_weight(term) * _rarity(row) for term, row in zip(asked, matches, strict=True)]
    total = sum(weights) or 1.0
    kind = asked_kind(question)
    return [
        sum(weight * row[i] for weight, row in zip(weights, matches, strict=True)) / total
        + _beside_words(sentence, asked, kind)
        + _PASSAGE_SHARE * passages[sentence.passage].score
        for i, sentence in enumerate(found)
    ]


def _rarity(matches: Sequence[float]) -> float:
    return log(1 + len(matches) / (0.5 + sum(matches)))


def _match(term: str, sentence: _Sentence) -> float:
    best = _nearest(term, sentence.own)
    for share, words in (
        (_HEADING_SHARE, sentence.heading),
        (_TITLE_SHARE, sentence.title),
        (_BEFORE_SHARE, sentence.before),
    ):
        if best < share:
            best = max(best, share * _nearest(term, words))
    return best


def _nearest(term: str, others: frozenset[str]) -> float:
    if term in others:
        return 1.0
    known = related(term)
    near = max((max(likeness(term, o), known.get(o, 0.0)) for o in others), default=0.0)
    return near**2 if near >= _LEAST_LIKENESS else 0.0


def _beside_words(sentence: _Sentence, asked: Sequence[str], kind: Kind | None) -> float:
    score = 0.0
    if kind:
        share = _SOFT_KIND_SHARE if kind in SOFT else _KIND_SHARE
        score += share * holds(kind, sentence.text)
    score -= _LATER * sentence.place
    score -= _UNASKED_HEADING * _unasked(sentence.heading, asked)
    if condition := _CONDITION.match(sentence.text):
        score -= _UNASKED_CONDITION * _unasked(frozenset(terms(condition[1])), asked)
    special = (sentence.own | sentence.heading) & _EXCEPTIONS
    if special and _unasked(special, asked) == 1.0:
        score -= _EXCEPTION
    return score


def _unasked(words: frozenset[str], asked: Sequence[str]) -> float:
    """Share of the words that the question does not speak of."""
    telling = [word for word in words if static_weight(word) > FUNCTION_WEIGHT]
    if not telling:
        return 0.0
    said = frozenset(asked)
    return sum(1.0 - _nearest(word, said) for word in telling) / len(telling)


# --- from a sentence to an answer -----------------------------------------------------------------


def _with_neighbours(best: int, found: Sequence[_Sentence], scores: Sequence[float]) -> list[int]:
    """Positions to say: the best, what it leans on, what leans on it or is nearly as good."""
    first = last = best

    def fits(i: int) -> bool:
        if not 0 <= i < len(found) or found[i].passage != found[best].passage:
            return False
        chosen = found[min(first, i) : max(last, i) + 1]
        return len(chosen) <= MOST_SENTENCES and sum(len(s.text) for s in chosen) <= LONGEST_ANSWER

    while _LEANING.match(found[first].text) and fits(first - 1):
        first -= 1
    while fits(first - 1) and scores[first - 1] >= _AS_GOOD * scores[best]:
        first -= 1
    while fits(last + 1) and (
        _LEANING.match(found[last + 1].text) or scores[last + 1] >= _NEARLY_AS_GOOD * scores[best]
    ):
        last += 1
    return list(range(first, last + 1))


def _joined(texts: Sequence[str]) -> str:
    joined = ""
    for text in texts:
        if joined and not (CJK_CHARACTER.match(joined[-1]) or CJK_CHARACTER.match(text[0])):
            joined += " " if joined[-1] in ".!?…:;,\"'”’)" else ". "
        joined += text
    return joined
