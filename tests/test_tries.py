from pathlib import Path

import pytest

from tests.tries import TRIES, best_of_three


@pytest.mark.parametrize("bad", range(TRIES + 1))
def test_one_good_try_is_enough_and_none_is_not(bad: int, tmp_path: Path) -> None:
    folders: list[Path] = []

    @best_of_three
    def test(tmp_path: Path) -> None:
        folders.append(tmp_path)
        assert list(tmp_path.iterdir()) == [], "what the last try left is not in the way"
        (tmp_path / "left").touch()
        assert len(folders) > bad, "too slow"

    if bad < TRIES:
        test(tmp_path=tmp_path)
        assert len(folders) == bad + 1
    else:
        with pytest.raises(AssertionError, match="too slow"):
            test(tmp_path=tmp_path)
        assert len(folders) == TRIES
