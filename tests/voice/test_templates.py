"""Prompts are checked before anybody hears them, and the same bytes all day."""

from datetime import date
from pathlib import Path

import msgspec
import pytest

from voice.config import AgentConfig, Config, SttConfig, load
from voice.errors import ConfigError
from voice.templates import PROMPTS, Prompt, parsed, problems, prompt_of
from voice.templates import load as load_template

SATURDAY = date(2026, 11, 21)
FRONT = "---\nname: agent\nversion: 1\n"


def written(folder: Path, text: str, version: int = 1, *, current: str = "1") -> Path:
    (folder / "agent").mkdir(exist_ok=True)
    (folder / "agent" / f"{version}.md").write_text(text, "utf-8")
    (folder / "agent" / "current").write_text(current + "\n", "utf-8")
    return folder


def agent(folder: Path, **more: object) -> Config:
    return Config(agent=AgentConfig(prompts_dir=str(folder), **more))  # type: ignore[arg-type]


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parsed(Path("p/agent/1.md"), text)
    return str(caught.value).splitlines()


# --- what comes with Kaiwa ------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*/*.md")), ids=lambda path: path.stem)
def test_every_prompt_that_comes_with_it_can_be_used(path: Path) -> None:
    name = f"{path.parent.name}@{path.stem}"
    prompt = prompt_of(Config(agent=AgentConfig(prompt=name)))
    said = prompt.instructions(SATURDAY)
    assert prompt.reference == name and "voice assistant" in said
    assert "{{" not in said and said == said.strip()


def test_the_current_one_is_what_the_pointer_says(tmp_path: Path) -> None:
    written(tmp_path, FRONT + "---\nOne.\n")
    written(tmp_path, FRONT.replace("1", "2") + "---\nTwo.\n", 2, current="2")
    assert load_template("agent", tmp_path).text == "Two."
    assert load_template("agent@1", tmp_path).text == "One."


def test_plain_instructions_win_and_are_taken_as_they_are() -> None:
    config = Config(agent=AgentConfig(instructions="Say {{today}}.", prompt="no-such"))
    assert prompt_of(config) == Prompt("Say {{today}}.")
    assert prompt_of(config).instructions(SATURDAY) == "Say {{today}}."
    assert list(problems(config)) == []


# --- variables ------------------------------------------------------------------------------------


def test_variables_are_filled_in_and_their_values_are_not_read_again(tmp_path: Path) -> None:
    text = "variables: {agent_name: , today: , shop: , language: }\n---\n"
    body = "I am {{agent_name}} of {{ shop }}, {{today}}, {{language}}."
    written(tmp_path, FRONT + text + body)
    config = agent(tmp_path, name="Yuki", variables={"shop": "{{today}} & {{x}}"})
    config = msgspec.structs.replace(config, stt=SttConfig(language="ja"))
    said = prompt_of(config).instructions(SATURDAY)
    assert said == "I am Yuki of {{today}} & {{x}}, Saturday, 2026-11-21, ja."


def test_the_bytes_change_with_the_day_only() -> None:
    config = Config(agent=AgentConfig(prompt="agent@2"))
    first, second = (prompt_of(config).instructions(SATURDAY) for _ in range(2))
    assert first == second
    assert first != prompt_of(config).instructions(date(2026, 11, 22))


def test_a_variable_without_a_value_is_told_with_its_file_and_its_setting(tmp_path: Path) -> None:
    text = "variables: {shop: , language: }\n---\n{{shop}} {{language}}"
    written(tmp_path, FRONT + text)
    file = str(tmp_path / "agent" / "1.md")
    first, second = problems(agent(tmp_path))
    assert first[0] == second[0] == "agent.prompt"
    assert file in first[1] and "{{shop}}" in first[1] and "agent.variables.shop" in first[1]
    assert file in second[1] and "{{language}}" in second[1] and "STT_LANGUAGE" in second[1]


