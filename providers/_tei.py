"""What is told the same way by every server of text-embeddings-inference.

Source: TEI 1.9, docs/openapi.json, router/src/http/server.rs and core/src/infer.rs.
"""

from typing import TypeVar

import msgspec

from providers._http import Failures, HttpFailure, api_root
from providers._json_calls import Answer, JsonCalls
from providers._ping import Pings
from providers.base import Fault, Slot

T = TypeVar("T")

INFO_S = 2.0
"""For /info; no caller waits for it."""

OTHERS = ", or choose the provider openai for servers of /v1/embeddings"


class Info(msgspec.Struct):
    """What `GET /info` tells; the rest of it is of no use here."""

    model_id: str
    model_type: dict[str, object] | str = ""
    model_sha: str | None = None
    served_model_name: str | None = None
    max_client_batch_size: int = 32

    @property
    def kind(self) -> str:
        """`embedding`, `reranker` or `classifier`."""
        found = self.model_type
        return found.lower() if isinstance(found, str) else next(iter(found), "").lower()

    @property
    def what(self) -> str:
        """It, for an error: "an embedding model"."""
        article = "an" if self.kind[:1] in tuple("aeiou") else "a"
        return f"{article} {self.kind}" + (" model" if self.kind == "embedding" else "")


_info = msgspec.json.Decoder(Info)


def root_of(endpoint: str, variable: str, *known_paths: str) -> str:
    """TEI's own routes lie at the root, not below /v1."""
    return api_root(endpoint, variable, *known_paths).removesuffix("/v1")


async def info_of(calls: JsonCalls, failures: Failures, endpoint: str, variable: str) -> Info:
    answer = await calls.get("/info", INFO_S)
    if answer.status in (404, 405):
        raise failures.make(
            Fault.REFUSED,
            f"{endpoint} has no /info, so it is no text-embeddings-inference: check {variable}"
            + (OTHERS if failures.slot is Slot.EMBEDDER else ""),
        )
    if answer.failure is not None:
        raise answer.failure
    return decoded(_info, answer, failures, endpoint, variable)


async def ping(calls: JsonCalls, failures: Failures, endpoint: str, variable: str) -> None:
    """Asks `GET /health`: 503 where the model fails. It waits behind the batch being computed.

    Raises:
        HttpFailure: It is dead, or says that it is not well.
        NoNews: Our own requests may be what it is busy with.
    """
    busy = calls.running > 0
    await Pings(calls, failures, variable).ask(
        endpoint + "/health", lambda _: busy or calls.running > 0
    )


def decoded(
    decoder: msgspec.json.Decoder[T],
    answer: Answer,
    failures: Failures,
    endpoint: str,
    variable: str,
) -> T:
    try:
        return decoder.decode(answer.body)
    except ValueError as error:  # msgspec's errors and UnicodeDecodeError are ones
        raise failures.make(
            Fault.BROKEN,
            f"{endpoint} answered with something else than was asked for ({error}): check "
            f"{variable}, and the server's log",
        ) from None


def failed(answer: Answer, failures: Failures) -> HttpFailure:
    """424 is what TEI calls an inference that failed: the server's doing, not ours."""
    assert answer.failure is not None
    if answer.status == 424 and "is not a" not in answer.told:
        return failures.make(Fault.BROKEN, answer.failure.message)
    return answer.failure
