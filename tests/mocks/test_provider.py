import asyncio

import msgspec
import pytest

from mocks.embed import HashEmbedder
from mocks.faults import ScriptedFault
from mocks.llm import EchoLLM
from mocks.rerank import IdentityReranker
from mocks.stt import EchoSTT
from mocks.tts import ToneTTS
from mocks.turn import ScriptedTurnModel
from mocks.vad import LoudnessVAD, ScriptedVAD
from providers.base import LLM, STT, TTS, VAD, Embedder, Provider, Reranker, Slot, TurnModel


def test_every_mock_stands_in_its_slot_and_says_what_it_is() -> None:
    scripted_vad: VAD = ScriptedVAD()
    loudness_vad: VAD = LoudnessVAD()
    stt: STT = EchoSTT()
    llm: LLM = EchoLLM()
    tts: TTS = ToneTTS()
    embedder: Embedder = HashEmbedder()
    reranker: Reranker = IdentityReranker()
    turn: TurnModel = ScriptedTurnModel()
    mocks: list[Provider] = [
        scripted_vad,
        loudness_vad,
        stt,
        llm,
        tts,
        embedder,
        reranker,
        turn,
    ]

    async def main() -> None:
        for mock in mocks:
            await mock.start()
            await mock.check()
            await mock.aclose()

    asyncio.run(main())
    assert all(mock.info.is_mock for mock in mocks)
    assert {mock.info.slot for mock in mocks} == set(Slot)


def test_faults_can_be_written_in_a_configuration_file() -> None:
    fault = msgspec.convert({"kind": "fail", "request": 3, "fault": "overloaded"}, ScriptedFault)
    assert fault.item == 0 and fault.request == 3
    with pytest.raises(msgspec.ValidationError, match="requset"):
        msgspec.convert({"kind": "fail", "requset": 3}, ScriptedFault)
