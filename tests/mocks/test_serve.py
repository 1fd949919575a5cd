"""`kaiwa mocks`: what is asked of it wrongly is told with what would be right."""

import asyncio

import pytest

from mocks.serve import Kind, MocksError, Options, serving


@pytest.mark.parametrize("kind", ["tts", "llm", "stt"])
def test_a_kind_of_fault_there_is_not_is_told_with_those_there_are(kind: Kind) -> None:
    async def main() -> None:
        options = Options(ports={kind: 0}, faults=(f'{kind}={{"kind": "nonsense"}}',))
        async with serving([kind], options):
            pass

    with pytest.raises(MocksError, match="--fault .*kind must be one of .*stall"):
        asyncio.run(main())
