"""`kaiwa config check`: what the settings amount to, without the secrets."""

import msgspec
from rich.console import Console
from rich.table import Table

from voice.build import check_names
from voice.config import Config

SECRETS = ("api_key", "api_keys")


def show(config: Config, console: Console) -> None:
    """Raises:
    ConfigError: A slot names a provider there is not.
    """
    check_names(config)
    table = Table("setting", "value", title=f"profile {config.profile}", title_justify="left")
    for section, values in msgspec.to_builtins(config).items():
        if not isinstance(values, dict):
            continue
        for key, value in values.items():
            shown = "set" if key in SECRETS and value else value
            table.add_row(f"{section}.{key}", str(shown))
    console.print(table)
    console.print("The configuration is fine.")
