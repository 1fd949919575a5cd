"""Calls as recordings: a tape for a call in virtual time, and those of tests/recordings.

python -m tests.recorded_calls    writes these anew, where a change of the core is meant
"""

import gzip
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM, Reply
from mocks.retriever import ScriptedRetriever
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from providers.base import Passage, ToolCall
from tests.driving import PLAIN, Call, converse
from voice.config import SpeculationConfig
from voice.errors import ClientError
from voice.recording import Recording, parsed
from voice.tape import Tape

LONG = "We are open from nine until eight. On Sundays we are closed, and on holidays too."
FOLDER = Path(__file__).parent / "recordings"
BEGUN = "2026-11-21T10:00:00+00:00"

Scenario = Callable[[Call], Awaitable[None]]


class Reel:
    """A tape, and what is on it."""

    def __init__(self, **options: Any) -> None:
        self.pieces: list[bytes] = []
        self.tape = Tape(self._put, begun=BEGUN, **options)

    def _put(self, data: bytes) -> str:
        self.pieces.append(data)
        return ""

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def recording(self) -> Recording:
        return parsed(self.data)


def recorded(scenario: Scenario, **parts: Any) -> tuple[Call, Reel]:
    reel = Reel()
    return converse(scenario, tape=reel.tape, **parts), reel


# --- tests/recordings -----------------------------------------------------------------------------


async def cuts_in(call: Call) -> None:
    await call.say(1.0)
    await call.hush(1.0)
    call.report(call.frames[-1].item_id, 240)
    await call.hush(0.2)
    await call.say(0.6)
    await call.hush(4.0)


async def writes_and_is_called_back(call: Call) -> None:
    call.write("when do you open?")
    call.tell("response.create")
    await call.hush(2.0)
    call.session.complain(ClientError("unknown_event", "no such event"), "event_7")
    output = {"type": "function_call_output", "call_id": "call_1", "output": "at nine"}
    call.tell("conversation.item.create", item=output)
    call.tell("response.create", response={"output_modalities": ["text"]})
    await call.hush(1.0)


async def asks_twice(call: Call) -> None:
    await call.say(1.0)
    await call.hush(4.0)
    await call.say(1.0)
    await call.hush(3.0)


async def nods_and_cuts_in(call: Call) -> None:
    await call.say(1.0)
    await call.hush(2.0)
    await call.say(0.3)
    await call.hush(1.2)
    await call.say(0.8)
    await call.hush(4.0)


CALLS: dict[str, Callable[[], Reel]] = {
    "barge_in": lambda: recorded(cuts_in)[1],
    "text_and_a_function_call": lambda: recorded(
        writes_and_is_called_back,
        detection={"off": True},
        llm=EchoLLM(
            [
                Reply(text="Let me look.", tool_calls=(ToolCall("call_1", "look", "{}"),)),
                "We open at nine.",
            ]
        ),
        retriever=ScriptedRetriever([Passage(text="Nine to eight.", source="hours.md")]),
    )[1],
    "begun_early_and_held_back": lambda: recorded(
        nods_and_cuts_in,
        config=msgspec.structs.replace(PLAIN, speculation=SpeculationConfig()),
        stt=EchoSTT(["what are your opening hours", "mm-hm", "no on sunday"]),
        llm=EchoLLM([LONG, "On Sundays we are closed."]),
    )[1],
    "failing_providers": lambda: recorded(
        asks_twice,
        stt=EchoSTT(
            ["", "土曜日の営業時間は", "営業時間は"], faults=[ScriptedFault(kind="fail", request=1)]
        ),
        llm=EchoLLM(
            ["はい、九時からです。", "はい。"], faults=[ScriptedFault(kind="fail", item=0)]
        ),
        tts=ToneTTS(rtf=0.2),
    )[1],
}


def path_of(name: str) -> Path:
    return FOLDER / f"{name}.kaiwa.gz"


if __name__ == "__main__":
    for name, call in CALLS.items():
        path_of(name).write_bytes(gzip.compress(call().data, 9, mtime=0))
        print(path_of(name), path_of(name).stat().st_size)
