"""Clients that vanish, stall, flood or never stop: the server keeps its memory and the other calls.

What is promised of each is in docs/wire.md and the tests' names. Counts are small enough for two
cores; what leaks once per client shows at thirty.
"""

import contextlib
import copy
import gc
import json
import os
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.served import (
    LIMIT_S,
    SOON_S,
    Caller,
    Hosted,
    Served,
    address,
    append,
    eventually,
    get,
    loud,
    masked,
    raw_call,
    read_until,
    reset,
    silence,
    upgrade,
)
from voice import metrics

pytestmark = pytest.mark.real_time

Serve = Callable[..., Served]
Host = Callable[..., Hosted]

VANISHING = 100
SLOW_HANDSHAKES = 200
TIMELINE = ["kaiwa.turn.timeline"]


def sessions_gauge() -> float:
    return metrics.REGISTRY.get_sample_value("kaiwa_sessions") or 0.0


def text(event: dict[str, Any]) -> bytes:
    return masked(1, json.dumps(event).encode())


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


# --- a good caller beside the bad ones ------------------------------------------------------------


def spoken_turn(caller: Caller) -> dict[str, Any]:
    """Speaks in real time, and returns the turn's timeline."""
    pace = threading.Event()
    begun, sent_s = time.monotonic(), 0.0
    for piece in (loud(0.02), silence(0.02)):
        for _ in range(20 if piece[0] else 15):
            caller.send(append(piece))
            sent_s += 0.02
            pace.wait(max(0.0, begun + sent_s - time.monotonic()))
    return caller.until("kaiwa.turn.timeline")


@contextlib.contextmanager
def undisturbed(url: str, allowed_ms: float) -> Iterator[None]:
    """While the block runs, another caller's written questions are answered within `allowed_ms`."""
    times_ms: list[float] = []
    over = threading.Event()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            with Caller(url) as caller:
                caller.until("session.created")
                caller.update(output_modalities=["text"])
                while not over.is_set():
                    begun = time.monotonic()
                    done = caller.ask("hello")
                    assert done["response"]["status"] == "completed"
                    times_ms.append((time.monotonic() - begun) * 1000)
                    over.wait(0.02)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        eventually(lambda: times_ms or failures, "a first answer")
        yield
    finally:
        over.set()
        thread.join(LIMIT_S)
    assert not failures, failures
    assert statistics.median(times_ms) < allowed_ms and max(times_ms) < 10 * allowed_ms, times_ms


# --- vanishing ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hosted(hosting: Host) -> Hosted:
    """Answers last long enough to vanish in the middle of them."""
    return hosting(mock={"llm_token_ms": 30.0, "tts_first_audio_ms": 5.0})


def at_rest(hosted: Hosted) -> bool:
    providers = hosted.built.providers
    running = providers.llm.running + providers.tts.running + providers.stt.open_streams  # type: ignore[attr-defined]  # mocks
    return sessions_gauge() == 0 and hosted.desk.sessions == 0 and running == 0


def vanish(hosted: Hosted, number: int) -> None:
    """Leaves in one of six ways, at one of three points of a turn."""
    raw = raw_call(hosted.url, path="/v1/realtime?audio=binary")
    raw.sendall(text({"type": "session.update", "session": {"include": TIMELINE}}))
    if number % 3:
        raw.sendall(masked(2, loud(0.4)) + masked(2, silence(0.3)))
    if number % 3 == 2:
        read_until(raw, b"response.output_audio_transcript.delta")
    way = number // 3 % 6
    if way == 0:
        reset(raw)
        return
    if way == 1:
        raw.shutdown(socket.SHUT_WR)
    elif way == 2:
        raw.sendall(masked(8, (1001).to_bytes(2, "big")))
    elif way == 3:
        raw.sendall(masked(2, loud(1.0))[:-500])  # in the middle of a frame
    elif way == 4:
        raw.sendall(b"\xff" * 64)  # no frame at all
    else:
        raw.sendall(masked(1, b'{"type":"input_', fin=False))  # in the middle of a message
    raw.close()


