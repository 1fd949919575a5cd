from typing import Any

import msgspec
import pytest

from providers._dialect import Dialect

BODY: dict[str, Any] = {
    "model": "m",
    "messages": [],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 100,
    "temperature": 0.3,
    "priority": 1,
    "reasoning_effort": "low",
}


def openai(message: str, param: str | None = None, code: str | None = None) -> Any:
    return {
        "error": {
            "message": message,
            "type": "invalid_request_error",
            "param": param,
            "code": code,
        }
    }


def learnt(refusal: Any, status: int = 400, body: dict[str, Any] = BODY) -> tuple[str, ...]:
    dialect = Dialect()
    raw = refusal if isinstance(refusal, bytes) else msgspec.json.encode(refusal)
    assert dialect.learn(body, status, raw) == bool(dialect.learnt)
    return dialect.learnt


MAX_TOKENS = openai(
    "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead.",
    "max_tokens",
    "unsupported_parameter",
)
TEMPERATURE = openai(
    "Unsupported value: 'temperature' does not support 0.3 with this model. "
    "Only the default (1) value is supported.",
    "temperature",
    "unsupported_value",
)
GEMINI = [
    {
        "error": {
            "code": 400,
            "message": 'Invalid JSON payload received. Unknown name "stream_options": Cannot find '
            'field.\nInvalid JSON payload received. Unknown name "priority": Cannot find field.',
            "status": "INVALID_ARGUMENT",
        }
    }
]


def test_max_tokens_goes_on_under_its_new_name() -> None:
    dialect = Dialect()
    assert dialect.learn(BODY, 400, msgspec.json.encode(MAX_TOKENS))
    body = dialect.adapted(BODY)
    assert body["max_completion_tokens"] == 100 and "max_tokens" not in body
    assert list(body)[:4] == list(BODY)[:4]


@pytest.mark.parametrize(
    ("refusal", "status", "fields"),
    [
        (MAX_TOKENS, 400, ("max_tokens",)),
        (TEMPERATURE, 400, ("temperature",)),
        (GEMINI, 400, ("priority", "stream_options")),
        (openai("Unknown parameter: 'priority'.", "priority", "unknown_parameter"), 400, None),
        (openai("Unrecognized request argument supplied: priority"), 400, None),
        (openai("priority: Extra inputs are not permitted"), 400, None),
        (openai("Got priority 1 but Priority scheduling is not enabled."), 400, None),
        (
            {
                "detail": [
                    {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra"}
                ]
            },
            422,
            ("stream_options",),
        ),
        ({"object": "error", "message": "unknown field priority"}, 400, ("priority",)),
        (b"stream_options is not supported", 400, ("stream_options",)),
    ],
)
def test_a_refused_field_is_not_sent_again(
    refusal: Any, status: int, fields: tuple[str, ...] | None
) -> None:
    assert learnt(refusal, status) == (fields or ("priority",))


@pytest.mark.parametrize(
    "refusal",
    [
        openai("'max_tokens' or 'max_completion_tokens' is too large: 100. Not supported."),
        openai("Invalid value: 'lwo'. Supported values are: 'low'.", "reasoning_effort"),
        openai("model m is not supported", "model"),
        openai("tool_choice is not supported", "tool_choice"),
        openai("Your organization must be verified to stream this model.", "stream"),
        openai("Unknown parameter: 'messages[0].priority_level'."),
        {"error": None},
        b"",
        b"\xff",
        [],
    ],
)
def test_a_wrong_value_or_what_an_answer_needs_stays_an_error(refusal: Any) -> None:
    assert learnt(refusal) == ()


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_only_a_bad_request_teaches(status: int) -> None:
    assert learnt(TEMPERATURE, status) == ()


def test_what_was_not_sent_cannot_be_left_out() -> None:
    assert learnt(TEMPERATURE, body={"model": "m", "messages": []}) == ()


def test_a_server_that_refuses_without_end_is_asked_a_bounded_number_of_times() -> None:
    dialect, times = Dialect(), 0
    names = msgspec.json.encode(openai(" ".join(BODY) + " max_completion_tokens unsupported"))
    while dialect.learn(dialect.adapted(BODY), 400, names):
        times += 1
        assert times <= len(BODY)
    assert {"model", "messages", "stream", "max_completion_tokens"} == set(dialect.adapted(BODY))
