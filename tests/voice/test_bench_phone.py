"""A caller by telephone: what Twilio's side of the wire says, and what is made of the server's."""

import asyncio
import base64
import json
import sys
from typing import Any

import aiohttp
import msgspec
import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from twilio.request_validator import RequestValidator

from mocks.phone_sound import samples
from voice.bench.config import BenchConfig, BenchError
from voice.bench.phone import ANSWER_GAP_S, Phone, WayIn
from voice.bench.phone_way import way_in
from voice.bench.report import BenchReport
from voice.bench.run import measure
from voice.bench.server import started
from voice.bench.sound import sound_of
from voice.bench.tongue import Heard, Sound
from voice.bench.turn import Outcome, Plan, every
from voice.bench.turns import Caller

WAY = WayIn({"kaiwa_ticket": "t1"}, {"X-Twilio-Signature": "s"}, "CA1", "AC1", "MZ1")
SOUND = Sound((base64.b64encode(b"A" * 160),), (base64.b64encode(b"\xff" * 160),))
FRAME_S = 0.02


def said(frame: bytes) -> dict[str, Any]:
    """A client's frame, under the mask of zeros."""
    assert frame[0] == 0x81 and frame[1] & 0x80
    start = 4 if frame[1] & 0x7F == 126 else 2
    assert frame[start : start + 4] == bytes(4)
    event: dict[str, Any] = json.loads(frame[start + 4 :])
    return event


def phone() -> Phone:
    new = Phone(SOUND, WAY, 20)
    new.begin()
    return new


def media(ms: int) -> bytes:
    payload = base64.b64encode(b"\x10" * (8 * ms)).decode()
    return json.dumps(
        {"event": "media", "streamSid": "MZ1", "media": {"payload": payload}}
    ).encode()


def mark(name: str) -> bytes:
    return json.dumps({"event": "mark", "streamSid": "MZ1", "mark": {"name": name}}).encode()


CLEAR = b'{"event":"clear","streamSid":"MZ1"}'


def told(heard: Heard) -> list[tuple[str, float]]:
    return [(event.type, round(at, 3)) for event, at in heard.events]


def ticked(new: Phone, start: float, end: float) -> list[tuple[str, float]]:
    """What time brings, asked at every frame."""
    frames = range(int((end - start) / FRAME_S + 1e-6) + 1)
    return [one for n in frames for one in told(new.tick(start + n * FRAME_S))]


def echoed(heard: Heard) -> list[str]:
    return [said(frame)["mark"]["name"] for frame in heard.answers]


def test_a_stream_begins_as_twilios_do_and_numbers_all_it_sends() -> None:
    new = Phone(SOUND, WAY, 20)
    connected, start = map(said, new.begin())
    assert connected["event"] == "connected" and new.ready
    assert start["start"]["callSid"] == "CA1"
    assert start["start"]["customParameters"] == {"kaiwa_ticket": "t1"}
    frames = [said(new.speech(0)), said(new.background(7)), said(new.speech(0))]
    assert [start["sequenceNumber"], *(f["sequenceNumber"] for f in frames)] == list("1234")
    assert [f["media"]["chunk"] for f in frames] == ["1", "2", "3"]
    assert [f["media"]["timestamp"] for f in frames] == ["0", "20", "40"]
    assert said(*new.goodbye())["event"] == "stop"


def test_an_answer_begins_with_its_sound_and_was_over_when_that_was() -> None:
    new = phone()
    assert told(new.receive(media(200), 1.0)) == [
        ("response.created", 1.0),
        ("response.output_audio.delta", 1.0),
    ]
    assert told(new.receive(media(100), 1.1)) == [("response.output_audio.delta", 1.1)]
    assert ticked(new, 1.1, 1.3 + ANSWER_GAP_S - 0.01) == []
    assert ticked(new, 1.3 + ANSWER_GAP_S, 1.32 + ANSWER_GAP_S) == [("response.done", 1.3)]
    assert told(new.receive(media(20), 3.0))[0] == ("response.created", 3.0)