def test_callers_that_vanish_leave_nothing_behind(hosted: Hosted) -> None:
    for number in range(18):  # what is made once is made
        vanish(hosted, number)
    eventually(lambda: at_rest(hosted), "the warm-up's callers are gone")
    gc.collect()
    tasks, files = hosted.tasks(), open_files()
    with ThreadPoolExecutor(10) as callers:
        list(callers.map(lambda number: vanish(hosted, number), range(VANISHING)))
    eventually(lambda: at_rest(hosted), "sessions, answers and streams are gone")
    eventually(lambda: hosted.tasks() <= tasks, f"tasks are back to {tasks}")
    eventually(lambda: open_files() <= files, f"files are back to {files}")
    with Caller(hosted.url) as caller:
        caller.answers()


def test_a_vanished_caller_frees_the_model_and_the_voice_at_once(hosted: Hosted) -> None:
    llm: Any = hosted.built.providers.llm
    with Caller(hosted.url) as caller:
        caller.until("session.created")
        caller.write("word " * 200)
        caller.send({"type": "response.create"})
        caller.until("response.output_audio_transcript.delta")
        assert llm.running == 1
        caller.socket.socket.shutdown(socket.SHUT_RDWR)
        eventually(lambda: at_rest(hosted), "its answer is over", limit_s=SOON_S)


def test_a_caller_that_says_goodbye_while_much_is_unsent_is_forgotten(hosted: Hosted) -> None:
    """The timeline of its last turn has nowhere to go; nothing may hang on it."""
    raw = raw_call(hosted.url, rcvbuf=4096)
    raw.sendall(text({"type": "session.update", "session": {"include": TIMELINE}}))
    echo = text({"type": "session.update", "session": {"instructions": "x" * 100_000}})
    for _ in range(60):
        raw.sendall(echo)
    raw.sendall(masked(1, b'{"type":"response.create"}') + masked(8, b"\x03\xe8"))
    eventually(lambda: at_rest(hosted), "its session is closed", limit_s=SOON_S)
    eventually(
        lambda: not hosted.ask(lambda: len(hosted.server.server_state.connections)),
        "its socket is closed",
    )
    raw.close()


def test_a_caller_that_goes_during_the_handshake_is_no_session(hosted: Hosted) -> None:
    for cut in (b"", masked(8, b"\x03\xe8"), masked(1, b"{}")):
        raw = socket.create_connection(address(hosted.url))
        raw.sendall(upgrade(hosted.url) + cut)
        reset(raw)
    eventually(lambda: at_rest(hosted), "nobody is on the line")


# --- stalling -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def strict(serving: Serve) -> Served:
    server = {"send_limit_s": 1.0, "max_sessions": 1000}
    return serving(server=server, mock={"stt_text": "yes"})


def stop_reading(strict: Served) -> dict[str, Any]:
    """A call that asks for much and takes nothing; the log's line when it is dropped."""
    echo = text({"type": "session.update", "session": {"instructions": "y" * 100_000}})
    raw = raw_call(strict.url, rcvbuf=4096)
    raw.settimeout(LIMIT_S)
    with pytest.raises(OSError):  # reset, or nothing more taken and then reset
        for _ in range(400):
            raw.sendall(echo)
    raw.close()
    return strict.logged("session_closed", why="it stopped reading")


def test_a_client_that_stops_reading_is_dropped_and_others_notice_nothing(strict: Served) -> None:
    before = strict.rss_mib()
    with undisturbed(strict.url, allowed_ms=60):
        dropped = stop_reading(strict)
    assert dropped["code"] == 1006
    assert strict.rss_mib() - before < 40


