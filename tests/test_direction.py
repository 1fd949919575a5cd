"""Who may import whom: upwards only in the table of design, whatever the hour and the place.

An import inside a function counts like one at the top. Same layer is allowed, a circle is not.
"""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
OURS = ("voice", "rag", "providers", "mocks")

LAYERS = {
    "leaf": """
        providers.base rag.types
        voice.addresses voice.client_events voice.config voice.config_dial_problems
        voice.config_kinds voice.config_port_problems voice.config_problems
        voice.config_providers voice.config_secrets voice.config_sections voice.config_server
        voice.carrier voice.config_calls voice.config_phone_problems voice.config_sip_problems
        voice.config_strays voice.config_talk voice.config_yaml
        voice.env_file voice.errors
        voice.events
        voice.facts voice.ids voice.items voice.model_catalogue voice.phrases voice.providers
        voice.server_events voice.settings voice.settings_fields voice.sip_registrar voice.tuning
        voice.webrtc_settings
        voice.wire voice.wording voice.wrong_fields
        """,
    "core": """
        rag.chunk rag.clean rag.fuse rag.lexical rag.related rag.sentences rag.words voice.audio
        voice.backlog voice.barge_in voice.breaker voice.caller voice.clauses
        voice.completeness voice.completeness_en voice.completeness_ja voice.completeness_ko
        voice.completeness_scale
        voice.completeness_zh voice.conversation voice.dictation voice.drone voice.echo
        voice.echo_energy
        voice.endpoint voice.endpointing voice.garbage voice.hang_up voice.house voice.hypothesis
        voice.initiative voice.keypad voice.load voice.nearness voice.nods voice.own_voice
        voice.pause voice.plaintext voice.playout voice.prompt voice.questions voice.requests
        voice.resample
        voice.response voice.scripts voice.security voice.segments voice.speculation voice.speech
        voice.spoken_words voice.suspicion voice.terms voice.timeline voice.turn voice.turn_rules
        voice.transports.telephony.adapter voice.transports.telephony.arrival
        voice.transports.telephony.asterisk voice.transports.telephony.audiosocket
        voice.transports.telephony.heard voice.transports.telephony.media_stream
        voice.transports.telephony.telnyx voice.transports.telephony.tickets
        voice.transports.telephony.twilio voice.transports.telephony.vonage
        voice.utterance voice.words
        voice.delays voice.jitter voice.reception voice.rtp voice.rtp_playout
        voice.client_secrets voice.ice_candidates voice.rate voice.relay_credentials voice.sdp
        voice.sdp_answer voice.sdp_lines
        voice.key_events voice.rtcp
        voice.finals
        """,
    "driver": """
        rag.dispensable rag.durable rag.find rag.gather rag.ingest rag.parts rag.publish rag.read
        rag.read_markup rag.read_pages rag.read_text rag.remove rag.retrieve rag.sandbox rag.store
        rag.update rag.walk
        voice.answer voice.answering voice.answers voice.attempt voice.chain voice.chain_llm
        voice.chain_search voice.chain_stt
        voice.chain_tts voice.ear voice.floor voice.foresight voice.handlers voice.keys
        voice.metrics voice.models voice.patience voice.prefetch voice.recitals voice.record
        voice.recorded
        voice.recording voice.reload voice.replay voice.replies voice.reply voice.reply_facts
        voice.rules voice.session voice.silent voice.speaker voice.stillness voice.tape
        voice.templates voice.thinker voice.unasked voice.utterances
        voice.suspension voice.recorded_facts voice.wav
        """,
    "edge": """
        providers.* providers.tiny_en.* mocks.*
        voice.transports.sip.*
        voice.bench.* voice.desk voice.download voice.drain voice.health voice.http
        voice.body_fields voice.api_errors voice.call_bodies voice.calls_api voice.entrance
        voice.logs voice.model_folders voice.model_store voice.models_api voice.outbound_api
        voice.recorder voice.retention voice.system_api voice.telephony_api voice.transports.*
        voice.transports.telephony.* voice.unpack voice.documents
        """,
    "root": """
        voice.build voice.doors voice.judging voice.makers voice.server voice.cli voice.ask_command
        voice.bench_command voice.bench_stt_command voice.checkup voice.checkup_machine
        voice.checkup_doors voice.checkup_ice voice.checkup_phone voice.checkup_ports
        voice.checkup_registrar voice.checkup_sip voice.checkup_webrtc
        voice.doctor_command voice.mock_faults voice.mocks_command voice.models_command
        voice.call_command voice.config_command voice.ingest_command voice.replay_command
        """,
}
"""From top to bottom; a module named outright stands there, else where its package's `*` does."""
RANK = {name: rank for rank, names in enumerate(LAYERS.values()) for name in names.split()}
CORE = LAYERS["core"].split()
PURE = [*CORE, *LAYERS["leaf"].split()]

WORLD = {
    "asyncio", "time", "random", "socket", "os", "threading", "multiprocessing", "subprocess",
    "selectors", "signal", "secrets", "datetime", "concurrent", "ssl", "http", "urllib.request",
    "aiohttp", "websockets", "litestar", "uvicorn",
}  # fmt: skip
"""What a module that is told facts and the time has no use for."""

