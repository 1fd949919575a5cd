"""For tests whose promise is a time, on machines where others work, too.

A neighbour who takes the processor for two seconds says nothing about our code. So one good try of
three is enough; what is too slow by itself is so in all three.
"""

import functools
import itertools
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

TRIES = 3


def best_of_three(test: Callable[..., None]) -> Callable[..., None]:
    """The test may fail twice. Each try gets a `tmp_path` of its own; other fixtures are shared."""

    @functools.wraps(test)
    def tried(*args: Any, **fixtures: Any) -> None:
        folder: Path | None = fixtures.get("tmp_path")
        for number in itertools.count(1):
            if folder is not None:
                fixtures["tmp_path"] = folder / f"try-{number}"
                fixtures["tmp_path"].mkdir()
            try:
                return test(*args, **fixtures)
            except Exception:
                if number == TRIES:
                    raise
                traceback.print_exc()  # pytest shows it if the last one fails, too

    return tried
