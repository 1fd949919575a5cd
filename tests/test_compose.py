"""docker compose, asked by the real program: what would be started, with which settings and ports.

`docker-compose config` checks the files against the Compose specification's schema, puts the
variables in, and shows what an engine would be told. What runs inside is then run here.
"""

import asyncio
import functools
import importlib.util
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer

from mocks.serve import PORTS, Kind
from mocks.serve_embed import EmbedServer
from mocks.serve_llm import LLMServer
from tests.needed import needed
from tests.served import eventually
from voice.cli import app
from voice.config import ENVIRONMENT, PROFILE, ServerConfig, load

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
FILES = {
    "production": ("docker-compose.yml",),
    "cpu": ("docker-compose.yml", "docker-compose.cpu.yml"),
    "webrtc": ("docker-compose.yml", "docker-compose.webrtc.yml"),
    "dev": ("docker-compose.dev.yml",),
}
TEXT = "".join((ROOT / name).read_text("utf-8") for names in FILES.values() for name in names)
ENV_DEFAULT = (ROOT / ".env.default").read_text("utf-8")
OURS, _, DEPLOYMENT = ENV_DEFAULT.partition("# --- docker compose only")
KEY = "a-key-that-nobody-guesses"
NEEDED = {"COMPOSE_PROFILES": "production", "KAIWA_API_KEYS": KEY}
UDP_PORTS = "50000-50003"
PUBLISHED = {"KAIWA_SIP_PORT": "5070", "KAIWA_SIP_RTP_UDP": "30000-30009"}
"""Of ports compose wants to know that they are some, whichever profile they are for."""
FIXED = {
    "STT_MODEL_DIR": "/models/stt",
    "STT_PROVIDER_RUNTIME": "cpu",
    "TTS_MODEL_DIR": "/models/tts",
    "TURN_MODEL": "/models/turn",
}
"""What Kaiwa's container has its own of: where folders are mounted, what its image can."""
PROXIES = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
"""The environment's, which .env does not set."""
SERVERS: tuple[Kind, ...] = ("llm", "stt", "tts", "embedding")


def program(name: str) -> str:
    return shutil.which(name, path=str(BIN)) or needed(name)


def docker_compose() -> str:
    """The program itself: the script that the package puts before it loses the exit status."""
    found = importlib.util.find_spec("compose")
    places = (found.submodule_search_locations or []) if found else []
    inside = [Path(place) / "docker-compose" for place in places]
    return next((str(path) for path in inside if path.is_file()), "") or needed("docker-compose")


def run_compose(
    files: tuple[str, ...], *options: str, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    named = [word for name in files for word in ("-f", str(ROOT / name))]
    given = NEEDED if environment is None else environment
    return subprocess.run(
        [docker_compose(), "--env-file", "/dev/null", *named, *options],
        env={"PATH": os.environ["PATH"], **given},
        capture_output=True,
        text=True,
    )


@functools.cache
def services(
    kind: str = "production", profile: str = "", *set_variables: tuple[str, str]
) -> dict[str, dict[str, Any]]:
    chosen = ("--profile", profile) if profile else ()
    environment = {**NEEDED, **dict(set_variables)}
    if kind == "webrtc":
        environment.setdefault("KAIWA_WEBRTC_UDP", UDP_PORTS)
    done = run_compose(FILES[kind], *chosen, "config", "--format", "json", environment=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.replace("$$", "$"))["services"]
    return found


def parsed(words: list[str]) -> tuple[str, dict[str, Any]]:
    """A `kaiwa` command's name and parameters, as its own parser takes them or refuses them."""
    assert words[0] == "kaiwa"
    command: Any = typer.main.get_command(app)
    rest = words[1:]
    while rest and hasattr(command, "commands"):
        command, rest = command.commands[rest[0]], rest[1:]
    return command.name, command.make_context(command.name, rest).params


def names_in(text: str) -> list[str]:
    return re.findall(r"^(\w+)=", text, re.MULTILINE)


# --- what is started ------------------------------------------------------------------------------


def test_a_file_that_is_not_as_the_specification_has_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "wrong.yml").write_text("services: {a: {image: a, read_onyl: true}}")
    done = run_compose((str(tmp_path / "wrong.yml"),), "config")
    assert done.returncode != 0 and "read_onyl" in done.stderr


