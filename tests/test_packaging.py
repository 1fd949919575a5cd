"""What the project's own frame names is there: the image, compose, make, CI."""

import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from tests.needed import needed
from voice.cli import app
from voice.config import ENVIRONMENT, ServerConfig

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
FIXED_IN_THE_IMAGE = {"KAIWA_HOST", "KAIWA_PORT", "RAG_INDEX_PATH"}
"""Where it listens inside, and where the volume lies."""


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """A `kaiwa` command's name and parameters, as its own parser takes them or refuses them."""
    assert words[0] == "kaiwa"
    root: Any = typer.main.get_command(app)
    command = root.commands[words[1]]
    return words[1], command.make_context(words[1], words[2:]).params


def dockerfile(instruction: str) -> list[str]:
    lines = DOCKERFILE.replace("\\\n", " ").splitlines()
    return [line.partition(" ")[2] for line in lines if line.startswith(f"{instruction} ")]


# --- compose --------------------------------------------------------------------------------------


def test_compose_passes_every_setting_of_the_environment_and_no_other() -> None:
    for name, service in SERVICES.items():
        assert set(service["environment"]) | FIXED_IN_THE_IMAGE == set(ENVIRONMENT), name
        for variable, value in service["environment"].items():
            assert value.startswith(f"${{{variable}:"), "from the variable of the same name"


def test_every_variable_that_compose_asks_for_is_a_setting() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert set(re.findall(r"\$\{(\w+)", text)) <= set(ENVIRONMENT)


@pytest.mark.parametrize("name", SERVICES)
def test_every_command_of_compose_is_one(name: str) -> None:
    if "command" in SERVICES[name]:
        parsed(SERVICES[name]["command"])


def test_documents_that_are_mounted_are_what_ingest_reads() -> None:
    service = SERVICES["ingest"]
    command, params = parsed(service["command"])
    mounted = [volume.split(":")[1] for volume in service["volumes"]]
    assert command == "ingest" and [str(path) for path in params["paths"]] == ["/documents"]
    assert "/documents" in mounted
    # Whoever mounts documents and does not read them promises what is not kept.
    for other in SERVICES.values():
        if other is not service:
            assert not any("/documents" in volume for volume in other.get("volumes", ()))


def test_server_and_ingest_share_the_index_of_the_image() -> None:
    (index,) = re.findall(r"RAG_INDEX_PATH=(\S+)", DOCKERFILE)
    for name in ("kaiwa", "ingest"):
        mounts = dict(volume.split(":")[:2] for volume in SERVICES[name]["volumes"])
        assert Path(index).is_relative_to(mounts["index"])
    assert "index" in COMPOSE["volumes"]


def test_every_published_port_is_the_one_that_is_served() -> None:
    default = str(ServerConfig().port)
    for name, service in SERVICES.items():
        for published in service.get("ports", ()):
            assert published.startswith("127.0.0.1:"), f"{name} is open to others"
            assert published.rsplit(":", 1)[1] == default
    assert dockerfile("EXPOSE") == [default]
    assert f"127.0.0.1:{default}/health" in DOCKERFILE


def test_every_command_in_composes_comments_names_a_service() -> None:
    text = (ROOT / "docker-compose.yml").read_text("utf-8")
    assert re.findall(r"docker compose run --rm (\w+)", text) == ["ingest"]
    (line,) = re.findall(r"run --rm ingest (kaiwa [^)]+?) drops", text)
    assert parsed(shlex.split(line))[0] == "ingest"
    profiles = {profile for service in SERVICES.values() for profile in service.get("profiles", ())}
    assert set(re.findall(r"--profile (\w+) up", text)) <= profiles


# --- the image ------------------------------------------------------------------------------------


def test_the_image_holds_every_package_and_runs_a_command_that_is_one() -> None:
    copied = [word for line in dockerfile("COPY") for word in shlex.split(line)[:-1]]
    assert [word for word in copied if not (ROOT / word).exists()] == []
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = {name.partition(".")[0] for name in settings["tool"]["setuptools"]["packages"]}
    assert packages <= set(copied)
    (command,) = dockerfile("CMD")[-1:]
    assert parsed(yaml.safe_load(command))[0] == "serve"
    ingested = re.findall(r"RUN (kaiwa ingest \S+)", DOCKERFILE)
    for line in ingested:
        path = parsed(shlex.split(line))[1]["paths"][0]
        assert (ROOT / Path(path).relative_to("/app")).is_dir()


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_built_from_a_file_that_is_there(name: str) -> None:
    assert (ROOT / SERVICES[name]["build"]["dockerfile"]).is_file()


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
