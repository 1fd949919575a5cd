"""`kaiwa replay` on the terminal."""

from pathlib import Path

import pytest

from tests.recorded_calls import cuts_in, path_of, recorded
from tests.voice.test_cli import complaint, kaiwa

CALL = str(path_of("barge_in"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recordings as a server leaves them."""
    folder = tmp_path_factory.mktemp("calls")
    data = recorded(cuts_in)[1].data
    for name in ("20261121T100000Z-sess_aa1", "20261121T110000Z-sess_aa2"):
        (folder / f"{name}.kaiwa").write_bytes(data)
    return folder


def test_a_call_that_is_the_same_is_shown_and_called_identical() -> None:
    done = kaiwa("replay", CALL)
    assert done.returncode == 0, done.stderr
    assert "barge_in.kaiwa.gz: identical (64 events, 83 frames)" in done.stdout
    lines = [" ".join(line.replace("│", "").split()) for line in done.stdout.splitlines()]
    for line in (
        "0.000 session.update",
        "0.040 input_audio_buffer.speech_started 0 ms",
        "1.220 final 'what are your opening hours'",
        "1.500 input_audio_buffer.speech_stopped 1480 ms",
        "2.220 kaiwa.speech.ducked",
        "2.880 (what has not left is dropped)",
        "2.880 kaiwa.turn.timeline 'interrupted'",
        "6.800 closed 1000",
    ):
        assert line in lines, line
    assert "AudioIn" not in done.stdout and done.stderr == ""


def test_everything_is_shown_where_it_is_asked_for() -> None:
    done = kaiwa("replay", CALL, "--verbose")
    assert done.returncode == 0
    for word in ("AudioIn 640 bytes", "VadFrame 512 ", "frame of turn 1 at 40 ms, 1920 bytes"):
        assert word in done.stdout, word
    assert "(timer)" in done.stdout


def test_an_answer_that_was_begun_early_is_told_without_its_sound() -> None:
    """250 lines, most of them samples, and the verdict behind them."""
    call = str(path_of("begun_early_and_held_back"))
    told = kaiwa("replay", call).stdout
    assert "Foreseen 1: Said text=" in told and "the verdict" in told.splitlines()[-2]
    assert "Sounded" not in told and "Marked" not in told and "\\x" not in told
    everything = kaiwa("replay", call, "--verbose").stdout
    assert "Foreseen 1: Sounded 4800 bytes" in everything and "\\x" not in everything


def test_the_first_difference_is_told_with_both_sides() -> None:
    done = kaiwa("replay", CALL, "--set", "turn.silence_ms=300")
    assert done.returncode == 1
    told = done.stdout.splitlines()[-3:]
    assert told[0] == "barge_in.kaiwa.gz: different at 1.300 s"
    assert told[1].startswith('  then  1.500000 {"type":"input_audio_buffer.speech_stopped"')
    assert told[2].startswith('  now   1.300000 {"type":"input_audio_buffer.speech_stopped"')


def test_where_long_events_differ_the_place_is_shown() -> None:
    done = kaiwa("replay", CALL, "--set", "tts.voice=bob")
    assert done.returncode == 1
    then, now = done.stdout.splitlines()[-2:]
    assert '"voice":"default"' in then and '"voice":"bob"' in now


def test_of_several_calls_each_has_its_line_and_the_worst_is_the_exit_status(folder: Path) -> None:
    files = [str(path) for path in sorted(folder.iterdir())]
    done = kaiwa("replay", CALL, *files)
    assert done.returncode == 0 and done.stdout.count("identical") == 3
    assert len(done.stdout.splitlines()) == 3
    done = kaiwa("replay", "nosuch.kaiwa", CALL, "--set", "turn.silence_ms=300")
    assert done.returncode == 2
    assert "no file nosuch.kaiwa" in done.stdout and "different at" in done.stdout


def test_a_session_is_found_in_the_folder_of_the_settings(folder: Path) -> None:
    env = {"KAIWA_RECORD_FOLDER": str(folder)}
    assert "sess_aa1.kaiwa: identical" in kaiwa("replay", "sess_aa1", **env).stdout
    several = kaiwa("replay", "sess_aa", **env)
    assert several.returncode == 2 and "can be 2 recordings" in several.stdout
    none = kaiwa("replay", "sess_bb", **env)
    assert none.returncode == 2 and f"none of {folder} is called so" in none.stdout


def test_a_call_that_was_not_recorded_to_its_end_says_so(tmp_path: Path) -> None:
    file = tmp_path / "torn.kaiwa"
    file.write_bytes(recorded(cuts_in)[1].data[:300_000])
    done = kaiwa("replay", str(file))
    assert done.returncode == 0
    assert "torn.kaiwa: not the whole call: it breaks off in the middle of a record" in done.stdout
    assert "torn.kaiwa: identical" in done.stdout


def test_a_damaged_file_is_told_in_one_line(tmp_path: Path) -> None:
    data = bytearray(recorded(cuts_in)[1].data)
    data[200_000] ^= 1
    file = tmp_path / "bad.kaiwa"
    file.write_bytes(data)
    done = kaiwa("replay", str(file))
    assert done.returncode == 2
    assert done.stdout.startswith(f"kaiwa: {file}: damaged at byte ")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("turn.silence_ms", "must be a setting and its value: turn.silence_ms=300"),
        ("nonsense=1", "there is no such setting; those have a section, as in turn.silence_ms=300"),
        ("turn.silence_ms=[", "while parsing"),
    ],
)
def test_a_change_that_is_none_is_refused(change: str, told: str) -> None:
    assert told in complaint("replay", CALL, "--set", change)
