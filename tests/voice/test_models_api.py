"""Models are listed, switched and tuned while calls go on, on servers that speak the real wire."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mocks.llm import EchoLLM
from mocks.serve_llm import LLMServer
from tests.served import (
    Answer,
    Caller,
    Hosted,
    Served,
    eventually,
    get,
    request,
    written,
)

QWEN, LLAMA = "Qwen/Qwen3-8B", "llama3.2:1b"
KEY = "a-key-that-is-long-enough-0001"


@contextlib.contextmanager
def llm_server(llm: EchoLLM | None = None, **options: Any) -> Iterator[LLMServer]:
    """On a loop of its own: what is tested is on the other side of a socket."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def done(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(60)

    async def made() -> LLMServer:
        return LLMServer(llm, **options)

    try:
        server: LLMServer = done(made())
        done(server.start())
        yield server
        done(server.aclose())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextlib.contextmanager
def hosted(folder: Path, llm: dict[str, Any], **sections: Any) -> Iterator[Hosted]:
    one = Hosted(written(folder, {"llm": llm, **sections}))
    try:
        yield one
    finally:
        one.stop()


def send(url: str, method: str, path: str, body: Any, *headers: str) -> Answer:
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {url[7:].rstrip('/')}",
        "Content-Type: application/json",
        f"Content-Length: {len(data)}",
        "Connection: close",
        *headers,
    ]
    return request(url, ("\r\n".join(lines) + "\r\n\r\n").encode() + data)


def switch(url: str, name: str) -> Answer:
    return send(url, "POST", "/api/models/switch", {"model_name": name})


def tune(url: str, name: str, **values: Any) -> Answer:
    return send(url, "PUT", f"/api/models/{name}/config", values)


def asked(server: LLMServer) -> dict[str, Any]:
    """What the server was asked for last."""
    body: dict[str, Any] = msgspec.json.decode(server.bodies[-1])
    return body


def written_answer(caller: Caller, words: str = "hello") -> None:
    caller.write(words)
    caller.send({"type": "response.create", "response": {"output_modalities": ["text"]}})
    done = caller.until("response.done")["response"]
    assert done["status"] == "completed", done


def openai(server: LLMServer, **more: Any) -> dict[str, Any]:
    return {"provider": "openai", "endpoint": server.endpoint, "retries": 0, **more}


class Setup(msgspec.Struct):
    url: str
    server: LLMServer
    hosted: Hosted


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[Setup]:
    with (
        llm_server(model=QWEN, more_models=(LLAMA,)) as server,
        hosted(tmp_path, openai(server, model=QWEN)) as one,
    ):
        yield Setup(one.url, server, one)


# --- one server -----------------------------------------------------------------------------------


def test_all_that_the_server_offers_is_listed_and_what_answers_is_marked(setup: Setup) -> None:
    body = get(setup.url, "/api/models").json
    assert body["current"] == QWEN and body["note"] == ""
    assert [(one["model_name"], one["current"]) for one in body["models"]] == [
        (QWEN, True),
        (LLAMA, False),
    ]
    config = {"model_name": QWEN, "temperature": None, "max_tokens": 512, "context_length": 4000}
    assert body["models"][0]["config"] == config
    assert body["models"][0]["endpoint"] == setup.server.endpoint
    assert body["servers"][0]["problem"] == ""
    assert get(setup.url, "/api/models/current").json == body["models"][0]
    for name in (LLAMA, LLAMA.replace(":", "%3A")):
        assert get(setup.url, f"/api/models/{name}").json == body["models"][1]
    for name in (QWEN, QWEN.replace("/", "%2F")):
        assert get(setup.url, f"/api/models/{name}/config").json == config


def test_a_call_that_is_open_is_answered_by_the_new_model_from_the_next_answer_on(
    setup: Setup,
) -> None:
    with Caller(setup.url) as caller:
        written_answer(caller)
        assert asked(setup.server)["model"] == QWEN
        answer = switch(setup.url, LLAMA)
        assert answer.status == 200
        assert (answer.json["model_name"], answer.json["current"]) == (LLAMA, True)
        written_answer(caller)
        assert asked(setup.server)["model"] == LLAMA
    assert get(setup.url, "/api/models/current").json["model_name"] == LLAMA
    assert get(setup.url, "/health").json["providers"]["llm"]["model"] == LLAMA
    assert switch(setup.url, LLAMA).status == 200, "once more changes nothing"