@pytest.mark.parametrize(
    ("kind", "profile", "wanted"),
    [
        ("production", "", {"backend", *SERVERS}),
        ("production", "mock", {"backend", "mocks"}),
        ("production", "balanced", {"backend", "worker", "balancer"}),
        ("production", "turn", {"backend", "turn"}),
        ("production", "sip", {"backend", "sip"}),
        ("webrtc", "mock", {"backend", "mocks"}),
        ("cpu", "", {"backend", "embedding"}),
        ("cpu", "mock", {"backend", "mocks"}),
        ("dev", "dev", {"backend", "mocks"}),
    ],
)
def test_every_way_to_start_it_starts_what_it_says(
    kind: str, profile: str, wanted: set[str]
) -> None:
    assert set(services(kind, profile)) == wanted


def test_further_processes_come_beside_the_servers_only_where_both_profiles_are_named() -> None:
    """--profile replaces COMPOSE_PROFILES."""
    both = services("production", "", ("COMPOSE_PROFILES", "production,balanced"))
    assert set(both) == {"backend", *SERVERS, "worker", "balancer"}
    for name in DOCUMENTS:
        assert "--profile balanced up" not in (ROOT / name).read_text("utf-8"), name


def test_an_image_of_the_operators_is_taken_without_a_gpu_too() -> None:
    assert services("cpu", "tts", ("TTS_IMAGE", "mine:1"))["tts"]["image"] == "mine:1"


def test_without_an_env_file_it_says_what_to_do() -> None:
    for missing in NEEDED:
        given = {name: value for name, value in NEEDED.items() if name != missing}
        done = run_compose(FILES["production"], "config", environment=given)
        assert done.returncode != 0 and "copy .env.default to .env" in done.stderr
        assert missing in done.stderr


# --- how it is started ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize(
    "profile", ["production", "mock", "balanced", "turn", "sip", "dev", "stt", "tts"]
)
def test_every_container_may_write_little_and_is_given_no_rights(kind: str, profile: str) -> None:
    for name, service in services(kind, profile).items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service and "cap_add" not in service, name


@pytest.mark.parametrize("kind", [kind for kind in FILES if kind != "webrtc"])
def test_only_kaiwas_port_is_published_and_to_this_machine_alone(kind: str) -> None:
    profile = "dev" if kind == "dev" else "production"
    for name, service in services(kind, profile).items():
        ports = [(port["host_ip"], port["target"]) for port in service.get("ports", ())]
        assert ports == ([("127.0.0.1", ServerConfig().port)] if name == "backend" else []), name
    for variable in ("KAIWA_PORT", "BACKEND_PORT"):
        (port,) = services(kind, profile, (variable, "9001"))["backend"]["ports"]
        assert port["published"] == "9001"


def test_udp_is_published_by_a_file_of_its_own_at_the_ports_that_kaiwa_uses() -> None:
    backend = services("webrtc", "mock")["backend"]
    http, *media = backend["ports"]
    assert http["host_ip"] == "127.0.0.1" and http["protocol"] == "tcp"
    assert [(p["published"], p["target"], p["protocol"]) for p in media] == [
        (str(port), port, "udp") for port in range(50_000, 50_004)
    ]
    assert all("host_ip" not in port for port in media), "callers come from everywhere"
    assert backend["environment"]["KAIWA_WEBRTC_UDP"] == UDP_PORTS
    done = run_compose(FILES["webrtc"], "config", environment=NEEDED)
    assert done.returncode != 0 and "50000-50199" in done.stderr, "says what to set"


def test_telephones_reach_a_kaiwa_of_their_own_at_the_ports_that_it_tells_them() -> None:
    given = (
        ("KAIWA_SIP_PUBLIC_ADDRESS", "192.168.1.10"),
        ("KAIWA_SIP_RTP_UDP", "30000-30003"),
        ("KAIWA_SIP_MOST_CALLS", "2"),
    )
    found = services("production", "sip", *given)
    phones, first = found["sip"], found["backend"]
    ports = [(port["published"], port["target"], port["protocol"]) for port in phones["ports"]]
    assert ports == [
        ("5060", 5060, "udp"),
        ("5060", 5060, "tcp"),
        *((str(port), port, "udp") for port in range(30_000, 30_004)),
    ]
    settings = load(environment=phones["environment"]).sip
    assert settings.enabled and (settings.host, settings.port) == ("0.0.0.0", 5060)
    assert settings.public_address == "192.168.1.10" and settings.rtp_ports == "30000-30003"
    own = {"ports", "profiles", "environment"}
    assert {k: v for k, v in phones.items() if k not in own} == {
        k: v for k, v in first.items() if k not in own
    }
    changed = {"KAIWA_SIP_ENABLED", "KAIWA_SIP_HOST", "KAIWA_SIP_PORT"}
    differs = phones["environment"].items() ^ first["environment"].items()
    assert {name for name, _ in differs} <= changed