def test_a_ping_flood_is_slowed_down_and_costs_no_memory(strict: Served) -> None:
    before = strict.rss_mib()
    flood = masked(9) * 10_000
    sent = 0
    with undisturbed(strict.url, allowed_ms=60):
        raw = raw_call(strict.url, rcvbuf=4096)
        raw.settimeout(0.5)
        ends_at = time.monotonic() + 4.0
        with contextlib.suppress(OSError):
            while time.monotonic() < ends_at:
                sent += raw.send(flood)
        raw.close()
    assert sent > 100_000, "the flood must have been one"
    assert strict.rss_mib() - before < 20


@pytest.mark.parametrize(
    "frame",
    [masked(9, b"x" * 125), masked(10), masked(1, b'{"type":"input_audio_buffer.clear"}')],
    ids=["long pings", "pongs", "tiny events"],
)
def test_a_flood_of_small_frames_is_no_pause_for_others(strict: Served, frame: bytes) -> None:
    before = strict.rss_mib()
    flood = frame * (200_000 // len(frame))
    with undisturbed(strict.url, allowed_ms=60):
        raw = raw_call(strict.url)
        raw.settimeout(0.5)
        reader = threading.Thread(target=_drink, args=(raw,))
        reader.start()
        ends_at = time.monotonic() + 2.0
        with contextlib.suppress(OSError):
            while time.monotonic() < ends_at:
                raw.send(flood)
        reset(raw)
        reader.join(LIMIT_S)
    assert strict.rss_mib() - before < 20


def _drink(raw: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while raw.recv(65_536):
            pass


def test_a_message_in_a_thousand_pieces_is_one_message(strict: Served) -> None:
    event = json.dumps({"type": "input_audio_buffer.clear", "event_id": "e" * 900}).encode()
    pieces = [masked(1, event[:1], fin=False)]
    pieces += [masked(0, event[n : n + 1], fin=False) + masked(9) for n in range(1, len(event) - 1)]
    pieces.append(masked(0, event[-1:]))
    raw = raw_call(strict.url)
    raw.sendall(b"".join(pieces))
    read_until(raw, b"input_audio_buffer.cleared")
    raw.close()


def test_pieces_that_never_become_a_message_end_with_1009(strict: Served) -> None:
    raw = raw_call(strict.url)
    piece = masked(0, b"x" * 60_000, fin=False)
    raw.sendall(masked(1, b"x", fin=False) + piece * 40)
    seen = b""
    while more := raw.recv(65_536):
        seen += more
    assert (1009).to_bytes(2, "big") in seen[-140:]
    raw.close()


def test_slow_handshakes_do_not_keep_a_good_client_out(strict: Served) -> None:
    half = upgrade(strict.url)[:60]
    slow = []
    try:
        for _ in range(SLOW_HANDSHAKES):
            raw = socket.create_connection(address(strict.url), timeout=LIMIT_S)
            raw.sendall(half)
            slow.append(raw)
        begun = time.monotonic()
        with Caller(strict.url) as caller:
            caller.answers()
        assert time.monotonic() - begun < SOON_S / 3, "before the slow ones are given up"
        assert slow[0].recv(100) == b"", "what never becomes a request is closed"
    finally:
        for raw in slow:
            raw.close()


# --- endless audio --------------------------------------------------------------------------------


def test_noise_is_no_speech_and_its_turn_says_so(serving: Serve) -> None:
    """The recogniser understands nothing; nobody is answered, and the record tells why."""
    server = serving(mock={"stt_text": ""})
    with Caller(server.url) as caller:
        caller.update(include=TIMELINE)
        for piece in (loud(0.4), silence(0.5)):
            caller.send(append(piece))
        timeline = caller.until("kaiwa.turn.timeline")
        assert timeline["outcome"] == "no_speech"
        assert "response.created" not in [event["type"] for event in caller.seen]
        caller.answers()


def test_an_hour_of_silence_is_no_turn_and_costs_no_memory(strict: Served) -> None:
    """Sent as fast as the server takes it: μ-law at 8 kHz, in binary frames of a second."""
    before = strict.rss_mib()
    with Caller(strict.url, "?audio=binary", ping_timeout=None) as caller:
        caller.update(include=TIMELINE, audio={"input": {"format": {"type": "audio/pcmu"}}})
        second = b"\xff" * 8000
        for _ in range(3600):
            caller.send(second)
        caller.answers()
        timelines = [event for event in caller.seen if event["type"] == "kaiwa.turn.timeline"]
        assert len(timelines) <= 1, "only the written turn"
        assert "input_audio_buffer.speech_started" not in {event["type"] for event in caller.seen}
    assert strict.rss_mib() - before < 30


def test_speech_without_end_is_committed_after_a_minute(strict: Served) -> None:
    with Caller(strict.url, "?audio=binary") as caller:
        rate = {"type": "audio/pcm", "rate": 8000}
        caller.update(include=TIMELINE, audio={"input": {"format": rate}})
        for _ in range(63):
            caller.send(loud(0.9, 8000) + silence(0.1, 8000))
        committed = caller.until("input_audio_buffer.committed")
        completed = caller.until("conversation.item.input_audio_transcription.completed")
        assert completed["item_id"] == committed["item_id"]
        assert 58 <= completed["usage"]["seconds"] <= 64
        caller.send(silence(0.5, 8000))
        caller.answers()


def test_a_caller_beside_an_abusive_one_is_answered_as_ever(strict: Served) -> None:
    """tts_start of spoken turns: alone, and beside a client that does a bit of everything."""
    with Caller(strict.url) as good:
        good.update(include=TIMELINE)
        alone = [spoken_turn(good)["tts_start_ms"] for _ in range(2)]
        over = threading.Event()
        bad = threading.Thread(target=_misbehave, args=(strict.url, over))
        bad.start()
        try:
            beside = [spoken_turn(good) for _ in range(3)]
        finally:
            over.set()
            bad.join(LIMIT_S)
    assert all(turn["outcome"] == "completed" for turn in beside)
    slowest = max(turn["tts_start_ms"] for turn in beside)
    assert slowest < max(alone) + 100, (alone, beside)


def _misbehave(url: str, over: threading.Event) -> None:
    choice = random.Random(7)
    long = text(append(loud(10.0)))
    while not over.is_set():
        with contextlib.suppress(OSError):
            raw = raw_call(url, rcvbuf=4096)
            for _ in range(10):
                kind = choice.randrange(4)
                if kind == 0:
                    raw.sendall(long)
                elif kind == 1:
                    raw.sendall(masked(9) * 500)
                elif kind == 2:
                    raw.sendall(masked(1, b"nonsense") * 20)
                else:
                    raw.sendall(text(append(loud(0.5))) + text(append(silence(0.5))))
                over.wait(0.01)
            reset(raw)


# --- mutants --------------------------------------------------------------------------------------

GOOD: list[dict[str, Any]] = [
    {"type": "session.update", "session": {"audio": {"input": {"turn_detection": None}}}},
    {"type": "session.update", "session": {"tools": [{"type": "function", "name": "f"}]}},
    {"type": "session.update", "session": {"audio": {"output": {"voice": "x", "speed": 1}}}},
    {"type": "session.update", "session": {"include": TIMELINE, "max_output_tokens": 7}},
    append(loud(0.1)),
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {
        "type": "conversation.item.create",
        "previous_item_id": "root",
        "item": {
            "id": "item_1",
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "hello"}],
        },
    },
    {
        "type": "conversation.item.create",
        "item": {"type": "function_call_output", "call_id": "c", "output": "42"},
    },
    {"type": "conversation.item.delete", "item_id": "item_1"},
    {"type": "conversation.item.retrieve", "item_id": "item_1"},
    {"type": "conversation.item.truncate", "item_id": "a", "audio_end_ms": 5, "content_index": 0},
    {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "metadata": {"a": "b"},
            "input": [{"type": "item_reference", "id": "item_1"}],
            "output_modalities": ["text"],
        },
    },
    {"type": "response.cancel", "response_id": "r"},
    {"type": "kaiwa.playback.report", "item_id": "a", "played_ms": 12.5},
]
ODD: list[Any] = [
    None, True, -1, 0, 2**31, 2**63, -(2**70), 1e308, -0.5, "", "x" * 5000, "\ud83d", "\0", "日本",
    [], [None], {}, {"type": None}, {"a": {"b": []}}, ["audio", "text"], "audio/pcm", "inf",
]  # fmt: skip