def test_tuning_holds_from_the_next_answer_on_and_stays_with_its_model(setup: Setup) -> None:
    with Caller(setup.url) as caller:
        written_answer(caller)
        assert "temperature" not in asked(setup.server)
        tuned = tune(setup.url, QWEN, temperature=0.7, max_tokens=2048, context_length=4096)
        assert tuned.status == 200
        config = {
            "model_name": QWEN,
            "temperature": 0.7,
            "max_tokens": 2048,
            "context_length": 4096,
        }
        assert tuned.json == get(setup.url, f"/api/models/{QWEN}/config").json == config
        written_answer(caller)
        assert (asked(setup.server)["temperature"], asked(setup.server)["max_tokens"]) == (
            0.7,
            2048,
        )
        switch(setup.url, LLAMA)
        written_answer(caller)
        assert "temperature" not in asked(setup.server)
        assert asked(setup.server)["max_tokens"] == 512
        switch(setup.url, QWEN)
        assert tune(setup.url, QWEN, temperature=None).json == {**config, "temperature": None}
        written_answer(caller)
        assert "temperature" not in asked(setup.server)
        assert asked(setup.server)["max_tokens"] == 2048


def test_the_length_of_the_context_cuts_old_turns_of_an_open_call(setup: Setup) -> None:
    with Caller(setup.url) as caller:
        for number in range(4):
            written_answer(caller, f"{number} " + "word " * 100)
        before = asked(setup.server)["messages"]
        assert len(before) == 8, "instructions, three turns, the question"
        assert tune(setup.url, QWEN, context_length=100).status == 200
        written_answer(caller, "and now?")
        after = asked(setup.server)["messages"]
    assert len(after) < len(before) and after[-1]["content"] == "and now?"
    assert after[0] == before[0], "the instructions stay, byte for byte"


def test_an_answer_that_has_begun_ends_as_it_began(tmp_path: Path) -> None:
    slow = EchoLLM(["One two three four five six seven eight nine ten."] * 2, token_ms=40)
    with (
        llm_server(slow, model=QWEN, more_models=(LLAMA,)) as server,
        hosted(tmp_path, openai(server, model=QWEN)) as one,
        Caller(one.url) as caller,
    ):
        caller.write("count")
        caller.send({"type": "response.create", "response": {"output_modalities": ["text"]}})
        caller.until("response.output_text.delta")
        assert switch(one.url, LLAMA).status == 200
        done = caller.until("response.done")["response"]
        assert done["status"] == "completed"
        assert done["output"][0]["content"][0]["text"].endswith("nine ten.")
        assert [msgspec.json.decode(body)["model"] for body in server.bodies] == [QWEN]
        written_answer(caller)
        assert asked(server)["model"] == LLAMA


def test_a_model_the_server_has_not_is_refused_with_those_it_has(setup: Setup) -> None:
    for answer in (
        switch(setup.url, "gpt-9"),
        tune(setup.url, "gpt-9", max_tokens=5),
        get(setup.url, "/api/models/gpt-9"),
    ):
        assert answer.status == 404
        assert (
            "'gpt-9'" in answer.json["error"]["message"] and QWEN in answer.json["error"]["message"]
        )
        assert answer.json["offered"] == [QWEN, LLAMA]
    assert get(setup.url, "/api/models/current").json["model_name"] == QWEN


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"context_length": 1}, "context_length"),
        ({"context_length": 1.5}, "context_length"),
        ({"temprature": 0.5}, "temprature"),
        ([], "object"),
        (b"", "object"),
        (b"{", "truncated"),
    ],
)
def test_wrong_values_are_refused_and_the_field_is_named(
    setup: Setup, values: Any, field: str
) -> None:
    answer = send(setup.url, "PUT", f"/api/models/{QWEN}/config", values)
    assert answer.status in (400, 422)
    assert field in answer.json["error"]["message"]
    assert get(setup.url, f"/api/models/{QWEN}/config").json["max_tokens"] == 512


def test_all_wrong_fields_are_told_at_once_each_with_what_would_be_right(setup: Setup) -> None:
    values = {"temprature": 1, "temperature": "hot", "max_tokens": None, "context_length": 1}
    answer = send(setup.url, "PUT", f"/api/models/{QWEN}/config", values)
    assert (answer.status, answer.json["error"]["message"].split("; ")) == (
        422,
        [
            "temprature is unknown",
            "did you mean temperature? known are temperature, max_tokens, context_length",
            "temperature must be a number or null, not text",
            "max_tokens must be a whole number, not null",
            "context_length must be >= 100.",
        ],
    )
    answer = send(setup.url, "POST", "/api/models/switch", {"modelname": QWEN})
    assert answer.json["error"]["message"] == (
        "modelname is unknown; did you mean model_name? known are model_name; "
        "model_name is missing."
    )


