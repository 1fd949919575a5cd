"""`kaiwa config`: what the settings amount to, without the secrets."""

from collections.abc import Iterator
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from voice.config import Config, shown
from voice.errors import KaiwaError


def settings(config: Config) -> Iterator[tuple[str, Any]]:
    """Each setting's path and value; of a secret, whether it is set."""
    for section, values in msgspec.to_builtins(config).items():
        if isinstance(values, dict):
            for key, value in values.items():
                path = f"{section}.{key}"
                yield path, shown(path, value)


def show(config: Config, warnings: list[str], console: Console) -> None:
    table = Table("setting", "value", title=f"profile {config.profile}", title_justify="left")
    for path, value in settings(config):
        table.add_row(path, escape(str(value)))
    console.print(table)
    warnings = [*warnings, *config.strays]
    for warning in warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False, soft_wrap=True)
    console.print("The configuration can be used." if warnings else "The configuration is fine.")


def value_of(config: Config, path: str) -> str:
    """Raises:
    KaiwaError: There is no such setting.
    """
    found = dict(settings(config))
    if path not in found:
        raise KaiwaError(f"config get: there is no {path!r}; `kaiwa config check` lists them all.")
    return str(found[path])