def test_the_relay_is_on_the_machines_own_network_with_kaiwas_secret_and_our_settings() -> None:
    given = ("KAIWA_TURN_SECRET", "hush")
    found = services("production", "turn", given)
    assert found["turn"]["network_mode"] == "host" and "ports" not in found["turn"]
    for name in ("turn", "backend"):
        assert found[name]["environment"]["KAIWA_TURN_SECRET"] == "hush"
    (mount,) = found["turn"]["volumes"]
    assert Path(mount["source"]) == ROOT / "docker" / "turn" and mount["read_only"]
    shell, script = found["turn"]["entrypoint"]
    inside = Path(mount["source"]) / Path(script).relative_to(mount["target"])
    assert shell == "sh" and inside.is_file()


def test_balanced_publishes_the_balancer_too_and_no_further_process() -> None:
    found = services("production", "balanced", ("BALANCER_PORT", "9002"))
    ports = {
        name: [(port["host_ip"], port["published"]) for port in service.get("ports", ())]
        for name, service in found.items()
    }
    assert ports == {
        "backend": [("127.0.0.1", "8000")],
        "balancer": [("127.0.0.1", "9002")],
        "worker": [],
    }


def test_further_processes_are_the_same_kaiwa_as_many_as_are_asked_for() -> None:
    found = services("production", "balanced", ("KAIWA_WORKERS", "3"))
    first, further = found["backend"], found["worker"]
    own = {"ports", "profiles", "scale", "deploy"}
    assert {k: v for k, v in first.items() if k not in own} == {
        k: v for k, v in further.items() if k not in own
    }
    assert further["scale"] == 3
    (mount,) = found["balancer"]["volumes"]
    assert Path(mount["source"]) == ROOT / "docker" / "haproxy" and mount["read_only"]
    (port,) = found["balancer"]["ports"]
    assert found["balancer"]["environment"] == {"BALANCER_BIND": f":{port['target']}"}


def test_the_servers_of_production_are_given_gpus_and_without_gpus_none_is_asked_for() -> None:
    for name in SERVERS:
        reserved = services()[name]["deploy"]["resources"]["reservations"]["devices"]
        assert [(one["driver"], one["capabilities"]) for one in reserved] == [("nvidia", ["gpu"])]
    (llm,) = services("production", "", ("LLM_GPU_COUNT", "4"))["llm"]["deploy"]["resources"][
        "reservations"
    ]["devices"]
    assert llm["count"] == 4
    assert "deploy" not in services()["backend"]
    for profile in ("production", "stt", "tts"):
        for other, service in services("cpu", profile).items():
            assert "deploy" not in service, other


def test_every_image_names_its_version() -> None:
    for kind, profile in (("production", "production"), ("cpu", "tts"), ("dev", "dev")):
        for name, service in services(kind, profile).items():
            tag = service["image"].rpartition(":")[2]
            assert tag not in ("", "latest", service["image"]), name
            assert "build" in service or re.search(r"\d+\.\d+", tag), name


def test_every_server_has_a_health_check_and_kaiwa_waits_for_none_but_the_mocks() -> None:
    built = {name for name, service in services().items() if "build" in service}
    assert built == {"backend", "stt", "tts"}  # in their images
    for name, service in (*services().items(), *services("production", "mock").items()):
        assert name in built or "healthcheck" in service, name
    waits = services("production", "production,mock")["backend"]["depends_on"]
    assert {name for name, how in waits.items() if how["condition"] != "service_started"} == {
        "mocks"
    }


# --- settings -------------------------------------------------------------------------------------


def test_every_setting_reaches_kaiwa_through_the_variable_of_its_name() -> None:
    fixed = {"KAIWA_HOST", "KAIWA_PORT", *FIXED}
    passed = sorted(set(ENVIRONMENT) - fixed)
    given = tuple((name, PUBLISHED.get(name, f"{name.lower()}-{KEY}")) for name in passed)
    environment = services("production", "", *given)["backend"]["environment"]
    assert environment == {PROFILE: "production", **dict(given), **FIXED}
    chosen = services("production", "", (PROFILE, "embedded"))["backend"]["environment"]
    assert chosen[PROFILE] == "embedded"