def test_a_switch_to_nothing_is_refused_and_a_model_itself_cannot_be_put(setup: Setup) -> None:
    for body in ({}, {"model_name": ""}, {"model_name": 5}, {"model": QWEN}):
        answer = send(setup.url, "POST", "/api/models/switch", body)
        assert answer.status == 422 and "model" in answer.json["error"]["message"]
    answer = send(setup.url, "PUT", f"/api/models/{QWEN}", {"max_tokens": 5})
    assert answer.status == 404 and f"/api/models/{QWEN}/config" in answer.json["error"]["message"]


def test_a_name_without_its_tag_is_the_same_model(tmp_path: Path) -> None:
    """Ollama lists `llama3:latest` and takes `llama3`."""
    with (
        llm_server(model="llama3:latest", more_models=("llama3", LLAMA)) as server,
        hosted(tmp_path, openai(server, model="llama3")) as one,
    ):
        assert get(one.url, "/api/models/current").json["model_name"] == "llama3"
    with (
        llm_server(model="llama3:latest", more_models=(LLAMA,)) as server,
        hosted(tmp_path, openai(server, model="llama3")) as one,
    ):
        listed = get(one.url, "/api/models").json["models"]
        assert [(model["model_name"], model["current"]) for model in listed] == [
            ("llama3:latest", True),
            (LLAMA, False),
        ]
        assert tune(one.url, "llama3", temperature=0.5).status == 200
        assert switch(one.url, LLAMA).status == 200
        assert switch(one.url, "llama3").json["model_name"] == "llama3:latest"
        assert get(one.url, "/api/models/current").json["config"]["temperature"] == 0.5


def test_a_model_that_the_server_chose_is_shown_and_can_be_tuned(tmp_path: Path) -> None:
    with (
        llm_server(model=LLAMA) as server,
        hosted(tmp_path, openai(server)) as one,
        Caller(one.url) as caller,
    ):
        assert get(one.url, "/api/models/current").json["model_name"] == LLAMA
        assert tune(one.url, LLAMA, temperature=0.1).status == 200
        written_answer(caller)
        assert asked(server)["temperature"] == 0.1


# --- several, and none ----------------------------------------------------------------------------


def test_of_a_chain_the_first_that_offers_the_model_answers(tmp_path: Path) -> None:
    with llm_server(model=QWEN) as first, llm_server(model=LLAMA) as second:
        fallbacks = [{**openai(second, model=LLAMA)}, "extractive"]
        section = openai(first, model=QWEN, fallbacks=fallbacks)
        with hosted(tmp_path, section) as one, Caller(one.url) as caller:
            body = get(one.url, "/api/models").json
            assert [model["model_name"] for model in body["models"]] == [QWEN, LLAMA]
            assert [server["endpoint"] for server in body["servers"]] == [
                first.endpoint,
                second.endpoint,
            ]
            assert switch(one.url, LLAMA).json["endpoint"] == second.endpoint
            written_answer(caller)
            assert (first.requests, second.requests) == (0, 1)
            assert one.built.providers.llm.fallback_count == 0  # type: ignore[attr-defined]
            switch(one.url, QWEN)
            written_answer(caller)
            assert (first.requests, second.requests) == (1, 1)


def test_a_server_that_cannot_be_asked_is_told_and_nothing_is_switched(tmp_path: Path) -> None:
    with llm_server(model=LLAMA) as second:
        with llm_server(model=QWEN) as first:
            section = openai(first, model=QWEN, fallbacks=[openai(second, model=LLAMA)])
        with hosted(tmp_path, section) as one:
            body = get(one.url, "/api/models").json
            down, up = body["servers"]
            assert first.endpoint in down["problem"] and up["problem"] == ""
            assert [model["model_name"] for model in body["models"]] == [QWEN, LLAMA]
            answer = switch(one.url, "gpt-9")
            assert answer.status == 503 and first.endpoint in answer.json["error"]["message"]
            assert LLAMA in answer.json["error"]["message"]
            assert switch(one.url, LLAMA).status == 200


