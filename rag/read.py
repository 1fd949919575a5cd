"""Files to plain text with headings, one function a format. Runs in the child of `sandbox`.

Every format becomes a list of blocks, headings or paragraphs; `_assemble` cleans them and counts.
"""

import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator

from rag.clean import clean
from rag.sentences import CJK_CHARACTER, table_sentences
from rag.types import Heading, Text

READER_VERSION = "2"
"""Change it with any change of what is read out of a file: unchanged files are read again."""

LONGEST_TEXT = 5_000_000
MOST_PAGES = 2_000
_MOST_UNPACKED = 50_000_000
_MOST_MEMBERS = 2_000
_LONGEST_TITLE = 80

Block = tuple[int, str]
"""Level of the heading, 0 for a paragraph; its text."""


class Unreadable(Exception):
    """This file is refused; the text says why and, where there is something, what to do."""


def read(suffix: str, data: bytes) -> Text:
    """Plain text of a file.

    Args:
        suffix: Lower case, with the dot; one of `SUFFIXES`.
    Raises:
        Unreadable: If it is not what its name says, is protected, broken or too large.
    """
    try:
        reader = _READERS[suffix]
    except KeyError:
        raise Unreadable(f"not one of {', '.join(SUFFIXES)}") from None
    if not data.strip():
        raise Unreadable("is empty")
    return _assemble(reader(data))


def _assemble(blocks: Iterator[Block]) -> Text:
    pieces: list[str] = []
    headings: list[Heading] = []
    at = 0
    for level, raw in blocks:
        text = clean(raw).strip()
        if level:
            text = " ".join(text.split())
        if not text:
            continue
        if pieces:
            at += 2
        if level:
            headings.append(Heading(at, at + len(text), level, text))
        pieces.append(text)
        at += len(text)
        if at > LONGEST_TEXT:
            raise Unreadable(f"holds more than {LONGEST_TEXT:,} characters; split it")
    if len(headings) == len(pieces):  # nothing that could be a passage
        below = " below its headings" if headings else "; a scanned page needs OCR first"
        raise Unreadable(f"holds no text{below}")
    title = headings[0].text if headings and headings[0].level == 1 else ""
    return Text(text="\n\n".join(pieces), title=title, headings=tuple(headings))