def test_every_variable_that_compose_reads_is_explained_in_env_default_and_no_other() -> None:
    read = set(re.findall(r"\$\{(\w+)", TEXT))
    assert read - set(names_in(OURS)) == set(names_in(DEPLOYMENT))


def test_env_default_states_what_compose_does_without_it() -> None:
    default = tuple(
        (name, value)
        for name, value in re.findall(r"^(\w+)=(.*)$", DEPLOYMENT, re.MULTILINE)
        if name != "COMPOSE_PROFILES"
    )
    assert services("production", "", *default) == services()
    assert services("cpu", "tts", *default) == services("cpu", "tts")
    assert re.search(r"^COMPOSE_PROFILES=production$", DEPLOYMENT, re.MULTILINE)


def test_settings_of_the_servers_arrive_where_they_are_read() -> None:
    found = services(
        "production",
        "",
        ("LLM_MODEL_PATH", "/models/other"),
        ("LLM_TP_SIZE", "2"),
        ("LLM_ARGS", "--reasoning-parser qwen3"),
        ("STT_COMMAND", "python3 serve.py --max-batch-size=20"),
        ("STT_BACKEND", "cuda"),
        ("TTS_BACKEND", "cpu"),
        ("TTS_PLATFORM", "linux/arm64"),
        ("TTS_MODEL_DIR", "/srv/voices"),
        ("EMBEDDING_MODEL", "cl-nagoya/ruri-v3-310m"),
        ("EMBEDDING_PORT", "9999"),
    )
    llm = found["llm"]["command"]
    assert llm[0] == "/models/other" == llm[llm.index("--served-model-name") + 1]
    assert llm[llm.index("--tensor-parallel-size") + 1] == "2"
    assert llm[-2:] == ["--reasoning-parser", "qwen3"]
    assert found["backend"]["environment"]["LLM_MODEL_PATH"] == "/models/other"
    assert found["stt"]["command"] == ["python3", "serve.py", "--max-batch-size=20"]
    assert found["stt"]["image"] == "local/sherpa-onnx:cuda"
    assert found["stt"]["build"]["args"]["STT_BACKEND"] == "cuda"
    assert found["tts"]["image"] == "local/openvoice:cpu"
    assert found["tts"]["platform"] == "linux/arm64"
    assert {mount["target"]: mount["source"] for mount in found["tts"]["volumes"]} == {
        "/models": "/srv/voices"
    }
    command = found["embedding"]["command"]
    assert command == ["--model-id", "cl-nagoya/ruri-v3-310m", "--port", "9999"]
    assert found["backend"]["environment"]["EMBEDDING_ENDPOINT"] == "http://embedding:9999"
    assert found["backend"]["environment"]["EMBEDDING_MODEL"] == "cl-nagoya/ruri-v3-310m"


# --- names, ports, paths --------------------------------------------------------------------------


def test_kaiwa_calls_each_server_by_its_name_and_its_port() -> None:
    settings = services()["backend"]["environment"]
    for name in SERVERS:
        endpoint = settings[f"{name.upper()}_ENDPOINT"]
        assert re.match(rf"(ws|http)://{name}:{PORTS[name]}(/|$)", endpoint), endpoint
    llm, embedding = services()["llm"]["command"], services()["embedding"]["command"]
    assert llm[llm.index("--port") + 1] == str(PORTS["llm"])
    assert embedding[embedding.index("--port") + 1] == str(PORTS["embedding"])
    for folder, name in (("stt-sherpa", "stt"), ("tts-fish-speech", "tts")):
        dockerfile = (ROOT / "docker" / folder / "Dockerfile").read_text("utf-8")
        assert f"EXPOSE {PORTS[name]}\n" in dockerfile


@pytest.mark.parametrize(("kind", "profile"), [("production", "mock"), ("dev", "dev")])
def test_the_mocks_stand_under_the_names_and_ports_of_the_servers(kind: str, profile: str) -> None:
    mocks = services(kind, profile)["mocks"]
    assert set(mocks["networks"]["default"]["aliases"]) == set(SERVERS)
    name, params = parsed(mocks["command"])
    assert name == "mocks" and set(params["kinds"]) == set(SERVERS)
    assert params["host"] == "0.0.0.0"
    assert {one: params[f"{one}_port"] for one in SERVERS} == {one: PORTS[one] for one in SERVERS}


