"""The page in a real Chromium, with a fake microphone that holds real speech."""

import json
import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.web.chromium import NEVER_LATE, ask, choose_link, opened, serving, turns_of

expect.set_options(timeout=60_000)

PICTURE = os.environ.get("KAIWA_PICTURE", "")
"""Where the screenshot goes that README shows; by default nowhere."""

pytestmark = [pytest.mark.browser, pytest.mark.speech, pytest.mark.real_time]


@pytest.mark.parametrize(("link", "name"), [("webrtc", "WebRTC"), ("websocket", "WebSocket")])
def test_question_answer_barge_in_and_second_answer(page: Page, link: str, name: str) -> None:
    choose_link(page, link)
    page.click("#talk")
    first, second = turns_of(page, 2)[:2]
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
    expect(page.locator("#connection .kind")).to_have_text(name)
    if PICTURE and link == "webrtc":
        page.screenshot(path=PICTURE)
    page.locator(".source").last.click()
    page.wait_for_selector("dialog[open], details[open]")


def test_a_typed_question_is_answered_without_a_microphone(page: Page) -> None:
    page.fill("#question", "Where can I park my car?")
    page.press("#question", "Enter")
    assert turns_of(page, 1)[0]["outcome"] == "completed"
    assert "park" in page.inner_text("body").lower()


