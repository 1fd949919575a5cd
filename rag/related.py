"""Words of callers and words of documents that mean the same, or that one asks for with the other.

    "restroom"  -> toilet        another word for it
    "where"     -> street, road  what an answer to it speaks of

Everyday English of front desks only: a short list helps where a caller and a notice board differ,
a long one would find everything everywhere.
"""

from functools import lru_cache

from rag.words import FUNCTION_WEIGHT, static_weight, terms

FORM = 0.95
"""Likeness of two forms of one verb that no ending tells."""
SAME = 0.9
"""Likeness of two words for one thing."""
HINT = 0.85
"""Likeness of a question's word and a word its answers hold."""

_FORMS = """
pay paid
keep kept
lend lent
give gave given
find found
lose lost
bring brought
buy bought
take took taken
write wrote written
leave left
hold held
drive drove driven
sell sold
begin began begun
meet met
build built
send sent
make made
speak spoke spoken
break broke broken
choose chose chosen
know knew known
see saw seen
feel felt
sit sat
stand stood
"""

_SAME = """
toilet restroom bathroom washroom lavatory
lift elevator
wifi wireless internet wlan
phone telephone
bike bicycle
film movie
kid child children
cost price fee charge fare
fine penalty fee
car vehicle
begin start
shut close
doctor physician
drug medicine medication
sick ill illness
refund reimburse reimbursement
discount reduction reduced
join register enrol membership member
lost lose losing missing
cancel cancellation
food eat meal breakfast lunch dinner snack
drink coffee tea beverage
repair mend fix
colour color
lend loan borrow
donate donation give gift
vaccination vaccine injection jab
holiday vacation
staff employee personnel
photo photograph picture
luggage baggage suitcase
parking park
damaged broken defective
"""

_HINTS = {
    "where located location address directions": "street road avenue lane square floor building",
    "cost price fee charge pay much": "cost price fee charge dollar euro cent pound pay free",
    "open": "hour",
    "close shut": "hour",
    "hour": "open close",
    "park": "car garage",
    "refund": "money back paid",
    "old": "founded built established opened",
    "discount": "free less reduced student",
    "christmas": "december holiday",
    "weekend": "saturday sunday",
    "weekday": "monday friday",
    "dog cat": "pet animal",
    "allowed permitted forbidden": "welcome may must",
    "fit": "seat hold room",
    "pain": "emergency urgent ache",
    "accessible disabled": "wheelchair ramp elevator",
}


# Callers put them into every question; in a document they are rare and would weigh too much.
_LIGHT = frozenset(
    terms(
        "use become long time happen work find found bring take come look see make put keep back"
        " still really exactly near nearest possible available possibility wonder question answer"
        " want wanted like liked far soon often many"
        " 多少钱 几点 怎么样 얼마예요 어디예요 언제예요"
    )
)
_LIGHT_WEIGHT = 0.5
_LIGHT_TELLING = 0.2
# They say what kind of answer is wanted, and every notice board holds some.
_KINDS = frozenset(
    terms("cost price fee charge fare pay expensive cheap time hour day week month year")
)
_KIND_TELLING = 0.3
# Every document holds some of them, whatever it is about.
_EMPTY = frozenset(
    terms(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
        " fifteen sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy"
        " eighty ninety hundred thousand million first second third half number again another"
        " anyone else ever her no other over say saying said there think well yeah"
    )
)
_ASKING_WEIGHT = 0.5
"""Of a word like "where" that says what the answer must speak of."""


def _table() -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}

    def relate(asked: str, others: str, likeness: float) -> None:
        for one in terms(asked):
            for other in terms(others):
                if one != other:
                    known = table.setdefault(one, {})
                    known[other] = max(likeness, known.get(other, 0.0))

    for forms in _FORMS.strip().splitlines():
        relate(forms, forms, FORM)
    for ring in _SAME.strip().splitlines():
        relate(ring, ring, SAME)
    for asked, others in _HINTS.items():
        relate(asked, others, HINT)
    return table


@lru_cache(maxsize=1)
def _related() -> dict[str, dict[str, float]]:
    return _table()


_NONE: dict[str, float] = {}


def related(term: str) -> dict[str, float]:
    """Terms (as `rag.words.terms` writes them) that may stand for this one, and how likely."""
    return _related().get(term, _NONE)


def asked_weight(term: str) -> float:
    """How much a term says in a question: `static_weight`, corrected for how callers speak."""
    if term in _LIGHT:
        return _LIGHT_WEIGHT
    return max(static_weight(term), _ASKING_WEIGHT if related(term) else 0.0)


def telling_weight(term: str) -> float:
    """How much a term says about the matter of a question, 0..1: "gold" all, "price" little."""
    weight = static_weight(term)
    if weight <= FUNCTION_WEIGHT or term in _EMPTY or (term.isdigit() and len(term) <= 2):
        return 0.0
    if term in _LIGHT:
        return _LIGHT_TELLING
    return _KIND_TELLING if term in _KINDS else weight