def mutant(choice: random.Random) -> dict[str, Any]:
    """A good event with one to three values replaced, removed or doubled."""
    event: dict[str, Any] = json.loads(json.dumps(choice.choice(GOOD)))
    for _ in range(choice.randint(1, 3)):
        places: list[tuple[Any, Any]] = []
        _places(event, places)
        places = [place for place in places if place[0] is not event or place[1] != "type"]
        if not places:
            break
        holder, key = choice.choice(places)
        act = choice.randrange(4)
        if act == 0 and isinstance(holder, dict):
            del holder[key]
        elif act == 1:
            holder[key] = [holder[key]]
        else:
            holder[key] = copy.deepcopy(choice.choice(ODD))
    return event


def _places(value: Any, found: list[tuple[Any, Any]]) -> None:
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in pairs:
        found.append((value, key))
        if isinstance(inner, dict | list):
            _places(inner, found)


@pytest.mark.parametrize("seed", range(4))
def test_no_mutant_of_a_good_event_ends_the_call(strict: Served, seed: int) -> None:
    choice = random.Random(seed)
    with Caller(strict.url) as caller:
        caller.until("session.created")
        for batch in range(20):
            sent = [mutant(choice) for _ in range(25)]
            for event in sent:
                caller.send(event)
                caller.send({"type": "input_audio_buffer.clear"})  # so that errors are not in a row
            mark = f"batch-{batch}"
            caller.send({"type": "make.coffee", "event_id": mark})
            try:
                while caller.until("error")["error"]["event_id"] != mark:
                    pass
            except Exception as error:
                raise AssertionError(f"{error!r} after one of {json.dumps(sent)}") from None
    assert not [line for line in strict.lines if "session_broke" in line or "Traceback" in line]


