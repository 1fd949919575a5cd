"""What kind of thing a question asks for, and how surely a sentence holds one.

    "How much ...", "... cost"   a price      "twelve dollars a year", "free", 無料
    "When ...", "... open"       a time       "on Sunday", "from nine in the morning", 午前九時

Patterns look for single words, because a recogniser seldom gets a whole phrase right.
"""

import re
from enum import Enum

_NUMBER = (
    r"(?:\d[\d.,:]*|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four"
    r"|fif|six|seven|eigh|nine)teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred|thousand"
    r"|million|half|dozen)(?:[- ](?:one|two|three|four|five|six|seven|eight|nine|hundred"
    r"|thousand|million))*)"
)
_KANJI_NUMBER = r"[\d０-９〇一二三四五六七八九十百千万两]+"
_DAY = (
    r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)days?|weekdays?|weekends?|january|february|march"
    r"|april|june|july|august|september|october|november|december|daily|every day|holidays?)"
)
_SPOT = (
    r"(?:street|road|lane|avenue|square|floor|desk|building|entrance|basement|hall|door|cent(?:re"
    r"|er)|garage|station|corner|wall|shelf|cellar|office|reception|counter|garden|lobby|side)"
)
_AT = (
    r"(?:at|on|in|into|behind|beside|next to|across from|opposite|near|under|above|below|outside"
    r"|down|along|to|of)"
)


class Kind(Enum):
    PERSON = "person"
    PLACE = "place"
    DURATION = "duration"
    COUNT = "count"
    TIME = "time"
    PRICE = "price"
    PHONE = "phone"
    LEAVE = "leave"
    """Whether one may."""
    WAY = "way"
    """How something is done."""


SOFT = frozenset({Kind.LEAVE, Kind.WAY})
"""Kinds that many sentences seem to hold: they tell less."""

# The first that matches decides, so the particular stands before the general.
_ASKED: tuple[tuple[Kind, str], ...] = (
    (Kind.PHONE, r"phone number|(?:what|which) number|number (?:do|should|can) i"),
    (Kind.PERSON, r"\bwho(?:m|se)?\b|だれ|誰|누구|谁"),
    (
        Kind.PLACE,
        r"\bwhere(?:'s)?\b|\baddress\b|\blocat(?:ed|ion)\b|\bdirections\b"
        r"|どこ|어디|哪里|哪儿",
    ),
    (
        Kind.DURATION,
        r"\bhow (?:long|early|far|soon|often)\b|\bhow much time\b"
        r"|どのくらい|どれくらい|何日|何週間|いつまで|얼마나|多久|多长",
    ),
    (Kind.COUNT, r"\bhow many\b|\bmany\b|何[^時曜日が]{1,2}|いくつ|몇 (?!시)|几[^点]|多少(?!钱)"),
    (
        Kind.PRICE,
        r"\b(?:much|costs?|prices?|fees?|fine|deposit|pay|expensive|cheap|charges?|free)\b"
        r"|いくら|料金|費用|値段|無料|얼마|요금|多少钱|价格|免费",
    ),
    (
        Kind.TIME,
        r"\bwhen\b|\btime\b|\bhours?\b|\bopen(?:s|ed|ing)?\b|\bclos(?:e|es|ed|ing)\b|\buntil\b"
        r"|\bhow old\b|\bwhat day\b|いつ|何時|何曜|時間|開いて|언제|몇 시|什么时候|几点",
    ),
    (Kind.LEAVE, r"\b(?:allowed|permitted|forbidden)\b|\b(?:can|may|could) (?:i|we|you|my)\b"),
    (Kind.WAY, r"\bhow (?:do|can|to|does|would|should)\b|\bwhat (?:do|should|must) i\b"),
)

_PRICE = (
    rf"{_NUMBER} (?:dollars?|cents?|euros?|pounds?|pence|yen|francs?)|[$€£¥]\s?\d|\d\s?[$€£¥]"
    rf"|\bfree\b(?! of (?!charge))|\bfor nothing\b|{_KANJI_NUMBER}(?:円|ドル|ユーロ|元|美元|块)"
    r"|[\d만천백]+ ?(?:원|달러)|無料|무료|免费"
)
_DURATION = (
    rf"{_NUMBER} (?:more )?(?:seconds?|minutes?|hours?|days?|weeks?|months?|years?)"
    rf"|\b(?:at once|immediately|while you wait)\b"
    rf"|{_KANJI_NUMBER}(?:週間|日間|時間|分|か月|ヶ月|年間|天|周|小时|分钟|个月)"
    r"|\d+ ?(?:일|주|시간|분)"
)
_CLOCK = (
    rf"\b(?:from|at|until|till|between|before|after|and|to|by) {_NUMBER}(?= (?:in the|o'?clock"
    rf"|until|and|to)\b|[.,;]|$)|{_NUMBER} ?(?:a\.?m|p\.?m|o'?clock)\b|\d:\d\d"
    rf"|\b(?:in the (?:morning|afternoon|evening)|at night|noon|midnight|day and night)\b"
)

