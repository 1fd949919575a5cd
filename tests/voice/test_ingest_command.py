"""`kaiwa ingest` and what `kaiwa ask` says of its index, as typed."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from voice.cli import app
from voice.errors import KaiwaError

ROOT = Path(__file__).parents[2]
WIDE = {"COLUMNS": "200", "NO_COLOR": "1"}


def kaiwa(*arguments: str | Path) -> tuple[int, str, KaiwaError | None]:
    """Exit status, output, and what `main` would tell as one line."""
    done = CliRunner().invoke(app, [str(a) for a in arguments], env=WIDE)
    if done.exception is not None and not isinstance(done.exception, KaiwaError | SystemExit):
        raise done.exception
    told = done.exception if isinstance(done.exception, KaiwaError) else None
    return done.exit_code, done.output, told


def complaint(*arguments: str | Path) -> str:
    told = kaiwa(*arguments)[2]
    assert told is not None
    return str(told)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a/readme.md, b/readme.md and b/hours.md."""
    for name in ("a/readme.md", "b/readme.md", "b/hours.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"This is the house of {name}.")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAG_INDEX_PATH", raising=False)
    return tmp_path


def listed() -> list[str]:
    lines = kaiwa("ingest", "--list", "--index", "index")[1].splitlines()[:-1]
    return [line.split()[1] for line in lines]


def test_what_is_in_the_index_is_listed_with_its_passages_and_files(folders: Path) -> None:
    assert kaiwa("ingest", "a", "b", "--index", "index")[0] == 0
    status, output, _ = kaiwa("ingest", "--list", "--index", "index")
    assert status == 0
    assert output.splitlines() == [
        f"     1  a/readme.md  {folders}/a/readme.md",
        f"     1  b/readme.md  {folders}/b/readme.md",
        f"     1  hours.md  {folders}/b/hours.md",
        "3 documents, 3 passages in index",
    ]


def test_a_second_ingest_keeps_the_first_and_fresh_does_not(folders: Path) -> None:
    kaiwa("ingest", "a", "--index", "index")
    kaiwa("ingest", "b", "--index", "index")
    assert listed() == ["a/readme.md", "b/readme.md", "hours.md"]
    assert kaiwa("ingest", "--fresh", "b", "--index", "index")[0] == 0
    assert listed() == ["hours.md", "readme.md"]


def test_another_embedder_is_refused_and_the_command_it_is_refused_with_makes_the_index_anew(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kaiwa("ingest", "a", "--index", "index")
    kaiwa("ingest", "b", "--index", "index")
    monkeypatch.setenv("EMBEDDING_PROVIDER", "mock")
    told = complaint("ingest", "b", "--index", "index")
    assert told.startswith("ingest: the index in index was made with the embedder lexical-")
    command = told.partition(" run: ")[2]
    assert command == f"kaiwa ingest {folders}/a {folders}/b --index index --fresh"
    assert kaiwa(*shlex.split(command)[1:])[0] == 0
    assert listed() == ["a/readme.md", "b/readme.md", "hours.md"]
    assert kaiwa("ingest", "b", "--index", "index")[0] == 0


def test_sources_may_be_named_by_an_option_as_scripts_like_it(folders: Path) -> None:
    assert kaiwa("ingest", "--source", "a", "--source", "b/hours.md", "--index", "index")[0] == 0
    assert listed() == ["hours.md", "readme.md"]
    assert kaiwa("ingest", "--list", "--source", "a", "--index", "index")[0] != 0


def test_a_folder_is_removed_by_its_path_or_its_name(folders: Path) -> None:
    kaiwa("ingest", "a", "b", "--index", "index")
    status, output, _ = kaiwa("ingest", "--remove", "a", "hours.md", "--index", "index")
    assert status == 0 and "removed a/readme.md" in output
    assert "1 documents, 1 passages in index (0 new, 0 changed, 2 removed" in output
    assert listed() == ["b/readme.md"]
    said = complaint("ingest", "--remove", "nowhere", "--index", "index")
    assert "kaiwa ingest --list --index index" in said and listed() == ["b/readme.md"]


def test_an_empty_name_is_not_taken_for_the_current_folder(folders: Path) -> None:
    before = sorted(os.listdir(folders))
    said = complaint("ingest", "a", "--index", "")
    assert "--index: the name of the index's folder is empty" in said
    said = complaint("ingest", "", "--index", "index")
    assert "for the folder you are in, write ." in said
    assert sorted(os.listdir(folders)) == before


def test_what_the_system_refuses_is_told_in_words(folders: Path) -> None:
    (folders / "taken").write_text("mine")
    for index in ("taken", "taken/below"):
        said = complaint("ingest", "a", "--index", index)
        assert "name another with --index" in said and "Errno" not in said
    said = complaint("ingest", "none", "--index", "index")
    assert "no such file or folder: none" in said and "--remove" in said


def test_a_damaged_index_is_told_with_its_path_and_the_command(folders: Path) -> None:
    kaiwa("ingest", "a", "--index", "index")
    (folders / "index" / "current").write_text("garbage")
    for options in (("--list",), ("--remove", "a")):
        said = complaint("ingest", *options, "--index", "index")
        assert "index/current cannot be read" in said
        assert "run: kaiwa ingest PATH --index index" in said


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--fresh",),
        ("--remove",),
        ("--list", "a"),
        ("--list", "--fresh"),
        ("a", "--fresh", "--remove"),
    ],
)
def test_what_makes_no_sense_together_is_refused(folders: Path, arguments: tuple[str, ...]) -> None:
    assert kaiwa("ingest", *arguments, "--index", "index")[0] == 2
    assert not (folders / "index").exists()


def test_help_tells_how_to_take_documents_out() -> None:
    said = kaiwa("ingest", "--help")[1]
    for word in ("--fresh", "--remove", "--list", "stay in the index"):
        assert word in said


def test_ask_names_the_damaged_index_and_the_command_in_one_line(folders: Path) -> None:
    long = "a-name-that-does-not-fit-into-the-eighty-columns-of-a-terminal/index"
    kaiwa("ingest", "a", "--index", long)
    (folders / long / "current").write_text("garbage")
    (folders / "kaiwa.yaml").write_text(
        f"profile: mock\nrag: {{enabled: true, index: {long}}}\n"
        "embedder: {provider: lexical}\nreranker: {provider: none}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "voice.cli", "ask", "hello", "--config", "kaiwa.yaml"],
        env={**os.environ, **WIDE, "COLUMNS": "80", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("documents: ")]
    assert f"{long}/current cannot be read" in told
    assert told.endswith(f"run: kaiwa ingest PATH --index {long}")
