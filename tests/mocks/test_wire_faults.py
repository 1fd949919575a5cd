import asyncio
from typing import Any

import aiohttp
import pytest

from mocks.clock import Sockets, run_virtual
from mocks.llm import EchoLLM
from mocks.serve_llm import LLMServer, run_llm, serve_llm
from mocks.wire_faults import WireFault, WireFaults

ASKED = {"model": "mock", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


def test_faults_hit_the_requests_they_name_counted_from_when_they_were_set() -> None:
    faults = WireFaults([WireFault(kind="hang", request=2, times=2)])
    assert [fault is not None for fault in (faults.next() for _ in range(5))] == [
        *(False, True, True, False, False)
    ]
    faults.set(WireFault(kind="hang"), WireFault(kind="slow", request=0))
    kinds = [fault.kind for _ in range(3) if (fault := faults.next()) is not None]
    assert kinds == ["hang", "slow", "slow"] and faults.hits == 5
    faults.set()
    assert faults.next() is None


async def read(server: LLMServer, limit_s: float = 0.5) -> tuple[int, bytes, str]:
    """Status, body as far as it came, and how it ended."""
    body, status = b"", 0
    try:
        async with (
            asyncio.timeout(limit_s),
            aiohttp.ClientSession() as session,
            session.post(server.endpoint + "/chat/completions", json=ASKED) as response,
        ):
            status = response.status
            async for piece in response.content.iter_any():
                body += piece
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        return status, body, type(error).__name__
    return status, body, "end"


@pytest.mark.parametrize(
    ("fault", "status", "ending", "says"),
    [
        (WireFault(kind="refuse"), 0, "ClientConnectorError", b""),
        (WireFault(kind="hang"), 0, "TimeoutError", b""),
        (WireFault(kind="slow", delay_s=0.1), 200, "end", b"[DONE]"),
        (WireFault(kind="stall", item=2), 200, "TimeoutError", b'"You"'),
        (WireFault(kind="reset", item=2), 200, "ClientPayloadError", b""),
        (WireFault(kind="truncate", item=2), 200, "ClientPayloadError", b'"You"'),
        (WireFault(kind="drip", delay_s=0.1), 200, "TimeoutError", b"d"),
        (WireFault(kind="malformed", item=1), 200, "end", b"{half of an ev\n"),
        (WireFault(kind="bad_utf8", item=1), 200, "end", b"\xff\xfe"),
        (WireFault(kind="status"), 500, "end", b'"InternalServerError"'),
        (WireFault(kind="status", status=429, retry_after="7"), 429, "end", b"scripted"),
    ],
    ids=lambda value: value.kind if isinstance(value, WireFault) else None,
)
def test_every_fault_is_what_it_says_and_a_repair_ends_it(
    fault: WireFault, status: int, ending: str, says: bytes
) -> None:
    async def main() -> tuple[int, bytes, str]:
        async with serve_llm(EchoLLM(first_token_ms=0, token_ms=0)) as server:
            await server.inject(fault)
            outcome = await read(server)
            await server.inject()
            assert (await read(server, 5))[::2] == (200, "end")
            assert server.running == 0
            return outcome

    got, body, ended = run_virtual(main(), sockets=Sockets.OURS_CHATTY)
    assert (got, ended) == (status, ending) and says in body


def test_faults_can_be_set_from_outside_and_a_wrong_one_is_refused_by_name() -> None:
    async def put(server: LLMServer, faults: Any) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.put(server.url + "/mock/faults", json=faults) as response,
        ):
            return response.status, await response.text()

    async def main() -> None:
        async with serve_llm() as server:
            assert (await put(server, [{"kind": "status", "status": 503}]))[0] == 200
            assert (await read(server))[0] == 503
            status, words = await put(server, [{"kind": "stale"}])
            assert status == 400 and "stale" in words
            assert (await put(server, []))[0] == 200
            assert (await read(server, 5))[0] == 200

    run_virtual(main(), sockets=Sockets.OURS_CHATTY)


def test_run_llm_serves_until_it_is_cancelled(capsys: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        serving = asyncio.create_task(run_llm(port=0, dialect="gemini"))
        while not (said := capsys.readouterr().out):  # noqa: ASYNC110  # printing is no event
            await asyncio.sleep(0.01)
        url = said.split()[1]
        assert url.endswith("/v1beta/openai")
        async with aiohttp.ClientSession() as session, session.get(url + "/models") as response:
            assert response.status == 200
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert serving.cancelled()

    run_virtual(main(), sockets=Sockets.OURS_CHATTY)
