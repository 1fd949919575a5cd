"""`kaiwa replay` on the terminal: a call's timeline, and whether it is still the same call."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import yaml
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from providers.base import Hypothesis, VadFrame
from voice import reply_facts, wire
from voice.config import LogConfig
from voice.errors import KaiwaError
from voice.facts import AudioIn
from voice.logs import configure
from voice.recorded_facts import unpacked
from voice.recording import (
    SUFFIX,
    Cleared,
    HandedOver,
    HungUp,
    Out,
    Recording,
    Remembered,
    SentEvent,
    SentFrame,
    read,
)
from voice.replay import Difference, Replayed, Sent, replay, sent

IDENTICAL, DIFFERENT, UNUSABLE = 0, 1, 2
UNTOLD = (AudioIn, VadFrame, wire.AudioAppend, reply_facts.Sounded, reply_facts.Marked)
"""Facts that come many times a second."""
WIDTH = 100


def run_replay(
    calls: Sequence[str],
    changes: Sequence[str],
    folder: Callable[[], str],
    console: Console,
    *,
    verbose: bool,
) -> int:
    """Args:
        folder: Where recordings lie; asked only for one that is no file.
    Returns:
        The exit status.
    Raises:
        KaiwaError: A setting that cannot be.
    """
    configure(LogConfig(level="DEBUG" if verbose else "CRITICAL", json=False))
    changed = [_change(one) for one in changes]
    worst = IDENTICAL
    for call in calls:
        try:
            path = _found(call, folder)
            replayed = replay(read(path), changed)
            rows = list(timeline(replayed.recording, verbose=verbose))
        except KaiwaError as error:
            console.print(f"[bold red]kaiwa:[/] {escape(str(error))}", soft_wrap=True)
            worst = UNUSABLE
            continue
        if verbose or len(calls) == 1:
            _print_timeline(path, replayed.recording, rows, console)
            console.rule("the verdict")
        _print_outcome(path, replayed, console)
        if replayed.difference is not None:
            worst = max(worst, DIFFERENT)
    return worst


def _change(text: str) -> tuple[str, Any]:
    path, equals, value = text.partition("=")
    if equals and "." not in path:
        example = "those have a section, as in turn.silence_ms=300"
        raise KaiwaError(f"--set {text}: there is no such setting; {example}")
    if not equals:
        raise KaiwaError(f"--set {text}: must be a setting and its value: turn.silence_ms=300")
    try:
        return path.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise KaiwaError(f"--set {text}: {' '.join(str(error).split())}") from None


def _found(call: str, folder: Callable[[], str]) -> Path:
    """A file, or the one recording of a session of that name."""
    if Path(call).is_file() or "/" in call:
        return Path(call)
    where = folder()
    found = sorted(Path(where).glob(f"*{SUFFIX}*")) if where else []
    named = [path for path in found if call in path.name]
    if len(named) == 1:
        return named[0]
    if named:
        names = ", ".join(path.name for path in named[:5])
        raise KaiwaError(f"replay: {call} can be {len(named)} recordings: {names}")
    looked = f"none of {where} is called so" if where else "record.folder is not set"
    raise KaiwaError(f"replay: there is no file {call}, and {looked}.")


# --- what happened --------------------------------------------------------------------------------


def timeline(recording: Recording, *, verbose: bool) -> Iterator[tuple[str, str, str]]:
    """Rows of (time, in, out). Frames that follow one another are one row, unless `verbose`."""
    frames: list[Sent] = []
    for wake in recording.wakes:
        for told in wake.told:
            fact = unpacked(told)
            of = fact.fact if isinstance(fact, reply_facts.Foreseen) else fact
            if verbose or not isinstance(of, UNTOLD):
                yield from _sound(frames)
                yield _time(told.at - recording.begun_at), _fact(fact), ""
        if verbose and wake.due:
            yield _time(wake.at - recording.begun_at), "(timer)", ""
        for out in wake.out:
            one = Sent(wake.at - recording.begun_at, out)
            if isinstance(out, SentFrame) and not verbose:
                frames.append(one)
            else:
                yield from _sound(frames)
                yield _time(one.at), "", shown(out)
    yield from _sound(frames)
    if recording.closed is not None:
        at = recording.closed.clock[0] if recording.closed.clock else recording.begun_at
        yield _time(at - recording.begun_at), f"closed {recording.closed.code}", ""
        for out in recording.closed.out:
            yield _time(at - recording.begun_at), "", shown(out)


def _sound(frames: list[Sent]) -> Iterator[tuple[str, str, str]]:
    """One row for what has gathered, which is forgotten."""
    if frames:
        first, last = frames[0], frames[-1]
        assert isinstance(first.out, SentFrame) and isinstance(last.out, SentFrame)
        what = f"{len(frames)} frames from {first.out.at_ms} ms to {last.out.at_ms} ms"
        yield _time(first.at), "", f"{what}, the last at {_time(last.at)}"
        frames.clear()


def _time(at: float) -> str:
    return f"{at:.3f}"


def _fact(fact: Any) -> str:
    name = type(fact).__name__
    match fact:
        case AudioIn() | reply_facts.Sounded():
            data = fact.data if isinstance(fact, AudioIn) else fact.pcm
            return f"{name} {len(data)} bytes"
        case reply_facts.Foreseen():
            return f"{name} {fact.number}: {_fact(fact.fact)}"
        case Hypothesis():
            return f"{'final' if fact.is_final else 'partial'} {fact.text!r}"
        case VadFrame():
            return f"{name} {fact.end_sample} {fact.probability:.2f}"
        case reply_facts.Failed():
            return f"{name} {fact.error}"
        case wire.AudioAppend():
            return f"{fact.__struct_config__.tag} {len(fact.audio)} characters"
    if isinstance(fact, wire.ClientEvent):
        return str(fact.__struct_config__.tag)
    fields = ", ".join(f"{field}={value!r}" for field, value in _fields(fact) if field != "turn")
    return f"{name} {fields}".strip()


def _fields(fact: Any) -> Iterator[tuple[str, Any]]:
    for name in fact.__struct_fields__:
        value = getattr(fact, name)
        yield name, round(value, 3) if isinstance(value, float) else value


def shown(out: Out) -> str:
    match out:
        case SentEvent():
            event = msgspec.json.decode(out.data)
            return f"{event['type']} {_detail(event)}".rstrip()
        case SentFrame():
            return f"frame of turn {out.turn} at {out.at_ms} ms, {out.length} bytes, {out.crc:08x}"
        case Cleared():
            return "(what has not left is dropped)"
        case HungUp():
            return f"(hung up: {out.code} {out.reason})"
        case HandedOver():
            return f"(handed over to {out.name})"
        case Remembered():
            said = ", ".join(f"{one.role} {one.content!r}" for one in out.messages)
            return f"(remembered: {said})"


TOLD = ("code", "message", "status", "outcome", "text", "delta", "transcript", "arguments")
"""Fields that say what an event is about."""


def _detail(event: dict[str, Any]) -> str:
    inside = event.get("response") or event.get("error") or {}
    found = {**event, **inside}
    said = [repr(found[name]) for name in TOLD if found.get(name)]
    return " ".join(said + [f"{v} ms" for k, v in event.items() if k.startswith("audio_")])


# --- what is told ---------------------------------------------------------------------------------


def _print_timeline(
    path: Path, recording: Recording, rows: list[tuple[str, str, str]], console: Console
) -> None:
    title = f"{path.name}, begun {recording.start.begun or '?'}"
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD)
    table.add_column("s", justify="right", no_wrap=True, min_width=7)
    table.add_column("in  ─▶    │ ─▶  out", no_wrap=True, overflow="ellipsis")
    for at, told, out in rows:
        table.add_row(at, escape(told) if told else f"          │ {escape(out)}")
    console.print(table)


def _print_outcome(path: Path, replayed: Replayed, console: Console) -> None:
    name, difference = path.name, replayed.difference
    if replayed.recording.incomplete:
        _say(console, f"[yellow]{name}: not the whole call:[/] {replayed.recording.incomplete}")
    for setting in replayed.unknown_settings:
        _say(console, f"[yellow]{name}:[/] {setting} is no setting any more, and is left out")
    if difference is None:
        events = [one for one in sent(replayed.recording) if isinstance(one.out, SentEvent)]
        frames = [one for one in sent(replayed.recording) if isinstance(one.out, SentFrame)]
        count = f"{len(events)} events, {len(frames)} frames"
        _say(console, f"[green]{name}: identical[/] ({count})")
        return
    _say(console, f"[red]{name}: different at {_time(difference.at)} s[/]")
    for line in _sides(difference):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _sides(difference: Difference) -> Iterator[str]:
    then, now = (_side(one) for one in (difference.then, difference.now))
    yield f"  then  {then}"
    yield f"  now   {now}"
    if difference.then is not None and difference.now is not None:
        same = _common(then, now) - 20
        if same > WIDTH // 2:
            yield f"  from here on: then …{then[same : same + WIDTH]}"
            yield f"                now  …{now[same : same + WIDTH]}"


def _side(one: Sent | None) -> str:
    if one is None:
        return "nothing more"
    whole = one.out.data.decode() if isinstance(one.out, SentEvent) else shown(one.out)
    return f"{one.at:.6f} {whole}"


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    return next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


def _say(console: Console, markup: str) -> None:
    console.print(markup, highlight=False, soft_wrap=True)
