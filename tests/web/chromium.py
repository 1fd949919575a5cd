"""What tests of the page share: the server, the browser, and what is spoken into its microphone."""

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
from playwright.sync_api import Browser, Page, Playwright

from tests import wav_files
from tests.needed import needed

ROOT = Path(__file__).parent.parent.parent
RATE_HZ = 16_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
KAIWA = (sys.executable, "-m", "voice.cli")
NEVER_LATE = "load: {lag_ms: [60000, 60000, 60000, 60000]}\n"

Samples = np.ndarray[Any, np.dtype[np.int16]]


def said(text: str, voice: str, folder: Path) -> Samples:
    path = folder / f"{abs(hash((text, voice)))}.wav"
    subprocess.run([needed("flite"), "-voice", voice, "-t", text, "-o", str(path)], check=True)
    with wave.open(str(path)) as file:
        assert file.getframerate() == RATE_HZ
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def silence(seconds: float) -> Samples:
    noise = np.random.default_rng(1).normal(0, 4, round(seconds * RATE_HZ))
    return noise.astype(np.int16)


def write(path: Path, *pieces: Samples) -> Path:
    return wav_files.write(path, np.concatenate(pieces).tobytes(), RATE_HZ)


@contextmanager
def serving(config: Path, **environment: str) -> Iterator[str]:
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


def launch(playwright: Playwright, microphone: Path, *more: str) -> Browser:
    return playwright.chromium.launch(
        executable_path=needed(*CHROMIUM),
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
            *more,
        ],
    )


@contextmanager
def opened(browser: Browser, address: str, script: str = "") -> Iterator[Page]:
    """The page, with `script` run before its own; without a word of trouble in its console."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    context.add_init_script(script or "undefined")
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
    assert not troubles, troubles


def turns_of(page: Page, wanted: int, limit_ms: int = 60_000) -> list[dict[str, Any]]:
    """Waits for so many. Asked again and again: the page's policy forbids waiting inside it."""
    for _ in range(limit_ms // 100):
        turns: list[dict[str, Any]] = page.evaluate("window.kaiwa.turns")
        if len(turns) >= wanted:
            return turns
        page.wait_for_timeout(100)
    pytest.fail(f"{wanted} turns wanted, got {turns}: {page.evaluate('window.kaiwa.transcript')}")


def ask(page: Page, question: str) -> None:
    page.fill("#question", question)
    page.press("#question", "Enter")


def choose_link(page: Page, link: str) -> None:
    """By hand, in the panel below the connection's state."""
    page.click("#connection")
    page.check(f"[name=link][value={link}]")
    page.click("#connection")
