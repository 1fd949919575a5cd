"""Calls over WebRTC from the page: what is heard, what carries it, and what happens when it cannot.

The browser, its network and its media are real; a blocked network is Chromium's own policy.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Playwright, expect

from mocks.tts import ToneTTS
from tests.driving import spoken
from tests.web import chromium
from tests.web.chromium import NEVER_LATE, Samples, ask, choose_link, opened, serving, turns_of

expect.set_options(timeout=60_000)

pytestmark = [pytest.mark.browser, pytest.mark.speech, pytest.mark.real_time]

KEY = "open-sesame-open-sesame"
HEARD_HZ = 24_000
FRAME = HEARD_HZ // 50
AUDIBLE = 700
"""Of 32,768, in 20 ms: the noise a browser fills pauses with, -36 dB, is below it; the hum rises
above it within two frames."""

TAP = """
    window.peers = [];
    window.heard = [];
    window.sinks = [];
    const setSinkId = HTMLMediaElement.prototype.setSinkId;
    HTMLMediaElement.prototype.setSinkId = function (id) {
        window.sinks.push(id);
        return setSinkId.call(this, id);
    };
    async function tap(track) {
        const context = new AudioContext({ sampleRate: 24000 });
        await context.audioWorklet.addModule("mic-worklet.js");
        const node = new AudioWorkletNode(context, "kaiwa-microphone");
        node.port.onmessage = ({ data }) => window.heard.push(...new Int16Array(data.pcm));
        context.createMediaStreamSource(new MediaStream([track])).connect(node);
        node.connect(context.destination);
    }
    window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(...args) {
            super(...args);
            window.peers.push(this);
            this.addEventListener("track", ({ track }) => tap(track));
        }
    };
"""
"""Keeps the connections, and records what they bring, before the page's element plays it."""


@pytest.fixture
def echo(browser: Browser, echo_address: str) -> Iterator[Page]:
    with opened(browser, echo_address, TAP) as page:
        yield page


def _talk(page: Page, *, muted: bool = True) -> None:
    """Muted: what the fake microphone says would cut in."""
    page.click("#talk")
    expect(page.locator("body")).to_have_attribute("data-phase", "live")
    expect(page.locator("#connection")).to_have_attribute("data-state", "open")
    if muted:
        page.click("#talk")


def _kind(page: Page) -> str:
    kind: str = page.evaluate("window.kaiwa.state.kind")
    return kind


def _answered(page: Page, question: str) -> dict[str, Any]:
    """The turn's record, when its answer has been heard."""
    before = len(page.evaluate("window.kaiwa.turns"))
    ask(page, question)
    return turns_of(page, before + 1)[-1]


