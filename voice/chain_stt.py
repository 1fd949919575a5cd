"""A recogniser with others that stand in for it: what it loses is heard again, from its beginning.

begin feed feed end ── no final within attempt_s, or a failure ──▶ the next one: begin, all the
        │                                                         audio so far, end
        └─ LONG_S of it, and the watch misses whoever hears it ──▶ likewise, while it goes on
"""

import asyncio
from collections.abc import Callable, Sequence

from providers.base import (
    LISTEN_RATE_HZ,
    STT,
    Fault,
    Hypothesis,
    ProviderError,
    Slot,
    SttFailure,
    SttSink,
    SttStream,
)
from voice.backlog import Backlog
from voice.breaker import Ticket
from voice.chain import CALL, Chain, Link, of_call

LAST_LIMIT_S = 15.0
"""For one that nobody can take over from: the turn has gone on by then, this only ends the wait."""
LONG_S = 6.0
"""To hear so much anew takes a stand-in about as long as a caller should wait."""
MOST_BYTES = 60 * LISTEN_RATE_HZ * 2
"""Kept of one utterance, to be heard again; a turn is no longer."""


class ChainSTT(Chain[STT]):
    """Args:
    attempt_s: How long one that others can take over from may take for a final.
    """

    def __init__(
        self, providers: Sequence[STT], *, now: Callable[[], float], attempt_s: float
    ) -> None:
        super().__init__(providers, now=now)
        self.attempt_s = attempt_s

    def open(
        self, sink: SttSink, *, language: str = "", hotwords: Sequence[str] = ()
    ) -> "ChainSttStream":
        return ChainSttStream(self, sink, language, hotwords)


class _Take:
    """One utterance, and who hears it."""

    def __init__(self, utterance: int) -> None:
        self.utterance = utterance
        self.audio = bytearray()
        self.whole = True
        """Whether `audio` is all of it."""
        self.ended = False
        self.tried: list[Link[STT]] = []
        self.told = ""
        """The longest partial so far, whoever it was of."""
        self.ticket: Ticket = 0
        """Of its request to the last one tried."""
        self.stream: SttStream | None = None
        self.timer: asyncio.TimerHandle | None = None

    @property
    def link(self) -> Link[STT]:
        return self.tried[-1]


