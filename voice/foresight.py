"""One call's speculation: the policy's orders carried out, and every attempt counted.

Where nothing may be begun (too few hits lately, load, a queue, a bill), it is only noted what would
have been: so the hit rate goes on being measured, at no cost.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from providers.base import LISTEN_RATE_HZ, Retriever
from voice import metrics
from voice.attempt import Attempt, alike
from voice.chain import Chain, of_call
from voice.config_talk import SpeculationConfig
from voice.hang_up import is_hang_up
from voice.load import Level
from voice.prefetch import Prefetch
from voice.providers import Providers
from voice.replies import Replies
from voice.reply_facts import Foreseen, LeftOut, Task
from voice.requests import ReplyOptions
from voice.settings import Settings
from voice.speculation import (
    Begin,
    Cancel,
    Hearing,
    HitRate,
    Order,
    Search,
    Speculation,
    SpeculationRules,
    Stage,
    Verdict,
    normalised,
)
from voice.turn import Caller, TurnTaker

FREE_CHECK_EVERY_S = 30.0
"""A provider that is checked more rarely costs money."""


class Noted(Struct, frozen=True):
    """An attempt that was not made."""

    words: str


class Foresight:
    """Args:
    hang_up_phrases: Whoever says one is not answered: nothing is begun for them.
    hits: Of all calls.
    post: Takes facts into the session's inbox.
    room: Waits until the session wants more sound of the answer in hand.
    """

    def __init__(
        self,
        config: SpeculationConfig,
        *,
        providers: Providers,
        replies: Replies,
        hang_up_phrases: tuple[str, ...],
        hits: HitRate,
        retrieval_limit_s: float,
        post: Callable[[object], None],
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self._config, self._providers, self._replies = config, providers, replies
        self._hang_up_phrases = hang_up_phrases
        self._hits, self._post, self._room = hits, post, room
        retriever = providers.retriever
        searches = config.enabled and config.retrieval and retriever is not None
        self._prefetch = (
            Prefetch(retriever, limit_s=retrieval_limit_s) if searches and retriever else None
        )
        self._policy = Speculation(
            SpeculationRules(
                attempts=config.attempts,
                stable_ms=config.stable_ms,
                ahead_ms=config.ahead_ms,
                longest_s=config.longest_s,
                search=searches,
            )
        )
        self._attempt: Attempt | Noted | None = None
        self._number = 0
        self._made_for, self._made = 0, 0
        """A turn, and the attempts that were really made in it."""
        self._left_out: set[int] = set()
        """In a replay: attempts that were not made where the call was recorded."""
        self._options: ReplyOptions | None = None
        self._language = ""

    @property
    def retriever(self) -> Retriever | None:
        return self._prefetch or self._providers.retriever

    # --- what is heard ----------------------------------------------------------------------------

    def look(self, turns: TurnTaker, settings: Settings, language: str, at: float) -> None:
        """Something of the caller's turn may have changed.

        Args:
            settings: As they are now, with `language`: of an answer that would begin now.
        """
        if self._config.enabled:
            orders: list[Order] = []
            before = self._options
            if before is None or before.settings is not settings:
                self._options = ReplyOptions(settings)
                if before is not None and before.settings != settings:
                    orders += self._policy.outdated()
            self._language, turn = language, self._policy.turn
            orders += self._policy.hear(self._hearing(turns), at)
            if self._prefetch is not None and self._policy.turn != turn:
                self._prefetch.forget()
            self._carry_out(orders, at)

    def _hearing(self, turns: TurnTaker) -> Hearing | None:
        rules = turns.rules
        if turns.replying or not (rules.automatic and rules.create_response):
            return None
        turn = turns.open_turn or self._policy.trying
        text = turns.text_of(turn) if turn else None
        if text is None or is_hang_up(text, self._hang_up_phrases):
            return None
        stage = Stage.PAUSED if turns.caller is Caller.PAUSING else Stage.SPEAKING
        return Hearing(
            turn=turn,
            text=text,
            stage=Stage.COMMITTED if turns.open_turn is None else stage,
            is_asked=turns.open_is_asked,
            is_final=turns.open_is_final,
            ends_at=turns.ends_at,
            spoken_s=(turns.clock.judged - turns.speech_sample) / LISTEN_RATE_HZ,
        )

    def receive(self, foreseen: Foreseen, at: float) -> None:
        """What an attempt tells."""
        attempt = self._attempt
        if isinstance(foreseen.fact, LeftOut):
            if foreseen.number > self._number:
                self._left_out.add(foreseen.number)
        elif isinstance(attempt, Attempt) and attempt.number == foreseen.number:
            if not attempt.hold(foreseen.fact, at):
                self._policy.failed()
                self._end(Verdict.FAILED)

    # --- time -------------------------------------------------------------------------------------

    def next_due(self) -> float | None:
        return self._policy.due() if self._config.enabled else None

    def tick(self, now: float) -> None:
        if self._config.enabled and (orders := self._policy.tick(now)):
            self._carry_out(orders, now)

    # --- the answer is asked for ------------------------------------------------------------------

    def take(self, task: Task, at: float) -> Attempt | None:
        """The attempt that is what was asked for, if there is one; from now on it is the caller's
        own."""
        attempt = self._attempt
        self._policy.taken()
        if task.say:  # which is no answer
            self._end(Verdict.UNASKED)
            return None
        asked = normalised(task.request.question)
        if isinstance(attempt, Noted):
            self._end(Verdict.ADOPTED if attempt.words == asked else Verdict.CHANGED)
        if not isinstance(attempt, Attempt):
            return None
        if not alike(attempt.task, task):
            same = normalised(attempt.task.request.question) == asked
            self._end(Verdict.REQUEST if same else Verdict.CHANGED)
            return None
        self._attempt = None
        self._count(Verdict.ADOPTED)
        metrics.SPECULATIONS.labels(Verdict.ADOPTED.value).inc()
        metrics.SPECULATION_LEAD.observe(attempt.lead_ms(at) / 1000)
        return attempt

    def attempts_for(self, turn: int) -> int:
        """Of the turn that was heard last."""
        return self._made if turn == self._made_for else 0

    def close(self) -> set[asyncio.Task[Any]]:
        """The call is over.

        Returns:
            What has been given up and not ended yet, but for replies.
        """
        self._policy.taken()
        self._end(Verdict.UNASKED)
        return self._prefetch.forget() if self._prefetch is not None else set()

    # --- orders -----------------------------------------------------------------------------------

    def _carry_out(self, orders: list[Order], at: float) -> None:
        for order in orders:
            match order:
                case Begin():
                    self._begin(order, at)
                case Cancel():
                    self._end(order.why)
                case Search():
                    if self._prefetch is not None and not self._is_loaded():
                        # Audio comes from a socket, whose context knows of no call.
                        with of_call(self._replies.asker(self._policy.turn)):
                            self._prefetch.look(order.text)

    def _begin(self, order: Begin, at: float) -> None:
        assert self._options is not None
        self._number += 1
        why = "replay" if self._number in self._left_out else self._hindrance()
        if why:
            metrics.SPECULATIONS_LEFT_OUT.labels(why).inc()
            self._attempt = Noted(normalised(order.text))
            self._post(Foreseen(self._number, LeftOut(order.turn)))
            return
        self._made = 1 + self.attempts_for(order.turn)
        self._made_for = order.turn
        task = self._replies.foresee(order.turn, self._options, order.text, self._language)
        attempt = Attempt(self._number, task, at, post=self._post, room=self._room)
        attempt.working = self._replies.start(
            task, retriever=self.retriever, post=attempt.post, room=attempt.room
        )
        self._attempt = attempt

    def _end(self, verdict: Verdict) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        self._count(verdict)
        if isinstance(attempt, Attempt):
            attempt.cancel()
            metrics.SPECULATIONS.labels(verdict.value).inc()
            cost = attempt.cost()
            how = "counted" if cost.counted else "estimated"
            metrics.WASTED_TOKENS.labels("prompt", how).inc(cost.prompt)
            metrics.WASTED_TOKENS.labels("completion", how).inc(cost.completion)

    def _count(self, verdict: Verdict) -> None:
        self._hits.count(verdict)
        metrics.SPECULATION_HIT_RATE.set(self._hits.rate or 0.0)

    # --- whether it may ---------------------------------------------------------------------------

    def _is_loaded(self) -> bool:
        return self._providers.load_level() >= Level.NO_SPECULATION

    def _hindrance(self) -> str:
        """Why nothing is begun now; empty: it may be."""
        config = self._config
        asked = [first_asked(provider) for provider in (self._providers.llm, self._providers.tts)]
        if None in asked:
            return "provider"
        if not config.paid and any(map(costs_money, asked)):
            return "paid"
        if self._is_loaded():
            return "load"
        if any(getattr(one, "waiting", 0) > config.deepest_queue for one in asked):
            return "queue"
        return "hit_rate" if self._hits.is_below(config.least_hit_rate) else ""


def first_asked(provider: Any) -> Any:
    """Of a chain: who would be asked now; None: nobody."""
    if not isinstance(provider, Chain):
        return provider
    links = provider.order()
    return links[0].provider if links else None


def costs_money(provider: Any) -> bool:
    paid = getattr(provider, "is_paid", None)
    if paid is None:
        return bool(getattr(provider, "check_every_s", 0.0) > FREE_CHECK_EVERY_S)
    return bool(paid)
