"""README and docs/: what they link to, which requests and settings they name. Commands and
variables: test_compose.py."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from voice.config import Config
from voice.http import application
from voice.reload import HOLDS

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
        if not re.match(r"https?:", link):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_every_page_is_linked_from_the_readme() -> None:
    readme = PAGES[0].read_text("utf-8")
    assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in readme] == []


def routes() -> dict[str, set[str]]:
    desk: Any = SimpleNamespace(version="0")
    return {route.path: set(route.methods) for route in application(desk).routes}


def route_of(path: str) -> str:
    """`{name}` takes slashes, and what is behind it is part of it."""
    return re.sub(r"\{(\w+)\}.*", r"{\1:path}", path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_request_of_the_pages_is_answered(page: Path) -> None:
    text = page.read_text("utf-8")
    known = routes()
    named = re.findall(r"\b(GET|POST|PUT) (/[a-z][\w/{}-]*)", text)
    named += [("GET", path) for path in re.findall(r"`(/(?:api/)?[a-z]+)`", text)]
    elsewhere = {"/rerank", "/models", "/data", "/tmp"}  # other servers', and containers' folders
    for method, path in named:
        if path not in elsewhere:
            assert method in known.get(route_of(path), set()), f"{method} {path}"


def test_what_a_reload_changes_at_once_is_what_the_page_says() -> None:
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (now|next answer|new calls)[^|]* \| (.+) \|$", text, re.MULTILINE))
    assert len(rows) == 3
    for when, cell in rows.items():
        section, told = "", set()
        for name in re.findall(r"`([\w.*]+)`", cell):
            section = name.partition(".")[0] if "." in name else section
            told.add(name if "." in name else f"{section}.{name}")
        meant = {path for path, holds in HOLDS.items() if holds == when}
        gaps = {path for path in meant if path.endswith("_gap_ms")}  # "and its gaps"
        assert told == meant - gaps, when


def test_every_setting_that_the_pages_name_is_one() -> None:
    fields = {field.name: field.type for field in msgspec.structs.fields(Config)}
    sections = {name: kind for name, kind in fields.items() if hasattr(kind, "__struct_fields__")}
    for page in PAGES:
        for section, key in re.findall(r"`([a-z]+)\.([a-z_]+)`", page.read_text("utf-8")):
            if section in sections:
                assert key in sections[section].__struct_fields__, f"{page.name}: {section}.{key}"
