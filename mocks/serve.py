"""The mocks behind real sockets: `python -m mocks.serve --llm-port 8001`.

One module a server (`serve_llm`, …); this one starts those whose port is given.
"""

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import Annotated

import typer

from mocks.llm import EchoLLM
from mocks.serve_llm import LLMServer


def serve(
    llm_port: Annotated[int, typer.Option(help="Chat completions; 0: not served.")] = 0,
    llm_first_token_ms: Annotated[float, typer.Option(help="From request to first token.")] = 50.0,
    llm_token_ms: Annotated[float, typer.Option(help="From token to token.")] = 10.0,
    llm_model: Annotated[str, typer.Option(help="Name the model answers to.")] = "mock",
    llm_api_key: Annotated[str, typer.Option(envvar="LLM_API_KEY", help="Empty: no key.")] = "",
    jitter_ms: Annotated[float, typer.Option(help="Every delay grows by 0..jitter_ms.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the jitter.")] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
) -> None:
    """Serve mock providers until interrupted. State: GET /mock/state."""
    if not llm_port:
        raise typer.BadParameter("nothing to serve: give --llm-port")
    llm = EchoLLM(
        first_token_ms=llm_first_token_ms, token_ms=llm_token_ms, jitter_ms=jitter_ms, seed=seed
    )
    server = LLMServer(llm, model=llm_model, api_key=llm_api_key)
    asyncio.run(_serve(server, host, llm_port))


async def _serve(llm: LLMServer, host: str, llm_port: int) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with AsyncExitStack() as servers:
        await llm.start(host, llm_port)
        servers.push_async_callback(llm.aclose)
        print(f"llm {llm.url}/v1", flush=True)
        await stopped.wait()


if __name__ == "__main__":
    typer.run(serve)