def test_a_server_without_a_list_cannot_be_switched_and_the_way_round_is_told(
    tmp_path: Path,
) -> None:
    with (
        llm_server(model=QWEN, lists_models=False) as server,
        hosted(tmp_path, openai(server, model=QWEN)) as one,
    ):
        answer = switch(one.url, LLAMA)
        assert answer.status == 503
        assert (
            "LLM_MODEL" in answer.json["error"]["message"]
            and "reload-config" in answer.json["error"]["message"]
        )
        assert tune(one.url, QWEN, temperature=0.3).status == 200


@pytest.mark.parametrize("provider", ["extractive", "mock"])
def test_what_has_no_models_says_so(hosting: Callable[..., Hosted], provider: str) -> None:
    url = hosting(llm={"provider": provider}).url
    body = get(url, "/api/models").json
    assert (body["current"], body["models"], body["servers"]) == (None, [], [])
    name = "echo" if provider == "mock" else provider
    for answer in (
        get(url, "/api/models/current"),
        get(url, f"/api/models/{QWEN}/config"),
        switch(url, QWEN),
        tune(url, QWEN, max_tokens=5),
    ):
        assert answer.status == 409
        assert answer.json["error"]["message"] == body["note"]
    assert "has no models" in body["note"] and "LLM_ENDPOINT" in body["note"], name


# --- who may ask, and what a reload makes of it ---------------------------------------------------


def test_where_keys_are_set_they_are_asked_for(serving: Callable[..., Served]) -> None:
    url = serving(server={"api_keys": [KEY]}).url
    for path in (
        "/api/models",
        "/api/models/current",
        "/api/models/x/config",
        "/api/system/status",
    ):
        assert get(url, path).status == 401
    assert switch(url, QWEN).status == tune(url, QWEN, max_tokens=5).status == 401
    assert get(url, "/api/models", f"Authorization: Bearer {KEY}").status == 200


def test_a_model_that_is_not_there_is_told_soon_after_the_reload(tmp_path: Path) -> None:
    """Before anybody has asked it anything."""
    with llm_server(model=QWEN) as server:
        served = Served(written(tmp_path, {"llm": openai(server, model=QWEN)}))
        try:

            def told() -> str:
                return str(get(served.url, "/ready").json["warnings"])

            assert server.endpoint not in told()
            written(tmp_path, {"llm": openai(server, model="no-such")})
            assert send(served.url, "POST", "/api/system/reload-config", b"").status == 200
            eventually(lambda: "no model 'no-such'" in told(), "it is named", 2.0)
            written(tmp_path, {"llm": openai(server, model=QWEN)})
            send(served.url, "POST", "/api/system/reload-config", b"")
            eventually(lambda: "no-such" not in told(), "it is taken back")
        finally:
            served.stop()


def test_a_reload_brings_back_what_the_settings_say(tmp_path: Path) -> None:
    with llm_server(model=QWEN, more_models=(LLAMA,)) as server:
        section = openai(server, model=QWEN)
        served = Served(written(tmp_path, {"llm": section}))
        try:
            tune(served.url, QWEN, temperature=0.7)
            switch(served.url, LLAMA)
            tune(served.url, LLAMA, max_tokens=99)
            written(tmp_path, {"llm": {**section, "temperature": 0.2}})
            answer = send(served.url, "POST", "/api/system/reload-config", b"")
            changed = {one["setting"]: one for one in answer.json["changed"]}
            assert (changed["llm.model"]["before"], changed["llm.model"]["now"]) == (LLAMA, QWEN)
            assert changed["llm.max_tokens"]["before"] == 99
            assert changed["llm.temperature"]["now"] == 0.2
            assert f"llm, for {QWEN}" in changed
            again = send(served.url, "POST", "/api/system/reload-config", b"")
            assert again.json["changed"] == []
            with Caller(served.url) as caller:
                written_answer(caller)
            assert (asked(server)["model"], asked(server)["temperature"]) == (QWEN, 0.2)
            written(tmp_path, {"llm": {**section, "model": LLAMA}})
            send(served.url, "POST", "/api/system/reload-config", b"")
            with Caller(served.url) as caller:
                written_answer(caller)
            assert asked(server)["model"] == LLAMA and "temperature" not in asked(server)
        finally:
            served.stop()


def test_the_api_describes_itself(serving: Callable[..., Served]) -> None:
    schema = get(serving().url, "/docs/openapi.json").json
    body = schema["paths"]["/api/models/{name}"]["put"]["requestBody"]
    assert "TuneModel" in str(body) and "/api/system/reload-config" in schema["paths"]
