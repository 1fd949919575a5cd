"""What `kaiwa doctor` looks at, each side by side and within its time.

✓ works   ! works, but not all of it, or not as well as it could   – not there, not needed
✗ what the chosen profile needs and does not work
"""

import asyncio
import contextlib
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from providers.base import Embedder, NoNews, ProviderError
from rag.store import IndexMissing, IndexUnusable, load
from voice.build import warnings
from voice.checkup_doors import door_checks
from voice.checkup_machine import (
    NO_ANSWER,
    Check,
    Finding,
    Findings,
    Mark,
    aside,
    disk_found,
    gpu_found,
    models_found,
    wants_gpu,
)
from voice.checkup_ports import files_found, port_found
from voice.config import Config
from voice.errors import ConfigError
from voice.makers import KNOWN, chosen, links

LIMIT_S = 10.0
CLOSE_LIMIT_S = 2.0


async def examine(config: Config, *, limit_s: float = LIMIT_S) -> Findings:
    """Everything, in at most `limit_s` and what closing takes; in the order of the table."""
    config = msgspec.structs.replace(config, stt=msgspec.structs.replace(config.stt, workers=1))
    checks: list[Check] = [
        ("settings", "!", _settings(config)),
        ("espeak-ng", "!", _espeak(config)),
    ]
    for slot in ("vad", "stt", "llm", "tts"):
        checks += _slot(config, slot)
    checks += _slot(config, "turn")
    if config.rag.enabled:
        checks.append(("documents", "✗", _documents(config)))
        checks += _slot(config, "reranker")
    checks += [
        ("models", "!", aside(lambda: models_found(config))),
        ("GPU", "✗" if wants_gpu(config) else "–", gpu_found(config)),
        ("port", "✗", aside(lambda: port_found(config))),
        *door_checks(config),
        ("open files", "!", aside(lambda: files_found(config))),
        ("disk", "!", aside(lambda: disk_found(config))),
    ]
    found = await asyncio.gather(
        *(_limited(what, mark, check, limit_s) for what, mark, check in checks)
    )
    return [finding for findings in found for finding in findings]


async def _limited(what: str, mark: Mark, check: Awaitable[Findings], limit_s: float) -> Findings:
    try:
        async with asyncio.timeout(limit_s):
            return await check
    except TimeoutError:
        remedy = "see whether it is overloaded, or what its server's log says"
        return [Finding(mark, what, f"{NO_ANSWER} {limit_s:g} s", remedy)]
    except Exception as error:  # a check that breaks must not hide the others
        return [Finding(mark, what, f"the check broke: {type(error).__name__}: {error}")]


# --- settings and libraries -----------------------------------------------------------------------


async def _settings(config: Config) -> Findings:
    version = ".".join(map(str, sys.version_info[:3]))
    found = [Finding("✓", "settings", f"profile {config.profile}, Python {version}")]
    for warning in (*await aside(lambda: warnings(config)), *config.strays):
        found.append(Finding("!", "settings", warning))
    return found


async def _espeak(config: Config) -> Findings:
    """Where no voice of the chain is espeak's: it could still stand in."""
    if any(chosen(own, "tts") == "espeak" for own in links(config, "tts")):
        return []
    finding = await _asked(config, "tts", "espeak", "!")
    return [msgspec.structs.replace(finding, what="espeak-ng")]


# --- providers ------------------------------------------------------------------------------------


def _slot(config: Config, slot: str) -> list[Check]:
    """One check for each provider of the chain; only the first one must work."""
    checks: list[Check] = []
    for number, own in enumerate(links(config, slot)):
        name = chosen(own, slot)
        if name == "none":
            continue
        is_spared = slot == "reranker" or (slot == "turn" and own.turn.provider == "auto")
        mark: Mark = "!" if number or is_spared else "✗"
        what = f"{slot}: {name}" + (" (stands in)" if number else "")
        checks.append((what, mark, _provider(own, slot, name, mark, what)))
    return checks


async def _provider(config: Config, slot: str, name: str, mark: Mark, what: str) -> Findings:
    finding = await _asked(config, slot, name, mark)
    return [msgspec.structs.replace(finding, what=what)]


async def _asked(
    config: Config,
    slot: str,
    name: str,
    mark: Mark,
    then: Callable[[Any], None] = lambda provider: None,
) -> Finding:
    """Made, started, asked one small request; `then` is called with it while it lives."""
    what = f"{slot}: {name}"
    loop = asyncio.get_running_loop()
    begun = loop.time()
    try:
        provider = KNOWN[slot][name](config)
    except (ConfigError, ValueError, ImportError) as error:
        return Finding(mark, what, str(error))
    try:
        await provider.start()
        with contextlib.suppress(NoNews):
            await provider.check()
        then(provider)
    except ProviderError as error:
        return Finding(mark, what, *_split(error.message))
    finally:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_LIMIT_S):
                await provider.aclose()
    info = provider.info
    place = ", ".join(filter(None, (info.endpoint, info.model)))
    took_ms = 1000 * (loop.time() - begun)
    return Finding("✓", what, f"{place}: answered in {took_ms:.0f} ms")


def _split(message: str) -> tuple[str, str]:
    """What is wrong, and what to do about it, as our texts have it."""
    what, *remedy = re.split(r"; |: (?=(?:check|is the server|set) )", message, maxsplit=1)
    return what, "".join(remedy)


# --- documents ------------------------------------------------------------------------------------


async def _documents(config: Config) -> Findings:
    """The embedders, and whether the index was made with them."""
    asked = [_embedder(own, number) for number, own in enumerate(links(config, "embedder"))]
    answers = await asyncio.gather(*asked)
    found = [finding for finding, _ in answers]
    known = next((fingerprint for _, fingerprint in answers if fingerprint), None)
    for number, (finding, fingerprint) in enumerate(answers):
        if fingerprint and fingerprint != known:
            remedy = "give it the same model, or take it out of embedder.fallbacks"
            what = f"its vectors are of {fingerprint}, not of {known}"
            found[number] = Finding("!", finding.what, what, remedy)
    folder = Path(config.rag.index)
    try:
        held = await aside(lambda: load(folder, known))
    except IndexMissing:
        remedy = f"kaiwa ingest FOLDER --index {folder}"
        found.append(Finding("!", "index", f"there is none in {folder}", remedy))
    except IndexUnusable as error:
        found.append(Finding("✗", "index", *_split(str(error))))
    else:
        counts = f"{len(held.documents)} documents, {len(held.chunks)} passages in {folder}"
        found.append(Finding("✓", "index", counts))
    return found


async def _embedder(config: Config, number: int) -> tuple[Finding, str]:
    """And its fingerprint; empty: it did not tell."""
    fingerprints: list[str] = []

    def remember(embedder: Embedder) -> None:
        fingerprints.append(embedder.fingerprint)

    name = chosen(config, "embedder")
    finding = await _asked(config, "embedder", name, "!" if number else "✗", remember)
    what = f"embedder: {name}" + (" (stands in)" if number else "")
    return msgspec.structs.replace(finding, what=what), "".join(fingerprints)
