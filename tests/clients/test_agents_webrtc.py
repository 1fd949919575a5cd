"""`@openai/agents-realtime` in Chromium, unmodified, with its WebRTC transport, a fake microphone.

The page has an origin of its own, as an application's has: the server must allow it.
"""

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests import wav_files
from tests.clients.conftest import AGENTS_SDK
from tests.clients.kaiwa_server import KaiwaServer, running_server
from tests.clients.scenario_host import node_scenarios
from tests.needed import missing, needed
from tests.speech import flite, room_noise

pytestmark = [
    pytest.mark.clients,
    pytest.mark.browser,
    pytest.mark.speech,
    pytest.mark.real_time,
]

HERE = Path(__file__).parent
RATE_HZ = 24_000


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence, 4 s of a quiet room, and again."""
    folder = tmp_path_factory.mktemp("microphone")
    said = flite("How much does membership cost?", "slt", folder)
    samples = np.concatenate([room_noise(RATE_HZ, 1), said, room_noise(3 * RATE_HZ, 2)])
    return wav_files.write(folder / "microphone.wav", samples.tobytes(), RATE_HZ)


class Pages(SimpleHTTPRequestHandler):
    """The application: an empty page, the scenarios, the SDK."""

    extensions_map = {".mjs": "text/javascript"}

    def do_GET(self) -> None:
        if self.path != "/":
            super().do_GET()
            return
        page = b"<!doctype html><title>An agent</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def translate_path(self, path: str) -> str:
        folder = AGENTS_SDK / "dist" / "bundle" if path.startswith("/sdk/") else HERE / "web"
        return str(folder / Path(path).name)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as pages:
        serving = threading.Thread(target=pages.serve_forever)
        serving.start()
        yield f"http://localhost:{pages.server_address[1]}"
        pages.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def shared_server(origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KaiwaServer]:
    allowing = {"server": {"allowed_origins": [origin]}}
    with running_server(tmp_path_factory.mktemp("server"), allowing) as running:
        yield running


@pytest.fixture(scope="module")
def browser(microphone: Path) -> Iterator[Browser]:
    if not AGENTS_SDK.exists():
        missing(f"{AGENTS_SDK} is missing; tests/clients/setup.sh makes it")
    chromium = needed("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-background-networking",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}",
                "--autoplay-policy=no-user-gesture-required",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, origin: str) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.goto(origin)
    yield page
    context.close()


@pytest.mark.parametrize("scenario", node_scenarios("web/agents.mjs"))
def test_the_agents_client_over_webrtc(page: Page, server: KaiwaServer, scenario: str) -> None:
    url = json.dumps(server.http_url)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    events = page.evaluate(
        f"import('/agents.mjs').then(agents => agents.{scenario}({url}))"
        ".catch(error => `${error.stack}`)"
    )
    assert isinstance(events, list), "\n".join([events, *said])
    assert ignored(events) == ""


def ignored(events: list[object]) -> str:
    """Those that the SDK would not read."""
    return subprocess.run(
        [needed("node"), str(HERE / "node" / "check_events.mjs")],
        input=json.dumps(events),
        text=True,
        check=True,
        capture_output=True,
    ).stdout