def test_a_session_nested_as_deep_as_JSON_may_be_is_survived(strict: Served) -> None:
    with Caller(strict.url) as caller:
        caller.until("session.created")
        for depth in (100, 400, 800, 950):
            nested = '{"a":' * depth + "1" + "}" * depth
            caller.send(f'{{"type":"session.update","session":{{"tracing":{nested}}}}}')
            caller.send(f'{{"type":"session.update","session":{{"tracing":{nested}}}}}')
        caller.answers()


def test_settings_cannot_be_piled_up(strict: Served) -> None:
    """New keys in every update must not add up to more than a session's worth."""
    with Caller(strict.url) as caller:
        caller.until("session.created")
        for number in range(40):
            update = {"type": "session.update", "session": {f"key{number}": "x" * 100_000}}
            caller.send(update)
        caller.answers()
        largest = max(len(json.dumps(event)) for event in caller.seen)
    assert largest < 500_000


def test_metrics_tell_of_the_abuse(strict: Served) -> None:
    stop_reading(strict)
    with Caller(strict.url) as caller:
        caller.send({"type": "make.coffee"})
        caller.until("error")
    page = get(strict.url, "/metrics").body.decode()
    counted = {
        line.split(" ")[0]: float(line.rsplit(" ", 1)[1])
        for line in page.splitlines()
        if not line.startswith("#")
    }
    assert counted["kaiwa_dropped_clients_total"] >= 1
    assert counted['kaiwa_client_errors_total{code="unknown_event"}'] >= 1
    assert counted["kaiwa_sessions"] == 0 or eventually(
        lambda: "kaiwa_sessions 0.0" in get(strict.url, "/metrics").body.decode(),
        "all have gone",  # one that vanished is noticed by its ping, up to 20 s later
    )