# Pattern and how surely what it finds is an answer; the best counts.
_HELD: dict[Kind, tuple[tuple[float, str], ...]] = {
    Kind.PRICE: ((1.0, _PRICE), (0.5, r"\b(?:costs?|price|charge|fee)\b")),
    Kind.DURATION: ((1.0, _DURATION), (0.3, _CLOCK)),
    Kind.TIME: (
        (1.0, rf"{_CLOCK}|\b(?:on |every |to |until ){_DAY}\b"),
        (0.9, rf"\b{_DAY}\b|\b(?:in|since) (?:\d{{4}}|nineteen|eighteen|twenty|two thousand)\b"),
        (0.9, r"午前|午後|曜日|休館|休み|[時月]|오전|오후|요일|시|点|星期|周"),
        (0.4, _DURATION),
    ),
    Kind.COUNT: (
        (1.0, rf"\b{_NUMBER} (?!(?:dollar|cent|euro|pound|o'?clock|in the)s?\b)[a-z]"),
        (1.0, rf"{_KANJI_NUMBER}[^\d]|\d+"),
    ),
    Kind.PLACE: (
        (1.0, rf"(?i:{_NUMBER}|[Aa]t \w+) (?:[A-Z]\w+ )+(?:Street|Road|Lane|Avenue|Square)"),
        (0.8, rf"(?i:\b{_AT} (?:the |a )?(?:\w+ ){{0,2}}{_SPOT}\b)"),
        (0.6, rf"(?i:\b(?:behind|beside|next to|opposite|across from) )|{_SPOT}\b"),
        (0.8, r"階|側|隣|向かい|丁目|番地|층|옆|楼|旁"),
    ),
    Kind.PERSON: (
        (1.0, r"(?<=[a-z,] )(?:[A-Z][a-z]+ )+[A-Z][a-z]+|\b(?:Dr|Doctor|Mrs?|Ms) [A-Z]"),
        (0.9, r"\bby (?:the )?[a-z]{4,}|さん|先生|씨|先生|女士"),
        (0.3, r"\b(?:staff|team|people|somebody|members?)\b"),
    ),
    Kind.PHONE: ((1.0, rf"(?i:\b{_NUMBER}(?:[ -]{_NUMBER}){{2,}})|\d{{3,}}"), (0.4, r"\bcall\b")),
    Kind.LEAVE: ((1.0, r"(?i:\b(?:can|may|welcome|allowed|must|do not|have to|not)\b)"),),
    Kind.WAY: (
        (1.0, r"(?i:^to \w+|\byou can\b|\bcan be\b|\bby (?:telephone|phone|e-?mail)\b)"),
        (0.8, r"(?i:^(?:please |if .*, )?(?:call|ask|bring|take|use|write|leave|go|walk|press)\b)"),
        (0.5, r"(?i:\b(?:have to|need|call|ask|bring|use|write|leave)\b)"),
    ),
}
_IGNORING_CASE = frozenset({Kind.PRICE, Kind.DURATION, Kind.TIME, Kind.COUNT})

_ASKED_COMPILED = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _ASKED)
_HELD_COMPILED = {
    kind: tuple(
        (sure, re.compile(pattern, re.IGNORECASE if kind in _IGNORING_CASE else 0))
        for sure, pattern in patterns
    )
    for kind, patterns in _HELD.items()
}


def asked_kind(question: str) -> Kind | None:
    """What the question wants to be told; None where its words do not say."""
    found = (kind for kind, pattern in _ASKED_COMPILED if pattern.search(question))
    return next(found, None)


def holds(kind: Kind, sentence: str) -> float:
    """0..1: how surely the sentence names a thing of this kind."""
    sure = (sure for sure, pattern in _HELD_COMPILED[kind] if pattern.search(sentence))
    return max(sure, default=0.0)
