import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voice.errors import ClientError
from voice.settings import (
    EXTENSIONS,
    MAX_DEPTH,
    Defaults,
    Settings,
    TurnDetection,
    initial,
    merge,
    typed,
)

DEFAULTS = Defaults(
    instructions="Be kind.", voice="en", transcription_model="pocketsphinx", silence_ms=700
)


def session() -> dict[str, Any]:
    return initial("sess_1", DEFAULTS)


def audio_in(**fields: Any) -> dict[str, Any]:
    return {"audio": {"input": fields}}


def detection(**fields: Any) -> dict[str, Any]:
    return audio_in(turn_detection=fields)


def echoed(update: dict[str, Any], *, before: dict[str, Any] | None = None) -> Any:
    return merge(before or session(), update)


# --- the first session ---------------------------------------------------------------------------


def test_the_first_session_holds_all_that_clients_read() -> None:
    first = session()
    assert first["type"] == "realtime"
    assert first["object"] == "realtime.session"
    assert (first["id"], first["model"]) == ("sess_1", "kaiwa")
    assert first["output_modalities"] == ["audio"]
    assert first["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}
    assert first["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 700,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    }
    assert first["audio"]["output"]["voice"] == "en"


def test_a_session_without_a_configured_voice_still_echoes_a_string() -> None:
    assert initial("sess_1", Defaults())["audio"]["output"]["voice"] == "default"


def test_the_typed_view_says_what_the_echo_says() -> None:
    view = typed(session())
    assert view.spoken and view.instructions == "Be kind."
    assert view.audio.input.turn_detection == TurnDetection(silence_duration_ms=700)
    assert view.max_output_tokens == "inf"
    assert not any(view.wants(extension) for extension in EXTENSIONS)


# --- merging -------------------------------------------------------------------------------------


def test_an_update_changes_only_what_it_names() -> None:
    before = session()
    after = merge(before, {"type": "realtime", **detection(silence_duration_ms=300)})
    expected = session()
    expected["audio"]["input"]["turn_detection"]["silence_duration_ms"] = 300
    assert after == expected


def test_an_update_leaves_the_old_session_as_it_was() -> None:
    before = session()
    kept = copy.deepcopy(before)
    merge(before, {"instructions": "x", **audio_in(format={"type": "audio/pcmu"})})
    with pytest.raises(ClientError):
        merge(before, detection(threshold=7))
    assert before == kept


def test_an_update_does_not_change_what_the_client_sent() -> None:
    update = audio_in(
        format={"type": "audio/pcmu", "rate": 8000}, transcription={"model": "m", "delay": 1}
    )
    kept = copy.deepcopy(update)
    merge(session(), update)
    assert update == kept


def test_empty_values_clear() -> None:
    before = merge(
        session(),
        {
            "instructions": "x",
            "tools": [{"type": "function", "name": "f"}],
            "include": ["kaiwa.turn.timeline"],
        },
    )
    after = merge(
        before,
        {
            "instructions": "",
            "tools": [],
            "include": None,
            "audio": {"input": {"transcription": None, "turn_detection": None}},
        },
    )
    assert typed(after) == msgspec.structs.replace(
        typed(session()),
        instructions="",
        audio=typed(after).audio,
    )
    assert typed(after).audio.input.transcription is None
    assert typed(after).audio.input.turn_detection is None


def test_a_null_inside_turn_detection_goes_back_to_the_default() -> None:
    before = echoed(detection(idle_timeout_ms=5000, silence_duration_ms=300))
    after = merge(before, detection(idle_timeout_ms=None, silence_duration_ms=None))
    assert after["audio"]["input"]["turn_detection"]["idle_timeout_ms"] is None
    assert after["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500


@pytest.mark.parametrize("key", ["id", "object", "model", "expires_at"])
def test_what_cannot_change_is_passed_over(key: str) -> None:
    assert echoed({key: "other"}) == session()


def test_server_vad_to_semantic_vad_and_back() -> None:
    semantic = echoed(detection(type="semantic_vad"))
    assert semantic["audio"]["input"]["turn_detection"] == {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    }
    low = merge(semantic, detection(eagerness="low", create_response=False))
    back = merge(low, detection(type="server_vad"))
    assert back["audio"]["input"]["turn_detection"] == {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": False,
        "interrupt_response": True,
    }


def test_manual_and_back() -> None:
    manual = echoed(audio_in(turn_detection=None))
    assert manual["audio"]["input"]["turn_detection"] is None
    back = merge(manual, detection(type="server_vad"))
    assert typed(back).audio.input.turn_detection == TurnDetection()


@pytest.mark.parametrize("between", [None, {"type": "semantic_vad"}], ids=["null", "semantic"])
def test_what_the_client_never_set_is_what_the_operator_set(
    between: dict[str, Any] | None,
) -> None:
    operators = Defaults(silence_ms=900, threshold=0.7)
    effective = initial("sess_1", operators)
    first = effective["audio"]["input"]["turn_detection"]
    for chosen in (between, {"type": "server_vad"}):
        update = audio_in(turn_detection=chosen)
        effective = merge(effective, update, detection=operators.detection)
    assert effective["audio"]["input"]["turn_detection"] == first
    assert first["silence_duration_ms"] == 900 and first["threshold"] == 0.7


def test_the_echo_of_transcription_holds_only_keys_that_clients_know() -> None:
    """pipecat refuses any other."""
    after = echoed(
        audio_in(
            transcription={
                "model": "whisper-9",
                "language": "ja",
                "languages": ["ja"],
                "delay": "low",
                "keywords": [],
                "prompt": None,
            }
        )
    )
    assert after["audio"]["input"]["transcription"] == {"model": "whisper-9", "language": "ja"}


def test_a_format_is_replaced_whole_and_filled() -> None:
    after = echoed(audio_in(format={"type": "audio/pcmu", "rate": 8000}))
    assert after["audio"]["input"]["format"] == {"type": "audio/pcmu"}
    assert typed(after).audio.input.format.rate_hz == 8000
    again = merge(after, audio_in(format={"type": "audio/pcm"}))
    assert again["audio"]["input"]["format"] == {"type": "audio/pcm", "rate": 24000}


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
def test_pcm_comes_in_at_the_rates_that_microphones_have(rate: int) -> None:
    after = echoed(audio_in(format={"type": "audio/pcm", "rate": rate}))
    assert typed(after).audio.input.format.rate_hz == rate


def test_a_voice_given_as_an_object_is_echoed_as_a_string() -> None:
    after = echoed({"audio": {"output": {"voice": {"id": "en-gb"}}}})
    assert after["audio"]["output"]["voice"] == "en-gb"


def test_extensions_are_asked_for_by_include() -> None:
    view = typed(echoed({"include": ["kaiwa.turn.sources", "item.input_audio_transcription.x"]}))
    assert view.wants("kaiwa.turn.sources")
    assert not view.wants("kaiwa.turn.timeline")


# --- stock clients -------------------------------------------------------------------------------


def test_the_first_updates_of_agents_js_are_accepted() -> None:
    tools = [{"type": "function", "name": "f", "description": "", "parameters": {"type": "object"}}]
    first = {
        "type": "realtime",
        "instructions": "Answer.",
        "model": "gpt-realtime",
        "output_modalities": ["audio"],
        "tools": tools,
        "tool_choice": "auto",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "noise_reduction": None,
                "transcription": {"model": "gpt-4o-mini-transcribe"},
                "turn_detection": {"type": "semantic_vad"},
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "speed": 1},
        },
    }
    after = merge(session(), first)
    after = merge(after, {"type": "realtime", "tracing": "auto"})
    view = typed(after)
    assert view.audio.input.turn_detection is not None
    assert after["audio"]["input"]["turn_detection"]["interrupt_response"] is True
    assert after["tracing"] == "auto"
    assert after["model"] == "kaiwa"
    assert [tool.name for tool in view.tools] == ["f"]


def test_the_first_update_of_pipecat_is_accepted() -> None:
    update = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": "Answer.",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 24000},
                "transcription": {"model": "gpt-4o-transcribe", "language": None, "prompt": None},
                "turn_detection": None,
            },
            "output": {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "alloy"},
        },
        "tools": [],
        "max_output_tokens": None,
    }
    after = merge(session(), update)
    assert typed(after).audio.input.turn_detection is None
    assert after["audio"]["input"]["transcription"] == {"model": "gpt-4o-transcribe"}
    assert isinstance(after["audio"]["output"]["voice"], str)


