"""Whether English words make a whole: for text in lower case, with or without punctuation."""

import re

from voice.completeness_scale import (
    CLAUSE,
    DANGLING,
    FILLER,
    FINAL,
    OPEN,
    SOFT,
    UNSURE,
    ending,
    endings,
)
from voice.dictation import WEAK, dictation

PREPOSITIONS = """
    to, for, from, at, of, with, without, by, into, onto, in, on, about, between, among, during,
    regarding, concerning, against, towards, under, behind, except, besides, despite, near, since,
    until, till, upon, within, per, via, over, after, before, around, through, as, like, than"""
AUXILIARIES = """
    is, are, was, were, am, do, does, did, can, could, will, would, should, have, has, had, might,
    may, must, don't, doesn't, didn't, can't, won't, isn't, aren't, wasn't, couldn't, wouldn't,
    haven't, hasn't"""
ENDINGS = endings(
    {
        DANGLING: f"""
        {PREPOSITIONS}, {AUXILIARIES}, a, an, the, my, your, our, their, its, his, every, each
        another, these, those, whose, very, quite, rather, such, or, nor, plus, and, but, because
        cause, if, whether, although, unless, while, whereas, when, where, who, what, why, how
        which, not, also, just, even, only, so, then, i, we, they, he, she, i'm, we're, they're
        you're, he's, she's, it's, that's, there's, here's, what's, where's, who's, how's, i've
        we've, i'd, we'd, i'll, we'll, you'll, let's, gonna, wanna, gotta, wondering, calling
        trying, going, both, some, any, several, maybe, perhaps, at least, at most, according
        can you, could you, would you, will you, do you, did you, are you, if you, that you
        when you, and you, so you, but you, if it, and it, but it, because it, and that, but that
        and this, let me, give me, send me, get me, say that, says that, said that, think that
        know that, told me that, mean that, means that, sure that, hope that, so that, i want
        we want, i need, we need, would like, i'd like, we'd like, i'd prefer, i have, we have
        i got, he said, she said, they said, i said, i thought, i believe, i was, it was, i think
        want you, need you, there are, the fact, the thing, the problem, dot, underscore, slash
        the other, the most, can you please, could you please, would you please, problem is that
        thing is that, issue is that, reason is that, point is that, would be, will be, to be
        should be, might be, could be, must be, hoping that, wondering if, a bit more
        a little more""",
        FILLER: """
        um, uh, er, erm, hmm, ah, uhm, umm, hm, well, you know, i mean, let me see, let's see
        let me think, sort of, kind of, basically, i wonder, first of all, for example
        for instance, by the way, i guess, let's say, one more thing""",
        OPEN: "actually, show me, tell me, anyway, the first, the second, the next, looking",
        SOFT: "though, her, this, probably, still, always",
        UNSURE: "help me, i do, i will, i am, i can, it is, there is",
        CLAUSE: """
        that, it, you, me, him, us, turn it on, turn it off, log in, sign in, sign up, check in
        come in, turn on, hold on, hang on, go on, it on, it over, move on, come over, be over
        go before, ever before, the day after, day before, i don't, we don't, i can't, i didn't
        i won't, i haven't, do that, like that, about that, for that, with that, by that, to that
        on that, of that, know why, know how, know where, know when, know who, sure why, sure how
        sure when, sure where, like her, call her, told her, with her, to her, for her, about her
        about this, do this, like this, with this, for this, of this, get through, walk in
        look around, no more, that's it, going on, how much, i'd love to, i want to know
        speak to you, both of you, you then, until then, by then, back then, should i do, can i do
        could be that, will it be, it could be, can it be""",
        FINAL: """
        think so, hope so, guess so, believe so, said so, if so, or so, suppose so, or something
        or not, or what, and so on, just because, of course not, why not, if not, hope not
        think not, maybe not, certainly not, probably not, i'm not, it's not, absolutely not
        please, thank you, thanks, how are you, who are you, where are you, how about you
        what about you, you too, me too, what if, since when, what for, where to, where from
        sorry what, for what, yes it is, yes i do, yes i am, yes i have, yes we do, yes we are
        yes there is, no i don't, no it isn't, no i haven't, no it doesn't, yes i did, no i didn't
        no i can't, yes i can, that's all, of course, goodbye, bye, right now, how is it""",
    },
    of_words=True,
)
QUESTION = re.compile(
    r"(?:(?:so|and|but|well|okay|ok|yes|yeah|hi|hello|um|uh|oh|sorry|excuse me|then|actually|"
    r"i don't know|i'm not sure|do you know|can you tell me|tell me|i'd like to know) )*"
    r"(?:what|who|whom|whose|which|where|when|why|how)(?:'s|'re|'d)?"
    r"(?! (?:i|we|you|he|she|they|it|my|our|the)\b)\b"
)
"""With an auxiliary behind the question word; "when i arrive" is no question."""
STRANDED = frozenset(word.strip() for word in PREPOSITIONS.split(","))
"""May stand last in a question whose object came first: "what are you looking for"."""
STRANDED_BEHIND = frozenset(
    """
    you it this that they he she we me them one talk speak pay wait ask come go send write call
    deliver listen stay live look depend travel apply belong
    """.split()
)
"""A noun there begins an object of its own: "what are your opening hours on"."""
STRANDED_VERBS = frozenset("do have going need want think like recommend".split())
PRONOUNS = frozenset("i you we they he she it".split())
SHORT_QUESTION = 3
"""Words: "where is" and "what can you" are cut off, "where are you from" is whole."""
EMBEDDED = re.compile(
    r"\S \b(?:what|where|who|how|when|why) (?:\w+ ){1,4}"
    r"(?:is|are|was|were|am|do|does|did|can|will|would|have|has|had)$"
)
"""A question within a sentence has its verb last: "i wonder what your prices are"."""
BARE_BE = re.compile(r"\b(?:when|why) (?:i|you|we|they|he|she) (?:is|are|was|were|am)$")
"""Such a one says what somebody is: "when you are (open)". "Where you are" is whole."""
VERB_TO_COME = re.compile(
    r"\b(?:do|does|did|can|could|will|would|should) (?:i|you|we|they|he|she|it)$"
)
"""Of a question: "what does it", and "how can i"."""
SUBORDINATE = re.compile(
    r"(?:(?:and|so|but|well|okay|um|uh) )*"
    r"(?:if|when|while|although|since|unless|because|after|before|once|as soon as|in case) "
)
MAIN_CLAUSE = re.compile(
    r" (?:can|could|will|would|should|do|does|did|is|are|what|how|where|who|which|please|then|"
    r"i'll|i'd|we'll|it'll|i'm|let me|let's|you have to|i want|i need|i have|i get|we get)\b"
)
ASKS = re.compile(
    r"(?:do|does|did|is|are|was|were|can|could|will|would|should|have|has|am|may) "
    r"(?:i|you|we|they|he|she|it|there|the|that|this|my|your)\b"
)

