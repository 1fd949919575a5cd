"""Labelled utterances: tests/voice/completeness_cases/LANGUAGE.txt, one a line under a [label]."""

from pathlib import Path

FOLDER = Path(__file__).parent / "voice" / "completeness_cases"
LANGUAGES = ("en", "ja", "ko", "zh")


def labelled(name: str) -> dict[str, list[str]]:
    cases: dict[str, list[str]] = {}
    for line in (FOLDER / f"{name}.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            cases[line.strip("[]")] = lines = []
        elif line and not line.startswith("#"):
            lines.append(line)
    return cases
