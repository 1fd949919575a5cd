"""Takes `<think>…</think>` out of streamed text, also where a tag is split over pieces.

Servers without a reasoning parser leave it in `content`, and then it would be spoken.
"""

_OPEN, _CLOSE = "<think>", "</think>"


class SpokenText:
    """What of the content is to be spoken."""

    def __init__(self) -> None:
        self._held = ""
        """A beginning of a tag, perhaps."""
        self._thinks = False
        self._is_first = True

    def feed(self, text: str) -> str:
        """The next words; "" while none are certain."""
        text = self._held + text
        self._held = ""
        spoken = []
        while text:
            tag, at = self._next_tag(text)
            if not tag:
                kept = len(text) - _overlap(text, self._tags())
                spoken.append("" if self._thinks else text[:kept])
                self._held = text[kept:]
                break
            spoken.append("" if self._thinks else text[:at])
            self._thinks = tag == _OPEN
            text = text[at + len(tag) :]
        return self._trim("".join(spoken))

    def end(self) -> str:
        """What was held back and turned out to be no tag."""
        held, self._held = self._held, ""
        return "" if self._thinks else self._trim(held)

    def _tags(self) -> tuple[str, ...]:
        # Templates that write <think> into the prompt leave a lone </think> in the answer.
        return (_CLOSE,) if self._thinks else (_OPEN, _CLOSE)

    def _next_tag(self, text: str) -> tuple[str, int]:
        found = [(at, tag) for tag in self._tags() if (at := text.find(tag)) >= 0]
        if not found:
            return "", -1
        at, tag = min(found)
        return tag, at

    def _trim(self, spoken: str) -> str:
        """Blank lines between the thought and the first word are no words."""
        if self._is_first:
            spoken = spoken.lstrip()
            self._is_first = not spoken
        return spoken


def _overlap(text: str, tags: tuple[str, ...]) -> int:
    """Length of the longest end of `text` that begins a tag."""
    longest = max(map(len, tags)) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(tag.startswith(text[-size:]) for tag in tags):
            return size
    return 0