DIGITS = {word: str(n) for n, word in enumerate(
    "zero one two three four five six seven eight nine".split()
)} | {"oh": "0", "o": "0", "nought": "0", "naught": "0"}  # fmt: skip
TEENS = {word: str(n) for n, word in enumerate(
    "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(), 10
)} | {"hundred": "00", "thousand": "000"}  # fmt: skip
TENS = {word: str(n) for n, word in enumerate(
    "twenty thirty forty fifty sixty seventy eighty ninety".split(), 2
)}  # fmt: skip
REPEATS = {"double": 2, "triple": 3}
JOINTS = frozenset({"um", "uh", "dash", "hyphen", "then", "plus", "er"})
POINTING = frozenset({"the", "this", "that", "which", "another", "first", "last", "other", "no"})
"""In front of "one" or "two" they make it a pronoun."""
KINDS = (
    ("card", re.compile(r"\b(?:credit|debit|card)\b.{0,24}$")),
    ("post", re.compile(r"\b(?:zip|postcode|post code|postal code)\b.{0,16}$")),
    ("pin", re.compile(r"\b(?:pin|code)\b.{0,16}$")),
    ("id", re.compile(r"\bsocial security.{0,16}$")),
    ("number", re.compile(
        r"\b(?:account|order|reference|booking|confirmation|member|membership|invoice|tracking|"
        r"serial|customer|policy|case|ticket|reservation)\b.{0,10} (?:number|id)\b.{0,12}$")),
    ("number", re.compile(r"\bdigits (?:is|are)\b.{0,12}$")),
    ("phone", re.compile(r"\b(?:phone|mobile|cell|telephone|my number|the number is)\b.{0,20}$")),
    (WEAK, re.compile(r"\b(?:call|reach|ring|text) (?:me|us)\b.{0,16}$")),
)  # fmt: skip
ADDRESS = re.compile(r"\b(?:address is|i live at|live on)\b.{0,12}$")
"""A street follows the house number."""
LETTER = re.compile(r"[a-z]\.?")
SPELLED = re.compile(r"\b(?:spell|spelled|spelt|spelling|letters?)\b")


