"""The page in a real Chromium, with a fake microphone that holds real speech.

microphone   --question 1--          --question 2--
speaker                    ###answer#|           ####answer####
                                     ^ cut in
"""

import json
import os
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.needed import needed

expect.set_options(timeout=60_000)

ROOT = Path(__file__).parent.parent.parent
RATE_HZ = 16_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
KAIWA = (sys.executable, "-m", "voice.cli")
NEVER_LATE = "load: {lag_ms: [60000, 60000, 60000, 60000]}\n"
PICTURE = os.environ.get("KAIWA_PICTURE", "")
"""Where the screenshot goes that README shows; by default nowhere."""

pytestmark = [pytest.mark.browser, pytest.mark.speech, pytest.mark.real_time]


def _said(text: str, voice: str, folder: Path) -> np.ndarray[Any, np.dtype[np.int16]]:
    path = folder / f"{abs(hash((text, voice)))}.wav"
    subprocess.run([needed("flite"), "-voice", voice, "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE_HZ
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def _silence(seconds: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    noise = np.random.default_rng(1).normal(0, 4, round(seconds * RATE_HZ))
    return noise.astype(np.int16)


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question, a second one 1.6 s into the answer to the first, then silence."""
    folder = tmp_path_factory.mktemp("microphone")
    pieces = (
        _silence(1.5),
        _said("How much does membership cost?", "slt", folder),
        _silence(2.2),
        _said("What are your opening hours on Saturday?", "slt", folder),
        _silence(30),
    )
    path = folder / "microphone.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes(np.concatenate(pieces).tobytes())
    return path


@contextmanager
def _serving(config: Path, **environment: str) -> Iterator[str]:
    """A server's address."""
    server = subprocess.Popen(
        [*KAIWA, "serve", "--config", str(config), "--port", "0"],
        cwd=ROOT,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stderr is not None
        for line in server.stderr:
            if '"ready"' in line:
                yield json.loads(line)["url"]
                break
        else:
            pytest.fail("the server did not start")
    finally:
        server.terminate()
        server.communicate(timeout=60)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server with the embedded profile and the sample documents, however busy the machine."""
    index = tmp_path_factory.mktemp("index")
    config = tmp_path_factory.mktemp("config") / "kaiwa.yaml"
    config.write_text(f"profile: embedded\n{NEVER_LATE}")
    ingest = [*KAIWA, "ingest", "rag/samples", "--index", str(index)]
    subprocess.run(ingest, cwd=ROOT, check=True)
    with _serving(config, RAG_INDEX_PATH=str(index)) as url:
        yield url


@pytest.fixture(scope="module")
def browser(microphone: Path) -> Iterator[Browser]:
    chromium = needed(*CHROMIUM)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}%noloop",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(60_000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on(
        "console",
        lambda message: troubles.append(message.text) if message.type == "error" else None,
    )
    page.goto(address)
    yield page
    context.close()
    assert troubles == []


def _turns(page: Page, wanted: int, limit_ms: int = 60_000) -> list[dict[str, Any]]:
    """Waits for so many. Asked again and again: the page's policy forbids waiting inside it."""
    for _ in range(limit_ms // 100):
        turns: list[dict[str, Any]] = page.evaluate("window.kaiwa.turns")
        if len(turns) >= wanted:
            return turns
        page.wait_for_timeout(100)
    pytest.fail(f"{wanted} turns wanted, got {turns}: {page.evaluate('window.kaiwa.transcript')}")


def test_question_answer_barge_in_and_second_answer(page: Page) -> None:
    page.click("#talk")
    first, second = _turns(page, 2)[:2]
    assert first["outcome"] == "interrupted"
    assert 300 < first["cut_in_ms"] < 4000
    assert second["outcome"] == "completed"
    for turn in (first, second):
        assert sum(span["ms"] for span in turn["spans"]) == pytest.approx(turn["total_ms"])
        assert turn["spans"][-1]["name"] == "heard"
    said = page.inner_text("body")
    assert "ten in the morning until five in the afternoon" in said
    assert page.locator(".source").count() >= 2
    assert page.evaluate("window.kaiwa.underruns") == 0
    if PICTURE:
        page.screenshot(path=PICTURE)
    page.locator(".source").last.click()
    page.wait_for_selector("dialog[open], details[open]")


def test_a_typed_question_is_answered_without_a_microphone(page: Page) -> None:
    page.fill("#question", "Where can I park my car?")
    page.press("#question", "Enter")
    assert _turns(page, 1)[0]["outcome"] == "completed"
    assert "park" in page.inner_text("body").lower()


def test_the_page_fits_a_phone_and_speaks_japanese(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.click("[data-language=ja]")
    assert page.evaluate("document.documentElement.lang") == "ja"
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def _ask(page: Page, question: str) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")


def test_on_a_phone_the_last_answer_is_in_sight_and_no_provider_is_cut_off(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for count, question in enumerate(("What does membership cost?", "Where can I park?"), 1):
        _ask(page, question)
        _turns(page, count)
    expect(page.locator(".entry.agent .source").last).to_be_in_viewport()
    for chip in page.locator("#providers li").all():
        expect(chip).to_be_in_viewport(ratio=1)


def test_a_question_too_long_for_the_server_is_kept_and_said_to_be(page: Page) -> None:
    _ask(page, "why " * 5001)
    notice = page.locator("[data-code=question-too-long]")
    expect(notice).to_contain_text("20,003 characters; the server takes 20,000")
    assert len(page.input_value("#question")) == 20_004
    page.fill("#question", "why " * 5000)
    expect(notice).to_have_count(0)


def test_letters_that_turn_the_line_round_stay_within_their_own_words(page: Page) -> None:
    _ask(page, "Where can I park? \u202e")
    _turns(page, 1)
    for words in page.locator(".words").all():
        assert words.get_attribute("dir") == "auto"
        for part in words.locator("span").all():
            expect(part).to_have_css("unicode-bidi", "isolate")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("NotAllowedError", "The microphone was refused. Allow it"),
        ("NotFoundError", "No microphone was found. Connect one"),
        ("NotReadableError", "in use by another program. Close that program"),
        ("InvalidStateError", "could not be started: why"),
    ],
)
def test_without_a_microphone_the_page_says_what_to_do(page: Page, error: str, said: str) -> None:
    refuse = f"() => Promise.reject(new DOMException('why', '{error}'))"
    page.evaluate(f"navigator.mediaDevices.getUserMedia = {refuse}; undefined")
    page.click("#talk")
    expect(page.locator(".notice")).to_contain_text(said)
    assert page.evaluate("window.kaiwa.state.phase") == "idle"


@pytest.mark.parametrize(
    ("event", "said"), [("mute", "muted by the system"), ("ended", "was unplugged")]
)
def test_a_microphone_that_goes_away_in_a_call_is_said_to(
    page: Page, event: str, said: str
) -> None:
    page.evaluate("""() => {
        const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
        navigator.mediaDevices.getUserMedia = async (wanted) => {
            if (window.given) throw new DOMException("gone", "NotFoundError");
            window.given = await ask(wanted);
            return window.given;
        };
    }""")
    page.click("#talk")
    expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    page.evaluate(f"window.given.getTracks()[0].dispatchEvent(new Event('{event}'))")
    expect(page.locator("#notices")).to_contain_text(said)


def test_a_connection_that_breaks_is_said_and_made_again(page: Page) -> None:
    page.evaluate("""() => {
        window.sockets = [];
        window.WebSocket = class extends WebSocket {
            constructor(...args) { super(...args); window.sockets.push(this); }
        };
    }""")
    _ask(page, "Where can I park?")
    _turns(page, 1)
    page.evaluate("window.sockets[0].onclose({ code: 1011 })")
    expect(page.locator("[data-code=call-broke]")).to_contain_text("A new call is being opened")
    expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    expect(page.locator(".divider")).to_contain_text("New conversation")


def test_speech_over_the_greeting_ducks_it_and_a_call_whose_time_is_over_ends_on_the_page(
    page: Page, tmp_path: Path
) -> None:
    """
    microphone        --question--          --and again, as the file goes round--
    speaker     ##greeting##ducked|         answer          ##goodbye##|  closed, the microphone too
    """
    config = tmp_path / "kaiwa.yaml"
    greeting = "Good morning, and welcome to the library. " * 4
    agent = {"greeting": greeting, "max_call_s": 12, "time_over_phrase": "Bye."}
    config.write_text(f"profile: mock\nagent: {json.dumps(agent)}\n{NEVER_LATE}", encoding="utf-8")
    with _serving(config) as url:
        page.goto(url)
        page.evaluate("""() => {
            window.ducked = [];
            window.WebSocket = class extends WebSocket {
                constructor(...args) {
                    super(...args);
                    this.addEventListener("message", ({ data }) => {
                        if (typeof data !== "string") return;
                        const event = JSON.parse(data);
                        if (event.type === "kaiwa.speech.ducked") window.ducked.push(event.ducked);
                    });
                }
            };
        }""")
        page.click("#talk")
        greeted = _turns(page, 2)[0]
        assert greeted["outcome"] == "interrupted" and greeted["cut_in_ms"] > 500
        assert page.evaluate("window.ducked")[:2] == [True, False]
        expect(page.locator("[data-code=call-ended]")).to_contain_text("The call is over")
        expect(page.locator("#connection")).to_have_attribute("data-state", "closed")
        assert page.evaluate("window.kaiwa.state.phase") == "idle"
        goodbye = page.evaluate("window.kaiwa.turns")[-1]
        assert goodbye["outcome"] == "completed" and goodbye["cut_in_ms"] is None
        assert page.evaluate("window.kaiwa.transcript").pop()["text"].strip() == "Bye."