# --- refusals ------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"type": "transcription"}, "session.type"),
    ({"audio": None}, "session.audio"),
    ({"audio": 5}, "session.audio"),
    ({"audio": {"input": []}}, "session.audio.input"),
    (audio_in(format={"type": "audio/opus"}), "session.audio.input.format.type"),
    (
        audio_in(format={"type": "audio/pcm", "rate": 44100}),
        "session.audio.input.format.rate",
    ),
    (
        audio_in(format={"type": "audio/pcm", "rate": "fast"}),
        "session.audio.input.format.rate",
    ),
    (
        {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 16000}}}},
        "session.audio.output.format.rate",
    ),
    ({"audio": {"output": {"speed": 0.2}}}, "session.audio.output.speed"),
    ({"audio": {"output": {"speed": 1.6}}}, "session.audio.output.speed"),
    ({"audio": {"output": {"voice": 5}}}, "session.audio.output.voice"),
    (detection(threshold=0.0), "session.audio.input.turn_detection.threshold"),
    (detection(threshold=1), "session.audio.input.turn_detection.threshold"),
    (detection(silence_duration_ms=49), "session.audio.input.turn_detection.silence_duration_ms"),
    (
        detection(silence_duration_ms=10_001),
        "session.audio.input.turn_detection.silence_duration_ms",
    ),
    (detection(prefix_padding_ms=-1), "session.audio.input.turn_detection.prefix_padding_ms"),
    (detection(idle_timeout_ms=-1), "session.audio.input.turn_detection.idle_timeout_ms"),
    (detection(idle_timeout_ms=3_600_001), "session.audio.input.turn_detection.idle_timeout_ms"),
    (detection(prefix_padding_ms=2001), "session.audio.input.turn_detection.prefix_padding_ms"),
    (detection(type="magic"), "session.audio.input.turn_detection.type"),
    (detection(type=["server_vad"]), "session.audio.input.turn_detection.type"),
    (
        detection(type="semantic_vad", eagerness="very"),
        "session.audio.input.turn_detection.eagerness",
    ),
    (detection(create_response="yes"), "session.audio.input.turn_detection.create_response"),
    ({"output_modalities": ["audio", "text"]}, "session.output_modalities"),
    ({"output_modalities": []}, "session.output_modalities"),
    ({"output_modalities": ["video"]}, "session.output_modalities[0]"),
    ({"max_output_tokens": 0}, "session.max_output_tokens"),
    ({"max_output_tokens": 4097}, "session.max_output_tokens"),
    ({"max_output_tokens": "many"}, "session.max_output_tokens"),
    ({"tools": [{"type": "function"}]}, "session.tools"),
    ({"tools": "all"}, "session.tools"),
    (
        {"tools": [{"type": "function", "name": "f", "parameters": 1}]},
        "session.tools[0].parameters",
    ),
    ({"instructions": 5}, "session.instructions"),
    ({"include": "all"}, "session.include"),
    ({"include": ["kaiwa.turn.timelines"]}, "session.include"),
    ({"tool_choice": 5}, "session.tool_choice"),
]


