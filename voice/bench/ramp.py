"""The highest load that is held: steps of more and more callers, until one breaks its promises.

A step that breaks is measured once more, as another program may have taken the core meanwhile. What
a generator measured that was late itself says nothing of the server: then the ramp ends undecided.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator

import msgspec

from voice.bench.config import BenchError
from voice.bench.report import Ramp, Step
from voice.bench.slo import Ceiling, broken

MOST_STEPS = 100
TRIES = 2


def loads(callers: tuple[int, ...]) -> Iterator[int]:
    """The numbers as given; a single one is raised by itself: 25, 50, 75, ..."""
    if len(callers) > 1:
        yield from sorted(callers)
    else:
        yield from (callers[0] * number for number in range(1, MOST_STEPS + 1))


class _Verdict(msgspec.Struct, frozen=True):
    why: tuple[str, ...]
    is_trusted: bool


async def climb(
    callers: Iterable[int],
    ceilings: tuple[Ceiling, ...],
    measure: Callable[[int], Awaitable[Step]],
) -> tuple[list[Step], Ramp]:
    """Every step that was measured, and what they say together.

    Raises:
        BenchError: The very first step cannot be measured at all.
    """
    steps: list[Step] = []

    async def tried(load: int) -> _Verdict:
        try:
            step = await measure(load)
        except BenchError as error:
            if not steps:
                raise
            return _Verdict((str(error),), is_trusted=True)
        steps.append(step)
        # To refuse is the server's own doing, however late the generator.
        return _Verdict(broken(step, ceilings), step.is_trusted or step.counts.refused > 0)

    held = 0
    for load in callers:
        for _ in range(TRIES):
            verdict = await tried(load)
            if not verdict.why:
                break
        if verdict.why:
            return steps, _ramp(ceilings, held, load, verdict)
        held = load
    return steps, _ramp(ceilings, held, None, None)


def _ramp(
    ceilings: tuple[Ceiling, ...], held: int, broke: int | None, verdict: _Verdict | None
) -> Ramp:
    return Ramp(
        slo=",".join(map(str, ceilings)),
        held=held,
        broke=broke,
        why=verdict.why if verdict is not None else (),
        is_decided=verdict is None or verdict.is_trusted,
    )