def test_every_folder_that_is_mounted_is_there() -> None:
    """So that it belongs to whoever cloned, not to the engine that would make it."""
    for kind, profile in (("production", "production"), ("dev", "dev")):
        for service in services(kind, profile).values():
            for mount in service.get("volumes", ()):
                if mount["type"] == "bind":
                    path = Path(mount["source"])
                    assert path.is_dir() and path.is_relative_to(ROOT), path
                    assert any(path.iterdir()), "git keeps no empty folder"


def test_documents_and_index_lie_where_the_commands_look_for_them() -> None:
    mounts = {mount["target"]: mount for mount in services()["backend"]["volumes"]}
    assert mounts["/app/docs"]["source"] == str(ROOT / "docs") and mounts["/app/docs"]["read_only"]
    assert mounts["/data"]["source"] == str(ROOT / "data")
    dockerfile = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
    assert "WORKDIR /app\n" in dockerfile and "ln -s /data /app/data" in dockerfile
    assert services()["backend"]["environment"]["RAG_INDEX_PATH"] == "data/index"


def test_every_command_of_compose_is_one() -> None:
    for kind, profile in (("production", "mock"), ("cpu", "production")):
        for name in ("backend", "mocks"):
            if name in services(kind, profile):
                parsed(services(kind, profile)[name]["command"])
    profile = services()["backend"]["environment"][PROFILE]
    assert (ROOT / "voice" / "profiles" / f"{profile}.yaml").is_file()


