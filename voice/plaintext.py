"""Markdown in, the words to be spoken out, while it is still being written.

    dropped   # headings' and bullets' marks, **emphasis**, `ticks`, links' addresses, rules,
              tables' bars, <tags>, <|tokens|>, emoji, fenced code with its contents
    kept      everything else, character by character: 2 * 3, snake_case, x < y, #1, [1]

What may still turn out to be markup is held back until it is decided; a bare word never is.
Never more than `HOLD_CHARS` are looked at, so that the work grows with the text, whatever it is.
"""

import re
from collections.abc import Callable
from typing import ClassVar

HOLD_CHARS = 400
"""What is not decided within so many characters is no markup: a bracket not closed was none."""
CODE_LINE_CHARS = 100
"""Enough of a line of code to tell whether it closes the fence."""
JOINER = "\u200d"

_EMOJI = (
    "\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff"
    "\U000e0020-\U000e007f\ufe0f\u20e3\u200d\u200b\u2060\ufeff"
)
_SPECIAL = re.compile(rf"[\n*_~`!\[<\\|{_EMOJI}]")
_TABLE_SPECIAL = re.compile(rf"[\n*_~`!\[<\\| \t{_EMOJI}]")
_LINE_START = re.compile(r"[ \t]*(?:[#>*+•~`|_-]|\Z)")
_FENCE = re.compile(r"[ \t]*(`{3,}+(?=[^`\n]*\n)|~{3,}+(?=[^\n]*\n))")
_FENCE_SO_FAR = re.compile(r"[ \t]*(?:`{0,2}|~{0,2}|`{3,}[^`\n]*|~{3,}[^\n]*)\Z")
_RULE = re.compile(
    r"[ \t]*(?:(?=(?:-[ \t]*){3})[ \t-]++|(?=(?:\*[ \t]*){3})[ \t*]++"
    r"|(?=(?:_[ \t]*){3})[ \t_]++)(?=\n)"
)
_RULE_SO_FAR = re.compile(r"[ \t]*(?:-[ \t-]*+|\*[ \t*]*+|_[ \t_]*+)\Z")
_TABLE_RULE = re.compile(r"[ \t]*\|(?=[ \t|:]*-)[ \t|:-]*+(?=\n)")
_TABLE_RULE_SO_FAR = re.compile(r"[ \t]*\|[ \t|:-]*\Z")
_BLOCK_MARK = re.compile(r"[ \t]*(?:#{1,6}|[-*+•>])(?:[ \t]+|(?=\n))")
_BLOCK_MARK_SO_FAR = re.compile(r"[ \t]*(?:#{1,6}|[-*+•>])?\Z")
_LINK = re.compile(r"!?\[([^\[\]\n]*+)\]\([^()\n]*+(?:\([^()\n]*+\)[^()\n]*+)*+\)")
_LINK_SO_FAR = re.compile(
    r"!?(?:\[[^\[\]\n]*(?:\](?:\((?:[^()\n]|\([^()\n]*\))*(?:\([^()\n]*)?)?)?)?\Z"
)
_FOOTNOTE = re.compile(r"\[\^[^\[\]\n]*\]")
_TAG = re.compile(r"<(?:\|[^<>\n]*\||!--[\s\S]*?--|/?[A-Za-z][A-Za-z0-9-]*(?:[ \t][^<>\n]*)?/?)>")
_AUTOLINK = re.compile(r"<([A-Za-z][A-Za-z0-9+.-]*:[^\s<>]*|[A-Za-z][^\s<>@]*@[^\s<>@]+)>")
_ANGLE_SO_FAR = re.compile(r"<(?:[A-Za-z/|][^<>\n]*|!(?:-(?:-[\s\S]*)?)?)?\Z")
_BLOCK_TAG = re.compile(r"</?(?:br|p|div|li|ul|ol|tr|table|h[1-6])\b", re.IGNORECASE)


