import asyncio
import signal
import socket
import sys
from typing import Any

import aiohttp
import msgspec

from mocks.clock import Sockets, run_virtual
from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM
from mocks.serve_llm import LLMServer
from providers.base import Fault

QUESTION = {"role": "user", "content": "Hi"}


async def post(url: str, **fields: Any) -> tuple[int, str]:
    body = {"model": "mock", "messages": [QUESTION], "stream": True, **fields}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + "/v1/chat/completions", json=body) as response,
    ):
        return response.status, await response.text()


def answer_of(server: LLMServer, **fields: Any) -> tuple[int, str]:
    async def main() -> tuple[int, str]:
        async with server:
            return await post(server.url, **fields)

    return run_virtual(main(), sockets=Sockets.OURS_CHATTY)


def chunks_of(text: str) -> list[Any]:
    events = [event.removeprefix("data: ") for event in text.split("\n\n")]
    assert events[-2:] == ["[DONE]", ""]
    return [msgspec.json.decode(event) for event in events[:-2]]


def test_the_stream_is_role_deltas_finish_usage_done() -> None:
    llm = EchoLLM(["Hi."], first_token_ms=0, token_ms=0)
    _, text = answer_of(LLMServer(llm), stream_options={"include_usage": True})
    *chunks, usage = chunks_of(text)
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": ""},
        {"content": "Hi"},
        {"content": "."},
        {},
    ]
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None, None, None, "stop"]
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 2


def test_usage_is_only_sent_when_asked_for() -> None:
    _, text = answer_of(LLMServer(EchoLLM(["Hi."])))
    assert all(chunk["choices"] for chunk in chunks_of(text))


def test_errors_have_vllms_shapes() -> None:
    status, text = answer_of(LLMServer(), model="other")
    assert status == 404 and msgspec.json.decode(text)["error"]["type"] == "NotFoundError"
    status, text = answer_of(LLMServer(), messages="?")
    assert status == 400 and msgspec.json.decode(text)["error"]["type"] == "BadRequestError"
    status, text = answer_of(LLMServer(api_key="k"))
    assert (status, msgspec.json.decode(text)) == (401, {"error": "Unauthorized"})
    fault = ScriptedFault(kind="fail", fault=Fault.OVERLOADED)
    status, _ = answer_of(LLMServer(EchoLLM(faults=[fault])))
    assert status == 503


def test_a_failure_in_mid_stream_is_an_event_with_status_200() -> None:
    fault = ScriptedFault(kind="fail", item=1, message="engine died")
    status, text = answer_of(LLMServer(EchoLLM(faults=[fault])))
    assert status == 200
    assert chunks_of(text)[-1]["error"]["message"] == "engine died"


def test_without_stream_the_answer_is_whole() -> None:
    _, text = answer_of(LLMServer(EchoLLM(["Hi there."])), stream=False)
    assert msgspec.json.decode(text)["choices"][0]["message"]["content"] == "Hi there."


def test_the_command_serves_and_counts_until_it_is_told_to_stop() -> None:
    async def main() -> None:
        port = free_port()
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "voice.cli", "mocks", "llm", "--llm-port", str(port)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert server.stdout is not None
        async with asyncio.timeout(30):
            said = (await server.stdout.readline()).decode().strip()
            url = said.removeprefix("LLM_ENDPOINT=").removesuffix("/v1")
            await post(url)
            async with (
                aiohttp.ClientSession() as session,
                session.get(url + "/mock/state") as response,
            ):
                state = await response.json()
            assert (state["requests"], state["running"], state["finished"]) == (1, 0, 1)
            server.send_signal(signal.SIGTERM)
            assert await server.wait() == 0

    asyncio.run(main())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
