"""What adapters make of frames: facts, or Garbled, and nothing else whatever comes."""

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from mocks.audiosocket import SLIN
from tests.telephone import KITS, Kit
from voice.settings import AudioFormat
from voice.transports.telephony.adapter import Garbled, Key, Media, Played, Unsupported
from voice.transports.telephony.arrival import Arrival
from voice.transports.telephony.asterisk import Asterisk
from voice.transports.telephony.audiosocket import (
    ERROR,
    HANG_UP,
    KEY,
    SILENCE,
    AudioSocket,
    Splitter,
    check_place,
)
from voice.transports.telephony.audiosocket import (
    frame as framed,
)
from voice.transports.telephony.telnyx import Telnyx
from voice.transports.telephony.twilio import Twilio
from voice.transports.telephony.vonage import Vonage

every_in_messages = pytest.mark.parametrize(
    "kit", [kit for kit in KITS if not kit.is_stream], ids=repr
)
MUTANTS = 10_000
WORDS = [b"null", b"-1", b"1e999", b"{", b'"', b"\\u0000", b"[[["]
OPUS = {"encoding": "OPUS", "sample_rate": 16_000}
L16 = "audio/l16;rate=11025"


def read(adapter: Any, frame: str | bytes) -> list[Any]:
    data = frame if isinstance(frame, bytes) else frame.encode()
    return list(adapter.read(data, binary=isinstance(frame, bytes)))


def mutants(seeds: list[bytes]) -> Iterator[bytes]:
    """Bytes changed, cut out, doubled, put in; halves of two frames joined."""
    dice = random.Random(12)
    for _ in range(MUTANTS):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(data) + 1)
            match dice.randrange(5):
                case 0:
                    data[at : at + 1] = bytes([dice.randrange(256)])
                case 1:
                    del data[at : at + dice.randint(1, 30)]
                case 2:
                    data[at:at] = data[at : at + dice.randint(1, 30)]
                case 3:
                    data[at:at] = dice.choice(
                        [b"null", b"-1", b"1e999", b"{", b'"', b"\\u0000", b"[[["]
                    )
                case 4:
                    data = data[:at] + dice.choice(seeds)[at:]
        yield bytes(data)


@every_in_messages
def test_ten_thousand_mutants_are_facts_or_garbled(kit: Kit) -> None:
    phone = kit.phone()
    frames = [
        *phone.begin(),
        phone.media(kit.silent),
        phone.press("7"),
        *phone.echo("m1"),
        *phone.stop(),
    ]
    seeds = [frame if isinstance(frame, bytes) else frame.encode() for frame in frames]
    begun, fresh, arrival = kit.adapter(), kit.adapter, Arrival(AudioFormat(type="audio/pcmu"))
    for frame in phone.begin():
        read(begun, frame)
    garbled = 0
    for data in mutants(seeds):
        for adapter in (begun, fresh()):
            try:
                facts = adapter.read(data, binary=False)
            except Garbled as error:
                assert str(error)
                garbled += 1
                continue
            for fact in facts:
                if isinstance(fact, Media):
                    assert sum(len(piece) for piece in arrival.receive(fact)) < 50_000
    assert MUTANTS < 2 * garbled


def test_ten_thousand_mutants_of_a_stream_are_facts_or_garbled() -> None:
    pieces = [framed(SLIN, bytes(320)), framed(KEY, b"7"), framed(SILENCE), framed(ERROR, b"\x01")]
    seeds = [*pieces, pieces[0] + pieces[1], framed(SLIN, b"\x01" * 32) + framed(HANG_UP)]
    adapter, garbled, facts = AudioSocket(SLIN), 0, 0
    for data in mutants(seeds):
        try:
            for one in Splitter().feed(data):
                check_place(one, SLIN)
                facts += len(adapter.read(one, binary=True))
        except Garbled as error:
            assert str(error)
            garbled += 1
    assert MUTANTS < 3 * garbled and facts > 1000


@pytest.mark.parametrize("adapter", [Twilio, Telnyx])
def test_sound_of_the_other_direction_is_not_the_callers(adapter: Any) -> None:
    media = {"track": "outbound", "chunk": "1", "timestamp": "5", "payload": "AAAA"}
    assert read(adapter(), json.dumps({"event": "media", "media": media})) == []