PAGES = ["README.md", "docs/deploy.md", "docs/api.md"]
DOCUMENTS = [*PAGES, *dict.fromkeys(name for names in FILES.values() for name in names)]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_compose_command_that_is_written_down_names_what_there_is(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    known = {"production", "mock", "balanced", "turn", "sip", "dev", "stt", "tts"}
    assert set(re.findall(r"--profile (\w+) up", text)) <= known
    assert set(re.findall(r"COMPOSE_PROFILES=(\w+)", text)) <= known
    for file in re.findall(r"docker-compose\S*?\.yml", text):
        assert (ROOT / file).is_file()
    for run in re.findall(r"run --rm backend (kaiwa [^\n`#]+)", text):
        parsed(shlex.split(run))
    for line in re.findall(r"docker compose (?:restart|stop|build|logs -f|logs) ([^\n`#|]+)", text):
        assert set(line.split()) <= {*SERVERS, "backend", "worker", "balancer", "turn", "sip"}, line


@pytest.mark.parametrize("name", PAGES)
def test_every_kaiwa_command_and_variable_of_the_pages_is_one(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    code = re.findall(r"`([^`\n]+)`", text)
    code += [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    said = [
        found[1]
        for line in code
        if (found := re.search(r"(?:^|/bin/|[ )])(kaiwa [a-z][^#;`]*)", line))
        and "docker" not in line
    ]
    assert said
    for line in said:
        parsed(shlex.split(line))
    others = {"COMPOSE_FILE", "OLLAMA_HOST", "LLM_ENDPONT", "BALANCER_BIND", *PROXIES}
    assert set(re.findall(r"\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b", text)) <= {
        *names_in(ENV_DEFAULT),
        *others,
    }


# --- what runs inside, run here -------------------------------------------------------------------


def exit_status(words: list[str], **options: Any) -> int:
    return subprocess.run(words, stderr=subprocess.DEVNULL, **options).returncode


@pytest.mark.parametrize("name", ["llm", "embedding"])
def test_the_health_check_of_a_server_succeeds_while_it_answers_and_then_no_more(name: str) -> None:
    kind, *check = services()[name]["healthcheck"]["test"]
    assert kind == "CMD"

    async def states() -> list[int]:
        server = LLMServer() if name == "llm" else EmbedServer()
        await server.start()
        port = server.url.rpartition(":")[2]
        words = [word.replace(f"/{PORTS[name]}", f"/{port}") for word in check]  # type: ignore[index]
        assert words != check
        seen = [await asyncio.to_thread(exit_status, words)]
        await server.aclose()
        return [*seen, await asyncio.to_thread(exit_status, words)]

    first, then = asyncio.run(states())
    assert first == 0 and then != 0


@pytest.mark.parametrize(("token", "seen"), [("hf_secret", "hf_secret"), ("", "none")])
def test_the_embedding_server_is_given_a_token_only_where_there_is_one(
    tmp_path: Path, token: str, seen: str
) -> None:
    router = tmp_path / "text-embeddings-router"
    router.write_text('#!/bin/bash\necho "${HF_TOKEN-none}" "$@"\n')
    router.chmod(0o755)
    service = services()["embedding"]
    done = subprocess.run(
        [*service["entrypoint"], *service["command"]],
        env={"PATH": f"{tmp_path}:/bin:/usr/bin", "HUGGINGFACEHUB_API_TOKEN": token},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [seen, *service["command"]]


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def running(words: list[str], folder: Path, environment: dict[str, str]) -> Iterator[Path]:
    """The command of a container as a process of this machine; its log."""
    log = folder / f"{words[1]}.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(BIN / words[0]), *words[1:]],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **environment},
            stdout=file,
            stderr=file,
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.real_time
def test_mock_profile_is_a_kaiwa_that_finds_every_server_and_ingests_over_their_wires(
    tmp_path: Path,
) -> None:
    """As `docker compose --profile mock up` would have it, with ports of this machine."""
    found = services("production", "mock")
    here = dict(zip(SERVERS, free_ports(len(SERVERS)), strict=True))
    (port,) = free_ports(1)
    settings = {**found["backend"]["environment"], "TURN_MODEL": str(ROOT / "models" / "turn")}
    for name in SERVERS:
        before = settings[f"{name.upper()}_ENDPOINT"]
        after = before.replace(f"//{name}:{PORTS[name]}", f"//127.0.0.1:{here[name]}")
        settings = {**settings, f"{name.upper()}_ENDPOINT": after}
        assert after != before
    mocks = [
        word for word in found["mocks"]["command"] if not re.match("--(host|embedding-port)", word)
    ]
    mocks += [f"--{name}-port={here[name]}" for name in SERVERS]
    backend = [*found["backend"]["command"], "--host", "127.0.0.1", "--port", str(port)]
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    with running(mocks, tmp_path, {}) as log:
        eventually(lambda: "# ready" in log.read_text(), "the mocks are there")
        ingest = [str(BIN / "kaiwa"), "ingest", "--source", "docs"]
        subprocess.run(
            ingest,
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], **settings},
            check=True,
            capture_output=True,
        )
        with running(backend, tmp_path, settings) as log:
            eventually(lambda: '"event": "ready"' in log.read_text(), "Kaiwa is there")
            with closing(urllib.request.urlopen(f"http://127.0.0.1:{port}/ready")) as answer:
                ready = json.load(answer)
    assert (ready["status"], ready["warnings"]) == ("ok", []), ready["warnings"]
    used = {slot: provider["provider"] for slot, provider in ready["providers"].items()}
    assert used["stt"] == "sherpa-server" and used["llm"] == "openai"
    assert used["tts"] == "fish" and used["embedder"] == "tei"
    assert ready["rag"]["documents"] >= 1


@pytest.mark.real_time
def test_dev_starts_kaiwa_anew_when_a_mounted_file_changes(tmp_path: Path) -> None:
    service = services("dev", "dev")["backend"]
    watcher, *options = service["command"][:2]
    command, *folders = service["command"][2:]
    parsed(shlex.split(command))
    mounted = {mount["target"]: mount["source"] for mount in service["volumes"]}
    assert [Path(mounted[folder]).name for folder in folders] == [
        "voice",
        "rag",
        "providers",
        "mocks",
        "web",
    ]
    # The same watcher, with something that starts faster than Kaiwa.
    starts, watched = tmp_path / "starts", tmp_path / "watched"
    watched.mkdir()
    stand_in = f"sh -c 'echo x >>{starts}; exec sleep 60'"
    process = subprocess.Popen(
        [program(watcher), *options, stand_in, str(watched)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: starts.exists(), "it is started")
        pause = threading.Event()
        for number in range(600):  # a change may come before the watcher watches
            (watched / "changed.py").write_text(str(number))
            if len(starts.read_text().split()) > 1:
                break
            pause.wait(0.1)
        assert len(starts.read_text().split()) > 1
    finally:
        process.terminate()
        process.wait(60)
