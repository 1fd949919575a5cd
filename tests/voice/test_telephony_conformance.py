"""What holds for a call by telephone, whichever provider brings it."""

import json
import random
from typing import Any

import msgspec
import pytest

from mocks.clock import now
from mocks.stt import QUESTIONS
from mocks.tts import ToneTTS
from tests.driving import PLAIN
from tests.telephone import KITS, LACKS, Kit, PhoneCall, Promise, phone_call
from voice.config import PlayoutConfig
from voice.settings import AudioFormat
from voice.transports.telephony.adapter import Media
from voice.transports.telephony.leg import MOST_GARBLED
from voice.transports.telephony.switchboard import TAKEN_OVER
from voice.wire import OutputAudioStopped

QUESTION, OTHER = QUESTIONS
ANSWER, OTHER_ANSWER = (f"You said: {question}." for question in QUESTIONS)
ANSWER_MS, OTHER_MS = len(ANSWER) * 65, len(OTHER_ANSWER) * 65

every = pytest.mark.parametrize("kit", KITS, ids=repr)


def every_with(promise: Promise) -> pytest.MarkDecorator:
    """Whom LACKS does not name for it."""
    return pytest.mark.parametrize("kit", [k for k in KITS if k.has(promise)], ids=repr)


every_marked, every_numbered = every_with("marks"), every_with("numbers")
every_resync = every_with("resync")


async def ask(call: PhoneCall) -> None:
    """A question; returns when the answer is being heard."""
    before = len(call.ear.heard)
    await call.say(1.0)
    await call.hush_until(lambda: len(call.ear.heard) > before)


async def listen(call: PhoneCall, seconds: float = 4.0) -> None:
    await call.hush(seconds)
    call.phone.tick(now())


def heard_share(text: str) -> float:
    """Of the answer, by the words that the conversation keeps of it."""
    return len(text.removesuffix(" —")) / len(ANSWER)


# --- what cannot be promised ----------------------------------------------------------------------


def test_only_promises_of_providers_that_are_here_are_lacking_and_each_has_its_reason() -> None:
    assert set(LACKS) <= {kit.name for kit in KITS}
    assert all(reason for lacking in LACKS.values() for reason in lacking.values())


@every
def test_who_has_numbers_has_them_on_every_sound(kit: Kit) -> None:
    phone, adapter = kit.phone(), kit.adapter()
    for _ in range(2):
        frame = phone.media(kit.loud)
        data = frame if isinstance(frame, bytes) else frame.encode()
        (media,) = adapter.read(data, binary=isinstance(frame, bytes))
        assert isinstance(media, Media)
        assert (media.chunk is not None or media.at_ms is not None) is kit.has("numbers")


