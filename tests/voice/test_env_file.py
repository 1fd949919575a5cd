import re
from pathlib import Path

import pytest

from voice.env_file import variables
from voice.errors import ConfigError


@pytest.fixture
def env(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_without_a_file_there_are_none(env: Path) -> None:
    assert variables(env) == {}
    env.mkdir()  # what docker makes of a file that is mounted and not there
    assert variables(env) == {}


def test_names_have_values_and_remarks_none(env: Path) -> None:
    env.write_text("# ours\nexport A=1\nB = 'two words' # so\nC\n\nD=会話\nE=\n", "utf-8")
    assert variables(env) == {"A": "1", "B": "two words", "D": "会話", "E": ""}


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"A=1\nLLM_API_KEY: s3cret\n", 2),
        (b"# a\n\n\nMY s3cret\nB=1\n", 4),
        (b"A='s3cret\nB=1\n", 1),
        (b"A=1\nB=s3cret\xff\n", 2),
    ],
)
def test_a_line_that_cannot_be_is_named_and_not_shown(env: Path, data: bytes, line: int) -> None:
    env.write_bytes(data)
    with pytest.raises(ConfigError) as refused:
        variables(env)
    assert f"{env}: line {line} is " in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_all_lines_that_cannot_be_are_told_at_once(env: Path) -> None:
    env.write_text("LLM_API_KEY: a\nB=1\nLLM_API_KEY=a$b\nMY s3cret\n", "utf-8")
    with pytest.raises(ConfigError) as refused:
        variables(env)
    told = str(refused.value).splitlines()
    assert [re.findall(r"line (\d)", line) for line in told] == [["1"], ["3"], ["4"]]


def test_the_sample_is_one() -> None:
    sample = Path(__file__).parents[2] / ".env.default"
    assert variables(sample)["RAG_INDEX_PATH"] == "data/index"


@pytest.mark.parametrize(
    "line", ["LLM_API_KEY=s3cret$x", 'LLM_API_KEY="s3cret${x}"', " export LLM_API_KEY = s3cret$"]
)
def test_a_dollar_that_docker_compose_would_expand_is_refused_with_the_remedy(
    env: Path, line: str
) -> None:
    env.write_text(f"# ours\n\n{line} # of ours\n", "utf-8")
    with pytest.raises(ConfigError, match="put the value in single quotes: LLM_API_KEY='…'") as no:
        variables(env)
    assert "line 3" in str(no.value) and "s3cret" not in str(no.value)


def test_a_dollar_in_single_quotes_or_a_remark_or_of_others_is_none_of_ours(env: Path) -> None:
    env.write_text(
        "LLM_API_KEY='s3cret${HOME}$x'\nLLM_MODEL=m # 5 $HOME\nLLM_IMAGE=vllm:${TAG}\n", "utf-8"
    )
    found = variables(env)
    assert found["LLM_API_KEY"] == "s3cret${HOME}$x" and found["LLM_MODEL"] == "m"
