"""What sherpa-onnx's two streaming servers say, and the transcript it makes up.

    Python  {"text", "segment"} per decode step; after "Done" once more, then it closes
    C++     {"text", "segment", "is_final", "is_eof", …} per decode step; after "Done" one with
            is_eof, then the bare word `Done!`, and it leaves closing to us

`text` grows within a segment; a segment ends by the server's own endpointing rules. The dialect is
not announced: it shows in the replies.

Source: sherpa-onnx, python-api-examples/streaming_server.py and
sherpa-onnx/csrc/online-websocket-server-impl.cc.
"""

import re
from enum import Enum

import msgspec

DONE = "Done"
"""What we send behind the last sample."""
_DONE_REPLY = b"Done!"
_PIECE = "\u2581"
"""Some models leave SentencePiece's mark of a word's beginning in their text."""
_UNSPACED = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff60]")
"""Scripts that put no space between words, and their punctuation."""


class Progress(Enum):
    """Where the server is with the utterance."""

    LISTENING = "listening"
    """More may come; the Python server says that it ended by closing."""
    ANSWERED = "answered"
    """`Done!`, but no is_eof: another thread of the server may be about to send the last text."""
    COMPLETE = "complete"
    """Nothing more will change the text."""


class _Reply(msgspec.Struct):
    text: str
    segment: int = 0
    is_final: bool | msgspec.UnsetType = msgspec.UNSET
    is_eof: bool = False


_decoder = msgspec.json.Decoder(_Reply)


class Transcript:
    """The text of one connection, over all its segments."""

    def __init__(self) -> None:
        self.replies = 0
        self.progress = Progress.LISTENING
        self.is_cpp = False
        """Whether the C++ server is known to speak."""
        self._ended: list[str] = []
        self._segment = 0
        self._text = ""

    @property
    def text(self) -> str:
        return joined([*self._ended, self._text])

    def receive(self, message: bytes) -> None:
        """Raises:
        ValueError: If it is no reply of either server; shows its beginning.
        """
        self.replies += 1
        if message == _DONE_REPLY:
            self.is_cpp = True
            if self.progress is Progress.LISTENING:
                self.progress = Progress.ANSWERED
            return
        reply = _decode(message)
        if reply.segment != self._segment:
            self._end_segment()
            self._segment = reply.segment
        self._text = reply.text
        self.is_cpp = reply.is_final is not msgspec.UNSET
        if reply.is_final is True:
            self._end_segment()
        if reply.is_eof:
            self.progress = Progress.COMPLETE

    def _end_segment(self) -> None:
        if self._text.strip():
            self._ended.append(self._text)
        self._text = ""


class Casing:
    """How one server writes. Models trained on LibriSpeech know capitals only: "HELLO THERE".

    Such text is lowered, until the server has shown that it knows small letters.
    """

    def __init__(self) -> None:
        self._knows_small = False

    def apply(self, text: str) -> str:
        self._knows_small = self._knows_small or text.upper() != text
        return text if self._knows_small else text.lower()


def joined(segments: list[str]) -> str:
    """One text; a space goes in between where the script has spaces."""
    whole = ""
    for segment in segments:
        segment = " ".join(segment.replace(_PIECE, " ").split())
        if whole and segment:
            is_unspaced = _UNSPACED.match(whole[-1]) or _UNSPACED.match(segment[0])
            whole += segment if is_unspaced else " " + segment
        else:
            whole += segment
    return whole


def _decode(message: bytes) -> _Reply:
    try:
        return _decoder.decode(message)
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass
    # Models with byte-level tokens cut letters in two; the halves are dropped until both are there.
    try:
        return _decoder.decode(message.decode(errors="ignore"))
    except msgspec.DecodeError:
        # Not shown: it may be what the caller said.
        what = f"{len(message)} bytes that are no reply of a sherpa-onnx streaming server"
        raise ValueError(what) from None
