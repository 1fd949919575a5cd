"""How long a worker that died is left dead."""

import pytest

from providers._worker import LONG_LIFE_S, RESTART_MOST_S, Deaths, Pauses, without_traces

AN_HOUR_S = 3600.0


def pauses(*lives: float) -> list[float]:
    found = Pauses()
    return [found.after(lived_s) for lived_s in lives]


def test_after_a_long_life_there_is_none() -> None:
    assert pauses(AN_HOUR_S, LONG_LIFE_S) == [0, 0]


@pytest.mark.parametrize("lived_s", [0.0, 0.1, 6.0, 20.0])
def test_while_lives_are_short_it_grows_to_its_limit(lived_s: float) -> None:
    """6 s and 20 s: a machine without memory, which kills it whenever there is much to do."""
    found = pauses(AN_HOUR_S, *[lived_s] * 10)
    assert found == [0, 0.5, 0.5, 0.5, 1, 2, 4, 8, *[RESTART_MOST_S] * 3]


def test_a_long_life_lets_it_begin_again() -> None:
    assert pauses(*[0.0] * 6, LONG_LIFE_S, 1.0)[-2:] == [0, 0.5]


def test_ten_years_of_deaths_are_no_number_too_large() -> None:
    found = Pauses()
    assert {found.after(0.0) for _ in range(20_000)} == {0.5, 1, 2, 4, 8, RESTART_MOST_S}


TRACE = """warned before
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/opt/kaiwa/providers/_sherpa_worker.py", line 240, in <module>
    serve(load)
MemoryError: std::bad_alloc
it ended with status 1"""
CUT_TRACE = TRACE.replace("Traceback (most recent call last):\n", "")


@pytest.mark.parametrize("words", [TRACE, CUT_TRACE])
def test_of_a_traceback_only_what_was_wrong_is_told(words: str) -> None:
    told = "warned before\nMemoryError: std::bad_alloc\nit ended with status 1"
    assert without_traces(words) == told


def test_words_without_a_traceback_stay_as_they_are() -> None:
    words = "a line\n  indented\n\nit was ended by SIGSEGV"
    assert without_traces(words) == words


def test_the_same_death_is_told_ever_more_rarely_and_another_one_at_once() -> None:
    """CUDA asked for without CUDA: nine times in 25 s, and on."""
    deaths = Deaths()
    assert [deaths.tells("no CUDA", lived=False) for _ in range(9)] == [1, 2, 0, 4, 0, 0, 0, 8, 0]
    assert deaths.tells("no memory", lived=False) == 1
    assert deaths.tells("no memory", lived=True) == 1, "it had served meanwhile"
