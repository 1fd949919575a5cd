"""Whole conversations in virtual time: *.talk, read by script.py, played by stage.py."""

from collections import Counter
from pathlib import Path

import pytest

from tests.conversations.awaited import AWAITED
from tests.conversations.findings import Measured, measure
from tests.conversations.report import report
from tests.conversations.script import LANGUAGES, Scenario, read
from tests.conversations.stage import perform
from tests.conversations.tally import Tally

FILES = sorted(Path(__file__).parent.glob("*.talk"))
SCENARIOS = [scenario for file in FILES for scenario in read(file)]


class WrongReasonError(Exception):
    """It fails, as it is expected to, but not because of what is missing."""


def _param(scenario: Scenario) -> object:
    awaited = pytest.mark.xfail(strict=True, raises=AssertionError, reason="see awaited.py")
    marks = [awaited] if scenario.name in AWAITED else []
    return pytest.param(scenario, marks=marks, id=f"{scenario.kind}: {scenario.name}")


@pytest.mark.parametrize("scenario", [_param(scenario) for scenario in SCENARIOS])
def test_the_conversation_goes_as_its_script_says(scenario: Scenario, tally: Tally) -> None:
    seen = perform(scenario)
    measured = measure(seen)
    tally.add(scenario.kind, measured)
    _see_that_it_fails_for_its_reason(scenario, measured)
    assert not measured.wrong, report(seen, measured)


def _see_that_it_fails_for_its_reason(scenario: Scenario, measured: Measured) -> None:
    awaited = AWAITED.get(scenario.name)
    kinds = {finding.kind for finding in measured.wrong}
    if awaited is not None and kinds and awaited not in kinds:
        found = [f"{finding.kind}: {finding.text}" for finding in measured.wrong]
        raise WrongReasonError(f"{scenario.name}: {awaited} is not among {found}")


def test_there_are_sixty_conversations_and_more_in_four_languages() -> None:
    languages = Counter(scenario.language for scenario in SCENARIOS)
    assert len(SCENARIOS) >= 60
    assert min(languages[language] for language in LANGUAGES) >= 10


def test_each_conversation_has_its_own_name() -> None:
    names = Counter(scenario.name for scenario in SCENARIOS)
    assert [name for name, count in names.items() if count > 1] == []


def test_nothing_is_awaited_that_is_not_played() -> None:
    assert set(AWAITED) <= {scenario.name for scenario in SCENARIOS}


def test_agreement_and_echo_are_never_allowed_to_interrupt() -> None:
    scenes = [scenario for scenario in SCENARIOS if scenario.kind in ("backchannels", "echo")]
    assert scenes
    assert [scenario.name for scenario in scenes if "false" in scenario.allows] == []
