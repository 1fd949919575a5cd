"""What a reload takes over, what waits for a restart, and that a wrong file changes nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.served import Answer, Caller, Served, get, request, upgrade, written
from voice.config import Config, LlmConfig, ServerConfig, SttConfig, TurnConfig
from voice.reload import HOLDS, holds, merged

KEY = "a-key-that-is-long-enough-0001"
OTHER = "a-key-that-is-long-enough-0002"


def post(url: str, path: str = "/api/system/reload-config", *headers: str) -> Answer:
    lines = [f"POST {path} HTTP/1.1", f"Host: {url[7:].rstrip('/')}", "Content-Length: 0", *headers]
    return request(url, ("\r\n".join([*lines, "Connection: close"]) + "\r\n\r\n").encode())


# --- the comparison -------------------------------------------------------------------------------


def test_every_setting_that_is_said_to_hold_exists() -> None:
    tree = msgspec.to_builtins(Config())
    for path in HOLDS:
        section, _, key = path.partition(".")
        assert section in tree and (key == "*" or key in tree[section]), path


def test_what_needs_a_restart_stays_as_it_runs_and_is_told_each_time() -> None:
    read = Config(turn=TurnConfig(silence_ms=700), server=ServerConfig(port=9000))
    first = merged(Config(), read)
    assert [(one.setting, one.before, one.now, one.holds) for one in first.changed] == [
        ("turn.silence_ms", 500, 700, "new calls")
    ]
    assert [one.setting for one in first.waiting] == ["server.port"]
    assert first.config.turn.silence_ms == 700 and first.config.server.port == 8000
    second = merged(first.config, read)
    assert second.changed == [] and second.waiting == first.waiting
    assert second.config == first.config


def test_a_server_that_others_can_reach_never_loses_its_keys() -> None:
    """The file may say 127.0.0.1 and no keys; the socket still listens to everybody."""
    running = Config(server=ServerConfig(host="0.0.0.0", api_keys=(KEY,)))
    found = merged(running, Config())
    assert found.config.server.api_keys == (KEY,)
    assert [one.setting for one in found.waiting] == ["server.host", "server.api_keys"]


def test_secrets_are_not_told_nor_those_of_fallbacks() -> None:
    read = Config(
        server=ServerConfig(api_keys=(KEY,)),
        llm=LlmConfig(
            api_key=OTHER, cache_salt=OTHER, fallbacks=({"provider": "openai", "api_key": OTHER},)
        ),
    )
    found = merged(Config(), read)
    told = msgspec.json.encode([*found.changed, *found.waiting]).decode()
    assert "server.api_keys" in told and "llm.fallbacks" in told
    assert KEY not in told and OTHER not in told


def test_a_password_in_an_address_is_not_told() -> None:
    before = Config(stt=SttConfig(endpoint="ws://user:s3cret@one:6006"))
    read = Config(stt=SttConfig(endpoint="ws://user:s3cret@two:6006"))
    (change,) = merged(before, read).waiting
    assert (change.before, change.now) == ("ws://…@one:6006", "ws://…@two:6006")


def test_what_is_not_listed_needs_a_restart() -> None:
    assert holds("turn.stall_s") == "new calls" and holds("tts.provider") == "restart"
    assert holds("embedder.model") == "restart"


def test_what_a_call_reads_holds_for_new_calls_and_its_model_after_a_restart() -> None:
    assert holds("barge_in.confirm_ms") == "new calls"
    read = Config(turn=TurnConfig(model="other.onnx", provider="none", silence_ms=700))
    found = merged(Config(), read)
    assert [one.setting for one in found.changed] == ["turn.silence_ms"]
    assert [one.setting for one in found.waiting] == ["turn.provider", "turn.model"]


# --- a server -------------------------------------------------------------------------------------


class Operated:
    """A server, and the file that its operator edits."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self._folder = folder
        self.file = written(folder, sections)
        self.served = Served(self.file)
        self.url = self.served.url

    def write(self, **sections: Any) -> None:
        written(self._folder, sections)

    def reload(self, *headers: str) -> Answer:
        return post(self.url, "/api/system/reload-config", *headers)


@pytest.fixture
def operated(tmp_path: Path) -> Iterator[Callable[..., Operated]]:
    started: list[Operated] = []

    def start(**sections: Any) -> Operated:
        started.append(Operated(tmp_path, **sections))
        return started[-1]

    yield start
    for one in started:
        one.served.stop()


