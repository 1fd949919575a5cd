"""README and docs/: what they link to, which requests, settings and metrics they name. Commands and
variables: test_compose.py."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from voice.config import Config
from voice.http import application
from voice.metrics import REGISTRY
from voice.reload import HOLDS
from voice.settings_fields import EXTENSIONS, TurnDetection

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
    known = {route.path: {str(m) for m in route.methods} for route in application(desk).routes}
    return {path.replace(":str}", "}"): methods for path, methods in known.items()}


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
            methods = known.get(path) or known.get(route_of(path), set())
            assert method in methods, f"{method} {path}"


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


TOLD_IN_FULL = ("turn", "barge_in", "speculation", "playout", "agent", "record")
"""Sections whose every setting stands in a table of docs/deploy.md."""
ROW = re.compile(r"^\| `([a-z_]+\.[a-z_]+)` \| ([^|]*) \| ([^|]*)\|", re.MULTILINE)


def shown(value: Any) -> str:
    """A setting's value, as the page writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{value:,g}" if value < 1000 else f"{value:,.0f}"
    if isinstance(value, str):
        return value or "empty"
    return "none" if not value else str(value)


def bounds(kind: Any) -> str:
    if isinstance(kind, msgspec.inspect.IntType | msgspec.inspect.FloatType):
        least = f"over {shown(kind.gt)}," if kind.gt is not None else shown(kind.ge)
        return f"{least} to {shown(kind.le)}"
    return ""


def test_the_tables_tell_every_setting_of_a_call_with_its_default_and_its_bounds() -> None:
    rows = ROW.findall((ROOT / "docs" / "deploy.md").read_text("utf-8"))
    told = {path: (default.strip(), limits.strip()) for path, default, limits in rows}
    assert len(told) == len(rows), "twice"
    for section in TOLD_IN_FULL:
        kind = type(getattr(Config(), section))
        info = msgspec.inspect.type_info(kind)
        assert isinstance(info, msgspec.inspect.StructType)
        expected = {
            f"{section}.{field.name}": (shown(getattr(kind(), field.name)), bounds(field.type))
            for field in info.fields
        }
        assert {path: told.get(path) for path in expected} == expected


def test_every_event_of_our_own_and_every_field_of_turn_detection_is_told() -> None:
    wire = (ROOT / "docs" / "wire.md").read_text("utf-8")
    for name in EXTENSIONS:
        assert f"### `{name}`" in wire
    for name in TurnDetection.__struct_fields__:
        assert name == "type" or f"| `{name}` |" in wire, name


def test_every_metric_that_the_pages_name_is_one() -> None:
    known = {family.name for family in REGISTRY.collect()}
    for page in PAGES:
        for name in re.findall(r"`(kaiwa_[a-z_]+)", page.read_text("utf-8")):
            assert name.removesuffix("_total") in known, f"{page.name}: {name}"
