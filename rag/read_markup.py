"""Markdown and HTML: what a reader of the page sees, tables as sentences."""

import re
from collections import Counter
from collections.abc import Iterator

from rag.read_text import Block, Unreadable, decode, join_lines
from rag.sentences import table_sentences


def read_md(data: bytes) -> Iterator[Block]:
    from markdown_it import MarkdownIt

    text = re.sub(r"\A---\n.*?\n---\n", "", decode(data).replace("\r\n", "\n"), flags=re.DOTALL)
    level = 0
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        match token.type:
            case "heading_open":
                level = int(token.tag[1])
            case "heading_close":
                level = 0
            case "tr_open":
                rows.append([])
            case "table_close":
                yield from ((0, sentence) for sentence in table_sentences(rows))
                rows = []
            case "inline":
                said = _inline(token.children or [])
                if rows:
                    rows[-1].append(said)
                else:
                    yield level, said
            case "fence" | "code_block":
                yield 0, token.content
            case "html_block":
                yield from read_html(token.content.encode())


def _inline(tokens: list) -> str:  # type: ignore[type-arg]  # markdown-it's Token, imported on use
    lines = [""]
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            lines.append("")
        elif token.type in ("text", "code_inline", "text_special"):
            lines[-1] += token.content
        elif token.type == "image":
            lines[-1] += token.content  # what it shows
    return join_lines(lines)


_BLOCKS = frozenset(
    """address article aside blockquote body br caption dd details div dl dt fieldset figcaption
    figure footer form h1 h2 h3 h4 h5 h6 header hr html legend li main ol option p pre section
    summary table tbody tfoot thead tr ul""".split()
)
# What a reader of the page does not see, or what is on every page alike.
_UNSEEN = (
    "head, script, style, nav, template, noscript, svg, iframe, object, textarea, [hidden], "
    "[aria-hidden=true], [style*='display:none'], [style*='display: none'], "
    "[style*='visibility:hidden'], [style*='visibility: hidden']"
)


_TAG = re.compile(r"<(/?)([a-zA-Z][^\s/<>]*)([^<>]*)")
_NEST_NOTHING = frozenset(
    """area base br col embed hr img input link meta source track wbr
    p li dt dd option optgroup tr td th thead tbody tfoot colgroup""".split()
)
"""Void, or closed by the next of their kind."""
MOST_STEPS = 300_000_000
"""Of the parser, which for a tag may look through all that are open: 2 ns each, measured."""


def nesting_steps(html: str) -> int:
    """What parsing may cost: over all tags, how many elements are open. A page of 1 MB has 10^6."""
    open_tags: Counter[str] = Counter()
    steps = depth = 0
    for closing, name, rest in _TAG.findall(html):
        name = name.lower()
        steps += depth
        if name in _NEST_NOTHING:
            continue
        if closing:
            if open_tags[name]:
                open_tags[name] -= 1
                depth -= 1
        elif not (rest.endswith("/") and (open_tags["svg"] or open_tags["math"])):
            open_tags[name] += 1
            depth += 1
    return steps


def read_html(data: bytes) -> Iterator[Block]:
    from selectolax.lexbor import LexborHTMLParser

    html = decode(data)
    if nesting_steps(html) > MOST_STEPS:
        raise Unreadable("nests its elements too deeply to be read; save its text alone")
    page = LexborHTMLParser(html)
    title_tag = page.css_first("head > title")
    title = title_tag.text(strip=True) if title_tag else ""
    if page.body is None:
        return
    for node in page.css(_UNSEEN):
        node.decompose()
    for table in page.css("table:not(:has(table))"):
        _say_rows(table)
    blocks = list(_html_blocks(page.body))
    if title and not any(level == 1 for level, _ in blocks):
        yield 1, title
    yield from blocks


def _say_rows(table) -> None:  # type: ignore[no-untyped-def]  # a LexborNode
    """Put each row's text in its place, where it is plain which header stands above which cell."""
    rows = [cells for row in table.css("tr") if (cells := row.css("td, th"))]
    if len(rows) < 2 or any(cell.tag != "th" for cell in rows[0]):
        return
    alike = all(len(cells) == len(rows[0]) for cells in rows)
    two_rows_of_headers = all(cell.tag == "th" for cell in rows[1])
    spanned = table.css_first("[rowspan], [colspan]") is not None
    if not alike or two_rows_of_headers or spanned:
        return
    said = table_sentences([[" ".join(cell.text().split()) for cell in cells] for cells in rows])
    for (first, *others), sentence in zip(rows[1:], said, strict=True):
        first.replace_with(sentence)
        for cell in others:
            cell.decompose()
    for cell in rows[0]:
        cell.decompose()


def _html_blocks(body) -> Iterator[Block]:  # type: ignore[no-untyped-def]  # a LexborNode
    """Own stack instead of recursion: nesting is the author's choice."""
    said: list[str] = []
    level = 0
    stack = [(body, False)]
    while stack:
        node, is_left = stack.pop()
        tag = node.tag
        if tag == "-text":
            said.append(node.text_content or "")
            continue
        if tag in ("td", "th") and is_left and said:
            said.append(", ")
        if tag in _BLOCKS:
            text = " ".join("".join(said).split()).rstrip(", ")
            said = []
            if text:
                yield level, text
            level = int(tag[1]) if re.fullmatch("h[1-6]", tag) and not is_left else 0
        if is_left:
            continue
        stack.append((node, True))
        children = []
        child = node.child
        while child is not None:
            children.append((child, False))
            child = child.next
        stack.extend(reversed(children))
