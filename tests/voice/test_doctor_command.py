"""`kaiwa doctor`: every part is asked for real, and each failure comes with what to do."""

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from mocks.serve import KINDS, Options, environment, serving
from mocks.serve_embed import EmbedServer
from tests.providers import tiny_voice
from tests.served import Served, written
from voice import checkup_machine
from voice.checkup import LIMIT_S, _split, examine
from voice.checkup_machine import LEAST_BYTES, NO_ANSWER, Finding, Findings, disk_found
from voice.checkup_ports import port_found, port_remedy
from voice.config import Config, EmbedderConfig, load
from voice.doctor_command import show
from voice.model_catalogue import find
from voice.model_store import ModelStore


@contextmanager
def listening() -> Iterator[int]:
    """A port that takes connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config(profile: str = "embedded", variables: dict[str, str] | None = None) -> Config:
    overrides: dict[tuple[str, str], Any] = {("server", "port"): 0}
    return load(profile=profile, environment=variables or {}, overrides=overrides)


def found(config: Config, limit_s: float = 10.0) -> dict[str, Finding]:
    return {finding.what: finding for finding in asyncio.run(examine(config, limit_s=limit_s))}


def bad(findings: dict[str, Finding]) -> list[str]:
    return [what for what, finding in findings.items() if finding.mark == "✗"]


def test_a_bare_machine_is_well_and_lacks_only_an_index(here: Path) -> None:
    findings = found(config())
    assert bad(findings) == []
    assert {what for what, one in findings.items() if one.mark == "✓"} >= {
        "settings", "vad: silero", "stt: pocketsphinx", "llm: extractive", "tts: espeak",
        "embedder: lexical", "port", "disk",
    }  # fmt: skip
    assert findings["index"].mark == "!" and "kaiwa ingest" in findings["index"].remedy
    assert findings["models: stt"].mark == "–"
    assert "kaiwa models list stt" in findings["models: stt"].remedy


def test_production_with_every_server_there_is_well(here: Path) -> None:
    async def main() -> Findings:
        options = Options(ports=dict.fromkeys(KINDS, 0))
        async with serving(KINDS, options) as running:
            return await examine(config("production", environment(running, options)))

    findings = {finding.what: finding for finding in asyncio.run(main())}
    assert bad(findings) == []
    for what in ("stt: sherpa-server", "llm: openai", "tts: fish", "embedder: tei"):
        assert findings[what].mark == "✓" and "answered in" in findings[what].found
    assert findings["reranker: tei"].mark == "✓"
    assert findings["tts: espeak (stands in)"].mark == "✓"


NOWHERE = {
    "LLM_ENDPOINT": "http://127.0.0.1:{}",
    "LLM_MODEL": "x",
    "STT_ENDPOINT": "ws://127.0.0.1:{}",
    "TTS_ENDPOINT": "http://127.0.0.1:{}",
    "EMBEDDING_ENDPOINT": "http://127.0.0.1:{}",
    "RERANKER_ENDPOINT": "http://127.0.0.1:{}",
}


def test_each_server_that_is_not_there_is_told_with_its_variable(here: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        variables = {name: value.format(port) for name, value in NOWHERE.items()}
        findings = found(config("production", variables))
    assert bad(findings) == ["stt: sherpa-server", "llm: openai", "tts: fish", "embedder: tei"]
    for what, variable in zip(bad(findings), ("STT", "LLM", "TTS", "EMBEDDING"), strict=True):
        told = findings[what]
        assert f"{variable}_ENDPOINT" in told.found + told.remedy, told
        assert told.remedy, told
    assert findings["reranker: tei"].mark == "!", "answers are found without"
    for what in ("stt: pocketsphinx", "llm: extractive", "tts: espeak"):
        assert findings[f"{what} (stands in)"].mark == "✓"


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("no address for host 'x': check LLM_ENDPOINT", ("no address for host 'x'", "check LLM_")),
        ("HTTP 401 (Unauthorized): set LLM_API_KEY", ("HTTP 401 (Unauthorized)", "set LLM_API_")),
        ("ws://x: said nothing; see its log: it is", ("ws://x: said nothing", "see its log: it")),
        ("http://x: refused: is the server there", ("http://x: refused", "is the server")),
        ("just broken", ("just broken", "")),
    ],
)
def test_what_is_wrong_stands_apart_from_what_to_do(message: str, parts: tuple[str, str]) -> None:
    found, remedy = _split(message)
    assert found == parts[0] and remedy.startswith(parts[1]) and bool(remedy) == bool(parts[1])


@pytest.mark.real_time
def test_servers_that_never_answer_hold_nothing_up(here: Path) -> None:
    with listening() as port:
        variables = {name: value.format(port) for name, value in NOWHERE.items()}
        begun = time.monotonic()
        findings = found(config("production", variables), limit_s=4.0)
        took_s = time.monotonic() - begun
    assert took_s < 3 * 4.0, "five of them side by side, and each within its time"
    assert findings["llm: openai"].mark == "✗"
    assert findings["tts: espeak (stands in)"].mark == "✓"


@pytest.mark.real_time
def test_doors_that_nobody_answers_at_are_told_side_by_side_and_within_the_time(
    here: Path,
) -> None:
    with listening() as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        dead = silent.getsockname()[1]
        variables = {
            "KAIWA_PUBLIC_URL": f"https://127.0.0.1:{port}",
            "TWILIO_AUTH_TOKEN": "0123456789abcdef",
            "KAIWA_ICE_SERVERS": f"stun:127.0.0.1:{dead},turn:127.0.0.1:{dead}",
            "KAIWA_TURN_SECRET": "0123456789abcdef",
            "KAIWA_SIP_ENABLED": "true",
            "KAIWA_SIP_PORT": "0",
            "KAIWA_SIP_REGISTRAR": f"127.0.0.1:{dead}",
            "KAIWA_SIP_EXTENSION": "620",
        }
        begun = time.monotonic()
        answers = asyncio.run(examine(config(variables=variables)))
        took_s = time.monotonic() - begun
    assert took_s < LIMIT_S
    late = {one.what: one for one in answers if one.found.startswith(NO_ANSWER)}
    assert set(late) == {
        "public URL",
        f"stun:127.0.0.1:{dead}",
        f"turn:127.0.0.1:{dead}",
        f"SIP registrar 127.0.0.1:{dead}",
    }
    assert all(one.remedy for one in late.values())


def test_a_missing_package_is_told_and_not_raised(here: Path) -> None:
    variables = {"EMBEDDING_PROVIDER": "sentence-transformers", "EMBEDDING_MODEL": "nowhere"}
    findings = found(config(variables=variables))
    assert bad(findings) == ["embedder: sentence-transformers"]


def test_an_embedder_that_stands_in_and_serves_another_model_is_told(here: Path) -> None:
    async def scenario() -> Findings:
        async with EmbedServer() as first, EmbedServer(dimensions=64) as other:
            section = EmbedderConfig("tei", ({"endpoint": other.url},), endpoint=first.url)
            return await examine(msgspec.structs.replace(config(), embedder=section))

    findings = {finding.what: finding for finding in asyncio.run(scenario())}
    told = findings["embedder: tei (stands in)"]
    assert told.mark == "!" and "base-65-" in told.found and "base-257-" in told.found
    assert findings["embedder: tei"].mark == "✓"


def test_an_index_of_another_embedder_is_told_with_the_command_that_rebuilds_it(
    here: Path,
) -> None:
    (here / "hours.md").write_text("# Hours\n\nWe open at nine.\n", "utf-8")
    kaiwa("ingest", "hours.md")
    assert found(config())["index"].found == "1 documents, 1 passages in data/index"
    findings = found(config(variables={"EMBEDDING_PROVIDER": "mock"}))
    assert bad(findings) == ["index"] and "kaiwa ingest" in findings["index"].remedy
    next(here.glob("data/index/*/vectors.faiss")).write_bytes(b"")
    assert bad(found(config())) == ["index"]


def kaiwa(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voice.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).parent.parent.parent),
            "COLUMNS": "200",
            "NO_COLOR": "1",
            **env,
        },
    )


def test_a_model_that_was_cut_short_is_told_with_what_mends_it(here: Path) -> None:
    tiny = find("tiny-en")
    assert tiny is not None
    ModelStore(Path("models")).pull(tiny, progress=lambda source: lambda done, total: None)
    findings = found(config())
    assert findings["stt: sherpa"].mark == findings["models: stt"].mark == "✓"
    assert "models/stt/tiny-en" in findings["models: stt"].found
    Path("models/stt/tiny-en/tokens.txt").write_text("")
    findings = found(config())
    assert set(bad(findings)) == {"stt: sherpa", "model tiny-en"}
    assert "pull --force tiny-en" in findings["model tiny-en"].remedy


@pytest.mark.parametrize(("provider", "mark"), [("auto", "!"), ("smart-turn", "✗")])
def test_a_broken_turn_model_is_told_and_a_fault_only_where_it_was_named(
    here: Path, provider: str, mark: str
) -> None:
    (here / "models" / "turn").mkdir(parents=True)
    (here / "models" / "turn" / "v3.onnx").write_bytes(bytes(1000))
    turn = msgspec.structs.replace(config().turn, provider=provider)
    told = found(msgspec.structs.replace(config(), turn=turn))["turn: smart-turn"]
    assert told.mark == mark and "v3.onnx cannot be loaded" in told.found + told.remedy
    assert "kaiwa models pull smart-turn" in told.found + told.remedy


def test_what_fails_in_two_places_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    twice = [Finding("✗", "model tiny-en", "a is gone"), Finding("✗", "model tiny-en", "b is gone")]
    show(twice, Console(width=200))
    assert "Does not work: model tiny-en\n" in capsys.readouterr().out


def test_a_download_that_broke_off_is_told_with_the_command_that_goes_on(here: Path) -> None:
    part = Path("models/.downloads/en/0123456789ab/en.tar.bz2.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(2_000_000))
    told = found(config())["model en"]
    assert told.mark == "–" and told.found == "2 MB of it are here"
    assert told.remedy.endswith("kaiwa models pull en")


def test_a_recogniser_that_was_chosen_without_its_model_is_told(here: Path) -> None:
    findings = found(config(variables={"STT_PROVIDER": "sherpa"}))
    assert bad(findings) == ["stt: sherpa", "models: stt"]
    assert "kaiwa models list stt" in findings["models: stt"].remedy


def test_models_that_are_no_folder_are_told_and_break_nothing(here: Path) -> None:
    Path("models").touch()
    findings = found(config())
    assert bad(findings) == []
    assert findings["models"].found == "models is no folder"
    assert findings["models"].remedy == "move that file away"


def test_a_record_that_cannot_be_read_is_told_with_what_to_do(here: Path) -> None:
    Path("models").mkdir()
    Path("models/kaiwa-models.json").write_text("{")
    told = found(config())["models"]
    assert told.mark == "!" and "kaiwa-models.json" in told.found and "remove it" in told.remedy


def test_a_voice_in_a_folder_of_its_own_is_found(here: Path) -> None:
    (here / "models" / "tts" / "tiny").mkdir(parents=True)
    tiny_voice.write(here / "models" / "tts" / "tiny")
    findings = found(config())
    assert findings["tts: sherpa"].mark == "✓", findings["tts: sherpa"]
    assert findings["tts: espeak (stands in)"].mark == "✓"


# --- the machine ----------------------------------------------------------------------------------


def on_port(port: int) -> Finding:
    overrides = {("server", "port"): port}
    return port_found(load(environment={}, overrides=overrides))[0]


def test_a_taken_port_is_told_with_another() -> None:
    with listening() as port:
        told = on_port(port)
    assert told.mark == "✗" and f"KAIWA_PORT={port + 1}" in told.remedy
    assert on_port(port).mark == "✓"


def test_the_last_port_is_followed_by_the_default() -> None:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # somebody else has it: as well
            stack.enter_context(socket.create_server(("127.0.0.1", 65_535)))
        assert "KAIWA_PORT=8000" in on_port(65_535).remedy


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_told_and_not_laid_to_the_port(host: str) -> None:
    variables = {"KAIWA_HOST": host, "KAIWA_API_KEYS": "0123456789abcdef"}
    (told,) = port_found(load(environment=variables))
    assert told.mark == "✗" and told.remedy.startswith("KAIWA_HOST must be")


def test_a_port_that_only_root_may_have_is_told() -> None:
    error = PermissionError(errno.EACCES, "Permission denied")
    assert "KAIWA_PORT=8000" in port_remedy(error, 80)


def test_a_kaiwa_that_serves_already_is_no_fault(tmp_path: Path) -> None:
    served = Served(written(tmp_path, {}))
    try:
        told = on_port(int(served.url.rpartition(":")[2].rstrip("/")))
    finally:
        served.stop()
    assert told.mark == "!" and "Kaiwa" in told.found


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 10, LEAST_BYTES - 1))
    assert {finding.mark for finding in disk_found(config())} == {"✗"}


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "bin" / "nvidia-smi"
    path.parent.mkdir()
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")


def test_a_gpu_is_named_and_what_can_use_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(here, monkeypatch, "echo 'NVIDIA H200, 143771 MiB, 570.86'")
    told = found(config())["GPU"]
    assert told.mark == "✓" and "H200" in told.found
    assert "faiss" in told.found and "onnxruntime" in told.found


@pytest.mark.real_time
def test_a_driver_that_hangs_is_ended(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(here, monkeypatch, f"echo $$ > {here}/pid; exec sleep 600")
    monkeypatch.setattr(checkup_machine, "SMI_LIMIT_S", 1.0)
    told = asyncio.run(checkup_machine.gpu_found(config()))[0]
    assert told.mark == "–" and "nothing for 1 s" in told.found and told.remedy
    pid = (here / "pid").read_text().strip()
    state = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        assert state.read_text().split()[2] == "Z"


# --- the command ----------------------------------------------------------------------------------


def test_the_exit_status_is_1_where_something_needed_does_not_work(here: Path) -> None:
    well = kaiwa("doctor", KAIWA_PORT="0")
    assert well.returncode == 0, well.stdout + well.stderr
    assert "Everything that this profile needs works" in well.stdout
    with listening() as port:
        ill = kaiwa("doctor", KAIWA_PORT=str(port))
    assert ill.returncode == 1 and f"Does not work: port {port}" in ill.stdout
    assert "Traceback" not in ill.stderr and "warning" not in ill.stderr


HANGING = """
import sys, threading
from rich.console import Console
from voice import checkup_machine
from voice.config import load
from voice.doctor_command import run_doctor
import asyncio
async def stuck(config):
    await asyncio.to_thread(threading.Event().wait)
