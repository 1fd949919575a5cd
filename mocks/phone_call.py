"""A whole Twilio call over sockets: the signed webhook, the signed upgrade, sound both ways.

    async with TwilioCall.dial(server, account, speak_into=…) as call:
        await call.say(hum(1.2))            in real time, as every 20 ms since the call began
        await call.until(lambda: call.ear.heard)

In whatever time the running loop has. What is heard, when, and what was cleared: `call.ear`.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from html import unescape
from types import TracebackType

import aiohttp
from msgspec import Struct
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from mocks.phone import Phone, TwilioStream
from mocks.phone_sound import FRAME_MS

FRAME_S = FRAME_MS / 1000
LIMIT_S = 30.0
"""For what must come from the server."""


class Account(Struct, frozen=True):
    """What Twilio knows of the server's operator."""

    sid: str
    auth_token: str
    public_url: str
    """How the operator's settings name the server."""
    key_id: str = ""
    """Of a shared key: then webhooks are signed with it, by HMAC-SHA256."""
    key_secret: str = ""

    def signature(self, path: str, fields: dict[str, str], scheme: str = "http") -> dict[str, str]:
        """The headers of a signed request."""
        url = scheme + self.public_url.rstrip("/").removeprefix("http") + path
        if not self.key_id:
            signed = RequestValidator(self.auth_token).compute_signature(url, fields)
            return {"X-Twilio-Signature": signed}
        settings = f"key={self.key_id},algorithm=HMAC_SHA256"
        signed = RequestValidator(self.key_secret).compute_signature(url, fields, "HMAC_SHA256")
        return {
            "X-Twilio-Signature": signed,
            "X-Twilio-Webhooks-Signature-Settings": settings,
        }


class WayIn(Struct, frozen=True):
    """What the TwiML says."""

    url: str
    parameters: dict[str, str]


WEBHOOK = "/v1/telephony/twilio/voice"
SOCKET = "/v1/telephony/twilio"
_STREAM = re.compile(r"<Connect><Stream url=\"([^\"]*)\"")
_PARAMETER = re.compile(r"<Parameter name=\"([^\"]*)\" value=\"([^\"]*)\"")


class CallRefused(Exception):
    """The webhook did not send the call to a stream."""


async def ask_way(server: str, account: Account, call: str, caller: str = "+15005550006") -> WayIn:
    """What Twilio does when a call comes in.

    Args:
        server: Where the server really listens, http://127.0.0.1:8000.
    Raises:
        CallRefused: By its status, or its TwiML.
    """
    fields = {
        "CallSid": call,
        "AccountSid": account.sid,
        "From": caller,
        "To": "+15005550001",
        "CallStatus": "ringing",
        "Direction": "inbound",
        "ApiVersion": "2010-04-01",
    }
    headers = account.signature(WEBHOOK, fields)
    url = server.rstrip("/") + WEBHOOK
    async with (
        aiohttp.ClientSession() as http,
        http.post(url, data=fields, headers=headers) as answer,
    ):
        twiml = await answer.text()
        found = _STREAM.search(twiml)
        if answer.status != 200 or found is None:
            raise CallRefused(f"{answer.status}: {twiml[:300]}")
    parameters = {unescape(n): unescape(v) for n, v in _PARAMETER.findall(twiml)}
    return WayIn(unescape(found[1]), parameters)


