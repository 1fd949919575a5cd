"""PDF and Word: files made for paper."""

import io
import re
import zipfile
from collections.abc import Iterator

from rag.read_text import LONGEST_TITLE, Block, Unreadable, unwrapped

MOST_PAGES = 2_000
_MOST_UNPACKED = 50_000_000
_MOST_MEMBERS = 2_000


def read_pdf(data: bytes) -> Iterator[Block]:
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
        is_usable = isinstance(title, str) and title.strip() and len(title) <= LONGEST_TITLE
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
        for line in unwrapped([line for line in paragraph.split("\n") if line.strip()]):
            yield 0, line


def read_docx(data: bytes) -> Iterator[Block]:
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
