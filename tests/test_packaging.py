"""What Kaiwa's own frame names is there: its image, make, CI. Compose: test_compose.py."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.needed import needed
from tests.test_compose import parsed
from voice.config import ServerConfig

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def dockerfile(instruction: str) -> list[str]:
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{instruction} ")]


# --- the image ------------------------------------------------------------------------------------


def test_the_image_holds_every_package_and_runs_a_command_that_is_one() -> None:
    copied = [word for line in dockerfile("COPY") for word in shlex.split(line)[:-1]]
    assert [word for word in copied if not (ROOT / word).exists()] == []
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = {name.partition(".")[0] for name in settings["tool"]["setuptools"]["packages"]}
    assert packages <= set(copied)
    serve, watch = (yaml.safe_load(command) for command in dockerfile("CMD"))
    assert parsed(serve)[0] == "serve" == parsed(shlex.split(watch[3]))[0]
    assert [Path(folder).name for folder in watch[4:]] == [
        "voice",
        "rag",
        "providers",
        "mocks",
        "web",
    ]
    port = str(ServerConfig().port)
    assert dockerfile("EXPOSE") == [port] and f"127.0.0.1:{port}/health" in DOCKERFILE
    ingested = re.findall(r"RUN (kaiwa ingest \S+)", DOCKERFILE)
    for line in ingested:
        path = parsed(shlex.split(line))[1]["paths"][0]
        assert (ROOT / Path(path).relative_to("/app")).is_dir()


def test_the_wheel_carries_every_file_that_the_program_reads() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    packed = {
        path.relative_to(ROOT)
        for package, patterns in settings["package-data"].items()
        for pattern in patterns
        for path in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    for needed_file in (
        "voice/profiles/production.yaml",
        "voice/prompts/agent/current",
        "providers/tiny_en/model.int8.onnx",
        "providers/tiny_en/tokens.txt",
        "providers/tiny_en/HLG.fst",
        "rag/samples",
        "web/index.html",
    ):
        assert (ROOT / needed_file).exists()
        assert any(path.is_relative_to(needed_file) for path in packed), needed_file
    packages = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for folder in ("voice", "rag", "providers", "mocks")
        for path in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in path.parts
    }
    assert packages <= set(settings["packages"])


# --- make and CI ----------------------------------------------------------------------------------


def recipe(target: str) -> list[str]:
    block = MAKEFILE.partition(f"\n{target}:")[2].partition("\n\n")[0]
    return [line.strip() for line in block.splitlines()[1:]]


@pytest.mark.parametrize(("there", "words"), [(False, "ingest rag/samples"), (True, "")])
def test_make_run_indexes_the_samples_where_the_server_reads_unless_an_index_is_there(
    tmp_path: Path, there: bool, words: str
) -> None:
    """With `kaiwa` replaced by a script that notes how it was called."""
    index = tmp_path / "elsewhere"
    index.mkdir()
    if there:
        (index / "current").touch()
    program = tmp_path / "kaiwa"
    program.write_text(
        f'#!/bin/sh\n[ "$1 $2" = "config get" ] && echo "{index}" || echo "$@" >>{tmp_path}/calls\n'
    )
    program.chmod(0o755)
    makefile = tmp_path / "Makefile"
    makefile.write_text(MAKEFILE.replace("BIN := .venv/bin", f"BIN := {tmp_path}"))
    (tmp_path / ".venv").mkdir()
    stamps = [tmp_path / name for name in ("requirements.lock", "pyproject.toml")]
    stamps += [tmp_path / ".venv/bin/uv", tmp_path / ".venv/run.stamp"]
    for number, stamp in enumerate(stamps):
        stamp.parent.mkdir(exist_ok=True)
        stamp.touch()
        os.utime(stamp, (number, number))
    subprocess.run(["make", "run", "-o", ".venv/bin/uv"], cwd=tmp_path, check=True)
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls == [*filter(None, [words]), "serve"]


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("up", "docker compose up -d --build"),
        ("down", "docker compose down"),
        ("logs", "docker compose logs -f backend"),
        ("lint", ".venv/bin/hadolint docker/Dockerfile docker/*/Dockerfile"),
        ("format", ".venv/bin/ruff format ."),
        ("typecheck", ".venv/bin/mypy"),
        ("test", ".venv/bin/pytest"),
        ("coverage", ".venv/bin/coverage run -m pytest"),
    ],
)
def test_make_has_a_target_for_it(target: str, command: str) -> None:
    words = ["make", "--no-print-directory", "-n", "-o", ".venv/bin/uv", target]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert command in done.stdout.splitlines()
    pages = "".join((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/deploy.md"))
    for named in re.findall(r"^(?:.* )?make ([a-z]+)", pages, re.MULTILINE):
        assert recipe(named), named


def test_tests_run_in_an_environment_that_holds_what_the_lock_names_and_nothing_else() -> None:
    assert "uv pip sync" in recipe(".venv/dev.stamp")[0]


@pytest.mark.parametrize(
    ("version", "new"), [("18.20.4", False), ("20.0.0", True), ("26.1.0", True)]
)
def test_ci_brings_its_own_node_where_the_systems_is_too_old(
    tmp_path: Path, version: str, new: bool
) -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    (function,) = re.findall(r"^node_is_new\(\) .*$", script, re.MULTILINE)
    pretend = f"Object.defineProperty(process.versions, 'node', {{value: '{version}'}});"
    node = tmp_path / "node"
    node.write_text(f'#!/bin/sh\nexec {needed("node")} -e "{pretend} $2"\n')
    node.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(["bash", "-c", f"{function}\nnode_is_new"], env={"PATH": path})
    assert (done.returncode == 0) == new