@pytest.mark.parametrize(("update", "param"), REFUSED, ids=lambda value: json.dumps(value)[:60])
def test_what_cannot_be_is_refused_by_its_path(update: dict[str, Any], param: str) -> None:
    with pytest.raises(ClientError) as refused:
        merge(session(), update)
    assert refused.value.code == "invalid_value"
    assert refused.value.param == param
    assert param in refused.value.message


@pytest.mark.parametrize(
    "update",
    [
        {"audio": {"output": {"speed": 0.25}}},
        {"audio": {"output": {"speed": 1.5}}},
        detection(silence_duration_ms=50, prefix_padding_ms=0, idle_timeout_ms=0),
        detection(silence_duration_ms=10_000, prefix_padding_ms=2000),
        {"max_output_tokens": 1},
        {"max_output_tokens": 4096},
        {"max_output_tokens": "inf"},
        {"tool_choice": {"type": "function", "name": "f"}},
    ],
)
def test_the_ends_of_the_ranges_are_within_them(update: dict[str, Any]) -> None:
    assert isinstance(typed(echoed(update)), Settings)


def nested(depth: int) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for _ in range(depth):
        tree = {"a": tree}
    return tree


def test_all_that_is_wrong_is_told_at_once_and_named_after_the_first() -> None:
    """Wrong kinds, what lies outside its range, and what a session is."""
    update = {
        "type": "transcription",
        "output_modalities": ["audio", "smell"],
        "tools": [{"name": "f"}, {"name": 1}],
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": 44_100},
                "turn_detection": {"threshold": 3},
            },
            "output": {"speed": "fast"},
        },
    }
    with pytest.raises(ClientError) as refused:
        merge(session(), update)
    assert refused.value.param == "session.type"
    told = refused.value.message.split("; ")
    assert [one.partition(" ")[0] for one in told if one.startswith("session.")] == [
        "session.type",
        "session.output_modalities[1]",
        "session.tools[1].name",
        "session.audio.output.speed",
        "session.audio.input.format.rate",
        "session.audio.input.turn_detection.threshold",
    ]
    assert "44100" in refused.value.message and '"audio", "text"' in refused.value.message


