"""The end of a server's calls: each where nobody is speaking, at the latest at the deadline.

    caller  ~~~~|                           quiet
    agent          ...|########|########|--------|x  1001

One by one: of many calls, there is hardly ever a moment at which all are quiet.
"""

import asyncio
from collections.abc import Callable, Collection

from voice.session import Session

QUIET_S = 0.3
"""Somebody may have begun to speak and not be judged yet; a client that was just given a function
call may be about to ask for what follows."""
STEP_S = 0.05
STOPPING = (1001, "the server is stopping")


async def drain(
    sessions: Callable[[], Collection[Session]], *, until: float, now: Callable[[], float]
) -> None:
    """Args:
    sessions: Those that are open, whenever it is asked: a call may still be coming in.
    until: The deadline, on the clock `now`.
    """
    begun = now()
    busy_at: dict[str, float] = {}
    told: set[str] = set()
    left = True
    while left and (at := now()) < until:
        left = False
        for session in sessions():
            if session.id in told:
                continue
            if session.busy:
                busy_at[session.id] = at
            if at - busy_at.get(session.id, begun) >= QUIET_S:
                told.add(session.id)
                session.hang_up(*STOPPING)
            else:
                left = True
        await asyncio.sleep(STEP_S)
    for session in sessions():
        if session.id not in told:
            session.hang_up(*STOPPING)
