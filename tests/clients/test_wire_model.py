"""What reaches the model of what clients set, say and hear."""

import asyncio

from tests.clients.kaiwa_server import STT_TEXT, KaiwaServer
from tests.clients.wire_client import VAD, calling

TOOL = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


def test_tools_and_instructions_reach_the_model(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            await client.update(instructions="Be brief.", tools=[TOOL], output_modalities=["text"])
            await client.ask("hi")
            await client.until("response.done")

    asyncio.run(call())
    request = server.last_request()
    function = {key: value for key, value in TOOL.items() if key != "type"}
    assert request["tools"][0]["function"] == function
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert request["messages"][-1] == {"role": "user", "content": "hi"}


def test_a_tool_result_follows_its_call_at_once(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url) as client:
            await client.update(tools=[TOOL])
            await client.ask("what is the forecast")
            await client.until("response.done")
            item = {"type": "function_call_output", "call_id": "call_oslo", "output": "sun"}
            await client.send("conversation.item.create", item=item)
            await client.send("response.create", response={"output_modalities": ["text"]})
            await client.until("response.done")

    asyncio.run(call())
    messages = server.last_request()["messages"]
    assert messages[-1]["role"] == "tool"
    assert messages[-1]["content"] == "sun"
    assert messages[-1]["tool_call_id"] == "call_oslo"
    assert messages[-2]["role"] == "assistant"
    assert messages[-2]["tool_calls"][0]["id"] == "call_oslo"


def test_after_a_cut_the_model_knows_only_what_was_heard(server: KaiwaServer) -> None:
    async def call() -> None:
        async with calling(server.ws_url, microphone=True) as client:
            await client.update(audio={"input": {"turn_detection": VAD}})
            await client.ask("tell me a story")
            sound = await client.until("response.output_audio.delta")
            await asyncio.sleep(1.0)
            client.speak()
            await client.until("response.done")
            await client.send(
                "conversation.item.truncate",
                item_id=sound["item_id"],
                content_index=0,
                audio_end_ms=700,
            )
            await client.until("response.done")

    asyncio.run(call())
    question, heard, second = server.last_request()["messages"][-3:]
    assert question["content"] == "tell me a story"
    assert heard["role"] == "assistant"
    assert heard["content"].startswith("Sentence") and len(heard["content"]) < 20
    assert second["content"] == STT_TEXT