def test_the_page_fits_a_phone_and_speaks_japanese(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.click("[data-language=ja]")
    assert page.evaluate("document.documentElement.lang") == "ja"
    for panel in ("#connection", "#device summary"):
        page.click(panel)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.keyboard.press("Escape")
        expect(page.locator(panel)).to_be_focused()


HEADERS = """async () => {
    const { ConnectionView } = await import("./connection-view.js");
    const connection = Object.assign(new EventTarget(), { why: "", said: ["", 0], avoided: {} });
    const view = new ConnectionView(connection, { hideAll() {}, show() {} }, () => {});
    const isIn = (inner, outer) =>
        inner.left >= outer.left - 0.5 && inner.right <= outer.right + 0.5;
    const box = (selector) => document.querySelector(selector).getBoundingClientRect();
    const wrong = [];
    const shown = {};
    for (const state of ["closed", "connecting", "open", "silent", "waiting", "blocked"]) {
        for (const kind of ["webrtc", "websocket"]) {
            view.noticeServer(state !== "silent");
            Object.assign(connection, { state: state === "silent" ? "open" : state, kind });
            view.show({ state: connection.state, reason: "", retryS: 0 });
            if (connection.state === "open") view.showQuality({ rating: "good" });
            const [text, rating] = [".text", ".rating"].map((part) =>
                document.querySelector(`#connection ${part}`));
            shown[document.querySelector("#connection").dataset.state] = !rating.hidden;
            const clipped = getComputedStyle(text).position !== "absolute" &&
                text.scrollWidth > text.clientWidth;
            const parts = [".text", ".kind", ".rating"].map((part) => box(`#connection ${part}`));
            const isWithin = parts.every((part) =>
                part.width <= 1 || isIn(part, box("#connection")));
            const isApart = box("#connection").right <= box(".choices").left + 0.5 &&
                box(".brand").right <= box("#connection").left + 0.5;
            if (clipped || !isWithin || !isApart) wrong.push([state, kind, text.textContent]);
        }
    }
    return { wrong, shown };
}"""
"""What of the page's head is cut off or stands over something else, in each state; and whether the
quality is shown then."""


@pytest.mark.parametrize("language", ["en", "ja"])
def test_on_a_phone_the_head_shows_the_connection_whole_and_no_quality_without_an_answer(
    page: Page, language: str
) -> None:
    page.click(f"[data-language={language}]")
    for width in (320, 360, 390, 400, 1280):
        page.set_viewport_size({"width": width, "height": 740})
        told = page.evaluate(HEADERS)
        assert (width, told["wrong"]) == (width, [])
        assert [state for state, good in told["shown"].items() if good] == ["open"]
        assert "silent" in told["shown"]


def test_on_a_phone_the_last_answer_is_in_sight_and_no_provider_is_cut_off(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for count, question in enumerate(("What does membership cost?", "Where can I park?"), 1):
        ask(page, question)
        turns_of(page, count)
    expect(page.locator(".entry.agent .source").last).to_be_in_viewport()
    for chip in page.locator("#providers li").all():
        expect(chip).to_be_in_viewport(ratio=1)


def test_a_question_too_long_for_the_server_is_kept_and_said_to_be(page: Page) -> None:
    ask(page, "why " * 5001)
    notice = page.locator("[data-code=question-too-long]")
    expect(notice).to_contain_text("20,003 characters; the server takes 20,000")
    assert len(page.input_value("#question")) == 20_004
    page.fill("#question", "why " * 5000)
    expect(notice).to_have_count(0)


def test_letters_that_turn_the_line_round_stay_within_their_own_words(page: Page) -> None:
    ask(page, "Where can I park? \u202e")
    turns_of(page, 1)
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
    ask(page, "Where can I park?")
    turns_of(page, 1)
    page.evaluate("window.sockets[0].onclose({ code: 1011 })")
    expect(page.locator("[data-code=call-broke]")).to_contain_text("A new call is being opened")
    expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    divider = page.locator(".divider")
    expect(divider).to_have_text("New conversation: the connection had been lost")
    ask(page, "And my bicycle?")
    turns_of(page, 2)
    page.click("#stop")
    choose_link(page, "websocket")
    ask(page, "And my horse?")
    turns_of(page, 3)
    expect(divider.last).to_have_text("New conversation")


WATCH_DUCKED = """
    window.ducked = [];
    const watch = ({ data }) => {
        if (typeof data !== "string") return;
        const event = JSON.parse(data);
        if (event.type === "kaiwa.speech.ducked") window.ducked.push(event.ducked);
    };
    window.WebSocket = class extends WebSocket {
        constructor(...args) {
            super(...args);
            this.addEventListener("message", watch);
        }
    };
    window.RTCPeerConnection = class extends RTCPeerConnection {
        createDataChannel(...args) {
            const channel = super.createDataChannel(...args);
            channel.addEventListener("message", watch);
            return channel;
        }
    };
"""


@pytest.mark.parametrize("link", ["webrtc", "websocket"])
def test_speech_over_the_greeting_ducks_it_and_a_call_whose_time_is_over_ends_on_the_page(
    browser: Browser, tmp_path: Path, link: str
) -> None:
    """
    microphone        --question--          --and again, as the file goes round--
    speaker     ##greeting##ducked|         answer          ##goodbye##|  closed, the microphone too
    """
    config = tmp_path / "kaiwa.yaml"
    greeting = "Good morning, and welcome to the library. " * 4
    agent = {"greeting": greeting, "max_call_s": 12, "time_over_phrase": "Bye."}
    config.write_text(f"profile: mock\nagent: {json.dumps(agent)}\n{NEVER_LATE}", encoding="utf-8")
    with serving(config) as url, opened(browser, url, WATCH_DUCKED) as page:
        choose_link(page, link)
        page.click("#talk")
        greeted = turns_of(page, 2)[0]
        assert greeted["outcome"] == "interrupted" and greeted["cut_in_ms"] > 500
        assert page.evaluate("window.ducked")[:2] == [True, False]
        expect(page.locator("[data-code=call-ended]")).to_contain_text("The call is over")
        expect(page.locator("#connection")).to_have_attribute("data-state", "closed")
        assert page.evaluate("window.kaiwa.state.phase") == "idle"
        goodbye = page.evaluate("window.kaiwa.turns")[-1]
        assert goodbye["outcome"] == "completed" and goodbye["cut_in_ms"] is None
        assert page.evaluate("window.kaiwa.transcript").pop()["text"].strip() == "Bye."
