"""What callers and the agent say stands in no error and no log line, whatever the server echoes."""

import asyncio
import contextlib
import time
from typing import Any

import msgspec
import pytest
import structlog
from aiohttp import web

from mocks.serve_llm import HttpAnswer, LLMServer
from providers._http import error_message, error_text
from providers._said import as_text, complaints, without, words_of
from providers._tts_speech_request import SpeechRequests
from providers.base import LLMRequest, Message, ProviderError
from providers.llm_openai import OpenAICompatibleLLM
from providers.tts_speech_api import SpeechApiTTS

QUESTION = "my card number is 4111 1111 1111 1111, and what stream speed do I get"
VERDICT = "Your test result, Mrs Smith, is positive."
BODY: dict[str, Any] = {
    "model": "fish",
    "input": VERDICT,
    "stream": True,
    "stream_format": "audio",
    "speed": 1.5,
    "messages": [{"role": "user", "content": QUESTION}],
}
NO_VOICE = {"type": "missing", "loc": ["body", "voice"], "msg": "Field required", "input": BODY}

ECHOES = {
    "FastAPI": {"detail": [NO_VOICE]},
    "FastAPI with its URL behind": {"detail": [{**NO_VOICE, "ctx": {"error": {}}, "url": "u"}]},
    "vLLM, as a text": {"error": {"message": f"[{NO_VOICE!r}]", "code": 422}},
    "the same, flat": {"object": "error", "message": f"1 error: {{{NO_VOICE!r}}}", "code": 400},
    "pydantic's own text": {
        "detail": "1 validation error for Request\nvoice\n  Field required "
        f"[type=missing, input_value={BODY!r}, input_type=dict]"
    },
    "a body in a body": {"detail": "voice: " + msgspec.json.encode(BODY).decode()},
    "Gemini's list": [{"error": {"code": 400, "message": f"no voice in {BODY!r}"}}],
    "an unknown form": {"problem": BODY, "status": "voice"},
    "the body itself": BODY,
}


def raw(echo: Any) -> bytes:
    return msgspec.json.encode(echo)


@pytest.mark.parametrize("form", ECHOES)
def test_nothing_of_the_request_stands_in_an_error_text(form: str) -> None:
    own = words_of(raw(BODY))
    said = as_text(complaints(raw(ECHOES[form]), own))
    assert "voice" in said or form == "the body itself"
    for word in ("4111", "card", "Smith", "positive"):
        assert word not in said, said


@pytest.mark.parametrize("form", ["FastAPI", "vLLM, as a text", "pydantic's own text"])
def test_nor_where_it_is_not_known_what_was_sent(form: str) -> None:
    assert "4111" not in error_text(raw(ECHOES[form]))
    assert "4111" not in error_message(ECHOES[form])


def test_a_body_that_was_cut_off_is_read_as_text() -> None:
    assert "Smith" not in error_text(raw(ECHOES["FastAPI"])[:-9])


def test_where_and_what_are_told_and_all_of_several() -> None:
    also = {"type": "value_error", "loc": ["body", "speed"], "msg": "1.0 only", "input": 1.5}
    said = error_text(raw({"detail": [NO_VOICE, also]}))
    assert said == "body.voice: Field required; body.speed: 1.0 only"
    assert error_text(raw({"error": {"message": "context too long"}})) == "context too long"
    assert error_text(b"<h1>Not Found</h1>\n") == "<h1>Not Found</h1>"
    assert error_text(b"") == "" and error_text(raw({"status": "loading"})) == "loading"


@pytest.mark.parametrize(
    ("said", "own", "left"),
    [
        ("cannot say 'see you on Friday'!", "Well, see you on Friday.", "cannot say '…'!"),
        ("too long by far", "by far too long", "too long by far"),
        ("読めない: 田中様の検査結果は陽性です", "田中様の検査結果は陽性です", "読めない: …"),
        (r"bad: \u7530\u4e2d\u69d8", "田中様", "bad: …"),
        (r"bad: a line\nand another line", "a line\nand another line", r"bad: a line\n…"),
        ("nothing sent", "", "nothing sent"),
    ],
)
def test_runs_of_twelve_bytes_are_taken_out(said: str, own: str, left: str) -> None:
    assert without(said, words_of(raw({"input": own}))) == left


