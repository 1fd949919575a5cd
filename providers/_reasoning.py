"""Takes what a model thinks out of streamed text, also where a tag is split over pieces.

Servers with a reasoning parser keep it in a field of its own; the others leave it in `content`, and
then it would be spoken:

    <think>…</think>            Qwen, DeepSeek, most others; <thought> Gemini, [THINK] Magistral
    <|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final<|message|>…
                                gpt-oss (harmony): `final` is spoken, and `commentary` to nobody
Source: https://github.com/openai/harmony/blob/main/docs/format.md
"""

import re
from enum import Enum, auto

_PAIRS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",
    "<seed:think>": "</seed:think>",
    "[THINK]": "[/THINK]",
    "◁think▷": "◁/think▷",
}
_HEADS = ("<|start|>", "<|channel|>", "<|constrain|>")
_BODY = "<|message|>"
_ENDS = ("<|end|>", "<|return|>", "<|call|>")
_TAGS = (*_PAIRS, *_PAIRS.values(), *_HEADS, _BODY, *_ENDS)
_TAG = re.compile("|".join(re.escape(tag) for tag in _TAGS))
_LONGEST = max(map(len, _TAGS))
_FIRST_LETTERS = frozenset(tag[0] for tag in _TAGS)


class _Mode(Enum):
    SPEAK = auto()
    THINK = auto()
    """Until the tag that closes it."""
    HEAD = auto()
    """Who writes to whom on which channel, until the message begins."""
    MUTE = auto()
    """A message that is not for the caller."""


class SpokenText:
    """What of the content is to be spoken."""

    def __init__(self) -> None:
        self._held = ""
        """A beginning of a tag, perhaps."""
        self._mode = _Mode.SPEAK
        self._close = ""
        self._head = ""
        self._is_first = True

    def feed(self, text: str) -> str:
        """The next words; "" while none are certain."""
        text = self._held + text
        spoken, at = [], 0
        while (found := _TAG.search(text, at)) is not None:
            spoken.append(self._kept(text[at : found.start()]))
            self._turn(found.group())
            at = found.end()
        rest = len(text) - _overlap(text[at:])
        spoken.append(self._kept(text[at:rest]))
        self._held = text[rest:]
        return self._trim("".join(spoken))

    def end(self) -> str:
        """What was held back and turned out to be no tag."""
        held, self._held = self._held, ""
        return self._trim(self._kept(held))

    def _kept(self, text: str) -> str:
        if self._mode is _Mode.HEAD:
            self._head = (self._head + text)[:200]
        return text if self._mode is _Mode.SPEAK else ""

    def _turn(self, tag: str) -> None:
        if self._mode is _Mode.THINK:
            if tag == self._close:
                self._mode = _Mode.SPEAK
        elif tag in _PAIRS:
            if self._mode is _Mode.SPEAK:
                self._mode, self._close = _Mode.THINK, _PAIRS[tag]
        elif tag in _HEADS:
            self._mode, self._head = _Mode.HEAD, self._head if tag != "<|start|>" else ""
        elif tag == _BODY:
            hidden = "analysis" in self._head or " to=" in self._head
            self._mode, self._head = (_Mode.MUTE if hidden else _Mode.SPEAK), ""
        elif tag in _ENDS:
            self._mode = _Mode.SPEAK
        # Templates that write <think> into the prompt leave a lone </think> in the answer.

    def _trim(self, spoken: str) -> str:
        """Blank lines between the thought and the first word are no words."""
        if self._is_first:
            spoken = spoken.lstrip()
            self._is_first = not spoken
        return spoken


def _overlap(text: str) -> int:
    """Length of the longest end of `text` that begins a tag."""
    for size in range(min(_LONGEST - 1, len(text)), 0, -1):
        end = text[-size:]
        if end[0] in _FIRST_LETTERS and any(tag.startswith(end) for tag in _TAGS):
            return size
    return 0
