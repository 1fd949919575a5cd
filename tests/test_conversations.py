"""Whole calls as files: a timeline in, what was sent out, line by line. tests/conversations/*.toml

    about    what this call is about, and what went wrong in it once
    parts    how the providers behave; `config`, `detection`: settings of the call
    caller   [time, deed, …]: say, hush, send nothing until the next; tell: a client event
    sent     what the client must have got, in order, in milliseconds of the call
    history  what the model would be shown next
    turns    the outcome of every turn

A line of `sent` may leave out what is not its business: `hidden` is a pattern of event types.
"""

import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from mocks.clock import now
from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM, Reply
from mocks.retriever import ScriptedRetriever
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from tests.driving import LOUD, Call, converse, pass_time
from voice.config import Config

FILES = sorted((Path(__file__).parent / "conversations").glob("*.toml"))
PARTS = {"stt": EchoSTT, "llm": EchoLLM, "tts": ToneTTS, "retriever": ScriptedRetriever}
HIDDEN = (
    r"kaiwa\.|session\.|.*\.delta|.*item\.(added|done)"
    r"|response\.(output_item|content_part|output_audio)"
)


def parts_of(script: dict[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for slot, options in script.get("parts", {}).items():
        faults = [msgspec.convert(fault, ScriptedFault) for fault in options.pop("faults", [])]
        if "replies" in options:
            options["replies"] = [
                reply if isinstance(reply, str) else msgspec.convert(reply, Reply)
                for reply in options["replies"]
            ]
        parts[slot] = PARTS[slot](**options, faults=faults)
    if "config" in script:
        parts["config"] = msgspec.convert(script["config"], Config)
    parts["detection"] = script.get("detection", {})
    return parts


async def act(call: Call, timeline: list[list[Any]]) -> None:
    for at, deed, *rest in timeline:
        assert at >= now() - 1e-9, f"the {deed} at {at} overlaps the one before"
        await call.hush_until(at)
        match deed:
            case "say":
                await call.say(rest[0])
            case "burst":
                for _ in range(round(rest[0] * 50)):
                    call.session.hear(LOUD)
            case "nothing":
                await pass_time(rest[0])
            case "tell":
                event = dict(rest[0])
                if event.get("item_id") == "the answer":
                    event["item_id"] = call.frames[-1].item_id
                call.tell(event.pop("type"), **event)
            case "report":
                call.report(call.frames[-1].item_id, rest[0])
            case "end":
                return
            case _:
                raise ValueError(f"unknown deed {deed!r}")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recorded_call_goes_as_it_should(file: Path) -> None:
    script = tomllib.loads(file.read_text("utf-8"))

    async def scenario(call: Call) -> None:
        await act(call, script["caller"])

    call = converse(scenario, **parts_of(script))
    story = call.story(leave_out=script.get("hidden", HIDDEN))
    expected = [line.strip() for line in script["sent"].strip().splitlines()]
    assert story == expected, f"{script['about']}\n" + "\n".join(story)
    history = [f"{role}: {text}" for role, text in call.history()]
    assert history == script["history"], json.dumps(history, ensure_ascii=False)
    assert call.outcomes() == script["turns"]


def test_there_are_conversations() -> None:
    assert len(FILES) >= 10
