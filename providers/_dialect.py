"""What a server does not take of a chat-completions body, learnt from its refusals.

Pure. One client serves every server that speaks OpenAI's API, and each refuses something else:

    OpenAI, newer models   max_tokens (they want max_completion_tokens), temperature unless 1
    Gemini                 every field it does not know: stream_options on some models, priority …
    Mistral, strict ones   the same, with 422 and `detail`
    vLLM                   priority, unless it schedules by it

So a 400 or 422 that names such a field is answered at once without it, and the field is not sent to
that server again. A wrong *value* is the operator's to mend and stays an error.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from providers._said import Complaint, complaints, words_of

_RENAMED = {"max_tokens": "max_completion_tokens"}
_NEEDED = frozenset(
    ("model", "messages", "stream", "tools", "tool_choice", "max_tokens", "max_completion_tokens")
)
"""Without these the answer would be another one, or none, or endless."""
_NOT_TAKEN = re.compile(
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|cannot find field|forbidden"
    r"|not permitted|not allowed|not enabled|deprecated",
    re.IGNORECASE,
)


class Dialect:
    """One server's; empty at first."""

    def __init__(self) -> None:
        self._dropped: set[str] = set()
        self._renamed: dict[str, str] = {}

    @property
    def learnt(self) -> tuple[str, ...]:
        """Fields that are no longer sent under their name, sorted."""
        return tuple(sorted(self._dropped | self._renamed.keys()))

    def adapted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """`body` as this server takes it."""
        return {
            self._renamed.get(name, name): value
            for name, value in body.items()
            if name not in self._dropped
        }

    def learn(self, sent: Mapping[str, Any], status: int, answer: bytes) -> bool:
        """Whether there is something new to leave out or rename, so that asking again is worth it.

        Args:
            sent: The body that was refused, as it was sent.
            answer: The refusal's body.
        """
        if status not in (400, 422):
            return False
        own = words_of(msgspec.json.encode(sent))
        told = [piece for found in complaints(answer, own) for piece in _pieces(found)]
        refused = [name for name in sent if _is_refused(name, told)]
        for name in refused:
            if name in _RENAMED:
                self._renamed[name] = _RENAMED[name]
            elif name not in _NEEDED:
                self._dropped.add(name)
        return any(name in _RENAMED or name not in _NEEDED for name in refused)


def _is_refused(name: str, told: Collection[str]) -> bool:
    named = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
    for complaint in told:
        if not named.search(complaint) or not _NOT_TAKEN.search(complaint):
            continue
        wanted = _RENAMED.get(name)
        # vLLM names both in "'max_tokens' or 'max_completion_tokens' is too large".
        if wanted is None or "too large" not in complaint:
            return True
    return False


def _pieces(found: Complaint) -> Iterator[str]:
    """One complaint may be several: "Unknown name \\"a\\" …\\nUnknown name \\"b\\" …"."""
    # "Use 'b' instead." must not read as a refusal of b.
    first, *rest = re.split(r"\n|(?<=[.!])\s+(?=Use )", found.message)
    yield " ".join((*found.where, found.kind, first))
    yield from rest