def test_a_generator_that_was_held_up_takes_no_answer_for_over() -> None:
    new = phone()
    new.receive(media(200), 1.0)
    assert ticked(new, 1.0, 1.1) == []
    assert told(new.tick(2.5)) == [], "what came meanwhile is read behind this"
    new.receive(media(200), 2.5)
    assert ticked(new, 2.52, 2.7 + ANSWER_GAP_S - 0.02) == []
    assert ticked(new, 2.7 + ANSWER_GAP_S, 2.74 + ANSWER_GAP_S) == [("response.done", 2.7)]


def test_marks_come_back_when_what_stands_before_them_is_played() -> None:
    new = phone()
    new.receive(media(200), 1.0)
    assert echoed(new.receive(mark("a"), 1.0)) == []
    new.receive(media(100), 1.0)
    assert echoed(new.receive(mark("b"), 1.0)) == []
    assert echoed(new.tick(1.19)) == [] and echoed(new.tick(1.2)) == ["a"]
    assert echoed(new.tick(1.5)) == ["b"]
    assert echoed(new.receive(mark("c"), 1.6)) == ["c"], "nothing waits before it"


def test_clear_empties_the_buffer_and_ends_the_answer() -> None:
    new = phone()
    new.receive(media(400), 1.0)
    new.receive(mark("a"), 1.0)
    cleared = new.receive(CLEAR, 1.1)
    assert echoed(cleared) == ["a"]
    assert told(cleared) == [("clear", 1.1), ("response.done", 1.1)]
    assert cleared.events[1][0].response is not None
    assert cleared.events[1][0].response.status == "cancelled"
    assert told(new.receive(CLEAR, 1.2)) == [("clear", 1.2)], "there is nothing left to end"


@pytest.mark.parametrize("message", [b"{", b'{"event":"response.done"}', b'{"event":"media"}'])
def test_what_twilio_does_not_know_ends_the_call_with_a_reason(message: bytes) -> None:
    with pytest.raises(BenchError, match="Twilio does not know"):
        phone().receive(message, 1.0)


def caller_in_answer(cuts: tuple[bool, ...]) -> tuple[Caller, Phone, float]:
    """One that has asked and hears the answer; it may be about to cut in."""
    plan = Plan(
        turns=3,
        warmup_turns=0,
        speech_frames=10,
        gaps=(0.1,),
        cuts=cuts,
        barge_in_after=0.2,
        frame_s=FRAME_S,
        bytes_per_second=8000,
    )
    caller, new, at = Caller(plan, 0.0), phone(), 0.0
    caller.open_window()
    while not caller.turns or caller.turns[-1].end is None:
        caller.next_frame(at)
        at += FRAME_S
    for event, when in new.receive(media(2000), at).events:
        caller.receive(event, when)
    return caller, new, at


def test_clear_behind_an_interruption_is_its_certainty_and_the_silence() -> None:
    caller, new, at = caller_in_answer(every(2))
    while len(caller.turns) < 2:
        caller.next_frame(at)
        at += FRAME_S
    for event, when in new.receive(CLEAR, at + 0.3).events:
        caller.receive(event, when)
    answer = caller.turns[0]
    assert answer.outcome is Outcome.CUT and answer.cut_at is not None
    assert answer.confirmed == at + 0.3 and answer.false_cuts == 0
    assert answer.player.stopped_at == at + 0.3


def test_clear_while_the_caller_is_silent_is_a_false_cut() -> None:
    caller, new, at = caller_in_answer(())
    for event, when in new.receive(CLEAR, at + 0.5).events:
        caller.receive(event, when)
    assert caller.turns[0].false_cuts == 1
    caller.next_frame(at + 0.52)
    assert caller.turns[0].outcome is Outcome.FAILED, "nobody cut in, and it is not whole"


