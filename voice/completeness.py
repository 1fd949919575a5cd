"""What a recogniser's words say about the caller: done, in mid-sentence, or only nodding.

    completeness       0 (surely in mid-sentence) to 1 (surely done); see completeness_scale.py
    is_short_answer    "yes", はい, 네, 不是: nothing will follow
    is_backchannel     "mm-hm", うん, 응, 嗯: does not take the floor while the agent speaks
    is_echo            the agent's own voice; see echo.py
    is_hang_up         the operator's phrase that ends the call; see hang_up.py

Recognisers give lower case without punctuation, so the words decide, by rules of their language.
Punctuation moves the score where it is there:

    , 、 ; : … -       goes on, whatever the words say
    ?                  done; unsure where the words hang in the air: お名前は？
    . ! 。             done, but recognisers put one behind every pause: words that hang still do
    an open " ( 「     goes on

All functions are pure and take less than 50 µs for sixty words.
"""

import re
from collections.abc import Callable

from voice import completeness_en, completeness_ja, completeness_ko, completeness_zh
from voice.completeness_scale import FILLER, FINAL, OPEN, UNSURE
from voice.echo import is_echo
from voice.hang_up import is_hang_up
from voice.nods import is_backchannel, is_short_answer
from voice.scripts import language_of, normal

__all__ = ["completeness", "is_backchannel", "is_echo", "is_hang_up", "is_short_answer"]

RULES: dict[str, Callable[[str], float]] = {
    "en": completeness_en.score,
    "ja": completeness_ja.score,
    "ko": completeness_ko.score,
    "zh": completeness_zh.score,
}
STOPPED, ASKED = 0.3, 0.5
"""What words that hang score more behind a full stop, and behind a question mark."""
GOES_ON = re.compile(r"(?:[,、;:…—–-]|\.\.)\s*$")
ENDS = re.compile(r"[.!?。؟।]+[\"')\]」』”]*\s*$")
SENTENCE = re.compile(r".*(?:[!?。]|\.(?=\s))\s*", re.DOTALL)
"""Everything in front of the last sentence."""
BRACKETS = (("(", ")"), ("「", "」"), ("『", "』"), ("“", "”"), ("[", "]"))


def completeness(text: str, language: str) -> float:
    """How sure it is that the caller has said what they wanted to say.

    Args:
        text: The utterance so far, partial or final.
        language: BCP 47 tag; of another language than English, Japanese, Korean and Chinese, and
            of "" where the script does not tell, only the punctuation is judged. Latin letters of
            an untold language are taken for English.
    Returns:
        0 to 1; 0.5 where nothing is known, so also of an empty text.
    """
    text = normal(text)
    if not text:
        return UNSURE
    if GOES_ON.search(text) or _is_open(text):
        return FILLER
    stop = ENDS.search(text)
    body = text[: stop.start()].rstrip() if stop else text
    body = _last_sentence(body)
    rules = RULES.get(language_of(body, language))
    score = rules(body) if rules and body else UNSURE
    if stop is None:
        return score
    if score > OPEN:
        return max(score, FINAL)
    return score + (ASKED if "?" in stop[0] else STOPPED)


def _last_sentence(body: str) -> str:
    last = SENTENCE.match(body)
    return body[last.end() :] or body if last else body


def _is_open(text: str) -> bool:
    if text.count('"') % 2:
        return True
    return any(text.count(left) > text.count(right) for left, right in BRACKETS)
