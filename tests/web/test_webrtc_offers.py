"""Chromium's own peer, whatever its page asks for: it takes the answer, connects and is told."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.needed import needed
from tests.served import Hosted

Host = Callable[..., Hosted]

pytestmark = [pytest.mark.browser]

CALL = """async ({microphone, first, last, policy, settings}) => {
    const peer = new RTCPeerConnection({bundlePolicy: policy})
    if (first) peer.addTransceiver("video")
    if (microphone) {
        const stream = await navigator.mediaDevices.getUserMedia({audio: true})
        peer.addTrack(stream.getTracks()[0], stream)
    } else peer.addTransceiver("audio")
    const channel = peer.createDataChannel("oai-events")
    if (last) peer.addTransceiver("video")
    const told = new Promise(done => { channel.onmessage = message => done(message.data) })
    await peer.setLocalDescription()
    await new Promise(done => {
        const look = () => peer.iceGatheringState === "complete" && done()
        peer.onicegatheringstatechange = look
        look()
    })
    const body = new FormData()
    body.set("sdp", peer.localDescription.sdp)
    body.set("session", JSON.stringify(settings))
    const answer = await fetch("/v1/realtime/calls", {method: "POST", body})
    if (answer.status !== 201) throw new Error(await answer.text())
    await peer.setRemoteDescription({type: "answer", sdp: await answer.text()})
    const event = JSON.parse(await told)
    const place = answer.headers.get("location")
    const ended = await fetch(place, {method: "DELETE"})
    const candidates = peer.localDescription.sdp.match(/^a=candidate.*$/gm) || []
    const directions = peer.getTransceivers().map(t => t.currentDirection)
    const result = {event, ended: ended.status, state: peer.connectionState, candidates, directions}
    peer.close()
    return result
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = needed("chromium", "chromium-browser", "google-chrome")
    flags = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=[*flags, "--no-sandbox"])
        yield started
        started.close()


def called(browser: Browser, server: Hosted, **wanted: Any) -> dict[str, Any]:
    usual = {"microphone": True, "first": False, "last": False, "policy": "balanced"}
    granted = ["microphone"] if wanted.get("microphone", True) else []
    with browser.new_context(permissions=granted) as context:
        page = context.new_page()
        page.goto(f"{server.url}/docs")
        settings = {"instructions": "Speak slowly."}
        result: dict[str, Any] = page.evaluate(CALL, {**usual, "settings": settings, **wanted})
    return result


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"policy": "max-bundle"},
        {"last": True},
        {"first": True},
        {"last": True, "policy": "max-bundle"},
    ],
    ids=json.dumps,
)
def test_a_page_gets_through_with_sound_and_events_and_without_its_video(
    browser: Browser, hosting: Host, wanted: dict[str, Any]
) -> None:
    result = called(browser, hosting(), **wanted)
    assert result["event"]["type"] == "session.created"
    assert result["event"]["session"]["instructions"] == "Speak slowly."
    assert result["ended"] == 200
    assert result["directions"] == ["sendrecv"], "of its video nothing is left"


def test_a_page_that_hides_its_addresses_behind_names_gets_through(
    browser: Browser, hosting: Host
) -> None:
    """Its names are dropped: the server learns where it is from its first packet."""
    result = called(browser, hosting(), microphone=False)
    assert result["candidates"] and all(".local" in one for one in result["candidates"])
    assert result["event"]["type"] == "session.created"


def test_a_laptop_without_a_network_reaches_itself(browser: Browser, hosting: Host) -> None:
    """The server's only address is 127.0.0.1 then."""
    server = hosting(webrtc={"addresses": ["127.0.0.1"]})
    assert called(browser, server)["event"]["type"] == "session.created"
