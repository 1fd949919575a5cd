"""A caller over WebRTC, from the offer to the end, over real sockets."""

import asyncio
import re
import socket
import time
from typing import Any

import pytest

from tests.peers import AUDIBLE, Client, House, call, until
from voice.transports.metronome import metronome
from voice.transports.webrtc_peer import Limits, OfferError


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)


async def speak(client: Client, seconds: float = 0.8) -> None:
    client.microphone.loud = True
    await asyncio.sleep(seconds)
    client.microphone.loud = False


def test_a_question_its_answer_a_barge_in_and_a_second_question() -> None:
    async def talk() -> None:
        async with call() as (peer, client):
            await speak(client, 1.2)
            await until(lambda: client.last_heard(), "the answer is heard")
            assert "output_audio_buffer.started" in client.kinds

            await speak(client, 1.2)  # over the answer
            cleared = await until(
                lambda: [at for at, e in client.events if e["type"] == CLEARED], "it was cut"
            )
            await asyncio.sleep(0.3)
            assert client.last_heard() <= cleared[0] + 0.25
            assert "conversation.item.truncated" in client.kinds

            await until(lambda: client.kinds.count(STARTED) == 2, "a second answer")
            await until(lambda: client.last_heard() > cleared[0] + 0.5, "it is heard, too")
            figures = peer.figures()
            assert figures.media is not None
            assert figures.media.received.packets > 100
            assert figures.media.sent.packets > 20
            assert figures.media.received.lost == 0
            assert figures.media.round_trip_ms is not None

    run(talk())


STARTED, CLEARED = "output_audio_buffer.started", "output_audio_buffer.cleared"


def test_the_first_event_is_that_the_session_was_created_and_the_rest_is_in_order() -> None:
    async def talk() -> None:
        async with call() as (_, client):
            for number in range(20):
                client.send("session.update", session={"type": "realtime", "instructions": number})
                client.send(
                    "session.update", session={"type": "realtime", "instructions": f"{number}"}
                )
            await until(lambda: client.kinds.count("session.updated") == 20, "all were taken")
            assert client.kinds[0] == "session.created"
            assert client.kinds.count("error") == 20
            updated = [e for _, e in client.events if e["type"] == "session.updated"]
            told = [event["session"]["instructions"] for event in updated]
            assert told == [f"{number}" for number in range(20)]

    run(talk())


def test_a_caller_without_a_data_channel_talks_all_the_same() -> None:
    async def talk() -> None:
        async with call(channel=False) as (_, client):
            await speak(client)
            await until(lambda: client.last_heard(), "the answer is heard")

    run(talk())


def test_audio_appended_by_event_is_refused_since_there_is_a_track_for_it() -> None:
    async def talk() -> None:
        async with call() as (_, client):
            client.send("input_audio_buffer.append", audio="AAAA")
            await until(lambda: "error" in client.kinds, "an error")
            error = client.events[-1][1]["error"]
            assert error["code"] == "invalid_event_for_transport"

    run(talk())


GARBAGE = [
    *(b"", b"\0", b"\x16", b"\x80", b"\xff" * 200, b"\x80\x60" + b"\0" * 40),
    *(b"\x15\xfe\xfd" + b"\0" * 20, b"\x16\xfe\xfd" + b"\1" * 60, b"\0\1\0\0" + b"\7" * 16),
]


def test_ten_thousand_datagrams_of_garbage_and_empty_ones_do_not_end_a_call() -> None:
    async def talk() -> None:
        async with call() as (peer, client):
            pair = client.ice._nominated[1]
            own = pair.protocol.transport.get_extra_info("socket")
            with socket.socket(own.family, socket.SOCK_DGRAM) as stranger:
                for number in range(10_000):
                    garbage = GARBAGE[number % len(GARBAGE)]
                    if number % 10:
                        stranger.sendto(garbage, pair.remote_addr)
                    else:  # asyncio would send no empty one
                        own._sock.sendto(garbage, pair.remote_addr)
                    await asyncio.sleep(0)  # the loop reads one datagram a round
            await asyncio.sleep(0.1)
            assert peer.figures().dropped > 5000
            assert peer.connected
            await speak(client)
            await until(lambda: client.last_heard(), "the answer is heard")

    run(talk())


def test_a_client_that_has_gone_silent_is_suspended_and_comes_back() -> None:
    async def talk() -> None:
        house = House()
        async with call(house, limits=Limits(suspend_s=1.0)) as (peer, client):
            await speak(client)
            await until(lambda: client.last_heard(), "the answer sounds")
            client.cut_off()
            await until(lambda: peer.suspended, "it is suspended")
            assert not house.sessions[0].busy
            client.come_back()
            await until(lambda: not peer.suspended, "it is back")
            before = client.kinds.count(STARTED)
            await speak(client)
            await until(lambda: client.kinds.count(STARTED) > before, "another answer")

    run(talk())


def test_who_speaks_when_the_network_goes_leaves_no_turn_open() -> None:
    async def talk() -> None:
        house = House()
        async with call(house, limits=Limits(suspend_s=1.0)) as (peer, client):
            client.microphone.loud = True
            await until(lambda: house.sessions[0].busy, "a turn is open")
            client.cut_off()
            await until(lambda: peer.suspended, "it is suspended")
            assert not house.sessions[0].busy
            client.come_back()

    run(talk())


