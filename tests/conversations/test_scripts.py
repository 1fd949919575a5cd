"""Whole conversations in virtual time: *.talk, read by script.py, played by stage.py."""

from collections import Counter
from pathlib import Path

import msgspec
import pytest

from tests.conversations.findings import Kind, measure
from tests.conversations.report import report
from tests.conversations.script import LANGUAGES, Scenario, read
from tests.conversations.stage import perform
from tests.conversations.tally import Tally
from tests.driving import PLAIN
from voice.config import SpeculationConfig

FILES = sorted(Path(__file__).parent.glob("*.talk"))
SCENARIOS = [scenario for file in FILES for scenario in read(file)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: f"{one.kind}: {one.name}")
def test_the_conversation_goes_as_its_script_says(scenario: Scenario, tally: Tally) -> None:
    seen = perform(scenario)
    measured = measure(seen)
    tally.add(scenario.kind, measured)
    assert not measured.wrong, report(seen, measured)


HEARD = [one for one in SCENARIOS if not any(answer.never_heard for answer in one.answers)]
"""An answer that is there already sounds before anybody can keep it from it."""


@pytest.mark.parametrize("scenario", HEARD, ids=lambda one: f"{one.kind}: {one.name}")
def test_it_goes_as_well_where_the_answer_is_begun_before_the_turn_is_over(
    scenario: Scenario,
) -> None:
    seen = perform(scenario, config=msgspec.structs.replace(PLAIN, speculation=SpeculationConfig()))
    measured = measure(seen)
    assert not measured.wrong, report(seen, measured)


OVER_ANSWERS = [
    one
    for one in HEARD
    if one.kind in ("backchannels", "noises", "echo")
    and not any(line.beliefs for line in one.lines)
]
"""But for those that say themselves when the recogniser shows what."""


@pytest.mark.parametrize("scenario", OVER_ANSWERS, ids=lambda one: f"{one.kind}: {one.name}")
def test_a_recogniser_that_shows_words_seldom_lets_no_more_of_it_cut_the_answer(
    scenario: Scenario,
) -> None:
    """Every 450 ms; the confirmation of a barge-in may then take longer than a scene allows."""
    parts = {"stt.every": "450", "stt.partial": "30", **scenario.parts}
    seen = perform(msgspec.structs.replace(scenario, parts=parts))
    measured = measure(seen)
    wrong = [finding for finding in measured.wrong if finding.kind is not Kind.MISSED]
    assert not wrong, report(seen, measured)


def test_there_are_sixty_conversations_and_more_in_four_languages() -> None:
    languages = Counter(scenario.language for scenario in SCENARIOS)
    assert len(SCENARIOS) >= 60
    assert min(languages[language] for language in LANGUAGES) >= 10


def test_each_conversation_has_its_own_name() -> None:
    names = Counter(scenario.name for scenario in SCENARIOS)
    assert [name for name, count in names.items() if count > 1] == []


def test_agreement_and_echo_are_never_allowed_to_interrupt() -> None:
    scenes = [scenario for scenario in SCENARIOS if scenario.kind in ("backchannels", "echo")]
    assert scenes
    assert [scenario.name for scenario in scenes if "false" in scenario.allows] == []


@pytest.mark.parametrize(
    ("kind", "allowed_at_most"),
    [(Kind.EARLY, 8), (Kind.LATE, 0), (Kind.FALSE, 3), (Kind.MISSED, 0)],
)
def test_of_each_kind_of_mistake_there_are_no_more_than_scenes_allow(
    kind: Kind, allowed_at_most: int, tally: Tally
) -> None:
    """Counted over all that were played before this; the table at the end of the run has more.

    The false barge-ins are sounds without a word that last for 1.5 s and more.
    """
    forbidden, allowed = tally.count(kind)
    assert forbidden == 0 and allowed <= allowed_at_most
