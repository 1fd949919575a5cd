"""Passages looked for while the caller still speaks, kept for the question they were found for."""

import asyncio
from typing import Any

from providers.base import Passage, Retriever
from voice.speculation import normalised

Passages = tuple[Passage, ...]


class Prefetch:
    """One call's; implements Retriever. Ahead of a question one search runs at a time, and of the
    texts that come meanwhile the newest is next.
    """

    def __init__(self, retriever: Retriever, *, limit_s: float) -> None:
        self._retriever, self._limit_s = retriever, limit_s
        self._words = ""
        """Normalised, of the search that runs or is done."""
        self._search: asyncio.Task[Passages] | None = None
        self._next = ""

    def look(self, text: str) -> None:
        """These may become the question."""
        if normalised(text) == self._words and self._search is not None:
            self._next = ""
        elif self._search is None or self._search.done():
            self._begin(text)
        else:
            self._next = text

    async def search(self, query: str, *, limit_s: float) -> Passages:
        """What was found for other words than these is given up."""
        until = asyncio.get_running_loop().time() + limit_s
        ahead = self._search if normalised(query) == self._words else None
        self._next = ""
        if ahead is not None:
            try:
                async with asyncio.timeout_at(until):
                    await asyncio.wait({ahead})
            except (TimeoutError, asyncio.CancelledError):
                if ahead is self._search:
                    self.forget()
                raise
            if not _failed(ahead):
                return ahead.result()
        self.forget()
        left_s = until - asyncio.get_running_loop().time()
        return await self._retriever.search(query, limit_s=left_s)

    def forget(self) -> set[asyncio.Task[Any]]:
        """Nothing that was found is wanted any more.

        Returns:
            The search that is given up and has not ended yet, if there is one.
        """
        search, self._search = self._search, None
        self._words = self._next = ""
        return {search} if search is not None and search.cancel() else set()

    def _begin(self, text: str) -> None:
        self._words, self._next = normalised(text), ""
        search = asyncio.create_task(
            self._retriever.search(text, limit_s=self._limit_s), name="search-ahead"
        )
        self._search = search
        search.add_done_callback(self._done)

    def _done(self, search: asyncio.Task[Passages]) -> None:
        if not search.cancelled():
            search.exception()  # whoever asks in earnest meets it again
        if search is self._search and self._next:
            self._begin(self._next)


def _failed(search: asyncio.Task[Passages]) -> bool:
    return search.cancelled() or search.exception() is not None