class PlainText:
    """One reply's text. The joined outputs do not depend on how the input was cut into tokens."""

    def __init__(self) -> None:
        self._rest = ""
        self._out: list[str] = []
        self._last = "\n"
        """The input character before `_rest`."""
        self._line_open = False
        """Whether the line's beginning has been dealt with."""
        self._fence = ""
        self._in_table = False
        self._ended = False

    def feed(self, text: str) -> str:
        """The words that are certain by now."""
        taken = 0
        while taken < len(text):
            room = HOLD_CHARS - len(self._rest)
            self._rest += text[taken : taken + room]
            taken += room
            while self._rest and self._step():
                pass
        out = "".join(self._out)
        self._out.clear()
        return out

    def flush(self) -> str:
        """What was held back, as the end of the text decides it."""
        self._ended = True
        # A line's end decides what its beginning was; it is not itself part of the text.
        out = self.feed("\n")
        return out[:-1] if out.endswith("\n") else out

    def _step(self) -> bool:
        """Consumes a piece of the rest; False when it takes more text, which it never does where
        the rest is `HOLD_CHARS` long."""
        if self._fence:
            return self._skip_code()
        if not self._line_open:
            return self._begin_line()
        special = (_TABLE_SPECIAL if self._in_table else _SPECIAL).search(self._rest)
        plain = special.start() if special else len(self._rest)
        if plain:
            self._keep(plain)
            return True
        return self._inline()

    # --- lines ---------------------------------------------------------------------------------

    def _skip_code(self) -> bool:
        """Drops one line of fenced code."""
        line, newline, rest = self._rest.partition("\n")
        if not newline:
            self._rest = line[:CODE_LINE_CHARS]
            return False
        mark = line[:CODE_LINE_CHARS].strip()
        if len(mark) >= len(self._fence) and mark == self._fence[0] * len(mark):
            self._fence = ""
        self._rest = rest
        self._last = "\n"
        return True

    def _begin_line(self) -> bool:
        """Drops what marks the line's kind."""
        rest = self._rest
        if not _LINE_START.match(rest):
            self._open_line()
            return True
        if fence := _FENCE.match(rest):
            self._fence = fence.group(1)
            self._drop(rest.index("\n") + 1)
            return True
        if rule := (_RULE.match(rest) or _TABLE_RULE.match(rest)):
            self._drop(rule.end() + 1)
            return True
        undecided = (_FENCE_SO_FAR, _RULE_SO_FAR, _TABLE_RULE_SO_FAR, _BLOCK_MARK_SO_FAR)
        if any(pattern.match(rest) for pattern in undecided) and self._may_hold():
            return False
        if mark := _BLOCK_MARK.match(rest):
            # What a bullet or a quote marks may be marked itself: "> - ## so".
            self._drop(mark.end())
            return True
        self._open_line()
        if self._rest.startswith("|"):
            self._in_table = True
            self._drop(1)
        return True

    def _open_line(self) -> None:
        """What follows is words; the space before them goes."""
        self._line_open = True
        if indent := len(self._rest) - len(self._rest.lstrip(" \t")):
            self._drop(indent)

    # --- within a line -------------------------------------------------------------------------

    def _inline(self) -> bool:
        """Deals with the special character the rest begins with."""
        char = self._rest[0]
        if char == "\n":
            self._keep(1)
            self._line_open = False
            self._in_table = False
            return True
        if decide := self._DECIDE.get(char):
            return decide(self)
        # An emoji, or what joins and colours them; some scripts join letters by the same sign.
        joins_letters = char == JOINER and not _SPECIAL.match(self._last)
        self._keep(1) if joins_letters else self._drop(1)
        return True

    def _emphasis(self) -> bool:
        """A run of * is kept between spaces or digits, of _ within words, of a single ~ always."""
        char = self._rest[0]
        size = len(self._rest) - len(self._rest.lstrip(char))
        if size == len(self._rest):
            if self._may_hold():
                return False
            self._drop(size)
            return True
        before, after = self._last, self._rest[size]
        apart = before.isspace() and after.isspace()
        within = before.isalnum() and after.isalnum()
        if char == "*":
            keep = apart or (before.isdigit() and after.isdigit())
        elif char == "_":
            keep = apart or within
        else:
            keep = size == 1
        self._keep(size) if keep else self._drop(size)
        return True

    def _ticks(self) -> bool:
        self._drop(1)
        return True

    def _link(self) -> bool:
        """[words](address) and ![words](address) become their words."""
        if self._rest[0] == "!" and not self._last.isspace():
            # Behind a word it ends a sentence, which shall not wait for a picture to follow.
            self._keep(1)
            return True
        if footnote := _FOOTNOTE.match(self._rest):
            self._drop(footnote.end())
            return True
        if link := _LINK.match(self._rest):
            # The words may hold emphasis.
            self._rest = link.group(1) + self._rest[link.end() :]
            return True
        if self._may_hold() and _LINK_SO_FAR.match(self._rest):
            return False
        self._keep(1)
        return True

    def _angle(self) -> bool:
        """Tags and tokens go, addresses stay."""
        if address := _AUTOLINK.match(self._rest):
            self._rest = address.group(1) + self._rest[address.end() :]
            return True
        if tag := _TAG.match(self._rest):
            if _BLOCK_TAG.match(tag.group()) and self._last != "\n":
                self._rest = "\n" + self._rest[tag.end() :]
            else:
                self._drop(tag.end())
            return True
        if self._may_hold() and _ANGLE_SO_FAR.match(self._rest):
            return False
        self._keep(1)
        return True

    def _escape(self) -> bool:
        r"""\* is a star."""
        if len(self._rest) == 1:
            return False
        if self._rest[1] in "\\`*_{}[]<>()#+-.!|~":
            self._drop(1)
        self._keep(1)
        return True

    def _bar(self) -> bool:
        """Between a table's cells stands a comma."""
        if not self._in_table:
            self._keep(1)
            return True
        after = self._rest[1:].lstrip(" \t")
        if not after:
            self._rest = self._rest[:2]
            return False
        self._drop(len(self._rest) - len(after))
        if after[0] not in "\n|":
            self._out.append(", ")
        return True

    def _cell_space(self) -> bool:
        """Cells are padded; the padding goes."""
        after = self._rest.lstrip(" \t")
        if not after and self._may_hold():
            return False
        space = len(self._rest) - len(after)
        padding = self._last == "|" or after[:1] in ("|", "\n")
        self._drop(space) if padding else self._keep(space)
        return True

    _DECIDE: ClassVar[dict[str, Callable[["PlainText"], bool]]] = {
        "*": _emphasis,
        "_": _emphasis,
        "~": _emphasis,
        "`": _ticks,
        "!": _link,
        "[": _link,
        "<": _angle,
        "\\": _escape,
        "|": _bar,
        " ": _cell_space,
        "\t": _cell_space,
    }

    # --- output --------------------------------------------------------------------------------

    def _may_hold(self) -> bool:
        return len(self._rest) < HOLD_CHARS and not self._ended

    def _keep(self, count: int) -> None:
        self._out.append(self._rest[:count])
        self._drop(count)

    def _drop(self, count: int) -> None:
        self._last = self._rest[count - 1]
        self._rest = self._rest[count:]
