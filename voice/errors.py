"""What can go wrong, by whose doing.

    KaiwaError
    ├── ConfigError      the operator's: a setting; the text names it and the remedy
    └── ClientError      the client's: answered with an `error` event, the session goes on

A provider's failure is `providers.base.ProviderError`. Anything else is our bug: it ends the call,
never the process, and is logged once with its traceback.
"""

from collections.abc import Sequence


class KaiwaError(Exception):
    """Whatever Kaiwa says no to, in words for the person who can change it."""


class ConfigError(KaiwaError):
    """A setting that cannot be; names its path in the configuration.

    Args:
        hints: What is not wrong, but may be why something else is: a misspelt variable.
    """

    def __init__(self, message: str, hints: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.hints = tuple(hints)


class ClientError(KaiwaError):
    """A client event that cannot be carried out; becomes the wire's `error` event.

    Args:
        code: Machine-readable; stock clients branch on some of them (docs/wire.md).
        message: What was wrong and what would have been right.
        param: The field, as a path: "session.audio.input.format.rate".
    """

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