import voice.checkup
voice.checkup.gpu_found = stuck
config = load(environment={"STT_PROVIDER": "pocketsphinx"}, overrides={("server", "port"): 0})
sys.exit(run_doctor(config, Console(width=200), limit_s=6.0))
"""
"""A check whose thread never ends."""


@pytest.mark.real_time
def test_what_hangs_does_not_keep_the_command(here: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)},
    )
    assert done.returncode == 0, done.stderr
    assert "no answer within 6 s" in done.stdout and "Everything" in done.stdout


def test_a_misspelt_variable_is_told_by_doctor_and_by_config_check(here: Path) -> None:
    Path(".env").write_text("LLM_ENDPONT=http://127.0.0.1:9\n")
    sentence = "LLM_ENDPONT is not a setting; did you mean LLM_ENDPOINT?"
    checked = kaiwa("config", "check", KAIWA_API_KEYS="")
    assert checked.returncode == 0 and f"warning: {sentence}" in checked.stdout
    assert sentence in kaiwa("doctor", KAIWA_PORT="0").stdout
    Path(".env").write_text("LLM_ENDPOINT=http://127.0.0.1:9\n")
    assert "is not a setting" not in kaiwa("config", "check").stdout


def test_an_env_file_that_cannot_be_read_is_told_in_one_line(here: Path) -> None:
    Path(".env").write_bytes(b"\xff\xfe")
    for command in (("doctor",), ("config", "check"), ("serve",)):
        done = kaiwa(*command)
        assert done.returncode == 2 and done.stderr.startswith("kaiwa: .env: line 1 is not UTF-8")


def test_wrong_settings_are_told_before_anything_is_asked(here: Path) -> None:
    done = kaiwa("doctor", "--profile", "production")
    assert done.returncode == 2 and "LLM_ENDPOINT" in done.stderr
