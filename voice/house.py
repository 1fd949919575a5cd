"""Tools of the house: what the operator lets the model do to the call; no client answers them.

    answer   "Here is our sales team."  transfer_call(sales)
    heard    ~~~~~~~~~~~~~~~~~~~~~~~~|
    house            ordered ---------^ quiet: Transfer ──▶ carrier ──▶ gone; or why not: the
                                                            model says so, and the call goes on
    hang_up  the same, and where nothing was said before it: goodbye, heard too, then HangUp

Nothing happens before the answer that asked for it was heard in full. A cut one orders nothing, and
who speaks, or presses a key, before it happens keeps the call. One thing per answer: the first.
"""

from collections.abc import Sequence
from math import inf

import msgspec
from msgspec import Struct

from providers.base import Message, Tool, ToolCall
from voice.initiative import HangUp, Say

HANG_UP, TRANSFER = "hang_up", "transfer_call"
ENDED = "the agent ended the call"
TRANSFERRED = "the call was transferred"
CARRIER_LIMIT_S = 30.0
"""In which a carrier says what became of a transfer."""
MOST_TRANSFERS = 3
"""That failed: then it is offered no more, or a model could go round for ever."""
WENT_ON = "Not done: the caller went on talking."
ONE_ONLY = "Not done: only one of these functions can be called at a time."


class HouseRules(Struct, frozen=True, kw_only=True):
    """What is allowed, by the operator and by what carries the call."""

    hangs_up: bool = False
    targets: tuple[str, ...] = ()
    """Names of whom the call may be transferred to."""
    goodbye: str = ""
    connecting: str = ""
    """Said where the model says nothing."""


class Transfer(Struct, frozen=True):
    target: str


class Report(Struct, frozen=True):
    """What the model is to be told, and to react to."""


class _Arguments(Struct):
    target: str = ""


class _Order(Struct, frozen=True):
    call: ToolCall
    behind: str
    """The item of the answer that it came with."""
    target: str = ""
    """Empty: hang up."""


class Result(Struct, frozen=True):
    call: ToolCall
    text: str
    behind: str

    @property
    def messages(self) -> tuple[Message, Message]:
        call = self.call
        return (
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", content=self.text, tool_call_id=call.call_id),
        )


class House:
    """One call's. `rules` may be replaced at any time."""

    def __init__(self, rules: HouseRules) -> None:
        self.rules = rules
        self._order: _Order | None = None
        self._notice = ""
        self._transferring: _Order | None = None
        self._lost_at = inf
        """Loop time at which the carrier has had long enough to say what became of that."""
        self._failures = 0
        self._reports = False
        self.results: list[Result] = []
        """For the model's history, to be taken."""

    def tools(self) -> tuple[Tool, ...]:
        """What a model may call now."""
        offered: list[Tool] = []
        if self.rules.hangs_up:
            offered.append(
                Tool(
                    name=HANG_UP,
                    description="Ends this call, once your answer was heard. Say goodbye in the "
                    "same answer. Only where the caller has nothing more to ask.",
                    parameters={"type": "object", "properties": {}},
                )
            )
        if self.rules.targets and self._failures < MOST_TRANSFERS:
            target = {"type": "string", "enum": list(self.rules.targets)}
            offered.append(
                Tool(
                    name=TRANSFER,
                    description="Connects the caller with somebody else, once your answer was "
                    "heard, and ends your part of this call. Say so in the same answer.",
                    parameters={
                        "type": "object",
                        "properties": {"target": target},
                        "required": ["target"],
                    },
                )
            )
        return tuple(offered)

    # --- what happens -----------------------------------------------------------------------------

    def ordered(self, calls: Sequence[ToolCall], *, behind: str, spoke: bool) -> None:
        """The caller has heard an answer that called these.

        Args:
            behind: That answer's item; "": it had none.
            spoke: Whether it had words.
        """
        for call in calls:
            order, problem = self._understood(call, behind)
            if self._order is not None or self._transferring is not None:
                self._tell(call, ONE_ONLY, behind)
            elif order is None:
                self._refused(call, problem, behind)
            else:
                self._order, rules = order, self.rules
                words = rules.connecting if order.target else rules.goodbye
                self._notice = "" if spoke else words

    def _understood(self, call: ToolCall, behind: str) -> tuple[_Order | None, str]:
        if call.name == HANG_UP:
            return _Order(call, behind), ""
        try:
            target = msgspec.json.decode(call.arguments or "{}", type=_Arguments).target
        except msgspec.DecodeError:
            target = ""
        if target in self.rules.targets:
            return _Order(call, behind, target), ""
        known = ", ".join(self.rules.targets)
        return None, f"Not done: {target[:80]!r} is nobody. It can be one of: {known}."

    def _refused(self, call: ToolCall, why: str, behind: str) -> None:
        self._failures += 1
        self._reports = True
        self._tell(call, why, behind)

    def reports(self) -> None:
        """There is something else that the model is to react to."""
        self._reports = True

    def _tell(self, call: ToolCall, text: str, behind: str) -> None:
        self.results.append(Result(call, text, behind))

    def went_on(self) -> None:
        """The caller has more to say: nothing of what was ordered happens."""
        order, self._order, self._notice = self._order, None, ""
        self._reports = False
        if order is not None:
            self._tell(order.call, WENT_ON, order.behind)

    def transferred(self, problem: str) -> HangUp | None:
        """The carrier says what became of it."""
        order, self._transferring, self._lost_at = self._transferring, None, inf
        if order is None:
            return None
        if not problem:
            return HangUp(f"{TRANSFERRED} to {order.target}")
        self._refused(order.call, f"Failed: {problem}", order.behind)
        return None

    # --- time -------------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        """Whether something is about to happen to the call."""
        return self._order is not None or self._reports or self._transferring is not None

    def deadline(self) -> float | None:
        """Loop time at which `tick` has something to do though nothing happens."""
        return None if self._lost_at == inf else self._lost_at

    def tick(self, now: float, *, quiet: bool) -> Say | HangUp | Transfer | Report | None:
        """Args:
        quiet: Nobody speaks, and nobody is waited for.
        """
        if now >= self._lost_at - 1e-6:
            self.transferred("nobody said what became of it")
        if not quiet:
            return None
        if self._reports:
            self._reports = False
            return Report()
        if self._order is None:
            return None
        if self._notice:
            notice, self._notice = self._notice, ""
            return Say(notice)
        order, self._order = self._order, None
        if not order.target:
            return HangUp(ENDED)
        self._transferring, self._lost_at = order, now + CARRIER_LIMIT_S
        return Transfer(order.target)
