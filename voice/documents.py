"""The operator's documents, as the desk knows them: how they are, and what searches went without.

library ──what a search met──▶ metrics, log, /health      the call goes on: by words, or in the
        ──its own warning────▶ log, /health               order found, or without passages
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec
import structlog

from providers.base import ProviderError, Retriever, Slot
from voice import metrics
from voice.chain import CALL
from voice.config import Config
from voice.health import ProviderStatus

log = structlog.get_logger()


class Library(Retriever, Protocol):
    """What is told of the documents, beside searching them."""

    most_passages: int
    on_failed: Callable[[ProviderError], None]
    """Told of what a search met, and went on without."""

    on_missed: Callable[[Slot], None]
    """Told of each question that went on without a slot's provider."""

    question: Callable[[], object | None]
    """Tells which question a search is for: what is searched for ahead of it is no further one."""

    @property
    def missed(self) -> dict[Slot, int]:
        """How many questions went on without the embedder or the reranker."""

    @property
    def documents(self) -> int: ...
    @property
    def chunks(self) -> int: ...
    @property
    def version(self) -> str: ...
    @property
    def warning(self) -> str: ...
    def source_text(self, source: str) -> str | None: ...


class Documents:
    """Args:
    library: None: nothing is searched.
    config: As it is now.
    failed: Told of a search's failure, with its slot.
    """

    def __init__(
        self,
        library: Library | None,
        *,
        config: Callable[[], Config],
        failed: Callable[[str, ProviderError], None],
    ) -> None:
        self._library, self._config, self._on_failed = library, config, failed
        self._told = library.warning if library else ""
        if library is not None:
            library.on_failed = self._search_failed
            library.on_missed = self._search_missed
            library.question = _question

    def _search_failed(self, error: ProviderError) -> None:
        """The search went on without it: by words, or in the order found."""
        if not error.was_told:  # else by its chain
            metrics.count_failure(error)
            fault = error.fault.value
            log.warning("provider_failed", error=str(error), fault=fault, **CALL.get({}))
        self._on_failed(error.slot.value, error)

    def _search_missed(self, slot: Slot) -> None:
        provider = getattr(self._config(), slot.value).provider
        metrics.FALLBACKS.labels(slot.value, provider, "none").inc()

    def adopt(self, config: Config) -> None:
        """Settings that were read again hold from the next search on."""
        if self._library is not None:
            self._library.most_passages = config.rag.passages

    # --- what is told -----------------------------------------------------------------------------

    def counted(self, statuses: Mapping[str, ProviderStatus]) -> dict[str, ProviderStatus]:
        """What searches did without counts as fallbacks, too: by words, or in the order found."""
        found = dict(statuses)
        missed = self._library.missed if self._library is not None else {}
        for slot in found.keys() & {slot.value for slot in missed}:
            count = found[slot].fallback_count + missed[Slot(slot)]
            found[slot] = msgspec.structs.replace(found[slot], fallback_count=count)
        return found

    def warning(self) -> str:
        """Logged, too, when it changes: those without a key are sent to the log for it."""
        warning = "" if self._library is None else self._library.warning
        if warning != self._told:
            self._told = warning
            if warning:
                log.warning("documents_unhealthy", problem=warning)
            else:
                log.info("documents_recovered")
        return warning

    def state(self) -> dict[str, Any]:
        library = self._library
        if library is None:
            return {"enabled": False}
        return {
            "enabled": True,
            "documents": library.documents,
            "chunks": library.chunks,
            "version": library.version,
        }

    def source_text(self, source: str) -> str | None:
        return None if self._library is None else self._library.source_text(source)


def _question() -> tuple[Any, Any] | None:
    call = CALL.get({})
    return (call["session"], call["turn"]) if {"session", "turn"} <= call.keys() else None
