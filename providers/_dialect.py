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
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

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
_MAX_SHOWN = 20_000
"""Bytes of a refusal that are looked at."""


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
        refused = [name for name in sent if _is_refused(name, answer)]
        for name in refused:
            if name in _RENAMED:
                self._renamed[name] = _RENAMED[name]
            elif name not in _NEEDED:
                self._dropped.add(name)
        return any(name in _RENAMED or name not in _NEEDED for name in refused)


def _is_refused(name: str, answer: bytes) -> bool:
    named = re.compile(rf"(?<![\w.]){re.escape(name)}(?!\w)")
    for complaint in _complaints(answer[:_MAX_SHOWN]):
        if not named.search(complaint) or not _NOT_TAKEN.search(complaint):
            continue
        wanted = _RENAMED.get(name)
        # vLLM names both in "'max_tokens' or 'max_completion_tokens' is too large".
        if wanted is None or "too large" not in complaint:
            return True
    return False


def _complaints(answer: bytes) -> Iterator[str]:
    """Each complaint of a refusal with the field it is about, whatever the server's form.

    {"error": {"message": "Unsupported value: 'temperature' …", "param": "temperature"}}
    [{"error": {"message": "Unknown name \\"a\\": Cannot find field.\\nUnknown name \\"b\\" …"}}]
    {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": …}]}
    """
    try:
        content = msgspec.json.decode(answer)
    except ValueError:
        content = answer.decode(errors="replace")
    for part in content if isinstance(content, list) else [content]:
        yield from _complaints_of(part)


def _complaints_of(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        # "Use 'b' instead." must not read as a refusal of b.
        yield from re.split(r"\n|(?<=[.!])\s+(?=Use )", part)
    if not isinstance(part, dict):
        return
    for key in ("error", "detail", "message"):
        value = part.get(key)
        if isinstance(value, str):
            param, code = part.get("param") or "", part.get("code") or ""
            first, *rest = _complaints_of(value)
            yield f"{param} {code} {first}"
            yield from rest
        elif isinstance(value, list):
            for entry in value:
                if isinstance(entry, dict):
                    where = " ".join(str(step) for step in entry.get("loc", ()))
                    yield f"{where} {entry.get('type', '')} {entry.get('msg', '')}"
        elif isinstance(value, dict):
            yield from _complaints_of(value)
