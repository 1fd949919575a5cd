"""Where models lie, and what is told when they cannot be read."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from voice.build import warnings
from voice.config import load
from voice.model_folders import holds_model, model_folder, why_unreadable

ROOT = Path(__file__).parents[2]


def test_a_model_is_found_in_the_folder_or_one_below(tmp_path: Path) -> None:
    assert not holds_model(str(tmp_path)) and model_folder(str(tmp_path)) == tmp_path
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "encoder.onnx").touch()
    assert holds_model(str(tmp_path)) and model_folder(str(tmp_path)) == tmp_path / "en"
    (tmp_path / "ja").mkdir()
    (tmp_path / "ja" / "encoder.onnx").touch()
    assert model_folder(str(tmp_path)) == tmp_path, "of several none is chosen"
    (tmp_path / "encoder.onnx").touch()
    assert model_folder(str(tmp_path)) == tmp_path
    assert why_unreadable(str(tmp_path)) == ""


def test_a_folder_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    assert not holds_model(str(tmp_path / "none")) and why_unreadable(str(tmp_path / "none")) == ""


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    file = tmp_path / "encoder.onnx"
    file.touch()
    assert not holds_model(str(file)) and "name the one that holds" in why_unreadable(str(file))
    assert not holds_model(str(file / "stt"))
    (told,) = warnings(load(environment={"STT_MODEL_DIR": str(file)}))
    assert told.startswith(f"stt: {file} is no folder") and "pocketsphinx does without" in told


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """pytest's own folders are closed to other users."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


AS_ANOTHER = """
import os, sys
from pathlib import Path
from voice.build import warnings
from voice.checkup_machine import disk_found, models_found
from voice.config import load
from voice.model_folders import holds_model, model_folder, why_unreadable
from voice.model_store import ModelsError, ModelStore
config = load(environment={}, overrides={("rag", "index"): "models/index"})
os.chdir(sys.argv[1])
if os.getuid() == 0:
    os.setuid(65534)
assert not holds_model("models/stt")
model_folder("models/stt")
disk_found(config)
print(why_unreadable("models/stt"))
print(*warnings(config))
print(*(f"{one.mark} {one.found} {one.remedy}" for one in models_found(config)))
try:
    store = ModelStore(Path("models"))
    print({name: store.is_here(name, pulled) for name, pulled in store.pulled().items()})
except ModelsError as error:
    print(error)
"""
"""Root may read everything, so this is another user."""


@pytest.mark.parametrize("closed", ["models", "models/stt", "models/stt/en"])
def test_what_this_user_may_not_read_is_told_and_breaks_nothing(
    open_to_all: Path, closed: str
) -> None:
    (open_to_all / "models" / "stt" / "en").mkdir(parents=True)
    (open_to_all / "models" / "stt" / "en" / "encoder.onnx").touch()
    record = '{"en": {"slot": "stt", "licence": "x", "files": {}}}'
    (open_to_all / "models" / "kaiwa-models.json").write_text(record)
    (open_to_all / closed).chmod(0o000)
    try:
        done = subprocess.run(
            [sys.executable, "-c", AS_ANOTHER, str(open_to_all)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    finally:
        (open_to_all / closed).chmod(0o755)
    assert done.returncode == 0, done.stderr
    why, warned, found, listed = done.stdout.splitlines()
    for text in (why, warned, found):
        assert "cannot be read by user" in text and "chmod -R a+rX models" in text
    assert warned.startswith("stt: ") and "pocketsphinx" in warned
    assert found.startswith("! ")
    assert ("cannot be read" in listed) == (closed != "models/stt/en")


def test_a_model_that_this_user_may_not_read_is_told(open_to_all: Path) -> None:
    """The files themselves: a model that was pulled by root."""
    (open_to_all / "models" / "stt").mkdir(parents=True)
    (open_to_all / "models" / "stt" / "encoder.onnx").touch(0o000)
    script = AS_ANOTHER.partition("assert")[0] + 'print(why_unreadable("models/stt"))'
    done = subprocess.run(
        [sys.executable, "-c", script, str(open_to_all)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert done.stdout.startswith("models/stt/encoder.onnx cannot be read by user")