def _sounding(pcm: Samples) -> Samples:
    """From the first frame that can be heard to the last."""
    frames = pcm[: len(pcm) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    audible = np.flatnonzero(np.sqrt((frames**2).mean(axis=1)) > AUDIBLE)
    return pcm[audible[0] * FRAME : (audible[-1] + 1) * FRAME]


def _hummed(text: str) -> Samples:
    """What the mock's voice makes of it. In a thread: in this one Playwright's own loop runs."""
    with ThreadPoolExecutor() as pool:
        pcm = pool.submit(asyncio.run, spoken(ToneTTS(), text)).result()
    return np.frombuffer(pcm, np.int16)


def _level_db(pcm: Samples) -> float:
    return float(20 * np.log10(np.sqrt((pcm.astype(np.float64) ** 2).mean())))


def test_the_browser_hears_as_much_and_as_loud_as_the_server_sent(echo: Page) -> None:
    _talk(echo)
    echo.evaluate("window.heard.length = 0")
    turn = _answered(echo, "Where can I park my car on a Sunday afternoon?")
    assert turn["outcome"] == "completed"
    echo.wait_for_timeout(500)  # in which it would go on sounding, if it did
    heard = _sounding(np.array(echo.evaluate("window.heard"), np.int16))
    answer = echo.evaluate("window.kaiwa.transcript")[-1]
    sent = _sounding(_hummed(answer["text"]))
    assert answer["marks"][-1][1] == pytest.approx(len(answer["text"]) * 65, abs=20)
    assert len(heard) / len(sent) == pytest.approx(1, abs=0.03)
    assert _level_db(heard) == pytest.approx(_level_db(sent), abs=1.0)
    assert answer["state"] == "said" and answer["heard"] == len(answer["text"])


def test_what_the_page_says_was_heard_of_a_cut_answer_is_what_could_be_heard(echo: Page) -> None:
    _talk(echo)
    echo.evaluate("window.heard.length = 0")
    ask(echo, "Where can I park my car on a Sunday afternoon, and what does it cost there?")
    _until(echo, "window.kaiwa.playedMs > 1500")
    echo.keyboard.press("Escape")
    (turn,) = turns_of(echo, 1)
    assert turn["outcome"] == "cancelled"
    echo.wait_for_timeout(500)
    heard_ms = len(_sounding(np.array(echo.evaluate("window.heard"), np.int16))) * 1000 / HEARD_HZ
    assert turn["cut_in_ms"] == pytest.approx(heard_ms, abs=200)
    answer = echo.evaluate("window.kaiwa.transcript")[-1]
    assert answer["state"] == "cut" and 0 < answer["heard"] < len(answer["text"])
    assert answer["playedMs"] == pytest.approx(turn["cut_in_ms"], abs=200)
    assert _kind(echo) == "webrtc" and echo.evaluate("window.kaiwa.state.phase") == "live"


def _until(page: Page, condition: str, limit_ms: int = 30_000) -> None:
    for _ in range(limit_ms // 50):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"{condition}: {page.evaluate('window.kaiwa.state')}")


def test_quality_is_told_in_a_word_and_in_numbers(echo: Page) -> None:
    _talk(echo)
    _until(echo, "window.kaiwa.quality?.lossOutPercent != null")
    expect(echo.locator("#connection .rating .word")).to_have_text(re.compile("good|fair|poor"))
    echo.click("#connection")
    rows = echo.locator("#quality tbody tr")
    expect(rows).to_have_count(4)
    expect(rows.nth(0)).to_contain_text(re.compile(r"Packets lost.*\d\.\d %"))
    expect(rows.nth(2)).to_contain_text(re.compile(r"Round trip\s*\d+ ms"))
    figures = echo.evaluate("window.kaiwa.quality")
    assert figures["lossOutPercent"] < 2
    assert 0 <= figures["roundTripMs"] < 500
    echo.click("#stop")
    expect(echo.locator("#quality")).to_be_hidden()


def test_hanging_up_tells_the_server(echo: Page, echo_address: str) -> None:
    _talk(echo)
    with echo.expect_request(lambda request: request.method == "DELETE") as told:
        echo.click("#stop")
    answer = told.value.response()
    assert answer is not None and answer.ok
    assert re.fullmatch(rf"{echo_address}v1/realtime/calls/rtc_\w+", told.value.url)
    sessions = "fetch('api/performance').then((answer) => answer.json()).then((it) => it.sessions)"
    _until(echo, f"{sessions}.then((count) => count === 0)")


# --- what carries the call ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "why"), [(404, "offers no WebRTC"), (503, "refused the call over WebRTC")]
)
def test_a_server_that_refuses_webrtc_is_called_over_the_websocket(
    echo: Page, status: int, why: str
) -> None:
    # By a real answer the console would have its own word on it, which is trouble to `opened`.
    echo.evaluate(
        """(status) => {
            const fetched = window.fetch;
            const refused = async () => new Response("{}", { status });
            window.fetch = (path, ...rest) =>
                path === "v1/realtime/calls" ? refused() : fetched(path, ...rest);
        }""",
        status,
    )
    _talk(echo)
    assert _kind(echo) == "websocket"
    expect(echo.locator("#connection .kind")).to_have_text("WebSocket")
    expect(echo.locator("#connection .kind")).to_have_attribute("title", re.compile(why))
    echo.click("#connection")
    expect(echo.locator("#link-why")).to_contain_text(why)
    assert _answered(echo, "Where can I park?")["outcome"] == "completed"


def test_a_network_without_udp_is_passed_over_the_websocket_and_that_is_said(
    playwright: Playwright, microphone: Path, echo_address: str
) -> None:
    blocked = "--webrtc-ip-handling-policy=disable_non_proxied_udp"
    browser = chromium.launch(playwright, microphone, blocked)
    try:
        with opened(browser, echo_address) as page:
            _talk(page)
            assert _kind(page) == "websocket"
            notice = page.locator("[data-code=why-webrtc-no-path]")
            expect(notice).to_contain_text("firewall on the way may be blocking UDP")
            assert _answered(page, "Where can I park?")["outcome"] == "completed"
            page.reload()
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.url))
            _talk(page)
            assert not [url for url in asked if "/calls" in url], "not tried again so soon"
            page.click("#stop")
            choose_link(page, "webrtc")
            page.click("#talk")
            notice = page.locator("[data-code=webrtc-no-path]")
            expect(notice).to_contain_text("Choose “Automatic” or “WebSocket”")
            choose_link(page, "auto")
            expect(page.locator("#connection .kind")).to_have_text("WebSocket")
    finally:
        browser.close()


def test_the_link_is_changed_by_hand_in_a_call_and_the_conversation_goes_on(echo: Page) -> None:
    _talk(echo)
    _answered(echo, "Where can I park?")
    for link, name in (("websocket", "WebSocket"), ("webrtc", "WebRTC")):
        choose_link(echo, link)
        expect(echo.locator("#connection .kind")).to_have_text(name)
        expect(echo.locator("#connection")).to_have_attribute("data-state", "open")
        _until(echo, "window.kaiwa.session !== null")
        assert _answered(echo, f"And over {name}?")["outcome"] == "completed"
    expect(echo.locator(".divider")).to_have_count(0)
    assert echo.evaluate("window.kaiwa.state.phase") == "live"
    echo.reload()
    expect(echo.locator("[name=link][value=webrtc]")).to_be_checked()