KNOW_RAG = {"voice.build", "voice.checkup", "voice.ingest_command"}
NAME_MOCKS = {"voice.build", "voice.makers", "voice.mock_faults", "voice.mocks_command"}
RECIPE = "providers.tiny_en."
"""How the small model was made; nothing that runs imports it."""
NAME_PROVIDERS = {"voice.build", "voice.cli", "voice.makers"}


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for package in OURS for path in sorted((ROOT / package).rglob("*.py"))}
MODULES = [name for name, path in FILES.items() if path.name != "__init__.py"]


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Every module named by an import, at any depth; `from a import b` may mean a module a.b."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = ".".join(package.split(".")[: 1 - level or None]) if level else ""
                start = ".".join(filter(None, (base, module)))
                yield start
                yield from (f"{start}.{alias.name}" for alias in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module")
                | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield module


def imported(name: str) -> set[str]:
    tree = ast.parse(FILES[name].read_text("utf-8"))
    package = name if FILES[name].name == "__init__.py" else name.rpartition(".")[0]
    return set(imports(tree, package))


IMPORTED = {name: imported(name) for name in FILES}
KNOWN = {name: {other for other in found if other in MODULES} for name, found in IMPORTED.items()}


def rank(name: str) -> int:
    if name in RANK:
        return RANK[name]
    package = name.rpartition(".")[0]
    return RANK[f"{package}.*"]


def test_the_scan_sees_imports_of_every_kind() -> None:
    source = """
import os.path
def later():
    from voice import wire, settings
    import importlib
    importlib.import_module("mocks.llm")
if False:
    from .turn import TurnTaker
"""
    found = set(imports(ast.parse(source), "voice"))
    assert found >= {"os.path", "voice.wire", "voice.settings", "mocks.llm", "voice.turn"}
    assert "providers.vad_silero" in KNOWN["voice.makers"], "lazy imports are seen"


def test_every_module_stands_in_the_table_and_every_entry_is_a_module() -> None:
    placed = {name for name in MODULES if name in RANK or f"{name.rpartition('.')[0]}.*" in RANK}
    assert sorted(set(MODULES) - placed) == []
    assert sorted(name for name in RANK if not name.endswith(".*") and name not in MODULES) == []


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_upwards(name: str) -> None:
    downwards = sorted(other for other in KNOWN[name] if rank(other) > rank(name))
    assert downwards == []


def test_there_is_no_circle() -> None:
    TopologicalSorter(KNOWN).prepare()


@pytest.mark.parametrize("name", PURE)
def test_the_core_reaches_for_nothing_of_the_world(name: str) -> None:
    worldly = {
        module
        for module in IMPORTED[name]
        if module in WORLD or module.partition(".")[0] in WORLD - {"http"}
    }
    assert sorted(worldly) == []


@pytest.mark.parametrize("name", CORE)
def test_the_core_does_not_know_the_configuration(name: str) -> None:
    assert KNOWN[name] & {"voice.config", "voice.metrics"} == set()


@pytest.mark.parametrize("name", MODULES)
def test_only_the_root_names_a_concrete_provider(name: str) -> None:
    if name in NAME_PROVIDERS:
        return
    concrete = {
        other
        for other in KNOWN[name]
        if other.startswith("providers.")
        and other != "providers.base"
        and not (name.startswith(("providers.", "mocks.")) and other.startswith("providers._"))
        and not (name.startswith(RECIPE) and other.startswith(RECIPE))
    }
    assert sorted(concrete) == []


@pytest.mark.parametrize("name", MODULES)
def test_only_the_root_and_the_benchmark_use_mocks(name: str) -> None:
    if name in NAME_MOCKS or name.startswith(("mocks.", "voice.bench.")):
        return
    assert sorted(other for other in IMPORTED[name] if other.partition(".")[0] == "mocks") == []


@pytest.mark.parametrize("name", MODULES)
def test_rag_and_voice_meet_only_at_the_root(name: str) -> None:
    package = name.partition(".")[0]
    reached = {other.partition(".")[0] for other in IMPORTED[name]}
    if package == "voice" and name not in KNOW_RAG:
        assert "rag" not in reached
    if package in ("rag", "providers", "mocks"):
        assert "voice" not in reached


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("rag.")])
def test_of_providers_rag_knows_the_protocols_only(name: str) -> None:
    assert {other for other in KNOWN[name] if other.startswith("providers.")} <= {"providers.base"}


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("providers.")])
def test_of_rag_providers_use_only_what_is_pure(name: str) -> None:
    assert {other for other in KNOWN[name] if other.startswith("rag.")} <= set(CORE)


@pytest.mark.parametrize("name", MODULES)
def test_nothing_imports_the_tests(name: str) -> None:
    assert {other.partition(".")[0] for other in IMPORTED[name]} & {"tests", "pytest"} == set()


def test_the_environment_is_read_at_the_root_only() -> None:
    """The benchmark is a program of its own, with processes of its own."""
    readers = {
        name
        for name, path in FILES.items()
        if "os.environ" in (text := path.read_text("utf-8")) or "getenv" in text
    }
    calls = {name for name in readers if name.startswith(("voice.", "rag."))}
    assert sorted(n for n in calls if "bench" not in n and rank(n) < RANK["voice.cli"]) == []
