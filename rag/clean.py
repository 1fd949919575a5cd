"""Text as it may be stored, shown and put before a language model.

Runs before anything counts characters: every offset in an index refers to cleaned text.
"""

import re
import unicodedata

# NFKC on everything would turn "…" into "..." and "①" into "1", and change what is shown for no
# gain. It is applied where two spellings of one word, or of one control token, would not meet.
_COMPATIBILITY = re.compile(
    "[\uff10-\uff19\uff1c\uff1e\uff21-\uff3a\uff41-\uff5a\uff5c\uff61-\uff9f\ufb00-\ufb06"
    "\U0001d400-\U0001d7ff]+"
)

# Turn markers of the common chat templates. In a document they can only be an attack or an
# accident: a model that sees one takes what follows for the operator's words.
_CHAT_TOKEN = re.compile(
    r"<\|[^<>|\n]{0,64}\|>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
    r"|<</?SYS>>"
    r"|</?(?:s|bos|eos|start_of_turn|end_of_turn|think|tool_call|tool_response)>",
    re.IGNORECASE,
)
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
# Letters and marks by category, but blank: fillers, and selectors that can carry hidden bytes.
_BLANK = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
_NOT_ASCII = re.compile(r"[^\n -~]+")
_JOINERS = re.compile("[\u200c\u200d]+")
# Scripts whose spelling uses the joiners (Unicode 16, chapters 9 and 12-14): Arabic to Sinhala,
# Tibetan and Myanmar, Khmer and Mongolian, Balinese and its neighbours, those beyond U+FFFF.
_TAKES_JOINER = re.compile(
    "[\u0600-\u0dff\u0f00-\u109f\u1780-\u18af\u1900-\u1cff\ua800-\ua8ff\ua980-\uabff"
    "\ufb50-\ufdff\ufe70-\ufefc\U00010a00-\U00011fff]"
)
_SPACES = re.compile(r"[^\S\n]+")


def clean(text: str) -> str:
    """Drop what nobody reads: controls, zero-width and bidi marks, chat-template tokens.

    A joiner stays behind a letter whose script is spelt with it. Line breaks stay, other white
    space becomes a single space, and lines are stripped.
    `clean(clean(text)) == clean(text)`.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").replace("\t", " ")
    text = _COMPATIBILITY.sub(lambda run: unicodedata.normalize("NFKC", run[0]), text)
    text = _NOT_ASCII.sub(lambda run: "".join(filter(_is_kept, run[0])), text)
    if not text.isascii():
        text = _JOINERS.sub(_first_needed, text)
        text = unicodedata.normalize("NFC", text)
    text = _without_chat_tokens(text)
    return "\n".join(_SPACES.sub(" ", line).strip() for line in text.split("\n"))


def visible(name: str) -> str:
    """A file's name with what nobody sees in it written out; two names stay two."""
    return "".join(
        char if _is_seen(before, char) else "\\\\" if char == "\\" else _written_out(char)
        for before, char in zip(f" {name}", name, strict=False)
    )


def _written_out(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _is_seen(before: str, char: str) -> bool:
    if _JOINERS.match(char):
        return _takes_joiner(before)
    return char != "\\" and _is_kept(char)


def _is_kept(char: str) -> bool:
    if " " <= char <= "~" or _JOINERS.match(char):
        return True
    return unicodedata.category(char) not in _DROPPED and not _BLANK.match(char)


def _first_needed(joiners: re.Match[str]) -> str:
    start = joiners.start()
    return joiners[0][0] if start and _takes_joiner(joiners.string[start - 1]) else ""


def _takes_joiner(char: str) -> bool:
    return bool(_TAKES_JOINER.match(char)) and unicodedata.category(char)[0] in "LM"


def _without_chat_tokens(text: str) -> str:
    for _ in range(8):
        shorter = _CHAT_TOKEN.sub("", text)
        if shorter == text:
            return text
        text = shorter
    # Tokens nested deeper than that are no accident: break what is left of them.
    return text.replace("<|", "").replace("|>", "").replace("[", "(").replace("<", "(")