def score(text: str) -> float:
    """How complete the text sounds, 0 to 1; see voice/completeness_scale.py."""
    words = [word.strip(",;:\"'()") for word in text[-200:].replace("’", "'").split()]
    words = [word for word in words if word] or [text]
    dictated = _dictated(words)
    if dictated is not None:
        return dictated
    if (spelled := _spelled(words)) is not None:
        return spelled
    found = ending(" ".join(words[-5:]), ENDINGS)
    if found is None and words[-1].endswith("'s"):
        return DANGLING
    asks = bool(QUESTION.match(text))
    if found is None:
        return _clause(text, words, asks)
    value = found[1]
    embedded = EMBEDDED.search(text) and not BARE_BE.search(text)
    if value == DANGLING and (_is_stranded(words) if asks else embedded):
        return CLAUSE
    if len(words) == 1 and QUESTION.match(text):
        return UNSURE
    if value != CLAUSE:
        return value
    whole = _clause(text, words, asks)
    return whole if whole < CLAUSE else max(value, whole)


def _is_stranded(words: list[str]) -> bool:
    if len(words) <= SHORT_QUESTION:
        return False
    before, last = words[-2:]
    if last in ("like", "until", "till"):
        return True
    if last in STRANDED:
        return before in STRANDED_BEHIND or before.endswith("ing")
    return last in STRANDED_VERBS and before in PRONOUNS


def _clause(text: str, words: list[str], asks: bool) -> float:
    """Nothing hangs at the end; what does the beginning promise?"""
    if asks and VERB_TO_COME.search(text):
        return DANGLING
    if asks or ASKS.match(text):
        return FINAL if len(words) >= 3 else CLAUSE
    if (opening := SUBORDINATE.match(text)) and len(words) > 2:
        return CLAUSE if MAIN_CLAUSE.search(text, opening.end()) else OPEN
    return CLAUSE + 0.08 if len(words) > 2 else CLAUSE


def _spelled(words: list[str]) -> float | None:
    count = 0
    for word in reversed(words):
        if not LETTER.fullmatch(word):
            break
        count += 1
    if count >= 2 or (count and SPELLED.search(" ".join(words[:-count]))):
        return FILLER if count < 3 else OPEN if count < 5 else SOFT
    return None


def _dictated(words: list[str]) -> float | None:
    digits, groups, one_by_one, start = "", 0, True, len(words)
    repeats = words[-1] in REPEATS
    for at in range(len(words) - 1 - repeats, -1, -1):
        word = words[at]
        if word in JOINTS and digits:
            continue
        if word in REPEATS and digits:
            digits = digits[0] * (REPEATS[word] - 1) + digits
        elif word in TENS:
            follows = words[at + 1] if at + 1 < len(words) else ""
            digits = TENS[word] + ("" if DIGITS.get(follows, "0") != "0" else "0") + digits
            one_by_one = False
        elif (piece := _figures(word)) and (word not in ("oh", "o") or digits or at):
            digits, groups = piece + digits, groups + 1
            one_by_one = one_by_one and len(piece) == 1
        else:
            break
        start = at
    if not digits or (start and words[start - 1] in POINTING):
        return None
    before = " ".join(words[:start])
    if ADDRESS.search(before):
        return DANGLING
    found = dictation(
        before, digits, groups=groups, one_by_one=one_by_one, kinds=KINDS, language="en"
    )
    return DANGLING if found is not None and repeats else found


def _figures(word: str) -> str:
    bare = word.replace("-", "").replace(".", "")
    if bare.isdecimal():
        return bare
    return DIGITS.get(word) or TEENS.get(word) or ""
