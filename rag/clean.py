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
_SPACES = re.compile(r"[^\S\n]+")


def clean(text: str) -> str:
    """Drop what nobody reads: controls, zero-width and bidi marks, chat-template tokens.

    Line breaks stay, other white space becomes a single space, and lines are stripped.
    `clean(clean(text)) == clean(text)`.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\f", "\n").replace("\t", " ")
    text = _COMPATIBILITY.sub(lambda run: unicodedata.normalize("NFKC", run[0]), text)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
    text = "".join(char for char in text if char == "\n" or _is_kept(char))
    text = _without_chat_tokens(text)
    return "\n".join(_SPACES.sub(" ", line).strip() for line in text.split("\n"))


def _is_kept(char: str) -> bool:
    if " " <= char <= "~":
        return True
    if "\ufe00" <= char <= "\ufe0f" or "\U000e0100" <= char <= "\U000e01ef":
        return False  # variation selectors can carry hidden bytes
    return unicodedata.category(char) not in _DROPPED


def _without_chat_tokens(text: str) -> str:
    for _ in range(8):
        shorter = _CHAT_TOKEN.sub("", text)
        if shorter == text:
            return text
        text = shorter
    # Tokens nested deeper than that are no accident: break what is left of them.
    return text.replace("<|", "").replace("|>", "").replace("[", "(").replace("<", "(")
