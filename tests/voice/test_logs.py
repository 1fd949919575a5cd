"""The log: one JSON object a line, whoever writes it, whatever was said."""

import json
import subprocess
import sys
from typing import Any

PROGRAM = """
import logging, sys
import structlog
from voice.config import LogConfig
from voice.logs import configure
configure(LogConfig(level={level!r}, json={json}))
log = structlog.get_logger()
log.debug("quiet")
log.info("turn", words="one\\ntwo \\x1b[31m \\u4f1a\\u8a71", session="s")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("broke")
logging.getLogger("library").warning("careful %s", "now")
logging.getLogger("library").info("chatter")
logging.getLogger("uvicorn.error").info("GET /?key=secret")
"""


def lines(level: str = "INFO", json: bool = True) -> list[str]:
    program = PROGRAM.format(level=level, json=json)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == ""
    return done.stderr.splitlines()


def parsed(level: str = "INFO") -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(level)]


def test_every_line_is_one_object_with_event_level_and_time() -> None:
    events = parsed()
    assert [event["event"] for event in events] == ["turn", "broke", "careful now"]
    for event in events:
        assert event["timestamp"].endswith("Z") and event["level"]


def test_what_callers_say_cannot_start_a_line_or_colour_a_terminal() -> None:
    raw = lines()
    assert json.loads(raw[0])["words"] == "one\ntwo \x1b[31m 会話"
    assert "\x1b" not in "".join(raw)


def test_a_traceback_stays_inside_its_line() -> None:
    assert "ZeroDivisionError" in parsed()[1]["exception"]


def test_libraries_only_speak_up_when_something_is_wrong() -> None:
    for level in ("DEBUG", "INFO"):
        text = "\n".join(lines(level))
        assert "chatter" not in text and "secret" not in text


def test_the_level_is_the_operators() -> None:
    assert [event["event"] for event in parsed("ERROR")] == ["broke"]
    assert parsed("DEBUG")[0]["event"] == "quiet"


def test_people_may_have_it_without_json() -> None:
    raw = "\n".join(lines(json=False))
    assert "turn" in raw and "{" not in raw.splitlines()[0]