def test_a_value_for_no_variable_is_told_with_those_there_are(tmp_path: Path) -> None:
    written(tmp_path, FRONT + "variables: {shop: }\n---\n{{shop}}")
    config = agent(tmp_path, variables={"shop": "x", "shpo": "y", "today": "never"})
    found = dict(problems(config))
    assert sorted(found) == ["agent.variables.shpo", "agent.variables.today"]
    assert "only shop" in found["agent.variables.shpo"]


def test_rendering_without_a_value_is_refused() -> None:
    template = parsed(Path("p/agent/1.md"), FRONT + "variables: {a: , b: }\n---\n{{a}}{{b}}")
    with pytest.raises(ConfigError, match="agent/1.md: {{b}} has no value"):
        template.render({"a": "x"})


# --- files that are wrong -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("Be kind.", "must begin with a line ---"),
        ("---\nname: agent\nversion: 1\nBe kind.", "must begin with a line ---"),
        ("---\nname: [\n---\nx", "is not YAML"),
        ("---\nname: agent\n---\nx", "version"),
        ("---\nname: agent\nversion: 0\n---\nx", "version"),
        (FRONT + "variables: [shop]\n---\nx", "variables: must be a mapping, name: value"),
        (FRONT + "mood: kind\n---\nx", "mood"),
        (FRONT + "---\n \n", "holds no text"),
        (FRONT.replace("1", "3") + "---\nx", "its version is 3, its file's 1"),
        (FRONT.replace("agent", "clerk") + "---\nx", "its name is 'clerk'"),
        (FRONT + "variables: {Shop: }\n---\nx", "variable 'Shop'"),
        (FRONT + "variables: {shop: }\n---\nx", "declares the variable shop"),
        (FRONT + "---\nx\n{{shop}}", "line 6: {{shop}} is not among"),
        (FRONT + "---\nx {{ 1 + 1 }}", "line 5: braces"),
        (FRONT + "---\nx }}", "line 5: braces"),
        (FRONT + "---\n{{today.year}}", "line 5: braces"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_name(text: str, what: str) -> None:
    (line,) = complaints(text)
    assert line.startswith("p/agent/1.md: ") and what in line


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(complaints(FRONT + "variables: {a: }\n---\n{{b}}\n{{c}} {{")) == 4


@pytest.mark.parametrize(
    ("prompt", "what"),
    [
        ("clerk", "there is no prompt 'clerk'; known are agent"),
        ("agent@7", "there is no version 7; known are 1"),
        ("../agent", "must be a name such as agent"),
        ("agent@latest", "must be a name such as agent"),
        ("", "must be a name such as agent"),
    ],
)
def test_a_prompt_there_is_not_is_told_with_those_there_are(
    tmp_path: Path, prompt: str, what: str
) -> None:
    written(tmp_path, FRONT + "---\nx")
    ((path, found),) = problems(agent(tmp_path, prompt=prompt))
    assert path == "agent.prompt" and what in found


@pytest.mark.parametrize("current", ["", "latest", "0", "1 2"])
def test_a_pointer_to_nothing_is_told(tmp_path: Path, current: str) -> None:
    written(tmp_path, FRONT + "---\nx", current=current)
    ((_, found),) = problems(agent(tmp_path))
    assert str(tmp_path / "agent" / "current") in found and "must hold the number" in found


def test_bytes_that_are_no_text_and_a_missing_pointer_are_told(tmp_path: Path) -> None:
    written(tmp_path, FRONT + "---\nx")
    (tmp_path / "agent" / "1.md").write_bytes(b"---\n\xff")
    assert "is not UTF-8" in dict(problems(agent(tmp_path)))["agent.prompt"]
    (tmp_path / "agent" / "current").unlink()
    assert "cannot be read" in dict(problems(agent(tmp_path)))["agent.prompt"]


def test_a_wrong_prompt_is_told_together_with_the_other_settings() -> None:
    environment = {"KAIWA_PORT": "x"}
    overrides = {("agent", "prompt"): "clerk"}
    with pytest.raises(ConfigError) as caught:
        load(environment=environment, overrides=overrides, judge=problems)
    assert "server.port" in str(caught.value) and "agent.prompt" in str(caught.value)
