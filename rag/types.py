"""What the files become: documents with headings, and the chunks that are searched."""

import msgspec


class Heading(msgspec.Struct, frozen=True):
    """A heading, and where its own line stands in the document's text."""

    start: int
    end: int
    level: int
    """1 is the outermost."""
    text: str


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says, without its format."""

    text: str
    """Cleaned plain text; paragraphs are separated by an empty line, headings are paragraphs."""
    title: str = ""
    headings: tuple[Heading, ...] = ()


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the operator's."""

    path: str
    """Absolute path of the file: its identity over the ingests."""
    source: str
    """Path below the folder it was ingested from: its name for callers and on the page."""
    sha256: str
    """Of the file's bytes."""
    text: str
    title: str
    headings: tuple[Heading, ...] = ()


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a document that can be read aloud: `document.text[start:end] == text`."""

    id: str
    source: str
    title: str
    heading: str
    """Headings above the chunk, outermost first, joined by " › "."""
    start: int
    end: int
    text: str

    @property
    def searched(self) -> str:
        """What is embedded: the words of the chunk and of the headings it stands under."""
        return "\n".join(part for part in (self.title, self.heading, self.text) if part)