class TwilioCall:
    """One call that is connected. `dial` makes it; `over` one of another provider."""

    def __init__(self, socket: ClientConnection, stream: Phone) -> None:
        self._socket, self.stream = socket, stream
        self.ear = stream.earpiece
        self._loop = asyncio.get_running_loop()
        self._mouth: deque[bytes] = deque()
        self._changed = asyncio.Condition()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self.begun_at = 0.0
        self.ended_at: float | None = None
        self.late_s = 0.0
        """How late the latest frame of the caller's was, at worst: the simulator's own fault."""

    @classmethod
    @contextlib.asynccontextmanager
    async def dial(
        cls, server: str, account: Account, call: str, *, parameters: dict[str, str] | None = None
    ) -> "AsyncIterator[TwilioCall]":
        """Asks the webhook, connects, and talks silence until something is said.

        Args:
            parameters: Of a TwiML that was fetched already.
        """
        if parameters is None:
            parameters = (await ask_way(server, account, call)).parameters
        headers = account.signature(SOCKET, {}, scheme="ws")
        stream = TwilioStream(call, parameters, account=account.sid)
        async with cls.over(server, SOCKET, headers, stream) as phone:
            yield phone

    @classmethod
    @contextlib.asynccontextmanager
    async def over(
        cls, server: str, path: str, headers: dict[str, str], stream: Phone
    ) -> "AsyncIterator[TwilioCall]":
        """The media of any provider, at `path`, where `headers` let it in."""
        url = server.rstrip("/").replace("http", "ws", 1) + path
        async with connect(
            url, additional_headers=headers, compression=None, open_timeout=LIMIT_S
        ) as socket:
            async with cls(socket, stream) as phone:
                yield phone

    async def __aenter__(self) -> "TwilioCall":
        for frame in self.stream.begin():
            await self._socket.send(frame)
        self.begun_at = self._loop.time()
        self._tasks = (
            asyncio.create_task(self._talk(), name="phone-talks"),
            asyncio.create_task(self._listen(), name="phone-listens"),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the caller -------------------------------------------------------------------------------

    def speak(self, sound: bytes) -> None:
        """Puts sound, in the provider's coding, behind what is still to be said."""
        size = self.stream.frame_bytes
        for start in range(0, len(sound), size):
            frame = sound[start : start + size]
            self._mouth.append(frame + self.stream.silence * (size - len(frame)))

    async def say(self, sound: bytes) -> None:
        """Returns when it has been said."""
        self.speak(sound)
        seconds = len(sound) / self.stream.bytes_per_s
        await self.until(lambda: not self._mouth, limit_s=LIMIT_S + seconds)

    async def press(self, digit: str) -> None:
        await self._socket.send(self.stream.press(digit))

    async def send(self, frame: str | bytes) -> None:
        """Anything at all."""
        await self._socket.send(frame)

    async def hang_up(self) -> None:
        """The caller does: stop, and Twilio closes the connection."""
        self._tasks[0].cancel()
        for frame in self.stream.stop():
            await self._socket.send(frame)
        await self._socket.close()
        await self.until(lambda: self.ended)

    async def until(self, holds: Callable[[], object], limit_s: float = LIMIT_S) -> None:
        """Raises:
        TimeoutError: It did not become so.
        """
        async with asyncio.timeout(limit_s), self._changed:
            while not holds():
                await self._changed.wait()

    @property
    def ended(self) -> bool:
        return self.ended_at is not None

    @property
    def close_code(self) -> int | None:
        return self._socket.close_code

    # --- the connection ---------------------------------------------------------------------------

    async def _talk(self) -> None:
        """A frame each 20 ms of the loop's clock, however late the one before it was."""
        silent = self.stream.silence * self.stream.frame_bytes
        due = self.begun_at
        with contextlib.suppress(ConnectionClosed):
            while True:
                due += FRAME_S
                await asyncio.sleep(max(0.0, due - self._loop.time()))
                self.late_s = max(self.late_s, self._loop.time() - due)
                frame = self._mouth.popleft() if self._mouth else silent
                await self._socket.send(self.stream.media(frame))
                for echo in self.stream.tick(self._loop.time()):
                    await self._socket.send(echo)
                await self._tell()

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self._socket:
                for echo in self.stream.receive(text, self._loop.time()):
                    await self._socket.send(echo)
                await self._tell()
        self.ended_at = self._loop.time()
        await self._tell()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()
