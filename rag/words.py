"""Words as search sees them: the same for a document, a typed question and a misheard one.

    "What's the price?"   -> what, the, pric
    "開館時間は"           -> 開館, 館時, 時間, 間は, 開, 館, 時, 間    (no spaces to cut at)

A recogniser writes what it heard, so two words are compared by spelling and by sound.
"""

import re
import unicodedata
from functools import lru_cache
from zlib import crc32

_CJK_RANGE = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af々〆"
_CJK = re.compile(f"[{_CJK_RANGE}]")
_LETTER = rf"(?![{_CJK_RANGE}])[^\W_]"
_WORD = re.compile(rf"(?P<cjk>[{_CJK_RANGE}]+)|(?P<word>(?:{_LETTER})+(?:['’](?:{_LETTER})+)*)")
WORDS_VERSION = "2"
"""Part of what decides whether an old index still holds: change it with any change of the terms."""

_VOWEL = re.compile("[aeiouy]")
_APOSTROPHE = re.compile("['’]")
_HIRAGANA = re.compile(r"[\u3040-\u309f]")
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")

# Words that say how something is asked, not what about. Corpora are small: their own counts would
# call "my" a rare word.
_FUNCTION_WORDS = frozenset(
    """a about am an and any anybody are as ask at be because been but by can could did do does
    doing done for from get give go goes going got had has have he hello help her here hey hi
    him his how i if in into is it its just know let like many may me might much must my need no
    not of oh ok okay on one or our please shall she should so some somebody something tell than
    thank thanks that the their them then there these they thing this those to too uh um up us
    want was we well were what when where which who whom whose why will with would yes you your
    der die das und ist ein eine wie was wo wann ich sie wir zu mit für von den dem auf le la
    les un une et est que qui où quand comment je vous nous pour avec dans sur de du des el los
    las una y es qué quién dónde cuándo cómo yo usted para con en por del""".split()
)
_FUNCTION_HAN = frozenset("何的了是在吗呢么什怎哪我你您们请有这那个和也就都不会要能可以")
FUNCTION_WEIGHT = 0.08
_HIRAGANA_WEIGHT = 0.15
"""Two hiragana are mostly grammar: です, ます, から."""
_MIXED_WEIGHT = 0.4
"""A kanji and the particle or ending behind it."""
_SINGLE_HAN_WEIGHT = 0.5
CROSSING_WEIGHT = 0.3
"""Of a pair of CJK characters that no document holds: mostly it lies across two words."""


class _Dropped(dict[int, int | None]):
    """For str.translate: marks and joiners go, since a regular expression takes them for gaps.

    Vowel signs of Indic scripts are marks; Persian writes a zero-width non-joiner within words.
    """

    def __missing__(self, code: int) -> int | None:
        if unicodedata.category(chr(code)) not in ("Mn", "Mc", "Me", "Cf"):
            return code  # not kept: anybody may ask with any sign there is
        self[code] = None
        return None


_DROPPED = _Dropped()


@lru_cache(maxsize=4096)
def _folded(word: str) -> str:
    word = unicodedata.normalize("NFKD", word.casefold())
    return "".join(char for char in word if not unicodedata.combining(char))


def terms(text: str) -> list[str]:
    """Words in order, folded (case, accents, endings); runs of CJK as overlapping pairs."""
    found: list[str] = []
    for match in _WORD.finditer(unicodedata.normalize("NFKC", text).translate(_DROPPED)):
        run = match[0]
        if match.lastgroup == "cjk":
            found += _cjk_terms(run)
        else:
            found.append(_stem(_folded(_APOSTROPHE.split(run, maxsplit=1)[0])))
    return found


def _cjk_terms(run: str) -> list[str]:
    """Overlapping pairs, and each Han character: 何冊借りる and 本を借りて share few pairs."""
    pairs = [run[i : i + 2] for i in range(len(run) - 1)]
    return pairs + [char for char in run if _HAN.match(char) or len(run) == 1]


