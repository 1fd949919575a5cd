"""Hosted models are reached through the proxy, and one's own servers never."""

import asyncio
from collections.abc import Callable

import pytest

from providers._proxy import proxy_of
from providers.base import Fault, LLMRequest, Message, ProviderError
from providers.llm_openai import OpenAICompatibleLLM

PROXY = "http://me:s3cret@proxy.example:3128"


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", "gpu.internal,.lan")
    return lambda address: monkeypatch.setenv("HTTPS_PROXY", address)


@pytest.mark.parametrize(
    ("address", "is_through"),
    [
        ("https://openrouter.ai/api/v1", True),
        ("https://10.0.0.7:8443/v1", True),
        ("https://gpu.internal/v1", False),
        ("https://gpu.lan:8443/v1", False),
        ("https://localhost:8443/v1", False),
        ("https://127.0.0.1:8443/v1", False),
        ("https://[::1]:8443/v1", False),
        ("http://llm:9000/v1", False),
        ("http://127.0.0.1:11434/v1", False),
    ],
)
def test_who_is_reached_through_the_proxy(
    proxy: Callable[[str], None], address: str, is_through: bool
) -> None:
    assert proxy_of(address) is None, "HTTP_PROXY is for others"
    proxy(PROXY)
    assert proxy_of(address) == (PROXY if is_through else None)


def failure_of(endpoint: str) -> ProviderError:
    async def scenario() -> ProviderError:
        llm = OpenAICompatibleLLM(endpoint, model="m", api_key="k")
        request = LLMRequest(messages=(Message(role="user", content="hello"),))
        try:
            with pytest.raises(ProviderError) as raised:
                async for _ in llm.stream(request):
                    pass
        finally:
            await llm.aclose()
        return raised.value

    return asyncio.run(scenario())


def test_a_proxy_that_refuses_is_told_with_the_remedy_and_without_its_password(
    proxy: Callable[[str], None],
) -> None:
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 403 Forbidden by policy\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def scenario() -> ProviderError:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        proxy(f"http://me:s3cret@127.0.0.1:{port}")
        async with server:
            return await asyncio.to_thread(failure_of, "https://models.example/v1")

    failure = asyncio.run(scenario())
    assert asked[0].startswith(b"CONNECT models.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " in asked[0], "name and password are the proxy's"
    assert failure.fault is Fault.UNREACHABLE
    assert "403 Forbidden by policy" in failure.message and "NO_PROXY" in failure.message
    assert "s3cret" not in str(failure)


def test_a_proxy_that_is_not_there_is_not_taken_for_the_server(
    proxy: Callable[[str], None],
) -> None:
    proxy("http://me:s3cret@127.0.0.1:9")
    failure = failure_of("https://models.example/v1")
    assert "the proxy that HTTPS_PROXY names cannot be reached" in failure.message
    assert "s3cret" not in str(failure)