def test_a_client_that_hangs_up_ends_the_session() -> None:
    async def talk() -> None:
        house = House()
        async with call(house) as (peer, client):
            await client.pc.close()
            await until(lambda: house.gone, "it is told")
            assert house.sessions[0].closed
            assert not peer.connected
            assert len(metronome()) == 0
        assert len(house.gone) == 1

    run(talk())


def test_a_call_that_is_ended_here_ends_there() -> None:
    async def talk() -> None:
        house = House()
        async with call(house) as (peer, client):
            peer.hang_up(1001, "stopping")
            await until(lambda: client.pc.connectionState == "closed", "the client knows")
            await until(lambda: house.gone, "it is told")
            assert house.gone == [(1001, "stopping")]
            await peer.aclose()
            await peer.aclose()
            assert len(house.gone) == 1

    run(talk())


def test_the_session_ends_behind_what_was_said() -> None:
    async def talk() -> None:
        house = House()
        async with call(house) as (_, client):
            for number in range(30):
                client.send("conversation.item.retrieve", item_id=f"none_{number}")
            await until(lambda: client.kinds.count("error") > 0, "the first is answered")
            house.sessions[0].hang_up(1000, "goodbye")
            await until(lambda: house.gone, "it is over")
            assert house.gone == [(1000, "goodbye")]
            assert client.kinds.count("error") == 30

    run(talk())


def test_an_answer_that_nobody_takes_is_given_up_with_its_sockets() -> None:
    async def talk() -> None:
        house = House()
        peer, client = house.peer(limits=Limits(set_up_s=0.3)), Client()
        await peer.answer(await client.offer())
        before = time.monotonic()
        await until(lambda: house.gone, "it is given up")
        assert time.monotonic() - before < 3
        assert house.gone == [(1002, "not connected in time")]
        assert house.sessions == []
        await client.aclose()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(talk())


TELL_END = {"include": ["kaiwa.call.ended"]}


def test_events_that_are_none_end_the_call_after_so_many_and_the_client_learns_of_each() -> None:
    async def talk() -> None:
        house = House()
        async with call(house, settings=TELL_END) as (_, client):
            assert client.channel is not None
            for _ in range(60):
                client.channel.send("nonsense")
            await until(lambda: house.gone, "the call has ended")
            assert house.gone == [(1008, "too many events that are none")]
            assert client.kinds.count("error") == 50
            assert last_word(client) == (1008, "too many events that are none")

    run(talk())


@pytest.mark.parametrize("why", ["channels", "from outside"])
def test_who_is_hung_up_on_is_told_why_as_the_last_word(why: str) -> None:
    async def talk() -> None:
        house = House()
        async with call(house, settings=TELL_END) as (peer, client):
            if why == "channels":
                for number in range(20):
                    client.pc.createDataChannel(f"one more {number}")
                how = (1008, "too many data channels")
            else:
                await speak(client)
                await until(lambda: client.last_heard(), "the answer sounds")
                how = (1000, "hung up")
                asked_at = time.monotonic()
                peer.hang_up(*how)
            await until(lambda: house.gone, "the call has ended")
            assert house.gone == [how] and last_word(client) == how
            if why == "from outside":
                assert client.last_heard() < asked_at + 0.3

    run(talk())


def last_word(client: Client) -> tuple[int, str]:
    event = client.events[-1][1]
    assert event["type"] == "kaiwa.call.ended"
    return event["code"], event["reason"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda sdp: "", "no_audio"),
        (lambda sdp: "nonsense", "no_audio"),
        (lambda sdp: sdp.replace("m=audio", "m=video"), "no_audio"),
        (lambda sdp: re.sub(r"(?i)opus|pcmu|pcma", "speex", sdp), "no_common_codec"),
        (lambda sdp: re.sub(r"a=fingerprint.*\r\n", "", sdp), "bad_offer"),
        (lambda sdp: re.sub(r"a=ice-pwd.*\r\n", "", sdp), "bad_offer"),
        (lambda sdp: sdp.replace("a=rtcp-mux\r\n", ""), "bad_offer"),
        (lambda sdp: sdp.replace("m=audio ", "m=audio x"), "bad_offer"),
    ],
)
def test_an_offer_that_cannot_be_answered_is_refused_and_leaves_nothing(
    change: Any, code: str
) -> None:
    async def knock() -> None:
        house, client = House(), Client()
        peer = house.peer()
        with pytest.raises(OfferError) as refused:
            await peer.answer(change(await client.offer()))
        assert refused.value.code == code
        await client.aclose()
        assert len(house.gone) == 1
        await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task is left")

    run(knock())


def test_g711_alone_is_spoken_as_well() -> None:
    async def talk() -> None:
        house, client = House(), Client()
        peer = house.peer()
        offer = await client.offer()
        answer = await peer.answer(re.sub(r"a=rtpmap:\d+ (opus|G722)/.*\r\n", "", offer))
        assert "PCMU" in answer and "opus" not in answer
        await client.take(answer)
        await until(lambda: peer.connected, "connected")
        await speak(client)
        await until(lambda: max(client.levels, default=0) > 20 * AUDIBLE, "the answer is heard")
        await client.aclose()
        await peer.aclose()

    run(talk())


def test_the_answer_asks_for_copies_of_what_is_lost_and_names_no_server() -> None:
    async def knock() -> None:
        house, client = House(), Client()
        peer = house.peer()
        answer = await peer.answer(await client.offer())
        assert "useinbandfec=1" in answer
        assert "a=candidate" in answer and "srflx" not in answer and "relay" not in answer
        await peer.aclose()
        await client.aclose()

    run(knock())
