import asyncio
from typing import Any

import aiohttp
import numpy as np
import pytest

from mocks.clock import Sockets, run_virtual
from mocks.serve_embed import EmbedServer, bunched


async def post(url: str, body: Any, **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=body) as response,
    ):
        is_json = response.content_type == "application/json"
        return response.status, await response.json() if is_json else await response.text()


def answers(server: EmbedServer, *asked: tuple[str, Any], **headers: str) -> list[tuple[int, Any]]:
    async def main() -> list[tuple[int, Any]]:
        async with server:
            return [await post(server.url + path, body, **headers) for path, body in asked]

    return run_virtual(main(), sockets=Sockets.OURS)


def error_of(path: str, body: Any, **options: Any) -> tuple[int, Any]:
    return answers(EmbedServer(**options), (path, body))[0]


def test_one_text_and_a_list_are_embedded_alike_and_openai_wraps_them() -> None:
    (_, one), (_, both), (_, listed) = answers(
        EmbedServer(dimensions=64, common=0.5),
        ("/embed", {"inputs": "oak"}),
        ("/embed", {"inputs": ["oak", "elm"]}),
        ("/v1/embeddings", {"input": ["oak", "elm"], "model": "any"}),
    )
    assert one == both[:1] and [row["embedding"] for row in listed["data"]] == both
    assert listed["object"] == "list" and [row["index"] for row in listed["data"]] == [0, 1]
    assert listed["usage"] == {"prompt_tokens": 6, "total_tokens": 6}


def test_errors_have_teis_shapes() -> None:
    many = {"inputs": ["a"] * 33}
    assert error_of("/embed", many) == (
        413,
        {"error": "batch size 33 > maximum allowed batch size 32", "error_type": "Validation"},
    )
    status, said = error_of("/v1/embeddings", {"input": []})
    assert (status, said["code"], said["type"]) == (400, 400, "Empty") and "message" in said
    status, said = error_of("/embed", {"inputs": "word " * 600, "truncate": False})
    assert status == 413 and "must have less than 512 tokens. Given: 602" in said["error"]
    assert error_of("/embed", {"inputs": 5})[0] == 422
    assert error_of("/rerank", {"query": "a", "texts": ["b"]})[0] == 424
    assert error_of("/embed", {"inputs": "a"}, kind="reranker")[0] == 424
    assert error_of("/embed", {"inputs": "a" * 5000}, most_bytes=1000)[0] == 413
    assert error_of("/embed", {"inputs": "a"}, api_key="k") == (401, "")


def test_errors_have_vllms_shapes() -> None:
    options: dict[str, Any] = {"dialect": "vllm", "model_id": "m"}
    status, said = error_of("/v1/embeddings", {"input": "a", "model": "x"}, **options)
    assert status == 404 and said["error"]["type"] == "NotFoundError"
    long = {"input": "word " * 600, "model": "m"}
    status, said = error_of("/v1/embeddings", long, **options)
    assert status == 400 and said["error"]["type"] == "BadRequestError"
    assert "maximum context length is 512 tokens" in said["error"]["message"]
    assert error_of("/v1/embeddings", {**long, "truncate_prompt_tokens": -1}, **options)[0] == 200
    assert error_of("/embed", {"inputs": "a"}, **options)[0] == 404
    status, said = error_of("/v1/embeddings", {"input": "a"}, api_key="k", **options)
    assert (status, said) == (401, {"error": "Unauthorized"})


def test_ranks_come_best_first_with_scores_0_to_1_or_raw() -> None:
    asked = {"query": "open today", "texts": ["closed", "open today", "open"]}
    (_, ranks), (_, raw) = answers(
        EmbedServer(kind="reranker"),
        ("/rerank", asked),
        ("/rerank", {**asked, "raw_scores": True, "return_text": True}),
    )
    assert ranks == [
        {"index": 1, "score": 1.0},
        {"index": 2, "score": 0.5},
        {"index": 0, "score": 0.0},
    ]
    assert raw[0] == {"index": 1, "score": 4.0, "text": "open today"} and raw[2]["score"] < 0


def test_when_it_is_full_one_text_is_refused_and_a_list_waits() -> None:
    async def main() -> None:
        async with EmbedServer(most_requests=1, delay_ms=100) as server:
            url = server.url + "/embed"
            first = asyncio.create_task(post(url, {"inputs": ["a"]}))
            await asyncio.sleep(0.05)
            (status, said), (listed, _) = await asyncio.gather(
                post(url, {"inputs": "b"}), post(url, {"inputs": ["c"]})
            )
            assert (status, said["error_type"]) == (429, "Overloaded")
            assert listed == 200 and (await first)[0] == 200

    run_virtual(main(), sockets=Sockets.OURS)


def test_health_tells_and_the_state_counts() -> None:
    async def main() -> None:
        async with EmbedServer() as server, aiohttp.ClientSession() as session:
            async with session.get(server.url + "/health") as response:
                assert response.status == 200
            server.is_healthy = False
            async with session.get(server.url + "/health") as response:
                assert response.status == 503
                assert (await response.json())["error_type"] == "Unhealthy"
            await post(server.url + "/embed", {"inputs": ["a", "b"]})
            async with session.get(server.url + "/mock/state") as response:
                state = await response.json()
            assert (state["requests"], state["running"], state["texts"]) == (1, 0, 2)

    run_virtual(main(), sockets=Sockets.OURS)


@pytest.mark.parametrize("common", [0.0, 0.7, 0.8])
def test_bunched_cosines_lie_above_the_common_part_in_the_same_order(common: float) -> None:
    rows = np.random.default_rng(1).normal(size=(50, 64)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    plain, moved = rows @ rows[0], (near := bunched(rows, common)) @ near[0]
    assert np.allclose(moved, common + (1 - common) * plain, atol=1e-5)