def decode(data: bytes) -> str:
    """Text of a text file: UTF-8, or UTF-16 with its mark."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
    if len(text) > 2 * LONGEST_TEXT:
        raise Unreadable(f"holds more than {LONGEST_TEXT:,} characters; split it")
    controls = sum(char < " " and char not in "\n\r\t\f" for char in text[:100_000])
    if "\0" in text or controls > len(text[:100_000]) // 100:
        raise Unreadable("is not text but binary data")
    return text


def join_lines(lines: list[str]) -> str:
    """Lines of one paragraph: a space between them, none between CJK characters."""
    joined = ""
    for line in (line.strip() for line in lines):
        both_cjk = (
            joined and line and CJK_CHARACTER.match(joined[-1]) and CJK_CHARACTER.match(line[0])
        )
        joined += line if not joined or both_cjk else f" {line}"
    return joined


# --- plain text -----------------------------------------------------------------------------------


def _read_txt(data: bytes) -> Iterator[Block]:
    paragraphs = re.split(
        r"\n\s*\n", decode(data).replace("\r\n", "\n").replace("\r", "\n").strip()
    )
    for index, paragraph in enumerate(paragraphs):
        lines = paragraph.split("\n")
        if index == 0 and len(paragraphs) > 1 and len(lines) == 1 and _is_title(paragraph):
            yield 1, paragraph
        else:
            yield from ((0, line) for line in _unwrapped(lines))


def _is_title(line: str) -> bool:
    return len(line) <= _LONGEST_TITLE and not line.rstrip().endswith(
        (".", "!", "?", "。", ":", ",")
    )


def _unwrapped(lines: list[str]) -> Iterator[str]:
    """Hard-wrapped lines joined; short lines (lists, addresses) left alone."""
    paragraph: list[str] = []
    for line in lines:
        paragraph.append(line)
        if len(line) < 50 and not re.search(r"[,\-–]$", line.rstrip()):
            yield join_lines(paragraph)
            paragraph = []
    if paragraph:
        yield join_lines(paragraph)


# --- Markdown -------------------------------------------------------------------------------------


def _read_md(data: bytes) -> Iterator[Block]:
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
                yield from _read_html(token.content.encode())


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


# --- HTML -----------------------------------------------------------------------------------------

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


def _read_html(data: bytes) -> Iterator[Block]:
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


# --- PDF ------------------------------------------------------------------------------------------


def _read_pdf(data: bytes) -> Iterator[Block]:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    if b"%PDF-" not in data[:1024]:
        raise Unreadable("is not a PDF, whatever its name says")
    try:
        pdf = PdfReader(io.BytesIO(data))
        if pdf.is_encrypted:
            raise Unreadable("is protected by a password; save it without one")
        if len(pdf.pages) > MOST_PAGES:
            raise Unreadable(f"has more than {MOST_PAGES} pages; split it")
        title = (pdf.metadata and pdf.metadata.title) or ""
        is_usable = isinstance(title, str) and title.strip() and len(title) <= _LONGEST_TITLE
        for page in pdf.pages:
            for block in _pdf_paragraphs(page.extract_text() or ""):
                if is_usable:  # a scan has a title too
                    yield 1, title
                    is_usable = False
                yield block
    except Unreadable:
        raise
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        # pypdf meets a broken file with whatever its broken part raises.
        raise Unreadable(
            f"is a broken PDF ({type(error).__name__}); print it to PDF anew"
        ) from None


def _pdf_paragraphs(text: str) -> Iterator[Block]:
    text = re.sub(r"(?<=[^\W\d_])-\n(?=[a-zà-ÿ])", "", text)
    for paragraph in re.split(r"\n\s*\n", text):
        for line in _unwrapped([line for line in paragraph.split("\n") if line.strip()]):
            yield 0, line


# --- Word -----------------------------------------------------------------------------------------


def _read_docx(data: bytes) -> Iterator[Block]:
    import docx
    from docx.table import Table

    _refuse_bomb(data)
    try:
        document = docx.Document(io.BytesIO(data))
        title = document.core_properties.title or ""
        seen_heading = False
        for item in document.iter_inner_content():
            if isinstance(item, Table):
                for row in item.rows:
                    cells = dict.fromkeys(cell.text.strip() for cell in row.cells)
                    yield 0, ", ".join(filter(None, cells))
                continue
            level = _docx_level(item.style.name or "") if item.style else 0
            if title and not seen_heading and level != 1 and item.text.strip():
                yield 1, title
            seen_heading = seen_heading or bool(item.text.strip())
            yield level, item.text
    except Unreadable:
        raise
    except Exception as error:  # python-docx and lxml meet a broken file with errors of all kinds
        raise Unreadable(f"is a broken Word file ({type(error).__name__}); save it anew") from None


def _docx_level(style: str) -> int:
    if style == "Title":
        return 1
    heading = re.fullmatch(r"Heading ([1-6])", style)
    return int(heading[1]) if heading else 0


def _refuse_bomb(data: bytes) -> None:
    try:
        members = zipfile.ZipFile(io.BytesIO(data)).infolist()
    except zipfile.BadZipFile:
        raise Unreadable("is not a Word file (.docx), whatever its name says") from None
    names = {member.filename for member in members}
    if "word/document.xml" not in names:
        raise Unreadable("is an archive, not a Word file; unpack it and ingest what it holds")
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if (
        len(members) > _MOST_MEMBERS
        or unpacked > _MOST_UNPACKED
        or unpacked > 100 * max(packed, 5000)
    ):
        raise Unreadable(f"unpacks to {unpacked:,} bytes, more than a document of its size should")


_READERS: dict[str, Callable[[bytes], Iterator[Block]]] = {
    ".md": _read_md,
    ".markdown": _read_md,
    ".txt": _read_txt,
    ".html": _read_html,
    ".htm": _read_html,
    ".pdf": _read_pdf,
    ".docx": _read_docx,
}
SUFFIXES = tuple(_READERS)
