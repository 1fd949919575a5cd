"""Whether an utterance is the phrase with which the operator lets callers end the call."""

from collections.abc import Iterable

from voice.scripts import words

POLITENESS = """
    please, thanks, thank you, thank you very much, many thanks, okay, ok, well, so, alright, right
    yes, no, now, then, um, uh, for now, everyone, はい, では, じゃあ, じゃ, それでは, どうも
    ありがとう
    ありがとうございます, ありがとうございました, ください, お願いします, です, ね, 네, 예, 그럼
    감사합니다
    고맙습니다, 이만, 요, 好, 好的, 那, 那就, 谢谢, 谢谢你, 謝謝, 请, 請, 吧, 了, 啊, 就"""
_POLITE = sorted(
    (words(item) for item in POLITENESS.replace("\n", ",").split(",") if item.strip()),
    key=len,
    reverse=True,
)
MOST_WORDS = 40
"""Characters, in scripts where each one counts. What is longer is a story, not a phrase."""


def is_hang_up(text: str, phrases: Iterable[str]) -> bool:
    """Whether the whole of `text` is one of `phrases`, said once or more often in a row.

    Case, punctuation and polite words round it do not matter: "okay, goodbye, thank you" is
    "goodbye"; "goodbye is what he said" is not.
    """
    said = words(text)
    if not said or len(said) > MOST_WORDS:
        return False
    bare = _without_politeness(said)
    for phrase in phrases:
        wanted = words(phrase)
        if wanted and (_repeats(said, wanted) or _repeats(bare, _without_politeness(wanted))):
            return True
    return False


def _repeats(said: list[str], wanted: list[str]) -> bool:
    if not said or not wanted or len(said) % len(wanted):
        return False
    return said == wanted * (len(said) // len(wanted))


def _without_politeness(said: list[str]) -> list[str]:
    start, end = 0, len(said)
    while start < end:
        before = (start, end)
        for item in _POLITE:
            length = len(item)
            if said[start : start + length] == item and start + length <= end:
                start += length
                break
            if end - length >= start and said[end - length : end] == item:
                end -= length
                break
        if (start, end) == before:
            break
    return said[start:end]
