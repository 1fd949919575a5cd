import pytest

from providers._probe import AGAIN_S, FRESH_S, TokenProbe
from providers.base import Fault, ProviderError, Slot

DOWN = ProviderError(Slot.LLM, "openai", Fault.BROKEN, "HTTP 500")


def asked_at(probe: TokenProbe, until: float, *, fails: bool) -> list[float]:
    """When tokens are asked for by checks as the watch makes them: each 2 s, or 30 s when well."""
    asked, now = [], 0.0
    while now < until:
        try:
            if probe.is_due(now):
                asked.append(now)
                if fails:
                    probe.failed(now, DOWN)
                    raise DOWN
                probe.succeeded(now)
            now += 30.0
        except ProviderError:
            now += 2.0
    return asked


def test_a_server_that_answers_is_asked_every_five_minutes() -> None:
    assert asked_at(TokenProbe(), 3600.0, fails=False) == [FRESH_S * n for n in range(12)]


def test_a_server_that_fails_is_asked_more_seldom_but_its_repair_is_known_within_15_s() -> None:
    asked = asked_at(TokenProbe(), 3600.0, fails=True)
    pauses = [later - earlier for earlier, later in zip(asked, asked[1:], strict=False)]
    assert pauses[:2] == [2.0, 4.0] and set(pauses[2:]) == {8.0}


def test_after_a_callers_failure_only_an_answer_ends_the_doubt() -> None:
    probe = TokenProbe()
    probe.succeeded(0.0)
    assert not probe.is_doubted
    probe.doubted(1.0)
    assert probe.is_doubted and probe.is_due(1.0)
    probe.failed(1.0, DOWN)
    assert probe.is_doubted
    probe.succeeded(3.0)
    assert not probe.is_doubted


def test_between_two_tokens_the_last_failure_stands() -> None:
    probe = TokenProbe()
    probe.failed(0.0, DOWN)
    with pytest.raises(ProviderError, match="HTTP 500"):
        probe.is_due(AGAIN_S - 0.1)
    assert probe.is_due(AGAIN_S)


def test_a_callers_answer_ends_the_failure_and_the_long_pauses() -> None:
    probe = TokenProbe()
    for now in range(10):
        probe.failed(float(now), DOWN)
    probe.succeeded(10.0)
    assert not probe.is_due(10.0 + FRESH_S - 1.0)
    probe.failed(400.0, DOWN)
    assert probe.is_due(400.0 + AGAIN_S)


def test_a_callers_failure_is_looked_into_at_once_but_not_while_tokens_fail() -> None:
    probe = TokenProbe()
    probe.succeeded(0.0)
    probe.doubted(1.0)
    assert probe.is_due(1.0)
    for _ in range(3):
        probe.failed(1.0, DOWN)
    probe.doubted(2.0)
    with pytest.raises(ProviderError):
        probe.is_due(2.0)


def test_a_failure_told_a_thousand_times_remembers_no_one_it_was_told_to() -> None:
    probe = TokenProbe()
    probe.failed(0.0, ProviderError(Slot.LLM, "openai", Fault.BROKEN, "HTTP 500"))
    for _ in range(1000):
        with pytest.raises(ProviderError) as told:
            probe.is_due(1.0)
    assert len(told.traceback) < 5
