"""What all cells share: one index, and a clock that jumps."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.stack import indexed, on_virtual_time


@pytest.fixture(scope="package")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return indexed(tmp_path_factory.mktemp("faults"))


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        on_virtual_time(patch)
        yield
