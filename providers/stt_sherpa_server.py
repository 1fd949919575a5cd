"""sherpa-onnx's streaming servers over WebSocket, its Python and its C++ one alike.

Start one of them with a streaming model on port 6006 and set STT_ENDPOINT=ws://HOST:6006.
"""

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from providers._sherpa_pulse import Pulse
from providers._sherpa_replies import Casing
from providers._sherpa_socket import PROVIDER, Endpoint, Sockets, failure
from providers._sherpa_utterance import Limits, Utterance
from providers.base import (
    LISTEN_RATE_HZ,
    Fault,
    Hypothesis,
    ProviderError,
    ProviderInfo,
    Slot,
    SttFailure,
    SttSink,
)

Deliver = Callable[[Utterance, Hypothesis | SttFailure], None]
CLOSE_S = 1.5
"""Within which all utterances have ended once they are cancelled."""


class SherpaServerSTT:
    """Implements `providers.base.STT`."""

    def __init__(
        self,
        endpoint: str,
        *,
        connect_limit_s: float = 2.0,
        stall_limit_s: float = 3.0,
        tail_ms: int = 400,
        max_unsent_s: float = 5.0,
    ) -> None:
        """Args:
            endpoint: ws://host:6006 or wss://; http:// and https:// are taken for these.
            connect_limit_s: For a connection and its handshake; also how long a lost connection is
                tried again.
            stall_limit_s: Without a reply while audio is sent, and from `end()` to the final.
            tail_ms: Silence sent behind an utterance, so that its last word leaves the decoder.
                The Python server adds 300 ms; the C++ one adds 800 ms and is sent none.
            max_unsent_s: How long audio may wait for a server that reads slower than it is spoken.
        Raises:
            ValueError: If a setting is out of its range.
        """
        limits = {"connect_limit_s": connect_limit_s, "stall_limit_s": stall_limit_s}
        for name, seconds in {**limits, "max_unsent_s": max_unsent_s}.items():
            if not 0 < seconds < float("inf"):
                raise ValueError(f"{name} must be above 0 s, got {seconds}")
        if not 0 <= tail_ms <= 5000:
            raise ValueError(f"tail_ms must be 0..5000, got {tail_ms}")
        self._endpoint = Endpoint(endpoint)
        self._limits = Limits(
            connect_s=connect_limit_s,
            stall_s=stall_limit_s,
            unsent_s=max_unsent_s,
            tail=bytes(4 * LISTEN_RATE_HZ * tail_ms // 1000),
        )
        self.sockets = Sockets(self._endpoint, connect_limit_s=connect_limit_s)
        self._pulse = Pulse(self.sockets, self._endpoint.shown)
        self._casing = Casing()
        self._utterances: set[Utterance] = set()
        self._calls = 0
        self._is_closed = False

    @property
    def info(self) -> ProviderInfo:
        return ProviderInfo(slot=Slot.STT, provider=PROVIDER, endpoint=self._endpoint.shown)

    async def start(self) -> None:
        """Has the server hear something, so that its model is warm before the first caller."""
        await self.check()

    async def check(self) -> None:
        """Half a second of faint noise must bring a final."""
        done: asyncio.Future[Hypothesis | SttFailure] = asyncio.get_running_loop().create_future()

        def deliver(_: Utterance, result: Hypothesis | SttFailure) -> None:
            if not done.done() and (isinstance(result, SttFailure) or result.is_final):
                done.set_result(result)

        utterance = self.begin(0, deliver)
        try:
            utterance.feed(_faint_noise())
            utterance.end()
            result = await done
        finally:
            utterance.cancel()
        if isinstance(result, SttFailure):
            raise result.error

    async def ping(self) -> None:
        """Asks whether the server lives, which costs it one connection for good.

        Raises:
            ProviderError: It does not.
        """
        self.check_open()
        await self._pulse.ping()

    async def aclose(self) -> None:
        self._is_closed = True
        for utterance in self._utterances:
            utterance.cancel()
        tasks = {utterance.task for utterance in self._utterances}
        await asyncio.gather(self.sockets.aclose(), self._pulse.aclose())
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_S)
        await asyncio.sleep(0)  # sockets closed just now are gone after it

    def open(self, sink: SttSink, *, language: str = "", hotwords: Sequence[str] = ()) -> "_Stream":
        """`language` and `hotwords` have no effect: the servers' protocol cannot carry them; the
        language is the model's, hotwords go into the server's own --hotwords-file.
        """
        self.check_open()
        return _Stream(self, sink)

    def check_open(self) -> None:
        """Raises ProviderError once it is closed."""
        if self._is_closed:
            raise failure(Fault.CRASHED, "already closed; make a new one")

    def count_call(self, change: int) -> None:
        """As many connections are kept ready as calls are open, up to a few."""
        self._calls += change
        self.sockets.want(0 if self._is_closed else self._calls)

    def begin(self, number: int, deliver: Deliver) -> Utterance:
        self.check_open()
        utterance = Utterance(number, self.sockets, self._limits, self._casing, deliver)
        self._utterances.add(utterance)
        utterance.task.add_done_callback(lambda _: self._utterances.discard(utterance))
        return utterance


class _Stream:
    """Implements `providers.base.SttStream`. A connection an utterance; two may overlap."""

    def __init__(self, provider: SherpaServerSTT, sink: SttSink) -> None:
        self._provider = provider
        self._sink: SttSink | None = sink
        self._current: Utterance | None = None
        self._open: set[Utterance] = set()
        provider.count_call(+1)

    def begin(self, utterance: int) -> None:
        """An utterance that is still open is abandoned."""
        self.abandon()
        if self._sink is None:
            return
        try:
            self._current = self._provider.begin(utterance, self._receive)
        except ProviderError as error:
            loop = asyncio.get_running_loop()
            loop.call_soon(self._tell, SttFailure(utterance, error))
        else:
            self._open.add(self._current)

    def feed(self, pcm: bytes) -> None:
        if len(pcm) % 2:
            raise ValueError(f"pcm must be whole 16-bit samples, got {len(pcm)} bytes")
        if self._current is not None:
            self._current.feed(pcm)

    def end(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            current.end()

    def abandon(self, utterance: int | None = None) -> None:
        if utterance is None:
            given_up = [self._current] if self._current is not None else []
        else:
            given_up = [one for one in self._open if one.number == utterance]
        for one in given_up:
            if one is self._current:
                self._current = None
            self._open.discard(one)
            one.cancel()

    def close(self) -> None:
        if self._sink is None:
            return
        self._sink = self._current = None
        for utterance in self._open:
            utterance.cancel()
        self._open.clear()
        self._provider.count_call(-1)

    def _receive(self, utterance: Utterance, result: Hypothesis | SttFailure) -> None:
        if isinstance(result, SttFailure) or result.is_final:
            self._open.discard(utterance)
            if utterance is self._current:  # failed in mid-utterance
                self._current = None
        self._tell(result)

    def _tell(self, result: Hypothesis | SttFailure) -> None:
        if self._sink is not None:
            self._sink(result)


def _faint_noise() -> bytes:
    noise = np.random.default_rng(0).normal(0.0, 20.0, LISTEN_RATE_HZ // 2)
    return noise.astype("<i2").tobytes()