class ChainSttStream:
    """One caller's utterances; implements `providers.base.SttStream`."""

    def __init__(
        self, chain: ChainSTT, sink: SttSink, language: str, hotwords: Sequence[str]
    ) -> None:
        self._chain, self._sink = chain, sink
        self._language, self._hotwords = language, hotwords
        self._call = CALL.get({})
        self._streams: dict[Link[STT], SttStream] = {}
        """One for each link, for as long as the call lasts: recognisers learn the voice."""
        self._takes: dict[int, _Take] = {}
        self._current: _Take | None = None
        self._backlog = Backlog()

    # --- Protocol ---------------------------------------------------------------------------------

    def begin(self, utterance: int) -> None:
        self.abandon()
        take = self._current = self._takes[utterance] = _Take(utterance)
        self._hand_on(take, None)

    def feed(self, pcm: bytes) -> None:
        take = self._current
        if take is None:
            return
        self._backlog.arrive(len(pcm) / 2 / LISTEN_RATE_HZ, self._chain.now())
        if len(take.audio) + len(pcm) <= MOST_BYTES:
            take.audio += pcm
        else:
            take.whole = False
        if take.stream is not None:
            take.stream.feed(pcm)
        if len(take.audio) > LONG_S * LISTEN_RATE_HZ * 2 and self._is_missed(take):
            self._give_up(take, f"{take.link.problem} (in mid-speech)")

    def end(self) -> None:
        take, self._current = self._current, None
        if take is None:
            return
        take.ended = True
        if take.stream is not None:
            take.stream.end()
            self._wait(take)

    def abandon(self, utterance: int | None = None) -> None:
        take = self._current if utterance is None else self._takes.get(utterance)
        if take is self._current:
            self._current = None
        if take is None or take.stream is None:
            return
        del self._takes[take.utterance]
        take.stream.abandon(take.utterance)
        take.link.breaker.abandoned(take.ticket)
        self._over(take)

    def close(self) -> None:
        for take in self._takes.values():
            if take.timer is not None:
                take.timer.cancel()
            if take.stream is not None:
                take.link.breaker.abandoned(take.ticket)
                take.stream.close()
        self._takes.clear()
        self._current = None
        for stream in self._streams.values():
            stream.close()

    # --- who hears it -----------------------------------------------------------------------------

    def _hand_on(self, take: _Take, failure: ProviderError | None) -> None:
        """To the next one that may hear it, with all the audio so far."""
        link = self._chain.next_after(take.tried) if take.whole else None
        if link is None:
            take.stream = None
            self._takes.pop(take.utterance, None)
            error = failure or self._chain.nobody()
            self._sink(SttFailure(utterance=take.utterance, error=error))
            return
        take.tried.append(link)
        take.ticket = link.breaker.enter(self._chain.now())
        try:
            stream = take.stream = self._stream(link)
        except ProviderError as error:  # it could not be started
            take.stream = None
            self._chain.fail(link, take.ticket, error)
            return self._hand_on(take, error)
        stream.begin(take.utterance)
        if take.audio and take.stream is stream:
            self._backlog.arrive(len(take.audio) / 2 / LISTEN_RATE_HZ, self._chain.now())
            stream.feed(bytes(take.audio))
        if take.ended and take.stream is stream:  # else it failed already, and another has it
            stream.end()
            self._wait(take)

    def _stream(self, link: Link[STT]) -> SttStream:
        """The call's own at this link, unless it is in the middle of another utterance."""
        stream = self._streams.get(link)
        busy = stream is not None and any(
            take.stream is stream and not take.ended for take in self._takes.values()
        )
        if stream is None or busy:
            opened = link.provider.open(
                lambda fact: self._receive(link, fact),
                language=self._language,
                hotwords=self._hotwords,
            )
            if busy:
                return opened
            stream = self._streams[link] = opened
        return stream

    def _put_back(self, take: _Take) -> None:
        """A stream opened for one utterance only."""
        stream, take.stream = take.stream, None
        if stream is not None and stream not in self._streams.values():
            stream.close()

    # --- what is heard ----------------------------------------------------------------------------

    def _wait(self, take: _Take) -> None:
        is_last = self._chain.is_last(take.link, take.tried)
        limit_s = LAST_LIMIT_S if is_last else self._chain.attempt_s
        # What came faster than it was spoken takes its time to be heard.
        wait_s = limit_s + self._backlog.left_s(self._chain.now())
        loop = asyncio.get_running_loop()
        take.timer = loop.call_later(wait_s, self._too_late, take, limit_s)

    def _too_late(self, take: _Take, limit_s: float) -> None:
        self._give_up(take, f"no final within {limit_s:g} s (stt.attempt_limit_s)")

    def _is_missed(self, take: _Take) -> bool:
        """Whoever hears it hangs, as the watch has found, and another does not."""
        other = self._chain.next_after(take.tried) if take.link.is_missed and take.whole else None
        return other is not None and not other.is_missed

    def _give_up(self, take: _Take, why: str) -> None:
        link = take.link
        error = ProviderError(Slot.STT, link.info.provider, Fault.TIMEOUT, why)
        if take.stream is not None:
            take.stream.abandon(take.utterance)  # else it would be heard to its end for nobody
        self._receive(link, SttFailure(utterance=take.utterance, error=error))

    def _receive(self, link: Link[STT], fact: Hypothesis | SttFailure) -> None:
        take = self._takes.get(fact.utterance)
        if take is None or take.link is not link:
            return  # late news of what another one hears now, or nobody any more
        if isinstance(fact, Hypothesis):
            if fact.is_final:
                self._over(take)
                del self._takes[take.utterance]
                link.succeeded(take.ticket, self._chain.now())
                with of_call(self._call):
                    self._chain.served_by(link)
            elif not self._is_news(take, fact.text):
                return
            self._sink(fact)
            return
        self._over(take)
        with of_call(self._call):
            self._chain.fail(link, take.ticket, fact.error)
            self._hand_on(take, fact.error)

    def _is_news(self, take: _Take, text: str) -> bool:
        """Whoever stands in hears it all again: of the words it has come to so far, those that were
        told are no news, and without the rest they are no sentence to be answered."""
        if len(take.tried) > 1:
            if len(text) < len(take.told) or self._backlog.left_s(self._chain.now()) > 0:
                return False
        take.told = text
        return True

    def _over(self, take: _Take) -> None:
        if take.timer is not None:
            take.timer.cancel()
            take.timer = None
        self._put_back(take)
