"""Recorded calls, replayed: what went out then goes out now. tests/recordings/*"""

from pathlib import Path

import pytest

from tests.recorded_calls import CALLS, FOLDER, path_of
from voice.recording import SentFrame, read
from voice.replay import replay, sent

FILES = sorted(FOLDER.iterdir())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_recorded_call_is_still_the_same_call(file: Path) -> None:
    replayed = replay(read(file))
    assert replayed.difference is None
    assert replayed.unknown_settings == ()
    assert not replayed.recording.incomplete


@pytest.mark.parametrize("name", CALLS)
def test_a_recording_is_small_and_holds_a_whole_call(name: str) -> None:
    assert path_of(name).stat().st_size < 100_000
    out = sent(read(path_of(name)))
    assert sum(isinstance(one.out, SentFrame) for one in out) > 5
    assert len(out) > 40
