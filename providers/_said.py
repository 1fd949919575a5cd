"""What a server says is wrong with a request, without what the request said.

Validators answer with what they were sent, FastAPI (vLLM, vLLM-Omni, Kokoro) with all of it:

    {"detail": [{"type": "missing", "loc": ["body", "voice"], "msg": …, "input": the whole body}]}

and vLLM with the same as a text. What callers and the agent say belongs in no log and no error, so

    of a list of complaints    where and what are read, nothing else
    of a text                  what stands before `'input':` and the like
    of an unknown form         its status, if it has one; never the form itself
    of whatever is left        nothing that the request's own texts held, too

Pure.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec

SHOWN_CHARS = 300
"""Of a server's own words in our error texts."""
_MAX_READ = 5000
_MOST_SHOWN = 3
_RUN, _BLOCK = 12, 6
"""Bytes: 12 letters, or 4 of Chinese. A run of 12 always holds a block of 6 that begins at a
multiple of 6, which makes the search fast."""
_WORDS = ("arguments", "content", "input", "inputs", "instructions", "prompt", "query", "text")
"""Fields of our requests that hold what somebody said; `texts` and `ref_text` are among them."""
_ECHO = re.compile(r"""\\?["'](?:input|messages|content|body)\\?["']\s*:|\binput_value\s*=""")
_TOLD = ("message", "error", "errors", "detail", "msg", "reason", "title", "error_description")
"""A message goes first: Fish's error beside it is only the status in words."""
_FACTS = ("status", "state", "type", "code")


class Complaint(msgspec.Struct, frozen=True):
    message: str
    where: tuple[str, ...] = ()
    """Path of the field, where there is a list of complaints: ("body", "voice")."""
    kind: str = ""
    """What else tells of it: OpenAI's `param` and `code`, FastAPI's `type`."""


def complaints(answer: bytes, own: str = "") -> list[Complaint]:
    """Each complaint of a refusal, whatever the server's form; none if it says nothing.

    Args:
        own: The request's texts, from `words_of`.
    """
    try:
        content = msgspec.json.decode(answer)
    except ValueError:  # msgspec's errors and UnicodeDecodeError are ones
        content = answer.decode(errors="replace")
    return complaints_of(content, own)


def complaints_of(content: Any, own: str = "") -> list[Complaint]:
    return [
        msgspec.structs.replace(found, message=without(_before_echo(found.message), own))
        for found in _found(content)
    ]


def as_text(found: list[Complaint]) -> str:
    """For an error: in one line, short."""
    shown = list(dict.fromkeys(filter(None, map(_shown, found))))
    return short("; ".join(shown[:_MOST_SHOWN]))


def all_words(found: list[Complaint]) -> str:
    """For a search in them: whole, with what else tells of each."""
    return "\n".join(" ".join((*one.where, one.kind, one.message)) for one in found)


def short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"


def _shown(found: Complaint) -> str:
    return ": ".join(filter(None, (".".join(found.where), found.message.strip())))


def _found(content: Any) -> Iterator[Complaint]:
    """{"error": {"message": "Unsupported value: 'temperature' …", "param": "temperature"}}
    [{"error": {"message": "Unknown name \\"a\\": Cannot find field.\\nUnknown name \\"b\\" …"}}]
    {"detail": [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": …}]}
    """
    if isinstance(content, str):
        yield Complaint(content[:_MAX_READ])
    elif isinstance(content, list):
        for one in content[:20]:
            yield from _found(one)
    elif isinstance(content, dict):
        loc = content.get("loc")
        where = tuple(str(step)[:40] for step in loc) if isinstance(loc, list) else ()
        marks = ("type",) if where else ("param", "code")
        kind = " ".join(str(content.get(mark) or "") for mark in marks)
        told = False
        for value in (content[key] for key in _TOLD if content.get(key)):
            if isinstance(value, str):
                yield Complaint(value[:_MAX_READ], where, kind)
            else:
                yield from _found(value)
            told = told or isinstance(value, str | list | dict)
        if not told:
            facts = (content.get(key) for key in _FACTS)
            yield Complaint(" ".join(str(one)[:40] for one in facts if isinstance(one, str | int)))


def _before_echo(text: str) -> str:
    echo = _ECHO.search(text)
    return text[: echo.start()].rstrip(" ,{[(") + " …" if echo else text


# --- our own texts --------------------------------------------------------------------------------


def words_of(body: bytes) -> str:
    """What is said in a request, JSON or msgpack; a line for each text."""
    for decode in (msgspec.json.decode, msgspec.msgpack.decode):
        try:
            texts = list(_texts(decode(body), False))
        except ValueError:
            continue
        escaped = (json.dumps(text)[1:-1] for text in texts if not text.isascii())
        return "\n".join([" ".join(text.split()) for text in texts] + [*escaped])
    return ""


def _texts(value: Any, is_said: bool) -> Iterator[str]:
    if isinstance(value, str):
        if is_said:
            yield value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _texts(
                part, is_said or key in _WORDS or str(key).endswith(("text", "texts"))
            )
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part, is_said)


def without(text: str, own: str) -> str:
    """`text`, an ellipsis in place of every run of 12 bytes and more that `own` holds, too."""
    if not own:
        return text
    said, ours = text.encode(errors="replace"), own.encode(errors="replace")
    blocks = {ours[at : at + _BLOCK] for at in range(0, len(ours) - _BLOCK + 1, _BLOCK)}
    begins = [said[at : at + _BLOCK] in blocks for at in range(len(said))]
    parts: list[bytes] = []
    end = -1
    """Behind the last run; `at` lies before it while the run goes on."""
    for at in range(len(said) - _RUN + 1):
        if any(begins[at : at + _RUN - _BLOCK + 1]) and said[at : at + _RUN] in ours:
            if at > end:
                parts.append(said[max(end, 0) : at])
            end = at + _RUN
    parts.append(said[max(end, 0) :])
    return "…".join(part.decode(errors="ignore") for part in parts)
