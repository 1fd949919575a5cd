"""A worker that hears bytes, not words: its final is the count and the hash of what it was fed.

`Begin.memory` may order a crash, "die FOLDER AT": killed once, in the folder's first job, with AT
bytes heard, or at its end where AT is "end". What is handed on is the hash.
"""

import hashlib
import os
import signal
from pathlib import Path

from providers._worker_child import serve
from providers._worker_wire import Begin


class Echo:
    """Implements `providers._worker_child.Recogniser`."""

    has_free = True
    wants_rest = False

    def begin(self, message: Begin) -> "Hearing":
        return Hearing(message.memory)

    def rest(self) -> None:
        raise AssertionError("nothing to load")


class Hearing:
    """Implements `providers._worker_child.Recognition`."""

    def __init__(self, memory: str) -> None:
        self._heard = b""
        _, folder, at = memory.split() if memory.startswith("die ") else ("", "", "")
        self._died, self._at = Path(folder) / "died", at
        self._began_with = memory
        self._may_die(0)

    def feed(self, pcm: bytes) -> bytes:
        self._heard += pcm
        self._may_die(len(self._heard))
        return b""

    def text(self) -> str:
        return str(len(self._heard))

    def last_again(self) -> bytes:
        return b""

    def finish(self) -> tuple[str, str]:
        self._may_die("end")
        digest = hashlib.sha256(self._heard).hexdigest()
        return f"{len(self._heard)} {digest} {self._began_with}".strip(), digest

    def abandon(self) -> None: ...

    def _may_die(self, at: int | str) -> None:
        if self._at == str(at) and not self._died.exists():
            self._died.touch()
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(Echo())
