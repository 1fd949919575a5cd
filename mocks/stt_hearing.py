"""One utterance that a mock recognition server hears, and what goes wrong with its replies."""

import asyncio
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection

from mocks.recognizer import OnlineRecognizer
from mocks.socket_faults import Gone, SocketFault, frame_of, play
from providers.base import LISTEN_RATE_HZ


class Hearing:
    """Of one connection."""

    def __init__(
        self, recognizer: OnlineRecognizer, connection: ServerConnection, faults: list[SocketFault]
    ) -> None:
        self._recognizer = recognizer
        self._connection = connection
        self._faults = faults
        self._replies = 0
        self._drip_ms = 0.0
        self.stream = recognizer.create_stream()
        self.segment = 0
        self.factor = 1.0
        self.is_finished = self.is_answered = self.is_over = False
        """Heard "Done"; sent the last text; sent "Done!"."""
        self.heard = asyncio.Event()

    @property
    def is_ready(self) -> bool:
        return self._recognizer.is_ready(self.stream)

    @property
    def text(self) -> str:
        return self._recognizer.get_result(self.stream)

    def accept(self, message: str | bytes) -> None:
        """Raises:
        TypeError: For a text, as numpy does in the Python server.
        """
        if isinstance(message, str):
            raise TypeError(f"audio must come as float32, got {message[:40]!r}")
        self.stream.accept_waveform(LISTEN_RATE_HZ, np.frombuffer(message, dtype="<f4"))
        self.heard.set()

    def finish(self, tail: NDArray[np.float32]) -> None:
        self.stream.accept_waveform(LISTEN_RATE_HZ, tail)
        self.stream.input_finished()
        self.is_finished = True
        self.heard.set()

    def end_segment(self, *, count_empty: bool) -> bool:
        """Whether the server's endpointing ended a segment here."""
        if not self._recognizer.is_endpoint(self.stream):
            return False
        self.segment += bool(count_empty or self.text)
        self._recognizer.reset(self.stream)
        return True

    async def reply(self, message: dict[str, Any] | str, *, is_last: bool = False) -> None:
        """Raises:
        Gone: If a fault ended the connection.
        """
        text = message if isinstance(message, str) else msgspec.json.encode(message).decode()
        connection = self._connection
        number, self._replies = self._replies, self._replies + 1
        for fault in self._faults:
            if not fault.strikes(number, is_last=is_last):
                continue
            match fault.kind:
                case "drip":
                    self._drip_ms = fault.drip_ms
                case "slow":
                    self.factor = fault.factor
                case _:
                    await play(connection, fault, text)
                    return
        if not self._drip_ms:
            await connection.send(text)
            self.is_answered |= is_last
            return
        for byte in frame_of(text):
            if connection.transport.is_closing():
                raise Gone
            connection.transport.write(bytes([byte]))
            await asyncio.sleep(self._drip_ms / 1000)


def cpp_result(hearing: Hearing) -> dict[str, Any]:
    """`OnlineRecognizerResult::AsJsonString`; times and scores are not known here."""
    text = hearing.text
    return {
        "text": text,
        "tokens": text.split(),
        "timestamps": [],
        "ys_probs": [],
        "lm_probs": [],
        "context_scores": [],
        "segment": hearing.segment,
        "words": [],
        "start_time": 0.0,
        "is_final": False,
        "is_eof": False,
    }
