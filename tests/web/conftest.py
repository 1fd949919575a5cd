"""One server and one Chromium for each module of the page's tests.

microphone   --question 1--          --question 2--
speaker                    ###answer#|           ####answer####
                                     ^ cut in
"""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from tests.web import chromium
from tests.web.chromium import KAIWA, NEVER_LATE, ROOT


@pytest.fixture(scope="module")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A question, a second one 1.6 s into the answer to the first, then silence."""
    folder = tmp_path_factory.mktemp("microphone")
    return chromium.write(
        folder / "microphone.wav",
        chromium.silence(1.5),
        chromium.said("How much does membership cost?", "slt", folder),
        chromium.silence(2.2),
        chromium.said("What are your opening hours on Saturday?", "slt", folder),
        chromium.silence(30),
    )


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server with the embedded profile and the sample documents, however busy the machine."""
    index = tmp_path_factory.mktemp("index")
    config = tmp_path_factory.mktemp("config") / "kaiwa.yaml"
    config.write_text(f"profile: embedded\n{NEVER_LATE}")
    ingest = [*KAIWA, "ingest", "rag/samples", "--index", str(index)]
    subprocess.run(ingest, cwd=ROOT, check=True)
    with chromium.serving(config, RAG_INDEX_PATH=str(index)) as url:
        yield url


@pytest.fixture(scope="module")
def echo_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that hums back what it was asked."""
    config = tmp_path_factory.mktemp("echo") / "kaiwa.yaml"
    config.write_text(f"profile: mock\n{NEVER_LATE}")
    with chromium.serving(config) as url:
        yield url


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: Playwright, microphone: Path) -> Iterator[Browser]:
    browser = chromium.launch(playwright, microphone)
    yield browser
    browser.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    with chromium.opened(browser, address) as page:
        yield page