@pytest.mark.parametrize("adapter", [Twilio, Telnyx])
def test_numbers_come_as_strings(adapter: Any) -> None:
    media = {"track": "inbound", "chunk": "12", "timestamp": "240", "payload": "AAAA"}
    (fact,) = read(adapter(), json.dumps({"event": "media", "media": media}))
    assert fact == Media(b"\x00\x00\x00", 12, 240)


@pytest.mark.parametrize("adapter", [Twilio, Telnyx])
@pytest.mark.parametrize("field", ["chunk", "timestamp"])
@pytest.mark.parametrize("value", ["-1", "1" + "0" * 400, "1e300", "0x10", "1.5", "NaN", ""])
def test_numbers_that_cannot_be_are_none(adapter: Any, field: str, value: str) -> None:
    media = {"track": "inbound", "payload": "AAAA", field: value}
    with pytest.raises(Garbled, match=field):
        read(adapter(), json.dumps({"event": "media", "media": media}))


@pytest.mark.parametrize("adapter", [Twilio, Telnyx])
@pytest.mark.parametrize("name", ["media", "mark", "dtmf", "start"])
def test_what_is_missing_is_named(adapter: Any, name: str) -> None:
    with pytest.raises(Garbled, match=name):
        read(adapter(), json.dumps({"event": name}))
    with pytest.raises(Garbled, match=name):
        read(adapter(), json.dumps({"event": name, name: {}}))


STARTS: list[tuple[Any, dict[str, Any], str]] = [
    (Telnyx, {"call_control_id": "a", "media_format": OPUS}, "OPUS.*PCMU or PCMA"),
    (Telnyx, {"call_control_id": "a"}, "PCMU or PCMA"),
    (Twilio, {"callSid": "a", "streamSid": "b"}, "audio/x-mulaw"),
]
CONNECTS: list[tuple[Any, dict[str, Any], str]] = [
    (Vonage, {"event": "websocket:connected", "content-type": L16}, "NCCO"),
    (Vonage, {"event": "websocket:connected"}, "NCCO"),
    (Asterisk, {"event": "MEDIA_START", "format": "opus"}, "slin16.*Dial"),
    (Asterisk, {"event": "MEDIA_START", "format": "ulaw", "ptime": 5000}, "5000 ms"),
    *((adapter, {"event": "start", "start": start}, told) for adapter, start, told in STARTS),
]


@pytest.mark.parametrize(("adapter", "frame", "told"), CONNECTS)
def test_a_call_that_cannot_be_had_is_told_what_would_do(
    adapter: Any, frame: dict[str, Any], told: str
) -> None:
    with pytest.raises(Unsupported, match=told):
        read(adapter(), json.dumps(frame))


def test_asterisks_two_ways_of_saying_the_same() -> None:
    for lines in (
        ["DTMF_END channel_id:a digit:5", '{"event": "DTMF_END", "digit": "5"}'],
        ["DTMF_END digit:5", '{\n "event": "DTMF_END",\n "digit": 5\n}'],
    ):
        found = []
        for line in lines:
            try:
                found += read(Asterisk(), line)
            except Garbled:  # a number is no key
                found.append(Key("5"))
        assert found == [Key("5"), Key("5")]
    for line in ("MEDIA_MARK_PROCESSED m7", "MEDIA_MARK_PROCESSED correlation_id:m7"):
        assert read(Asterisk(), line) == [Played("m7")]


def test_asterisk_of_before_marks_is_asked_for_none() -> None:
    old = Asterisk()
    read(old, "MEDIA_START connection_id:a channel:b format:ulaw optimal_frame_size:160")
    assert old.mark("m1") is None and old.clear() == b"FLUSH_MEDIA"
    new = Asterisk()
    read(new, "MEDIA_START connection_id:a channel:b format:ulaw optimal_frame_size:160 ptime:20")
    assert new.mark("m1") == b"MARK_MEDIA m1" and new.hang_up() == b"HANGUP"


def test_half_a_sample_is_no_sound() -> None:
    with pytest.raises(Garbled, match="3 bytes"):
        read(Vonage(), b"abc")
