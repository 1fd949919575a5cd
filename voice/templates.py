"""Prompts in files: a file for each version, declared variables, a pointer to the current one.

    voice/prompts/agent/1.md       ---
                                   name: agent
                                   version: 1
                                   variables:
                                     today: what it is, for who writes the next version
                                   ---
                                   Today is {{today}}.
    voice/prompts/agent/current    1

`agent.prompt: agent` takes the current version, `agent@1` that one; `agent.prompts_dir` names a
folder of the operator's own, of the same shape. What is filled in stays the same for a whole call,
mostly for a whole day: a model server's prefix cache begins with it. There is no time of day, and
nothing in a template is carried out.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated

import msgspec
import yaml
from msgspec import Meta, Struct

from voice.config import Config, Problem
from voice.config_problems import explained
from voice.errors import ConfigError

PROMPTS = Path(__file__).parent / "prompts"
POINTER = "current"
OWN = ("agent_name", "language", "today")
"""Variables that every template may declare; further ones are `agent.variables`."""

_REFERENCE = re.compile(r"([a-z0-9][a-z0-9_-]*)(?:@([1-9][0-9]{0,5}))?")
_FRONT = re.compile(r"---\n(.*?)^---\n(.*)", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VARIABLE = re.compile(r"\{\{ *([a-z][a-z0-9_]*) *\}\}")
_BRACES = re.compile(r"\{\{|\}\}")


class _Front(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    version: Annotated[int, Meta(ge=1)]
    variables: dict[str, str | None] = {}


class Template(Struct, frozen=True):
    """One version of a prompt; `load` has checked it."""

    path: Path
    name: str
    version: int
    variables: tuple[str, ...]
    text: str

    def missing(self, values: Mapping[str, str]) -> Iterator[str]:
        """Declared variables that have no value, or an empty one."""
        return (name for name in self.variables if not values.get(name))

    def render(self, values: Mapping[str, str]) -> str:
        """Values are put in as they are: braces in them mean nothing.

        Raises:
            ConfigError: A variable has no value; names the file and each of them.
        """
        if missing := list(self.missing(values)):
            raise ConfigError("\n".join(f"{self.path}: {_remedy(name)}." for name in missing))
        return _VARIABLE.sub(lambda found: values[found[1]], self.text)


class Prompt(Struct, frozen=True):
    """What an agent is told at the beginning of each call, as its settings were read."""

    text: str
    """Taken where there is no template."""
    template: Template | None = None
    values: dict[str, str] = {}

    @property
    def reference(self) -> str:
        template = self.template
        return f"{template.name}@{template.version}" if template else "agent.instructions"

    def instructions(self, today: date) -> str:
        if self.template is None:
            return self.text
        return self.template.render({**self.values, "today": f"{today:%A, %Y-%m-%d}"})

    def into(self, config: Config, today: date) -> Config:
        """The settings of a call that begins today."""
        agent = msgspec.structs.replace(config.agent, instructions=self.instructions(today))
        return msgspec.structs.replace(config, agent=agent)


def prompt_of(config: Config) -> Prompt:
    """Reads the template, unless `agent.instructions` are set: they win.

    Raises:
        ConfigError: A line for each thing that is wrong with it.
    """
    agent = config.agent
    if agent.instructions:
        return Prompt(agent.instructions)
    try:
        template = load(agent.prompt, Path(agent.prompts_dir) if agent.prompts_dir else PROMPTS)
    except ConfigError as error:
        found = (f"agent.prompt: {line}" for line in str(error).splitlines())
        raise ConfigError("\n".join(found)) from None
    values = {**agent.variables, "agent_name": agent.name, "language": config.stt.language}
    wrong = list(_wrong_values(template, agent.variables, values))
    if wrong:
        raise ConfigError("\n".join(f"{path}: {what}." for path, what in wrong))
    return Prompt("", template, values)


def problems(config: Config) -> Iterator[Problem]:
    """What is wrong with the prompt, for `voice.config.load` to tell together with the rest."""
    try:
        prompt_of(config)
    except ConfigError as error:
        for line in str(error).splitlines():
            path, _, what = line.partition(": ")
            yield path, what.removesuffix(".")


def _wrong_values(
    template: Template, own: Mapping[str, str], values: Mapping[str, str]
) -> Iterator[Problem]:
    for name in own:
        if name in OWN:
            yield f"agent.variables.{name}", f"{template.path}: {_remedy(name)}"
        elif name not in template.variables:
            known = ", ".join(template.variables) or "none"
            yield f"agent.variables.{name}", f"{template.path} declares no {name}, only {known}"
    for name in template.missing({**values, "today": "known"}):
        yield "agent.prompt", f"{template.path}: {_remedy(name)}"


def _remedy(name: str) -> str:
    match name:
        case "agent_name":
            return "{{agent_name}} is agent.name: set that"
        case "language":
            return "{{language}} is STT_LANGUAGE (stt.language): set that"
        case "today":
            return "{{today}} is the date, which is filled in"
    return f"{{{{{name}}}}} has no value: set agent.variables.{name}"


# --- files ----------------------------------------------------------------------------------------


def load(reference: str, folder: Path = PROMPTS) -> Template:
    """Args:
        reference: "agent" for its current version, "agent@2" for that one.
    Raises:
        ConfigError: A line for each thing that is wrong, with the file's name.
    """
    matched = _REFERENCE.fullmatch(reference)
    if matched is None:
        raise ConfigError(f"must be a name such as agent, or agent@2, got {reference!r}.")
    name, version = matched[1], matched[2]
    if not (folder / name).is_dir():
        known = _listed(path.name for path in folder.glob("*") if path.is_dir())
        raise ConfigError(f"{folder}: there is no prompt {name!r}; known are {known}.")
    if version is None:
        version = _pointed_to(folder / name / POINTER)
    path = folder / name / f"{version}.md"
    if not path.is_file():
        known = _listed(path.stem for path in (folder / name).glob("*.md"))
        raise ConfigError(f"{path}: there is no version {version}; known are {known}.")
    return parsed(path, _read(path))


def _listed(names: Iterator[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _pointed_to(pointer: Path) -> str:
    version = _read(pointer).strip()
    if not re.fullmatch("[1-9][0-9]{0,5}", version):
        raise ConfigError(f"{pointer}: must hold the number of a version, such as 1.")
    return version


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").replace("\r\n", "\n")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8.") from None


def parsed(path: Path, text: str) -> Template:
    """Raises:
    ConfigError: A line for each thing that is wrong, with the file's name.
    """
    front, body, first_line = _parts(path, text)
    wrong = [*_wrong_front(path, front), *_wrong_body(front, body, first_line)]
    if wrong:
        raise ConfigError("\n".join(f"{path}: {what}." for what in wrong))
    return Template(path, front.name, front.version, tuple(front.variables), body.strip())


def _parts(path: Path, text: str) -> tuple[_Front, str, int]:
    """What stands in front, the text, and the number of the text's first line."""
    matched = _FRONT.fullmatch(text)
    if matched is None:
        raise ConfigError(
            f"{path}: must begin with a line ---, then name and version, then a line ---."
        )
    try:
        front = msgspec.convert(yaml.safe_load(matched[1]), _Front)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: is not YAML: {' '.join(str(error).split())}.") from None
    except msgspec.ValidationError as error:
        field, what = explained(str(error), _Front)
        raise ConfigError(f"{path}: {field or 'what stands in front'}: {what}.") from None
    return front, matched[2], text[: matched.start(2)].count("\n") + 1


def _wrong_front(path: Path, front: _Front) -> Iterator[str]:
    if front.name != path.parent.name:
        yield f"its name is {front.name!r}, its folder's {path.parent.name!r}"
    if str(front.version) != path.stem:
        yield f"its version is {front.version}, its file's {path.stem}"
    for name in front.variables:
        if not _NAME.fullmatch(name):
            yield f"variable {name!r}: must be small letters, digits and _"


def _wrong_body(front: _Front, body: str, first_line: int) -> Iterator[str]:
    if not body.strip():
        yield "holds no text"
    used = set()
    for number, line in enumerate(body.split("\n"), first_line):
        for found in _VARIABLE.finditer(line):
            used.add(found[1])
            if found[1] not in front.variables:
                yield f"line {number}: {found[0]} is not among the variables that it declares"
        if _BRACES.search(_VARIABLE.sub("", line)):
            yield f"line {number}: braces must be those of a variable, such as {{{{today}}}}"
    for name in front.variables:
        if _NAME.fullmatch(name) and name not in used:
            yield f"declares the variable {name}, but does not use it"
