"""How many digits a number that is being read out would still want.

A caller pauses between the groups of a number, for longer than between sentences:

    my number is five five five . . . one two three . . . four five six seven
                              3 of 10             6 of 10                  10: that is all

What comes before the digits says what kind of number it is, the language how long one is there.
Without a kind, digits one by one are still a dictation, of unknown length; a single figure
("at 7", "room 472") is none.
"""

import re
from collections.abc import Mapping, Sequence

from voice.completeness_scale import DICTATED, SOFT, UNSURE

ENOUGH = 0.85
"""All digits are there. Not FINAL: an extension or an expiry date may follow."""

PHONES: dict[str, tuple[tuple[str, tuple[int, ...]], ...]] = {
    "en": (("1", (11,)), ("0", (10, 11)), ("", (7, 10))),
    "ja": (("090", (11,)), ("080", (11,)), ("070", (11,)), ("050", (11,)), ("", (10,))),
    "ko": (("010", (11,)), ("02", (9, 10)), ("1", (8,)), ("0", (10, 11)), ("", (8,))),
    "zh": (("1", (11,)), ("0", (10, 11, 12)), ("", (7, 8))),
}
"""By how the number begins, its lengths in the national numbering plans; for "en" those of
North America, Britain and Australia."""
LENGTHS: dict[str, Mapping[str, tuple[int, ...]]] = {
    "post": {"en": (5,), "ja": (7,), "ko": (5,), "zh": (6,)},
    "id": {"en": (9,), "ja": (12,), "ko": (13,), "zh": (18,)},
    "pin": dict.fromkeys(PHONES, (4, 6)),
}
Kinds = Sequence[tuple[str, re.Pattern[str]]]
"""What kind of number follows a text, first match first: phone, card, post, pin, id, or `number`
for one whose length nobody knows."""
WEAK = "call"
"""A phone number only where at least three digits came: "call me at seven" is none."""


def dictation_of(
    before: str, digits: str, groups: int, *, is_spoken: bool, kinds: Kinds, language: str
) -> float | None:
    """`dictation` in scripts without spaces between spoken digits, where three are read one by one.

    Args:
        groups: In which they were written.
        is_spoken: As words, none as a figure.
    """
    one_by_one = is_spoken and len(digits) > 2
    return dictation(
        before,
        digits,
        groups=len(digits) if one_by_one else groups,
        one_by_one=one_by_one,
        kinds=kinds,
        language=language,
    )


def dictation(
    before: str, digits: str, *, groups: int, one_by_one: bool, kinds: Kinds, language: str
) -> float | None:
    """Completeness of a text that ends in digits; None where they are no dictation.

    Args:
        before: The text in front of the digits.
        groups: How many words the digits were.
        one_by_one: Each was read out by itself.
    """
    kind = next((kind for kind, pattern in kinds if pattern.search(before)), None)
    if kind == WEAK:
        kind = "phone" if groups > 2 or len(digits) > 4 else None
    if kind is not None:
        return _of_kind(kind, digits, language)
    read_out = one_by_one and groups >= 2
    if read_out or (groups >= 2 and len(digits) >= 6) or (digits[0] == "0" and len(digits) > 1):
        return _of_unknown_length(len(digits))
    return None


def _of_kind(kind: str, digits: str, language: str) -> float:
    if kind == "number":
        return _of_unknown_length(len(digits))
    if kind == "card":
        lengths: tuple[int, ...] = (15,) if digits.startswith(("34", "37")) else (16,)
    elif kind == "phone":
        plan = PHONES[language]
        lengths = next(lengths for start, lengths in plan if digits.startswith(start))
    else:
        lengths = LENGTHS[kind][language]
    if len(digits) >= lengths[-1]:
        return ENOUGH
    return UNSURE if len(digits) in lengths else DICTATED


def _of_unknown_length(count: int) -> float:
    if count in (10, 11, 16):
        return ENOUGH
    return DICTATED if count < 6 else SOFT if count < 8 else UNSURE
