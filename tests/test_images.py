"""The images of docker/: what their files name is there; what they start is run, without an engine.

The server of the stt image is the real program; Fish Speech's is left out, as it needs its weights.
"""

import asyncio
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from mocks.serve_tts import FishServer
from providers._sherpa_models import Kind
from providers.stt_sherpa_server import SherpaServerSTT
from tests.needed import missing
from tests.served import eventually
from tests.test_compose import BIN, free_ports, services

ROOT = Path(__file__).parent.parent
DOCKERFILES = sorted(ROOT.glob("docker/**/Dockerfile"))
TINY = ROOT / "providers" / "tiny_en"
STT, TTS = ROOT / "docker" / "stt-sherpa", ROOT / "docker" / "tts-fish-speech"
SERVE_TTS = TTS / "serve.sh"


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", dockerfile.read_text("utf-8"), flags=re.MULTILINE)
    lines = filter(None, text.replace("\\\n", " ").splitlines())
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def told(dockerfile: Path, instruction: str) -> list[str]:
    return [words for name, words in instructions(dockerfile) if name == instruction]


def named(path: Path) -> str:
    return str(path.parent.relative_to(ROOT))


# --- Dockerfiles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=named)
def test_what_is_copied_is_there_and_is_not_kept_from_the_engine(dockerfile: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    for line in told(dockerfile, "COPY"):
        for source in [word for word in line.split() if not word.startswith("--")][:-1]:
            assert (ROOT / source).exists(), source
            assert Path(source).parts[0] not in ignored, source
    assert {".env", ".git", "data", "models"} <= set(ignored)


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=named)
def test_every_base_is_pinned_and_what_runs_is_not_root(dockerfile: Path) -> None:
    stages = {words.split(" AS ")[1] for words in told(dockerfile, "FROM") if " AS " in words}
    arguments = dict(line.split("=", 1) for line in told(dockerfile, "ARG"))
    for words in told(dockerfile, "FROM"):
        base = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], words.split()[0])
        assert base in stages or re.search(r":[\w.-]*\d+\.\d+", base), base
    assert told(dockerfile, "USER")[-1] == "1000:1000"


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=named)
def test_no_layer_holds_a_secret(dockerfile: Path) -> None:
    for name, words in instructions(dockerfile):
        if name in ("ARG", "ENV"):
            assert not re.search(r"TOKEN|SECRET|PASSWORD|_KEY", words), words


def test_what_is_installed_by_hand_is_of_the_version_that_is_tested_here() -> None:
    lock = (ROOT / "requirements-dev.lock").read_text("utf-8")
    for dockerfile in DOCKERFILES:
        text = dockerfile.read_text("utf-8")
        found = dict(re.findall(r"\b(msgspec|watchfiles)==([\d.]+)", text))
        for version in re.findall(r"SHERPA_ONNX_VERSION=([\d.]+)", text):
            found |= {"sherpa-onnx": version, "sherpa-onnx-bin": version}
        for package, version in found.items():
            assert f"\n{package}=={version} " in lock, package


@pytest.mark.parametrize("name", ["backend", "stt", "tts"])
def test_compose_builds_from_a_file_that_takes_its_arguments(name: str) -> None:
    build = services()[name]["build"]
    dockerfile = ROOT / build["dockerfile"]
    arguments = {line.partition("=")[0] for line in told(dockerfile, "ARG")}
    stages = {words.split(" AS ")[1] for words in told(dockerfile, "FROM") if " AS " in words}
    assert set(build.get("args", ())) <= arguments
    assert build.get("target", "backend") in stages or "target" not in build
    backends = {stage.removeprefix("base-") for stage in stages if stage.startswith("base-")}
    assert backends == ({"cpu", "cuda"} if name != "backend" else set())


@pytest.mark.parametrize(("name", "folder"), [("stt", STT), ("tts", TTS)])
def test_compose_starts_what_the_image_would_start_by_itself(name: str, folder: Path) -> None:
    (command,) = told(folder / "Dockerfile", "CMD")
    started = shlex.split(" ".join(re.findall(r'"([^"]+)"', command)))
    assert services()[name]["command"] == started
    (check,) = told(folder / "Dockerfile", "HEALTHCHECK")
    for script in re.findall(r"[\w]+\.(?:py|sh)", command + check):
        assert (folder / script).is_file()
    for script in folder.glob("*.sh"):
        assert os.access(script, os.X_OK)


def test_fish_speech_is_installed_from_a_lock_with_hashes_and_torch_from_its_own_index() -> None:
    lock = (TTS / "requirements.lock").read_text("utf-8")
    pins = re.findall(r"^([\w.-]+)==(\S+) \\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^\w", lock, re.MULTILINE))
    versions = dict(pins)
    asked = dict(
        re.findall(r"^([\w-]+)(?:\[\w+\])?==(\S+)", (TTS / "requirements.in").read_text(), re.M)
    )
    assert versions["fish-speech"] == asked["fish-speech"]
    assert not {"torch", "torchaudio", "triton"} & set(versions)
    assert told(TTS / "Dockerfile", "ARG")[-1] == f"TORCH_VERSION={asked['torch']}"


# --- stt ------------------------------------------------------------------------------------------


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"image_{path.stem}", path)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def stt_environment(**more: str) -> dict[str, str]:
    # As in the image: its own folder, where the one module of ours lies beside it.
    path = f"{BIN}:{os.environ['PATH']}"
    return {"PATH": path, "PYTHONPATH": str(ROOT), "STT_MODELS": str(TINY), **more}


