"""YAML as settings are written in it: a name that is given twice is refused, not overwritten."""

from collections.abc import Hashable
from typing import Any

import yaml


class DuplicateError(yaml.YAMLError):
    """The same name twice in one mapping; the text says which and where."""


class _Loader(yaml.SafeLoader):
    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise DuplicateError(
                    f"{key.value!r} is set in line {lines[name]} and again in line {line}, of "
                    "which only the last would hold; put them together"
                )
            lines[name] = line
        return super().construct_mapping(node, deep)


def read_yaml(text: str) -> Any:
    """Raises:
    DuplicateError: A name is given twice.
    yaml.YAMLError: It is not YAML.
    """
    return yaml.load(text, _Loader)