def test_names_of_models_and_voices_are_nobodys_words() -> None:
    body = {"model": "gpt-oss-120b-a5b", "voice": "af_bella_and_more", "text": QUESTION}
    for encoded in (raw(body), msgspec.msgpack.encode({**body, "audio": b"\xff"})):
        assert words_of(encoded) == QUESTION
    assert words_of(b"\xff\xfe neither") == ""


def test_a_long_conversation_is_searched_within_the_patience_of_the_loop() -> None:
    own = " ".join(f"passage {number} tells of opening hours" for number in range(2500))
    said = ("the request was refused for a reason that takes words " * 6)[:300]
    least = min(timed(lambda: without(said, own)) for _ in range(5))
    assert least < 0.02, "100 kB of it take 2 ms on an idle core"


def timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


# --- fields that are left out ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ECHOES)
def test_no_field_is_left_out_because_an_echo_names_it(form: str) -> None:
    requests = SpeechRequests("fish", "", "audio", None)
    assert not requests.learned_from(422, raw(ECHOES[form]), 1.5)


def test_of_a_list_of_complaints_the_place_counts_and_the_words_where_it_has_none() -> None:
    requests = SpeechRequests("fish", "", "audio", None)
    voice = {"type": "value_error", "loc": ["body", "voice"], "msg": "none to stream with"}
    assert not requests.learned_from(422, raw({"detail": [voice]}), 1.5)
    unknown = {"type": "extra_forbidden", "loc": ["body", "stream_format"], "msg": "not stream"}
    with structlog.testing.capture_logs() as logs:
        assert requests.learned_from(422, raw({"detail": [{**unknown, "input": VERDICT}]}), 1.0)
    assert "Smith" not in str(logs) and "stream_format" in str(logs)
    assert set(msgspec.json.decode(requests.body("a", "", 1.0))) >= {"stream"}
    whole = {"type": "value_error", "loc": ["body"], "msg": "speed=1.0 only", "input": BODY}
    assert requests.learned_from(422, raw({"detail": [whole]}), 1.5)
    assert not requests.obeys_speed


# --- on a wire ------------------------------------------------------------------------------------


def test_a_model_server_that_echoes_the_request_does_not_spread_it() -> None:
    async def failure(echo: Any) -> str:
        answer = HttpAnswer(status=422, body=raw(echo), request=0)
        async with LLMServer(answers=[answer]) as server:
            llm = OpenAICompatibleLLM(server.url, model="mock")
            message = Message(role="user", content=QUESTION)
            with pytest.raises(ProviderError) as caught:
                async with contextlib.aclosing(
                    llm.stream(LLMRequest(messages=(message,)))
                ) as events:
                    async for _ in events:
                        pass
            await llm.aclose()
            return str(caught.value)

    for echo in (*ECHOES.values(), {"error": f"cannot answer {QUESTION!r}"}):
        text = asyncio.run(failure(echo))
        assert "HTTP 422" in text and "4111" not in text, text


@pytest.mark.parametrize("status", [200, 400, 500])
def test_nor_does_a_server_of_speech(status: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        sent = (await request.json())["input"] if request.can_read_body else "?"
        return web.Response(status=status, text=f"cannot say {sent}", content_type="text/html")

    async def main() -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        tts = SpeechApiTTS(f"http://{host}:{port}")
        with pytest.raises(ProviderError) as caught:
            async with contextlib.aclosing(tts.stream(VERDICT)) as events:
                async for _ in events:
                    pass
        await tts.aclose()
        await runner.cleanup()
        return str(caught.value)

    with structlog.testing.capture_logs() as logs:
        text = asyncio.run(main())
    assert "cannot say" in text and "Smith" not in text + str(logs)