def test_speech_goes_up_as_mulaw_at_8_khz() -> None:
    sound = sound_of(BenchConfig(transport="twilio", spawn=True))
    frames = [base64.b64decode(frame) for frame in sound.speech]
    assert {len(frame) for frame in frames} == {160} and len(frames) == 100
    level = np.abs(samples(b"".join(frames)).astype(int)).max()
    assert 12_000 < level < 18_000, "half of full scale, as it was made"
    quiet = samples(base64.b64decode(sound.background[0]))
    assert np.abs(quiet.astype(int)).max() < 100


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"silence_ms": 300}, "silence_ms"),
        ({"knocking": 5}, "knocking"),
        ({"frame_ms": 40}, "frame_ms"),
        ({"spawn": False}, "TWILIO_AUTH_TOKEN"),
    ],
)
def test_what_telephones_do_not_do_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(BenchError, match=named):
        BenchConfig(**{"transport": "twilio", "spawn": True, **wrong})


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform != "linux", reason="generators are pinned and weighed")
def test_two_telephone_calls_are_measured_on_a_server_of_their_own() -> None:
    config = BenchConfig(
        transport="twilio", spawn=True, callers=(2,), turns=3, warmup_turns=0, barge_in_every=3
    )

    report = asyncio.run(measure(config))
    counts = report.steps[0].counts
    assert counts.completed + counts.cut == 6 and counts.cut >= 1
    assert counts.lost + counts.failed + counts.false_cuts + counts.extra_responses == 0
    assert counts.underruns == counts.errors == counts.closed == 0
    assert {"connect_ms", "added_ms", "barge_in_cut_ms"} <= report.figures.keys()
    assert report.config.twilio_auth_token == "hidden"


@pytest.mark.real_time
@pytest.mark.skipif(sys.platform != "linux", reason="generators are pinned and weighed")
def test_a_server_of_the_operators_is_measured_with_its_own_token() -> None:
    config = BenchConfig(transport="twilio", spawn=True, twilio_auth_token="the server's own")

    async def run() -> BenchReport:
        async with started(config) as (server,):
            mine = msgspec.structs.replace(
                config, spawn=False, url=server.url, turns=1, warmup_turns=0
            )
            return await measure(mine)

    report = asyncio.run(run())
    assert report.steps[0].counts.completed == 1
    assert "the server's own" not in str(report)


TWIML = (
    '<?xml version="1.0"?><Response><Connect><Stream url="wss://voice.example.com/v1/t">'
    '<Parameter name="kaiwa_ticket" value="a&amp;b" /></Stream></Connect></Response>'
)


async def asked(status: int, body: str, token: str = "secret") -> tuple[WayIn, dict[str, str]]:
    """The way in, as a webhook with this answer says it; and what that was sent."""
    fields: dict[str, str] = {}

    async def webhook(request: web.Request) -> web.Response:
        fields.update({str(k): str(v) for k, v in (await request.post()).items()})
        fields["signature"] = request.headers["X-Twilio-Signature"]
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_post("/v1/telephony/twilio/voice", webhook)
    public = "https://voice.example.com"
    async with TestServer(app) as server, aiohttp.ClientSession() as http:
        base = str(server.make_url("")).rstrip("/")
        way = await way_in(http, base, auth_token=token, account="AC1", public_url=public)
        return way, fields


def test_the_webhook_is_asked_and_the_upgrade_signed_as_twilio_does() -> None:
    way, fields = asyncio.run(asked(200, TWIML))
    validator = RequestValidator("secret")
    signature = fields.pop("signature")
    url = "https://voice.example.com/v1/telephony/twilio/voice"
    assert validator.validate(url, fields, signature)
    assert way.parameters == {"kaiwa_ticket": "a&b"} and way.call == fields["CallSid"]
    upgrade = way.headers["X-Twilio-Signature"]
    assert validator.validate("wss://voice.example.com/v1/t", {}, upgrade)


@pytest.mark.parametrize(
    ("status", "body", "advice"),
    [
        (403, "", "TWILIO_AUTH_TOKEN"),
        (404, "", "KAIWA_PUBLIC_URL"),
        (200, '<Response><Reject reason="busy"/></Response>', "busy"),
    ],
)
def test_a_call_that_is_not_answered_ends_the_run_with_what_to_do(
    status: int, body: str, advice: str
) -> None:
    with pytest.raises(BenchError, match=advice):
        asyncio.run(asked(status, body))
