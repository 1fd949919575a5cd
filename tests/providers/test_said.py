"""What callers and the agent say stands in no error and no log line, whatever the server echoes."""

import asyncio
import contextlib
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
import structlog
from aiohttp import web

from mocks.serve_llm import HttpAnswer, LLMServer
from mocks.tts_audio import audio_of
from providers._http import error_message, error_text
from providers._said import Complaint, as_text, complaints, without, words_of
from providers._tts_speech_request import SpeechRequests
from providers.base import TTS, LLMRequest, Message, ProviderError
from providers.llm_openai import OpenAICompatibleLLM
from providers.tts_fish import FishTTS
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
    """By the processor: what others do meanwhile does not count."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


# --- fields that are left out ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ECHOES)
def test_no_field_is_left_out_because_an_echo_names_it(form: str) -> None:
    requests = SpeechRequests("fish", "", "audio", None)
    assert not requests.learned_from(422, complaints(raw(ECHOES[form])), 1.5)


def told(complaint: dict[str, Any]) -> list[Complaint]:
    return complaints(raw({"detail": [complaint]}))


def test_of_a_list_of_complaints_the_place_counts_and_the_words_where_it_has_none() -> None:
    requests = SpeechRequests("fish", "", "audio", None)
    voice = {"type": "value_error", "loc": ["body", "voice"], "msg": "none to stream with"}
    assert not requests.learned_from(422, told(voice), 1.5)
    unknown = {"type": "extra_forbidden", "loc": ["body", "stream_format"], "msg": "not stream"}
    with structlog.testing.capture_logs() as logs:
        assert requests.learned_from(422, told({**unknown, "input": VERDICT}), 1.0)
    assert "Smith" not in str(logs) and "stream_format" in str(logs)
    assert set(msgspec.json.decode(requests.body("a", "", 1.0))) >= {"stream"}
    whole = {"type": "value_error", "loc": ["body"], "msg": "speed=1.0 only", "input": BODY}
    assert requests.learned_from(422, told(whole), 1.5)
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


def events(*said: Any) -> bytes:
    return b"".join(b"data: " + raw(one) + b"\n\n" for one in said)


async def failure_of_two_tasks(stream: AsyncGenerator[Any, None]) -> str:
    """Its first event is read by one task, the next by another, as a chain of providers does."""
    async with contextlib.aclosing(stream) as found:
        await asyncio.create_task(anext(found))
        with pytest.raises(ProviderError) as caught:
            await asyncio.create_task(anext(found))
    return str(caught.value)


def test_an_error_in_mid_stream_repeats_nothing_whoever_reads_it() -> None:
    token = {"choices": [{"delta": {"content": "Well, "}}]}
    echo = {"error": {"message": f"cannot answer {QUESTION!r}", "code": 500}}

    async def main() -> str:
        answer = HttpAnswer(body=events(token, echo), content_type="text/event-stream", request=0)
        async with LLMServer(answers=[answer]) as server:
            llm = OpenAICompatibleLLM(server.url, model="mock")
            message = Message(role="user", content=QUESTION)
            said = await failure_of_two_tasks(llm.stream(LLMRequest(messages=(message,))))
            await llm.aclose()
            return said

    said = asyncio.run(main())
    assert "the server reports: cannot answer" in said and "4111" not in said


@contextlib.asynccontextmanager
async def answering(answer: Callable[[str], web.Response]) -> AsyncIterator[str]:
    """A server of speech that answers every request by what it is to say."""

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        return answer(words_of(body) if body else "?")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [200, 400, 500])
def test_nor_does_a_server_of_speech_instead_of_speaking(status: int) -> None:
    def answer(text: str) -> web.Response:
        return web.Response(status=status, text=f"cannot say {text}", content_type="text/html")

    async def main() -> str:
        async with answering(answer) as url:
            return await failure_of_speech(SpeechApiTTS(url))

    with structlog.testing.capture_logs() as logs:
        said = asyncio.run(main())
    assert "cannot say" in said and "Smith" not in said + str(logs)


async def failure_of_speech(tts: TTS, text: str = VERDICT) -> str:
    with pytest.raises(ProviderError) as caught:
        async with contextlib.aclosing(tts.stream(text)) as found:
            async for _ in found:
                pass
    await tts.aclose()
    return str(caught.value)


def test_nor_does_one_amid_speech() -> None:
    hum = audio_of("Well, ", 44_100)

    def answer(text: str) -> web.Response:
        audio = {"type": "speech.audio.delta", "audio": b64encode(hum).decode()}
        error = {"type": "speech.audio.error", "error": {"message": f"cannot say {text}"}}
        return web.Response(body=events(audio, error), content_type="text/event-stream")

    async def main() -> str:
        async with answering(answer) as url:
            return await failure_of_speech(SpeechApiTTS(url))

    said = asyncio.run(main())
    assert "the server reports: cannot say" in said and "Smith" not in said


@pytest.mark.parametrize("status", [200, 500])
def test_nor_does_fish(status: int) -> None:
    def answer(text: str) -> web.Response:
        body = {"statusCode": status, "message": f"cannot say {text}", "error": "Internal"}
        return web.json_response(body, status=status)

    async def main() -> str:
        async with answering(answer) as url:
            return await failure_of_speech(FishTTS([url]))

    said = asyncio.run(main())
    assert "cannot say …" in said and "Smith" not in said


@pytest.mark.parametrize(
    ("complaint", "hint"),
    [("field required: voice", "; set TTS_VOICE"), ("cannot say {text}", ""), ("x" * 400, "")],
)
def test_what_to_set_is_told_by_the_servers_words_and_never_by_our_own(
    complaint: str, hint: str
) -> None:
    async def main() -> str:
        def answer(text: str) -> web.Response:
            return web.json_response({"error": complaint.format(text=text)}, status=422)

        async with answering(answer) as url:
            tts = SpeechApiTTS(url, model="fish")
            return await failure_of_speech(tts, "What a voice, she said.")

    said = asyncio.run(main())
    assert said.endswith(hint) and ("set TTS_VOICE" in said) == bool(hint)