@pytest.mark.parametrize(
    ("update", "told"),
    [
        (
            {"audio": {"output": {"speed": "fast"}}},
            "session.audio.output.speed must be a number, not text.",
        ),
        (
            {"tools": [{"name": "f"}] * 200 + [1], "audio": {"output": {"speed": "fast"}}},
            "session.tools[200] must be an object, not a whole number; "
            "session.audio.output.speed must be a number, not text.",
        ),
        (
            {"include": ["x"] * 200 + [1], "audio": {"output": {"speed": 9}}},
            "session.include[200] must be text, not a whole number; "
            "session.audio.output.speed must be 0.25..1.5, got 9.0.",
        ),
    ],
)
def test_each_is_told_once_and_a_long_list_by_its_first_wrong_member(
    update: dict[str, Any], told: str
) -> None:
    with pytest.raises(ClientError) as refused:
        merge(session(), update)
    assert refused.value.message == told


def test_no_audio_at_all_is_told_with_the_rest() -> None:
    with pytest.raises(ClientError) as refused:
        merge(session(), {"audio": None, "max_output_tokens": 0})
    assert refused.value.message == (
        'session.audio cannot be null; session.max_output_tokens must be 1..4096 or "inf", got 0.'
    )


@pytest.mark.parametrize("inner", [1, {}, []])
@pytest.mark.parametrize("is_list", [False, True])
def test_so_many_levels_and_no_more(inner: Any, is_list: bool) -> None:
    """The innermost counts as one, whatever it is; the session is another."""

    def nested(levels: int) -> Any:
        value = inner
        for _ in range(levels):
            value = [value] if is_list else {"x": value}
        return value

    merge(session(), {"x": nested(MAX_DEPTH - 2)})
    with pytest.raises(ClientError, match="nested"):
        merge(session(), {"x": nested(MAX_DEPTH - 1)})


def test_a_session_cannot_be_nested_without_end() -> None:
    deep = merge(session(), {"x": nested(MAX_DEPTH - 2)})
    merge(deep, {"x": nested(MAX_DEPTH - 2)})
    with pytest.raises(ClientError, match="nested") as refused:
        merge(session(), {"x": nested(900)})
    assert refused.value.param == "session"


def test_a_session_does_not_grow_without_end() -> None:
    effective = session()
    with pytest.raises(ClientError, match="KiB"):
        for n in range(100):
            effective = merge(effective, {f"x{n}": "y" * 10_000})
    assert len(json.dumps(effective)) < 300_000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 30000) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "format", "rate", "input", "output", "turn_detection", "transcription",
                 "voice", "id", "model", "speed", "name", "silence_duration_ms"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)  # fmt: skip
KEYS = st.sampled_from(["audio", "tools", "type", "include", "instructions", "tracing", "x"])


@given(st.lists(st.dictionaries(KEYS, JSON, max_size=3), min_size=1, max_size=3))
def test_any_update_is_merged_or_refused_with_its_path(updates: list[dict[str, Any]]) -> None:
    effective = session()
    for update in updates:
        try:
            effective = merge(effective, update)
        except ClientError as error:
            assert error.param is not None and error.param.startswith("session")
        assert isinstance(typed(effective), Settings)
        assert merge(effective, {}) == effective, "what is in force can be echoed and sent back"