def settings_of(changes: list[dict[str, Any]]) -> list[str]:
    return sorted(one["setting"] for one in changes)


def test_new_calls_get_new_settings_and_those_in_progress_keep_theirs(
    operated: Callable[..., Operated],
) -> None:
    kaiwa = operated()
    with Caller(kaiwa.url) as before:
        old = before.until("session.created")["session"]
        kaiwa.write(
            agent={"instructions": "Be brief."}, turn={"silence_ms": 900}, tts={"voice": "ja"}
        )
        answer = kaiwa.reload()
        assert answer.status == 200, answer.body
        changed = settings_of(answer.json["changed"])
        assert changed == ["agent.instructions", "tts.voice", "turn.silence_ms"]
        assert answer.json["needs_restart"] == []
        with Caller(kaiwa.url) as after:
            new = after.until("session.created")["session"]
            assert new["instructions"] == "Be brief."
            assert new["audio"]["output"]["voice"] == "ja"
            assert new["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 900
        assert before.update()["session"]["instructions"] == old["instructions"]
        before.answers()
    again = kaiwa.reload().json
    assert again["changed"] == again["needs_restart"] == [], "idempotent"


def test_all_that_is_wrong_is_told_and_nothing_is_changed(
    operated: Callable[..., Operated],
) -> None:
    kaiwa = operated()
    kaiwa.write(
        agent={"prompt": "agent@99"},
        turn={"silence_ms": 1},
        llm={"temperature": 9, "api_key": KEY},
        tts={"provider": "parrot", "voice": "ja"},
    )
    answer = kaiwa.reload()
    assert answer.status == 422
    told = {line.partition(":")[0] for line in answer.json["errors"]}
    assert told == {"agent.prompt", "turn.silence_ms", "llm.temperature", "tts.provider"}
    assert KEY not in answer.body.decode()
    with Caller(kaiwa.url) as caller:
        session = caller.until("session.created")["session"]
        assert session["audio"]["output"]["voice"] == "default"
    kaiwa.file.write_text("turn: [", "utf-8")
    assert kaiwa.reload().status == 422
    kaiwa.file.unlink()
    assert "cannot be read" in kaiwa.reload().json["errors"][0]
    assert get(kaiwa.url, "/api/health").status == 200


def test_a_fallback_with_which_no_server_would_start_is_refused(
    operated: Callable[..., Operated],
) -> None:
    kaiwa = operated()
    kaiwa.write(llm={"fallbacks": [{"provider": "openai", "endpoint": "gpu2:8000"}]})
    answer = kaiwa.reload()
    assert answer.status == 422
    (told,) = answer.json["errors"]
    assert told.startswith("llm.fallbacks[0].endpoint: ") and "http://gpu2:8000/v1?" in told


def test_keys_origins_lines_and_level_hold_at_once(operated: Callable[..., Operated]) -> None:
    kaiwa = operated(server={"api_keys": [KEY]}, log={"level": "INFO"})
    bearer = f"Authorization: Bearer {KEY}"
    assert kaiwa.reload().status == 401
    new = {
        "api_keys": [OTHER],
        "allowed_origins": ["https://voice.example.com"],
        "max_sessions": 1,
    }
    kaiwa.write(server=new, log={"level": "WARNING"}, embedder={"provider": "lexical"})
    answer = kaiwa.reload(bearer)
    assert settings_of(answer.json["changed"]) == [
        "log.level",
        "server.allowed_origins",
        "server.api_keys",
        "server.max_sessions",
    ]
    assert answer.json["needs_restart"] == [
        {"setting": "embedder.provider", "before": "mock", "now": "lexical", "holds": "restart"}
    ]
    assert kaiwa.reload(bearer).status == 401, "the old key is worth nothing any more"
    other = f"Authorization: Bearer {OTHER}"
    assert kaiwa.reload(other).status == 200
    origin = "Origin: https://voice.example.com"
    assert request(kaiwa.url, upgrade(kaiwa.url, other, origin)).status == 101
    with Caller(kaiwa.url, additional_headers={"Authorization": f"Bearer {OTHER}"}) as caller:
        caller.until("session.created")
        assert request(kaiwa.url, upgrade(kaiwa.url, other)).status == 503
    kaiwa.write(server=new, log={"level": "INFO"})
    kaiwa.reload(other)
    kaiwa.served.logged("config_reloaded", changed=["log.level"])
    events = [json.loads(line)["event"] for line in kaiwa.served.lines if line.startswith("{")]
    assert events.count("config_reloaded") == 1, "at WARNING, the others were not told"


def test_a_prompt_that_was_edited_or_pointed_elsewhere_holds_for_new_calls(
    operated: Callable[..., Operated], tmp_path: Path
) -> None:
    prompts = tmp_path / "prompts"
    (prompts / "agent").mkdir(parents=True)
    for version, text in ((1, "First."), (2, "Second.")):
        front = f"---\nname: agent\nversion: {version}\n---\n"
        (prompts / "agent" / f"{version}.md").write_text(front + text, "utf-8")
    (prompts / "agent" / "current").write_text("1", "utf-8")
    kaiwa = operated(agent={"prompts_dir": str(prompts)})

    def instructions() -> str:
        with Caller(kaiwa.url) as caller:
            return str(caller.until("session.created")["session"]["instructions"])

    assert instructions() == "First."
    (prompts / "agent" / "current").write_text("2", "utf-8")
    assert instructions() == "First.", "a file that is being edited is nobody's prompt"
    (change,) = kaiwa.reload().json["changed"]
    assert (change["before"], change["now"]) == ("agent@1", "agent@2")
    assert instructions() == "Second."
    (prompts / "agent" / "2.md").unlink()
    assert kaiwa.reload().status == 422
    assert instructions() == "Second."
    status = get(kaiwa.url, "/api/system/status").json
    assert status["prompt"] == "agent@2" and status["active_sessions"] == 0


def test_the_env_file_is_read_again(
    operated: Callable[..., Operated], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    kaiwa = operated()
    (tmp_path / ".env").write_text("TTS_VOICE=ko\nLLM_MAX_TOKENS=99\n", "utf-8")
    changed = {one["setting"]: one for one in kaiwa.reload().json["changed"]}
    assert sorted(changed) == ["llm.max_tokens", "tts.voice"]
    assert changed["tts.voice"]["now"] == "ko" and changed["llm.max_tokens"]["now"] == 99


def test_a_misspelt_variable_is_told_by_a_reload_and_makes_nobody_degraded(
    operated: Callable[..., Operated], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    kaiwa = operated()
    before = get(kaiwa.url, "/health").json["warnings"]
    (tmp_path / ".env").write_text("LLM_ENDPONT=http://127.0.0.1:9\n", "utf-8")
    told = kaiwa.reload().json["warnings"]
    assert "LLM_ENDPONT is not a setting; did you mean LLM_ENDPOINT?" in told
    assert get(kaiwa.url, "/health").json["warnings"] == before


def test_a_refused_reload_is_logged(operated: Callable[..., Operated]) -> None:
    kaiwa = operated()
    kaiwa.write(turn={"silence_ms": 1})
    assert kaiwa.reload().status == 422
    (error,) = kaiwa.served.logged("config_refused")["errors"]
    assert error.startswith("turn.silence_ms: ")


def test_a_page_of_elsewhere_can_change_nothing(operated: Callable[..., Operated]) -> None:
    """No key is asked for on 127.0.0.1, and browsers send a POST without asking."""
    kaiwa = operated()
    evil = "Origin: https://evil.example.com"
    for path in ("/api/system/reload-config", "/api/models/switch"):
        assert post(kaiwa.url, path, evil).status == 403
    own = f"Origin: {kaiwa.url.rstrip('/')}"
    assert kaiwa.reload(own).status == 200


def test_a_server_without_a_file_to_read_says_so(hosting: Callable[..., Any]) -> None:
    answer = post(hosting().url)
    assert answer.status == 409 and "read again" in answer.json["error"]["message"]


def test_the_status_tells_calls_memory_and_disk(hosting: Callable[..., Any]) -> None:
    hosted = hosting()
    with Caller(hosted.url) as caller:
        caller.until("session.created")
        status = get(hosted.url, "/api/system/status").json
    assert status["active_sessions"] == 1 and status["max_sessions"] == 100
    assert status["memory_usage_mb"] > 10 and status["uptime_s"] >= 0
    assert (status["prompt"], status["model"], status["profile"]) == ("agent@1", "", "mock")
