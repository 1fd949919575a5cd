"""A limit that passed is named by the setting that an operator can change."""

from collections.abc import AsyncGenerator
from typing import Literal

import pytest

from mocks.clock import now, run_virtual
from providers.base import Fault, ProviderError, Slot
from tests.driving import pass_time
from voice.config import Config
from voice.patience import GRACE_S, Patience, in_time


async def stalling(after: int) -> AsyncGenerator[int, None]:
    for n in range(after):
        yield n
    await pass_time(1000)


@pytest.mark.parametrize(
    ("slot", "what"), [(Slot.LLM, "token"), (Slot.TTS, "audio")], ids=["llm", "tts"]
)
@pytest.mark.parametrize("events", [0, 2], ids=["first", "next"])
def test_the_message_names_a_setting_that_there_is(
    slot: Slot, what: Literal["token", "audio"], events: int
) -> None:
    async def run() -> None:
        patience = Patience(slot, what, first_s=3.0, next_s=1.0)
        with pytest.raises(ProviderError) as late:
            async for _ in in_time(stalling(events), patience, "p"):
                pass
        limit_s = 1.0 if events else 3.0
        assert now() == pytest.approx(limit_s + GRACE_S)
        assert late.value.fault is Fault.TIMEOUT
        section, _, setting = late.value.message.rpartition("(")[2].rstrip(")").partition(".")
        assert isinstance(getattr(getattr(Config(), section), setting), float)
        assert setting.startswith("first_") is not bool(events)

    run_virtual(run())