@every
def test_who_has_marks_is_sent_them_and_nobody_else_is(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        await listen(call)

    call = phone_call(kit, scenario)
    assert bool(call.ear.marks) is kit.has("marks") and call.phone.wrong == []


@every
def test_who_can_clear_is_told_to_and_for_others_the_sound_waits_here(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        sent = len(call.network.sent)
        call.leg.clear()
        assert (len(call.network.sent) > sent) is kit.has("clear")

    call = phone_call(kit, scenario)
    assert bool(call.ear.cleared_at) is kit.has("clear") and call.network.cleared_at


@every
def test_who_cannot_be_read_on_behind_garbage_is_hung_up_on_at_once(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        call.give("{{{")
        assert (call.network.ended is None) is kit.has("resync")

    call = phone_call(kit, scenario)
    if not kit.has("resync"):
        assert call.phone.others == [b"\xff\x00\x01\x02"]  # type: ignore[attr-defined]  # its own


# --- a conversation -------------------------------------------------------------------------------


@every
def test_a_question_is_answered_in_the_callers_own_coding(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        await listen(call)

    call = phone_call(kit, scenario)
    assert call.phone.wrong == []
    assert call.history() == [("user", QUESTION), ("assistant", ANSWER)]
    assert len(call.ear.heard) == 1, "in one go, without a gap"
    assert call.ear.heard_ms == pytest.approx(ANSWER_MS, abs=20)
    assert call.ear.heard_ms % 20 == 0, "in whole frames"
    assert call.done() == ["completed"] and len(call.all(OutputAudioStopped)) == 1


@every
def test_no_more_sound_is_under_way_than_the_lead(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        await listen(call)

    call = phone_call(kit, scenario)
    least_ms, most_ms = kit.under_way_ms
    assert least_ms < call.most_buffered_ms <= most_ms


@every
def test_the_caller_cuts_in_and_is_answered_again(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        await call.hush(0.5)
        await call.say(1.0)
        await call.hush_until(lambda: call.network.cleared_at)
        await call.hush_until(lambda: len(call.ear.heard) > 1)
        await listen(call)

    call = phone_call(kit, scenario)
    first, second = call.ear.heard
    (cleared_at,) = call.network.cleared_at
    assert first.until <= cleared_at + kit.tail_s + 1e-6, "nothing is heard behind it"
    assert call.done() == ["cancelled", "completed"]
    cut = call.history()[1][1]
    assert cut.endswith(" —")
    heard_ms = len(first.data) * 1000 / first.bytes_per_s
    assert heard_share(cut) == pytest.approx(heard_ms / ANSWER_MS, abs=0.25)
    assert len(second.data) * 1000 / second.bytes_per_s == pytest.approx(OTHER_MS, abs=20)
    assert call.phone.wrong == []


@every_marked
def test_what_counts_as_heard_is_what_was_played_not_what_was_sent(kit: Kit) -> None:
    """A provider that begins to play late: the clock alone would take it for heard."""

    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        await call.hush(0.3)
        await call.say(1.0)
        await listen(call)

    call = phone_call(kit, scenario, starts_after_s=0.6)
    played_ms = len(call.ear.heard[0].data) * 1000 / call.ear.heard[0].bytes_per_s
    cut = call.history()[1][1]
    assert heard_share(cut) * ANSWER_MS <= played_ms + 40
    assert call.ear.dropped_bytes > 0


@every_marked
def test_marks_that_come_back_because_of_a_clear_count_for_nothing(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        await call.hush(0.2)
        await call.say(0.6)
        await call.hush_until(lambda: call.ear.cleared_at)
        await call.hush(0.2)
        kept = call.history()[1][1]
        assert 0 < heard_share(kept) * ANSWER_MS <= call.ear.heard_ms + 40

    call = phone_call(kit, scenario, starts_after_s=1.5)
    assert call.ear.dropped_bytes > 1.0 * call.ear.bytes_per_s, "with the marks in it"


@every_marked
def test_marks_may_come_long_after_the_answer(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        call.network.echo_delay_s = 6.0
        await ask(call)
        await listen(call, 4.0)
        await ask(call)
        await listen(call, 8.0)

    call = phone_call(kit, scenario)
    assert call.done() == ["completed", "completed"]
    assert [text for _, text in call.history()] == [QUESTION, ANSWER, OTHER, OTHER_ANSWER]


@every_marked
def test_a_mark_that_comes_twice_or_was_never_set_changes_nothing(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        for name in (*call.ear.marks, *call.ear.marks, "m99999", "", "x" * 500):
            for frame in call.phone.echo(name):
                call.give(frame)
        await listen(call)

    call = phone_call(kit, scenario)
    assert call.done() == ["completed"] and call.network.ended is None


@every
def test_a_barge_in_behind_the_end_of_the_answer_clears_what_still_plays(kit: Kit) -> None:
    """All is said and sent; the provider has not played the last of it."""

    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        await call.hush_until(call.done)
        await call.say(1.0)
        await listen(call, 4.0)

    call = phone_call(kit, scenario, starts_after_s=1.0 if kit.has("marks") else 0.0)
    if kit.has("marks"):
        assert len(call.ear.cleared_at) == 1
    assert call.done() == ["completed", "completed"]


@every
def test_clearing_when_nothing_plays_is_no_harm(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        call.leg.clear()
        await ask(call)
        await listen(call)
        call.leg.clear()
        call.leg.clear()
        await ask(call)
        await listen(call)

    call = phone_call(kit, scenario)
    assert call.done() == ["completed", "completed"]
    assert call.ear.heard_ms == pytest.approx(ANSWER_MS + OTHER_MS, abs=40)
    assert call.phone.wrong == []


# --- the caller's sound ---------------------------------------------------------------------------


@every_numbered
def test_chunks_out_of_order_and_twice_are_heard_once_and_in_order(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        dice = random.Random(7)
        pieces = [bytes([code]) * 160 for code in range(1, 101)]
        frames = [call.phone.media(piece) for piece in pieces]
        for start in range(0, len(frames), 4):
            some = frames[start : start + 4]
            dice.shuffle(some)
            for frame in (*some, some[0]):
                call.give(frame)
        assert call.session.heard == b"".join(pieces)

    phone_call(kit, scenario)


@every_numbered
def test_what_is_lost_is_silence_as_long_as_it_was(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        for _ in range(20):
            await call.say(0.2)
            call.phone.lose(60)
            await call.pass_frame(None)
            await call.pass_frame(None)
            await call.pass_frame(None)
        await call.hush(0.2)

    call = phone_call(kit, scenario)
    assert call.heard_by_session_ms == pytest.approx(20 * 260 + 200, abs=20)


@every_numbered
def test_a_long_hole_is_not_filled_for_ever(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await call.hush(0.2)
        call.phone.lose(3_600_000)
        await call.hush(0.2)

    call = phone_call(kit, scenario)
    assert call.heard_by_session_ms <= 1400


@every
def test_lost_sound_does_not_end_the_callers_turn(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await call.say(0.5)
        call.phone.lose(100)
        for _ in range(5):
            await call.pass_frame(None)
        await call.say(0.5)
        await listen(call, 4.0)

    call = phone_call(kit, scenario)
    assert call.history() == [("user", QUESTION), ("assistant", ANSWER)]


# --- what no provider sends -----------------------------------------------------------------------


def texts(kit: Kit) -> list[str]:
    phone = kit.phone()
    frames = [*phone.begin(), phone.press("5"), phone.media(kit.silent), *phone.echo("m1")]
    return [frame for frame in (*frames, *phone.stop()) if isinstance(frame, str)]


def mangled(text: str) -> list[str | bytes]:
    """Truncated, of wrong types, nested, too long; and what is no text at all."""
    found: list[str | bytes] = [text[: len(text) * part // 7] for part in range(7)]
    found += [text.encode(), text + text, f"[{text}]", text.replace(":", "="), text.upper()]
    if text.startswith("{"):
        told = json.loads(text)
        values: list[Any] = [None, 7, [], {}, "", True, "x" * 3000, -1, 1e300]
        for value in values:
            found += [json.dumps({**told, key: value}) for key in told if key != "event"]
    return [one for one in found if one != text]


GARBAGE: list[str | bytes] = [
    "", " ", "null", "7", "[]", "{}", '"event"', "\x00", "{" * 5000, '{"event": 7}', '{"event"}',
    '{"event": "media"}', '{"event": "mark"}', '{"event": "media", "media": 1}',
    '{"event": "media", "media": {"payload": "?!"}}', '{"event": "dtmf", "dtmf": {"digit": "🙂"}}',
    "MEDIA_START", "DTMF_END digit:", "DTMF_END digit:Ü", "MEDIA_MARK_PROCESSED", "x" * 100_000,
    b"\xff\xfe\xfd", b"", b"x", bytes(100_001), '{"event": "nobody:knows", "x": [1, {"y": null}]}',
]  # fmt: skip


@every_resync
def test_garbage_is_counted_and_the_call_goes_on(kit: Kit) -> None:
    own = [one for text in texts(kit) for one in mangled(text)]
    stops = [text for text in texts(kit) if "stop" in text.lower()]

    async def scenario(call: PhoneCall) -> None:
        for number, one in enumerate([*GARBAGE, *own]):
            text = one.decode("latin-1") if isinstance(one, bytes) else one
            if any(stop[:20] == text[:20] for stop in stops):
                continue  # says that it is over, whatever else it says
            call.give(one)
            if number % 10 == 0:
                call.give(call.phone.media(kit.silent))
        await ask(call)
        await listen(call)

    call = phone_call(kit, scenario)
    assert call.network.ended is None
    assert "completed" in call.done()


@every
def test_what_never_speaks_like_the_provider_is_hung_up_on(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        for _ in range(kit.most_garbled - 1):
            call.give("{{{")
        assert call.network.ended is None
        call.give("{{{")

    call = phone_call(kit, scenario)
    assert call.network.ended is not None and call.network.ended[0] == 1008


@every_resync
def test_events_that_are_not_known_yet_are_left_out(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        for _ in range(2 * MOST_GARBLED):
            call.give('{"event": "brand:new", "of": {"the": ["year"]}}')
        if kit.name.startswith("asterisk"):
            call.give("SOMETHING_NEW channel_id:7 what:ever")
        await ask(call)
        await listen(call)

    assert phone_call(kit, scenario).done() == ["completed"]


@every_resync
def test_numbers_may_come_as_strings_or_as_numbers(kit: Kit) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            plain = ("payload", "name", "digit", "correlation_id")
            return {k: v if k in plain else turned(v) for k, v in value.items()}
        if isinstance(value, str) and value.isdigit():
            return int(value)
        return str(value) if type(value) is int else value

    async def scenario(call: PhoneCall) -> None:
        real = call.phone.media

        def media(data: bytes) -> Any:
            frame = real(data)
            return json.dumps(turned(json.loads(frame))) if isinstance(frame, str) else frame

        call.phone.media = media  # type: ignore[method-assign]  # the wire, said otherwise
        await ask(call)
        await listen(call)

    assert phone_call(kit, scenario).done() == ["completed"]
    adapter = kit.adapter()
    for frame in kit.phone().begin():
        told = frame if not str(frame).startswith("{") else json.dumps(turned(json.loads(frame)))
        adapter.read(str(told).encode(), binary=False)


@every_resync
def test_a_second_start_changes_nothing(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        for frame in call.phone.begin():
            other = str(frame).replace("MZ0", "MZ9")
            call.give(other.replace("ulaw", "slin") if kit.name.startswith("asterisk") else other)
        await ask(call)
        await listen(call)

    call = phone_call(kit, scenario)
    assert call.done() == ["completed"] and call.phone.wrong == []


@every
@pytest.mark.parametrize("digit", "0123456789*#")
def test_keys_are_told_in_order(kit: Kit, digit: str) -> None:
    async def scenario(call: PhoneCall) -> None:
        for key in (digit, "1", digit):
            call.give(call.phone.press(key))

    assert phone_call(kit, scenario).session.keys == [digit, "1", digit]


# --- the end --------------------------------------------------------------------------------------


@every
def test_the_caller_hangs_up_in_the_middle_of_an_answer(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        for frame in call.phone.stop():
            call.give(frame)
        heard = call.session.heard
        call.give(call.phone.media(kit.loud))
        assert call.session.heard == heard or not call.phone.stop()
        await call.session.close(1000, "")
        call.give(call.phone.media(kit.loud))

    call = phone_call(kit, scenario)
    assert not getattr(call.phone, "hung_up", False), "they ended it, not we"
    if kit.phone().stop():
        assert call.network.ended == (1000, "the caller hung up")


@every
def test_we_hang_up_as_the_provider_wants_it(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        call.session.hang_up(1000, "the caller said goodbye")
        call.session.hang_up(1000, "twice")

    call = phone_call(kit, scenario)
    assert call.network.ended == (1000, "the caller said goodbye")
    assert getattr(call.phone, "hung_up", True), "where the protocol has a word for it"
    if kit.name.startswith("asterisk"):
        assert call.phone.answered  # type: ignore[attr-defined]  # its own


@every
def test_a_connection_that_is_taken_over_is_let_go_and_the_call_not_ended(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        call.leg.drop(*TAKEN_OVER)
        call.leg.end(1000, "too late")

    call = phone_call(kit, scenario)
    assert call.network.ended == TAKEN_OVER and not getattr(call.phone, "hung_up", False)


@every
def test_sound_that_does_not_fill_a_frame_is_filled_up_with_silence(kit: Kit) -> None:
    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        await listen(call)

    call = phone_call(kit, scenario, tts=ToneTTS(ms_per_char=61))  # 3050 ms
    assert call.ear.heard_ms == 3060
    assert call.phone.wrong == []


@every
def test_nothing_of_a_cut_answer_is_left_for_the_next(kit: Kit) -> None:
    """Frames of 50 ms leave 10 ms over, which wait for the next one."""

    async def scenario(call: PhoneCall) -> None:
        await ask(call)
        await call.hush(0.5)
        await call.say(1.0)
        await call.hush_until(lambda: len(call.ear.heard) > 1)
        await listen(call)

    config = msgspec.structs.replace(PLAIN, playout=PlayoutConfig(frame_ms=50))
    call = phone_call(kit, scenario, config=config)
    second = call.ear.heard[1]
    assert len(second.data) * 1000 / second.bytes_per_s == pytest.approx(OTHER_MS, abs=19)


def test_sound_waits_for_a_provider_that_is_full() -> None:
    kit = next(kit for kit in KITS if kit.name == "asterisk")

    async def scenario(call: PhoneCall) -> None:
        await call.say(1.0)
        call.give(call.phone.fill(True))  # type: ignore[attr-defined]  # Asterisk's own
        await call.hush_until(call.done)
        await call.hush(0.5)
        assert call.ear.heard == []
        call.give(call.phone.fill(False))  # type: ignore[attr-defined]  # Asterisk's own
        await listen(call)

    call = phone_call(kit, scenario)
    assert call.ear.heard_ms == pytest.approx(ANSWER_MS, abs=20)


def test_what_waits_for_a_full_provider_is_dropped_when_the_caller_cuts_in() -> None:
    """caller   ~~~~~          ~~~~~
    Asterisk      XOFF               XON
    answer              ######|x         ####### the other answer, and nothing of the first
    """
    kit = next(kit for kit in KITS if kit.name == "asterisk")

    async def scenario(call: PhoneCall) -> None:
        await call.say(1.0)
        call.give(call.phone.fill(True))  # type: ignore[attr-defined]  # Asterisk's own
        await call.hush(1.5)
        assert call.leg._waiting, "it is being answered"
        await call.say(1.0)
        call.give(call.phone.fill(False))  # type: ignore[attr-defined]  # Asterisk's own
        await listen(call, 8.0)

    call = phone_call(kit, scenario)
    assert call.ear.heard_ms == pytest.approx(OTHER_MS, abs=20)


@pytest.mark.parametrize(
    ("form", "coding"),
    [
        ("alaw", AudioFormat(type="audio/pcma")),
        ("slin", AudioFormat(rate=8000)),
        ("slin16", AudioFormat(rate=16_000)),
        ("slin24", AudioFormat(rate=24_000)),
    ],
)
def test_asterisk_may_bring_any_coding_that_we_have(form: str, coding: AudioFormat) -> None:
    from voice.transports.telephony.asterisk import Asterisk

    line = f"MEDIA_START connection_id:a channel:b channel_id:c format:{form} ptime:20"
    (started,) = Asterisk().read(line.encode(), binary=False)
    assert started.form == coding  # type: ignore[union-attr]  # it is Started