@contextmanager
def started(words: list[str], environment: dict[str, str]) -> Iterator[None]:
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def health(folder: Path, environment: dict[str, str]) -> int:
    words = [sys.executable, str(folder / "health.py")]
    return subprocess.run(words, env=environment, stderr=subprocess.DEVNULL).returncode


@pytest.mark.real_time
def test_the_stt_image_serves_a_model_to_kaiwa_and_its_health_check_knows(tmp_path: Path) -> None:
    """sherpa-onnx's own server and the project's own model, on a real socket."""
    if not shutil.which("sherpa-onnx-online-websocket-server", path=str(BIN)):
        missing("sherpa-onnx-bin is not installed")
    (port,) = free_ports(1)
    environment = stt_environment(STT_PORT=str(port))
    assert health(STT, environment) != 0

    async def check() -> None:
        stt = SherpaServerSTT(f"ws://127.0.0.1:{port}")
        try:
            await stt.check()
        finally:
            await stt.aclose()

    with started([sys.executable, str(STT / "serve.py")], environment):
        eventually(lambda: health(STT, environment) == 0, "the server listens")
        asyncio.run(check())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"STT_PROVIDER_RUNTIME": "cuda"}, "set STT_BACKEND=cuda in .env"),
        ({"STT_PROVIDER_RUNTIME": "gpu"}, "must be cpu or cuda"),
        ({"STT_MODELS": str(ROOT / "docs")}, "STT_MODEL_DIR"),
    ],
)
def test_the_stt_image_says_what_is_wrong_instead_of_serving_badly(
    change: dict[str, str], why: str
) -> None:
    done = subprocess.run(
        [sys.executable, str(STT / "serve.py")],
        env=stt_environment(**change),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and why in done.stderr


def test_every_kind_of_model_is_told_to_the_server_by_options_that_it_has() -> None:
    serve = module(STT / "serve.py")
    assert set(serve.FLAGS) == set(Kind)
    server = shutil.which(serve.PROGRAM, path=str(BIN)) or missing("sherpa-onnx-bin")
    done = subprocess.run([server, "--help"], capture_output=True, text=True)
    known = set(re.findall(r"^  --(\S+)", done.stdout + done.stderr, re.MULTILINE))
    for kind, flags in serve.FLAGS.items():
        assert set(flags.values()) <= known, kind
    model = serve.find_model(TINY)
    words = serve.command(model, {"STT_MODEL": "/elsewhere.onnx", "STT_THREADS": "7"})
    assert {word.partition("=")[0].removeprefix("--") for word in words[1:]} <= known
    assert "--nemo-ctc-model=/elsewhere.onnx" in words and "--num-work-threads=7" in words
    assert f"--ctc-graph={TINY / 'HLG.fst'}" in words and "--ctc-max-active=100" in words


# --- tts ------------------------------------------------------------------------------------------


@pytest.fixture
def voices(tmp_path: Path) -> Path:
    """A place for models, and a python3 that shows how the server would be started."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.write_text(
        '#!/bin/bash\ncase "$2" in\n*cuda*) exit "${NO_GPU:-0}" ;;\n'
        '*find_spec*) echo /server.py ;;\n*) printf "%s\\n" "$@" ;;\nesac\n'
    )
    python.chmod(0o755)
    (tmp_path / "models").mkdir()
    return tmp_path


def serve_tts(folder: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    path = f"{folder / 'bin'}:/bin:/usr/bin"
    environment = {"PATH": path, "TTS_MODELS": str(folder / "models"), **more}
    return subprocess.run([str(SERVE_TTS)], env=environment, capture_output=True, text=True)


def put(folder: Path, name: str) -> Path:
    model = folder / "models" / name
    model.mkdir(exist_ok=True)
    (model / "codec.pth").touch()
    return model


def test_the_tts_image_starts_fish_speech_with_the_model_that_is_there(voices: Path) -> None:
    model = put(voices, "openaudio-s1-mini")
    (voices / "models" / "references").mkdir()
    done = serve_tts(voices)
    assert done.stdout.split() == [
        "/server.py",
        *("--listen", "0.0.0.0:8080", "--llama-checkpoint-path", str(model)),
        *("--decoder-checkpoint-path", f"{model}/codec.pth"),
        *("--decoder-config-name", "modded_dac_vq"),
    ]
    done = serve_tts(voices, TTS_BACKEND="cpu", TTS_API_KEY="secret", TTS_COMPILE="1", NO_GPU="1")
    assert done.stdout.split()[9:] == ["--device", "cpu", "--api-key", "secret", "--compile"]


def test_the_tts_image_says_what_is_missing(voices: Path) -> None:
    done = serve_tts(voices)
    assert done.returncode == 1 and "TTS_MODEL_DIR" in done.stderr
    put(voices, "a")
    done = serve_tts(voices, NO_GPU="1")
    assert done.returncode == 1 and "TTS_BACKEND=cpu" in done.stderr
    put(voices, "b")
    done = serve_tts(voices)
    assert done.returncode == 1 and "holds 2 models" in done.stderr


def test_the_health_check_of_tts_brings_its_key() -> None:
    async def states() -> list[int]:
        seen = []
        async with FishServer(api_key="secret") as server:
            port = server.url.rpartition(":")[2]
            for key in ("secret", "wrong"):
                environment = {"PATH": os.environ["PATH"], "TTS_PORT": port, "TTS_API_KEY": key}
                seen.append(await asyncio.to_thread(health, TTS, environment))
        return seen

    good, bad = asyncio.run(states())
    assert good == 0 and bad != 0