def _stem(word: str) -> str:
    """The word without its English ending: booking, booked, books -> book; close, closed -> clos.

    Words of other languages lose a letter or two as well, in question and document alike.
    """
    if word in _FUNCTION_WORDS or not word.isascii():
        return word
    if len(word) > 4 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and _VOWEL.search(stem):
            doubled = len(stem) > 4 and stem[-1] == stem[-2] and stem[-1] not in "aeiosz"
            return stem[:-1] if doubled else stem.removesuffix("e")
    return word[:-1] if len(word) > 4 and word.endswith("e") else word


def static_weight(term: str) -> float:
    """How much a term can say by itself, before any corpus is counted: 0..1."""
    if term in _FUNCTION_WORDS or len(term) == 1 and term.isascii():
        return FUNCTION_WEIGHT
    if not _CJK.match(term):
        return 1.0
    if all(char in _FUNCTION_HAN for char in term):
        return FUNCTION_WEIGHT
    hiragana = len(_HIRAGANA.findall(term))
    if hiragana == len(term):
        return _HIRAGANA_WEIGHT
    if hiragana or any(char in _FUNCTION_HAN for char in term):
        return _MIXED_WEIGHT
    return 1.0 if len(term) > 1 else _SINGLE_HAN_WEIGHT


def is_cjk(term: str) -> bool:
    return _CJK.match(term) is not None


def is_alphabetic(term: str) -> bool:
    """Whether spelling and sound of a term can be compared piece by piece."""
    return not is_cjk(term) and not term.isdigit()


# Rough sound of an English spelling: voiced and unvoiced consonants coincide, as they do for a
# recogniser; vowels stay in three classes. Follows the idea of Metaphone (Philips 1990), coarser.
_SOUNDS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), sound)
    for pattern, sound in (
        (r"^(?:kn|gn|pn)", "n"),
        (r"^wr", "r"),
        (r"^(?:wh)", "w"),
        (r"^ps", "s"),
        (r"^h(?=[aeiou])", ""),
        (r"mb$", "m"),
        (r"(?:t|s)ion", "Xn"),
        (r"tch|ch|dge|sh|j", "X"),
        (r"igh", "i"),
        (r"(?<=[aeiou])gh", ""),
        (r"ph|v", "f"),
        (r"ck|c(?![eiy])|q|g", "k"),
        (r"c(?=[eiy])|z", "s"),
        (r"x(?=[aeiou])|(?<=[aeiou])x", "ks"),
        (r"th|d", "t"),
        (r"b", "p"),
        (r"h", ""),
        (r"(?<=[^aeiouy])e$", ""),
        (r"[eiy]+[aeiouy]*", "i"),
        (r"[ou]+[aeiouwy]*", "o"),
        (r"a[aeiouwy]*", "a"),
        (r"(.)\1+", r"\1"),
    )
)


@lru_cache(maxsize=65536)
def sound(word: str) -> str:
    """A rough code of how a word sounds in English; words a recogniser confuses come out alike."""
    for pattern, replacement in _SOUNDS:
        word = pattern.sub(replacement, word)
    return word


@lru_cache(maxsize=65536)
def grams(word: str) -> tuple[int, ...]:
    """Hashed pairs and triples of letters, with the word's edges; each once."""
    edged = f"^{word}$"
    found = {edged[i : i + n] for n in (2, 3) for i in range(len(edged) - n + 1)}
    return tuple(sorted(crc32(gram.encode()) for gram in found))


@lru_cache(maxsize=65536)
def sound_grams(word: str) -> tuple[int, ...]:
    return grams(sound(word))


SPELLING_TRUST = 1.0
SOUND_TRUST = 0.9
"""Words that sound alike are less surely the same word than words spelt alike."""


@lru_cache(maxsize=16384)
def likeness(one: str, other: str) -> float:
    """0..1: how likely two terms are the same word, one of them misheard or inflected."""
    if one == other:
        return 1.0
    if not (is_alphabetic(one) and is_alphabetic(other)):
        return 0.0
    return max(
        SPELLING_TRUST * _dice(_gram_set(one), _gram_set(other)),
        SOUND_TRUST * _dice(_gram_set(sound(one)), _gram_set(sound(other))),
    )


@lru_cache(maxsize=65536)
def _gram_set(word: str) -> frozenset[int]:
    return frozenset(grams(word))


def _dice(one: frozenset[int], other: frozenset[int]) -> float:
    return 2 * len(one & other) / (len(one) + len(other))
