"""The bodies of text-embeddings-inference and of vLLM's embeddings: requests, errors, ranks."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec

Dialect = Literal["tei", "vllm"]
_WORD = re.compile(r"\w+")
_TYPES = {
    400: "Empty",
    413: "Validation",
    422: "Tokenizer",
    424: "Backend",
    429: "Overloaded",
    503: "Unhealthy",
}


class Spoilt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer that comes whole and is worth nothing.

    nan     null where a number should be, as TEI writes a NaN
    zero    only zeros
    shape   a number less in each row
    """

    kind: Literal["nan", "zero", "shape"]
    request: int = 1
    """The first one that gets it, counted from 1; 0: every one."""
    times: int = 1


class Inputs(msgspec.Struct):
    inputs: str | list[str]
    truncate: bool | None = None
    normalize: bool = True
    dimensions: int | None = None


class OpenAIInputs(msgspec.Struct):
    input: str | list[str]
    model: str = ""
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    truncate_prompt_tokens: int | None = None


class Pairs(msgspec.Struct):
    query: str
    texts: list[str]
    raw_scores: bool = False
    return_text: bool = False
    truncate: bool | None = None


class Refused(Exception):
    """Answered with this status and these words."""

    def __init__(self, status: int, said: str, retry_after: str = "") -> None:
        super().__init__(said)
        self.status = status
        self.retry_after = retry_after


def error_body(dialect: Dialect, path: str, refused: Refused) -> dict[str, Any]:
    said, kind = str(refused), _TYPES.get(refused.status, "Backend")
    if dialect == "vllm":
        return vllm_error(refused.status, said)
    if path.endswith("/embeddings"):
        return {"message": said, "code": refused.status, "type": kind}
    return {"error": said, "error_type": kind}


def vllm_error(status: int, said: str) -> dict[str, Any]:
    kind = {400: "BadRequestError", 404: "NotFoundError"}.get(status, "InternalServerError")
    return {"error": {"message": said, "type": kind, "param": None, "code": status}}


def too_long(dialect: Dialect, given: int, most: int) -> Refused:
    """Of a text that is not to be cut."""
    if dialect == "tei":
        return Refused(
            413,
            f"Input validation error: `inputs` must have less than {most} tokens. Given: {given}",
        )
    return Refused(
        400,
        f"This model's maximum context length is {most} tokens. However, you "
        f"requested {given} tokens in the input for embedding generation. Please reduce "
        "the length of the input.",
    )


def listed(rows: Sequence[list[float]], texts: Iterable[str], model: str) -> dict[str, Any]:
    """Vectors as OpenAI's API has them."""
    data = [
        {"object": "embedding", "embedding": row, "index": place} for place, row in enumerate(rows)
    ]
    count = sum(map(tokens, texts))
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": data, "model": model, "usage": usage}


def ranked(asked: Pairs) -> list[dict[str, Any]]:
    """By the share of the question's words that a text has, best first."""
    wanted = set(_WORD.findall(asked.query.lower()))
    ranks = []
    for place, text in enumerate(asked.texts):
        score = len(wanted & set(_WORD.findall(text.lower()))) / max(1, len(wanted))
        if asked.raw_scores:
            score = 12 * score - 8
        rank = {"index": place, "score": score}
        ranks.append(rank | {"text": text} if asked.return_text else rank)
    return sorted(ranks, key=lambda rank: -float(rank["score"]))


def spoiled(spoilt: Iterable[Spoilt], request: int, content: bytes) -> bytes:
    for one in spoilt:
        if one.request == 0 or one.request <= request < one.request + one.times:
            match one.kind:
                case "nan":
                    return re.sub(rb"-?\d+\.\d+", b"null", content, count=1)
                case "zero":
                    return re.sub(rb"-?\d+\.\d+(e-?\d+)?", b"0.0", content)
                case "shape":
                    return re.sub(rb",-?\d+\.\d+(e-?\d+)?\]", b"]", content)
    return content


def tokens(text: str) -> int:
    return len(_WORD.findall(text)) + 2
