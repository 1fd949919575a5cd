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
    """Whether the whole of `text` is one of `phrases`, or several of them in a row.

    Case, punctuation and polite words round them do not matter: "okay, goodbye, thank you" is
    "goodbye"; "goodbye is what he said" is not.
    """
    said = words(text)
    if not said or len(said) > MOST_WORDS:
        return False
    wanted = [words(phrase) for phrase in phrases]
    bare = [phrase for phrase in map(_without_politeness, wanted) if phrase]
    whole = [phrase for phrase in wanted if phrase]
    return any(_repeats(said, phrase) for phrase in whole) or _is_row(said, bare)


def _repeats(said: list[str], wanted: list[str]) -> bool:
    return said == wanted * (len(said) // len(wanted))


def _is_row(said: list[str], phrases: list[list[str]]) -> bool:
    """Whether there is nothing but phrases, at least one, and polite words."""
    ways = {(0, False)}
    for at in range(len(said)):
        for _, begun in [way for way in ways if way[0] == at]:
            for items, is_phrase in ((phrases, True), (_POLITE, False)):
                ends = [at + len(item) for item in items if said[at : at + len(item)] == item]
                ways |= {(end, begun or is_phrase) for end in ends}
    return (len(said), True) in ways


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
