"""The page in a real Chromium, with a fake microphone that holds real speech.

microphone   --question 1--          --question 2--
speaker                    ###answer#|           ####answer####
                                     ^ cut in
"""

import json
import os
import shutil
import subprocess
import sys
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).parent.parent.parent
RATE_HZ = 16_000
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
PICTURE = os.environ.get("KAIWA_PICTURE", "")
"""Where the screenshot goes that README shows; by default nowhere."""

pytestmark = [pytest.mark.browser, pytest.mark.speech]


def _needed(*names: str) -> str:
    for name in names:
        if found := shutil.which(name):
            return found
    message = f"{names[0]} is missing: apt install {names[0]}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def _said(text: str, voice: str, folder: Path) -> np.ndarray[Any, np.dtype[np.int16]]:
    path = folder / f"{abs(hash((text, voice)))}.wav"
    subprocess.run([_needed("flite"), "-voice", voice, "-t", text, "-o", str(path)], check=True)
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


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server with the embedded profile and the sample documents."""
    index = tmp_path_factory.mktemp("index")
    kaiwa = [sys.executable, "-m", "voice.cli"]
    subprocess.run([*kaiwa, "ingest", "rag/samples", "--index", str(index)], cwd=ROOT, check=True)
    server = subprocess.Popen(
        [*kaiwa, "serve", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, "RAG_INDEX_PATH": str(index)},
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
        server.communicate(timeout=20)


@pytest.fixture(scope="module")
def browser(microphone: Path) -> Iterator[Browser]:
    chromium = _needed(*CHROMIUM)
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