def test_who_begins_to_talk_after_typing_goes_on_over_webrtc(echo: Page) -> None:
    _answered(echo, "Where can I park?")
    assert _kind(echo) == "websocket"
    _talk(echo)
    assert _kind(echo) == "webrtc"
    expect(echo.locator(".divider")).to_have_count(0)


def test_media_that_break_off_in_a_call_are_made_anew_and_then_given_up(echo: Page) -> None:
    fail = """() => {
        const peer = window.peers.at(-1);
        Object.defineProperty(peer, "connectionState", { value: "failed" });
        peer.dispatchEvent(new Event("connectionstatechange"));
    }"""
    _talk(echo)
    _answered(echo, "Where can I park?")
    echo.evaluate(fail)
    _until(echo, "window.peers.length === 2 && window.kaiwa.session !== null")
    assert _kind(echo) == "webrtc"
    echo.evaluate(fail)
    expect(echo.locator("[data-code=why-webrtc-lost]")).to_contain_text("kept breaking off")
    expect(echo.locator("#connection .kind")).to_have_text("WebSocket")
    expect(echo.locator(".divider")).to_have_count(0)
    assert _answered(echo, "And now?")["outcome"] == "completed"


def test_a_server_that_is_stopped_says_so_over_webrtc(browser: Browser, tmp_path: Path) -> None:
    config = tmp_path / "kaiwa.yaml"
    config.write_text(f"profile: mock\n{NEVER_LATE}")
    context = browser.new_context(locale="en-GB")
    page = context.new_page()  # a server that is gone is trouble in the console
    with serving(config) as url:
        page.goto(url)
        _talk(page)
    expect(page.locator("[data-code=server-stopping]")).to_contain_text("being stopped")
    context.close()


def _is_idle(page: Page) -> None:
    """Nobody is listened to, and the next thing to do is to talk."""
    expect(page.locator("#talk .label")).to_have_text("Talk")
    expect(page.locator("#talk")).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#stop")).to_be_disabled()
    assert page.evaluate("window.kaiwa.granted") is None


def test_a_key_opens_calls_over_webrtc_too(browser: Browser, tmp_path: Path) -> None:
    config = tmp_path / "kaiwa.yaml"
    config.write_text(f"profile: mock\n{NEVER_LATE}")
    context = browser.new_context(locale="en-GB")
    page = context.new_page()  # 401 is trouble in the console
    refused: list[str] = []
    page.on("response", lambda told: refused.append(told.url) if told.status == 401 else None)
    with serving(config, KAIWA_API_KEYS=KEY) as url:
        page.goto(url)
        for _ in range(2):  # looks at the server
            with page.expect_response("**/ready"):
                pass
        assert refused == [f"{url}api/performance"]
        page.click("#talk")
        expect(page.locator("[data-code=key-needed]")).to_be_visible()
        _is_idle(page)
        page.fill("#key", "wrong")
        page.press("#key", "Enter")
        expect(page.locator("[data-code=key-refused]")).to_be_visible()
        _is_idle(page)
        page.fill("#key", KEY)
        # Before anything is asked with it, what was said of the other one is gone.
        gone = "document.querySelector('[data-code=key-refused]') === null"
        submit = "document.querySelector('#key-form').requestSubmit()"
        assert page.evaluate(f"() => {{ {submit}; return {gone}; }}")
        expect(page.locator("#connection .kind")).to_have_text("WebRTC")
        expect(page.locator("#connection")).to_have_attribute("data-state", "open")
        context.close()


# --- devices --------------------------------------------------------------------------------------

SENT_TRACK = "window.peers.at(-1).getSenders()[0].track"


@pytest.mark.parametrize("name", ["echoCancellation", "noiseSuppression", "autoGainControl"])
def test_the_microphones_processing_changes_in_the_call_and_is_remembered(
    echo: Page, name: str
) -> None:
    _talk(echo, muted=False)
    assert echo.evaluate(f"{SENT_TRACK}.getSettings().{name}")
    echo.click("#device summary")
    expect(echo.locator("#granted")).not_to_contain_text(": off")
    echo.uncheck(f"#{name}")
    expect(echo.locator("#granted")).to_contain_text(": off")
    _until(echo, f"!{SENT_TRACK}.getSettings().{name} && {SENT_TRACK}.readyState === 'live'")
    others = {name: on for name, on in echo.evaluate("window.kaiwa.granted").items() if on}
    assert len(others) == 2
    echo.reload()
    assert not echo.is_checked(f"#{name}")
    _talk(echo)
    assert not echo.evaluate(f"{SENT_TRACK}.getSettings().{name}")


def test_another_microphone_and_another_speaker_are_chosen_in_the_call(echo: Page) -> None:
    _talk(echo)
    echo.click("#device summary")
    for select in ("#devices", "#outputs"):
        echo.select_option(select, index=2)
    microphone, speaker = (echo.input_value(select) for select in ("#devices", "#outputs"))
    _until(echo, f"{SENT_TRACK}.getSettings().deviceId === {json.dumps(microphone)}")
    assert not echo.evaluate(f"{SENT_TRACK}.enabled"), "a muted call stays muted"
    assert echo.evaluate("window.sinks.at(-1)") == speaker
    assert echo.evaluate("document.querySelector('#outputs').value") == speaker
