"""The file format: what is whole can be read, what is not is told, and no key stands in it."""

import gzip
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers.base import Fault, ProviderError, Slot, SttFailure
from tests.driving import Call
from tests.recorded_calls import cuts_in, recorded
from voice import recording, reply_facts, wire
from voice.config import Config
from voice.config_secrets import SECRET
from voice.facts import AudioIn
from voice.recorded_facts import FACTS, packed, unpacked
from voice.recording import MAGIC, RecordingError, Told, parsed, read
from voice.replay import replay

KEY = "key-of-somebody-0123456789"


async def a_short_call(call: Call) -> None:
    await call.say(0.2)
    await call.hush(1.0)


SHORT = recorded(a_short_call)[1].data
WHOLE = parsed(SHORT)


def test_what_was_recorded_is_read_again() -> None:
    call, reel = recorded(cuts_in)
    found = reel.recording
    assert found.start.session == "sess_test" and found.start.recogniser == "echo"
    assert found.closed is not None and found.closed.code == 1000 and not found.incomplete
    told = [unpacked(one) for wake in found.wakes for one in wake.told]
    assert sum(isinstance(fact, AudioIn) for fact in told) == round(6.8 / 0.02)
    sent = [out for wake in found.wakes for out in wake.out]
    events = [msgspec.json.decode(o.data) for o in sent if isinstance(o, recording.SentEvent)]
    assert events == [entry.event for entry in call.sent]
    frames = [out for out in sent if isinstance(out, recording.SentFrame)]
    assert [(f.turn, f.at_ms, f.length) for f in frames] == [
        (f.frame.turn, f.frame.at_ms, len(f.frame.pcm)) for f in call.frames
    ]


def test_a_file_may_be_compressed(tmp_path: Path) -> None:
    file = tmp_path / "call.kaiwa.gz"
    file.write_bytes(gzip.compress(SHORT))
    assert read(file) == WHOLE
    file.write_bytes(gzip.compress(SHORT)[:-100])
    with pytest.raises(RecordingError, match="cannot be read"):
        read(file)


# --- facts ----------------------------------------------------------------------------------------


def test_every_fact_that_a_session_is_told_has_its_place() -> None:
    known = set(FACTS.values())
    assert known >= {*get_args(reply_facts.Fact), *get_args(wire.AnyClientEvent)}


def test_a_providers_failure_comes_back_as_it_was() -> None:
    error = ProviderError(Slot.STT, "sherpa", Fault.CRASHED, "its worker died")
    error.was_told = True
    back = unpacked(Told(1.5, *packed(SttFailure(3, error))))
    assert back.utterance == 3 and str(back.error) == str(error)
    assert (back.error.fault, back.error.was_told) == (Fault.CRASHED, True)


def test_a_fact_of_another_version_is_named() -> None:
    with pytest.raises(RecordingError, match="holds Hiccup, which this version does not know"):
        unpacked(Told(0.0, "Hiccup", msgspec.Raw(b"\x80")))
    with pytest.raises(RecordingError, match="another version's VadFrame"):
        unpacked(Told(0.0, "VadFrame", msgspec.Raw(b"\x80")))


def test_what_is_no_fact_cannot_be_recorded() -> None:
    with pytest.raises(NotImplementedError, match="object cannot be recorded"):
        packed(object())


# --- files that are not whole ---------------------------------------------------------------------


@given(st.integers(0, len(SHORT) - 1))
@settings(max_examples=80, deadline=None)
def test_a_file_that_breaks_off_is_read_up_to_its_last_whole_record(length: int) -> None:
    try:
        found = parsed(SHORT[:length])
    except RecordingError as error:
        assert length < len(MAGIC) + 4000, "there is a whole record"
        assert "no recording" in str(error) or "holds no call" in str(error)
        return
    assert found.wakes == WHOLE.wakes[: len(found.wakes)]
    assert found.closed is None and "breaks off" in found.incomplete
    assert replay(found).difference is None


@given(st.integers(0, len(SHORT) - 1), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_damage_is_never_taken_for_a_call(at: int, change: int) -> None:
    damaged = bytearray(SHORT)
    damaged[at] ^= change
    try:
        found = parsed(bytes(damaged))
    except RecordingError as error:
        assert str(error)
    else:  # a length that reaches beyond the end
        assert found.incomplete and found.wakes == WHOLE.wakes[: len(found.wakes)]


def test_damage_is_told_with_its_place() -> None:
    damaged = bytearray(SHORT)
    damaged[len(SHORT) // 2] ^= 1
    with pytest.raises(RecordingError, match=r"damaged at byte \d+: the checksum is wrong"):
        parsed(bytes(damaged))


@pytest.mark.parametrize("data", [b"", b"RIFF....", b"kaiwa call 9\n", MAGIC])
def test_what_is_no_recording_is_refused(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "call.kaiwa"
    file.write_bytes(data)
    with pytest.raises(RecordingError, match=f"{file}: (is no recording|holds no call)"):
        read(file)


# --- secrets --------------------------------------------------------------------------------------


def with_keys_everywhere() -> Config:
    """Every secret, and every setting that may hold one."""
    tree: dict[str, Any] = {"rag": {"enabled": False}}
    for path in SECRET:
        section, _, key = path.partition(".")
        many: Any = {"api_keys": [KEY], "twilio_signing_keys": {"id": KEY}}
        tree.setdefault(section, {})[key] = many.get(key, KEY)
    tree["llm"] |= {
        "endpoint": f"http://me:{KEY}@llm/v1",
        "fallbacks": [{"provider": "openai", "api_key": KEY, "endpoint": f"http://x/?k={KEY}"}],
    }
    tree["tts"] |= {"extra": {"token": KEY}, "endpoints": [f"http://{KEY}@tts"]}
    tree["stt"] = {"endpoint": f"ws://{KEY}@stt"}
    tree["agent"] = {"variables": {"pin": KEY}, "instructions": "Be brief."}
    return msgspec.convert(tree, Config)


def test_no_key_stands_in_a_recording() -> None:
    async def scenario(call: Call) -> None:
        tool = {"type": "mcp", "server_label": "x", "authorization": KEY, "headers": {"k": KEY}}
        call.update(tools=[tool])
        call.write("hello")
        call.tell("response.create", response={"tools": [tool]})
        await call.hush(0.2)

    config = with_keys_everywhere()
    assert msgspec.json.encode(config).count(KEY.encode()) == len(SECRET) + 7
    call, reel = recorded(scenario, config=config)
    assert KEY in str(call.last("session.updated").event), "the client itself gets its own back"
    assert KEY.encode() not in reel.data
    assert b"Be brief." in reel.data and b"hello" in reel.data
    assert replay(reel.recording).difference is None


def test_every_setting_that_a_call_asks_is_recorded() -> None:
    config = with_keys_everywhere()
    found = recorded(a_short_call, config=config)[1].recording.start.config
    for path in ("turn.silence_ms", "playout.lead_ms", "vad.threshold", "agent.instructions"):
        section, _, key = path.partition(".")
        assert found[section][key] == msgspec.to_builtins(config)[section][key], path
