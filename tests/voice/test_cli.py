"""The `kaiwa` command: help that teaches, errors in one line, and one turn on the terminal."""

import io
import os
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tests import wav_files
from tests.served import loud, silence, written
from voice.ask_command import bars
from voice.cli import app

COMMANDS = {
    (): ("serve", "ingest", "ask", "bench", "config", "models", "mocks", "doctor", "replay"),
    ("models",): ("list", "pull", "verify"),
    ("models", "pull"): ("--force", "--models-dir"),
    ("mocks",): ("--host", "--llm-port", "--jitter-ms", "--stt-dialect", "--fault"),
    ("doctor",): ("--profile", "--config"),
    ("serve",): ("--profile", "--config", "--host", "--port"),
    ("ingest",): ("paths", "--index"),
    ("ask",): ("question", "--speak-to", "--profile"),
    ("bench",): ("--url", "--callers", "--html"),
    ("replay",): ("--set", "--verbose", "record.folder"),
    ("config",): ("check", "get"),
    ("config", "get"): ("rag.index", "--profile"),
    ("config", "check"): ("--profile", "--config"),
}


def kaiwa(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "voice.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **env},
    )


def complaint(*arguments: str, **env: str) -> str:
    """What a command that cannot be carried out says: one line on stderr, exit status 2."""
    done = kaiwa(*arguments, **env)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    said = done.stderr.strip().splitlines()
    assert len(said) == 1 and said[0].startswith("kaiwa: "), done.stderr
    return said[0]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_what_there_is(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert done.exit_code == 0
    for word in COMMANDS[command]:
        assert word in done.output, done.output


def test_without_a_word_help_comes_by_itself() -> None:
    done = kaiwa()
    assert "First steps" in done.stdout + done.stderr and "kaiwa serve" in done.stdout + done.stderr


@pytest.mark.parametrize("command", [("dance",), ("serve", "--loud"), ("ingest",), ("ask",)])
def test_what_is_no_command_is_refused_without_a_traceback(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, list(command))
    assert done.exit_code == 2 and "Traceback" not in done.output


# --- config check ---------------------------------------------------------------------------------


def test_config_check_shows_what_would_run_without_the_secrets() -> None:
    key = "a-key-that-is-long-enough-0001"
    done = kaiwa("config", "check", "--profile", "mock", KAIWA_API_KEYS=key, LLM_API_KEY=key)
    assert done.returncode == 0 and "fine" in done.stdout
    assert "server.port" in done.stdout and "8000" in done.stdout
    assert key not in done.stdout


BAD_FILES = {
    "a key there is not": ("servr: {port: 1}", "servr"),
    "a section's key there is not": ("server: {prot: 1}", "prot"),
    "a port beyond all": ("server: {port: 70000}", "server.port"),
    "words for a number": ("turn: {silence_ms: soon}", "silence_ms"),
    "a provider there is not": ("tts: {provider: parrot}", "tts.provider"),
    "a profile there is not": ("profile: moon", "moon"),
    "a list": ("[1, 2]", "sections"),
    "a section that is a word": ("server: fast", "server"),
    "no YAML": ("server: [", "YAML"),
    "an open door": ("server: {host: 0.0.0.0}", "KAIWA_API_KEYS"),
    "silence without end": ("turn: {silence_ms: 999999}", "turn.silence_ms"),
    "square brackets": ("'[/red]': {x: 1}", "[/red]"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_config_check_names_the_setting_that_is_wrong(tmp_path: Path, what: str) -> None:
    text, named = BAD_FILES[what]
    file = tmp_path / "[/kaiwa].yaml"
    file.parent.mkdir()
    file.write_text(text)
    assert named in complaint("config", "check", "--config", str(file))


def test_config_check_tells_everything_that_is_wrong_a_line_each() -> None:
    done = kaiwa(
        "config",
        "check",
        LOG_LEVEL="LOUD",
        LLM_ENDPOINT="localhost:11434",
        KAIWA_ALLOWED_ORIGINS="foo",
    )
    assert done.returncode == 2 and "fine" not in done.stdout
    told = done.stderr.splitlines()
    assert len(told) == 3 and all(line.startswith("kaiwa: ") for line in told)
    for variable in ("LOG_LEVEL", "LLM_ENDPOINT", "KAIWA_ALLOWED_ORIGINS"):
        assert variable in done.stderr


def test_config_check_warns_of_what_would_hardly_be_meant() -> None:
    done = kaiwa("config", "check", STT_LANGUAGE="ja", TTS_VOICE="no-such-voice")
    assert done.returncode == 0 and "fine" not in done.stdout
    assert done.stdout.count("warning: ") == 2
    assert "'ja'" in done.stdout and "'no-such-voice'" in done.stdout


def test_one_setting_is_told_to_scripts_and_no_secret(tmp_path: Path) -> None:
    key = "a-key-that-is-long-enough-0001"
    index = str(tmp_path / "[b]index")
    assert kaiwa("config", "get", "rag.index", RAG_INDEX_PATH=index).stdout == f"{index}\n"
    assert kaiwa("config", "get", "server.api_keys", KAIWA_API_KEYS=key).stdout == "set\n"
    assert "config check" in complaint("config", "get", "rag.indx")


def test_a_missing_file_and_a_bad_variable_are_said_by_name(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.yaml")
    assert missing in complaint("config", "check", "--config", missing)
    assert "port" in complaint("config", "check", KAIWA_PORT="many")
    assert "callers" in complaint("bench", "--callers", "some")


def test_ingesting_what_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    done = kaiwa("ingest", str(tmp_path / "none[/]"), "--index", str(tmp_path / "index"))
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert "none[/]" in (done.stdout + done.stderr)


# --- ask ------------------------------------------------------------------------------------------


def test_a_written_question_is_answered_with_its_timeline_and_its_sound(tmp_path: Path) -> None:
    spoken = tmp_path / "answer.wav"
    done = kaiwa("ask", "Are you there?", "--profile", "mock", "--speak-to", str(spoken))
    assert done.returncode == 0, done.stderr
    assert "You said: Are you there" in done.stdout
    for word in ("llm_first_token", "tts_first_audio", "total", "completed"):
        assert word in done.stdout
    with wave.open(str(spoken), "rb") as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (24_000, 1, 2)
        assert file.getnframes() > 12_000


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (44_100, 2), (8_000, 1)])
def test_a_spoken_question_is_heard_and_answered(
    tmp_path: Path, rate_hz: int, channels: int
) -> None:
    mono = np.frombuffer(silence(0.2, rate_hz) + loud(0.6, rate_hz), "<i2")
    stereo = np.repeat(mono, channels).tobytes()
    question = wav_files.write(tmp_path / "question.wav", stereo, rate_hz, channels=channels)
    config = written(tmp_path, {"mock": {"stt_text": "what time is it"}})
    done = kaiwa("ask", str(question), "--config", str(config))
    assert done.returncode == 0, done.stderr
    assert "you    what time is it" in done.stdout
    assert "You said: what time is it" in done.stdout
    assert "endpoint" in done.stdout and "total" in done.stdout


def test_a_recording_of_nothing_is_said_to_be_one(tmp_path: Path) -> None:
    quiet = wav_files.write(tmp_path / "quiet.wav", silence(0.5, 16_000), 16_000)
    config = written(tmp_path, {})
    assert "no speech" in complaint("ask", str(quiet), "--config", str(config))


def test_a_model_that_fails_is_told_and_the_status_says_so(tmp_path: Path) -> None:
    fault = {"slot": "llm", "kind": "fail", "request": 0, "message": "the model is down"}
    config = written(tmp_path, {"mock": {"faults": [fault]}})
    done = kaiwa("ask", "Hello?", "--config", str(config))
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert "the model is down" in done.stdout + done.stderr and "failed" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_recording_that_is_not_there_is_said(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.wav")
    assert "No such file" in complaint("ask", missing, "--profile", "mock")


def test_a_sound_file_of_another_kind_is_not_taken_for_words() -> None:
    said = complaint("ask", "question.mp3", "--profile", "mock")
    assert "only WAV" in said and "ffmpeg -i question.mp3" in said


def test_nothing_asked_and_nowhere_to_write_are_said(tmp_path: Path) -> None:
    assert "empty" in complaint("ask", "  ", "--profile", "mock")
    nowhere = str(tmp_path / "no" / "answer.wav")
    assert nowhere in complaint("ask", "Hello?", "--profile", "mock", "--speak-to", nowhere)


def test_the_bars_lie_one_behind_the_other() -> None:
    from rich.console import Console

    spans = [{"name": "endpoint", "ms": 300.0}, {"name": "final", "ms": 0.0}]
    spans.append({"name": "tts_start", "ms": 100.0})
    out = io.StringIO()
    record = {"spans": spans, "total_ms": 400.0, "outcome": "completed"}
    Console(file=out, width=100).print(bars(record))
    drawn = [line.split("ms ")[-1].rstrip() for line in out.getvalue().splitlines()]
    assert drawn[0] == "▇" * 30
    assert drawn[2] == " " * 30 + "▇" * 10
    assert "400.0 ms" in out.getvalue() and "completed" in out.getvalue()
