"""How a language model is asked, by model; can be changed between two answers."""

from collections.abc import Callable

from msgspec import Struct


class Tuned(Struct, frozen=True, kw_only=True):
    """Of one model; an answer keeps those that it was begun with."""

    temperature: float | None
    """None: the server's own."""
    max_tokens: int
    context_tokens: int
    """Budget of the prompt."""


class Tuning:
    """Args:
    base: For models that have none of their own.
    model: The name of the model that answers now.
    """

    def __init__(self, base: Tuned, model: Callable[[], str]) -> None:
        self._base, self._model = base, model
        self.own: dict[str, Tuned] = {}

    def of(self, model: str) -> Tuned:
        return self.own.get(model, self._base)

    def now(self) -> Tuned:
        """For the answer that begins now."""
        return self.of(self._model())

    def reset(self, base: Tuned) -> None:
        """Forgets what was set for single models."""
        self._base, self.own = base, {}
