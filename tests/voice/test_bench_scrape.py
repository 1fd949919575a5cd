from prometheus_client import CollectorRegistry, Histogram, generate_latest

from voice import metrics
from voice.bench.scrape import LOOP_LAG, LoopLag, buckets_of, lag_between

BOUNDS = (0.001, 0.005, 0.01)


def page(*seconds: float) -> str:
    registry = CollectorRegistry()
    histogram = Histogram(LOOP_LAG, "Late.", buckets=BOUNDS, registry=registry)
    for value in seconds:
        histogram.observe(value)
    return generate_latest(registry).decode()


def test_the_lag_of_the_window_is_what_was_counted_in_it() -> None:
    before = buckets_of(page(0.2, 0.2))
    after = buckets_of(page(0.2, 0.2, *[0.0005] * 98, 0.004, 0.008))
    assert lag_between(before, after) == LoopLag(count=100, p50_ms=1.0, p99_ms=5.0, p999_ms=10.0)


def test_what_is_above_the_last_bound_is_nobodys_guess() -> None:
    found = lag_between(buckets_of(page()), buckets_of(page(0.2)))
    assert found == LoopLag(count=1, p50_ms=None, p99_ms=None, p999_ms=None)


def test_a_server_that_tells_nothing_has_no_lag() -> None:
    for text in ("", "<html>no</html>", "# HELP x y\n# TYPE x counter\nx_total 1\n"):
        assert buckets_of(text) == {}
    assert lag_between({}, {}) is None
    assert lag_between(buckets_of(page()), buckets_of(page())) is None


def test_the_name_is_that_of_our_own_metric() -> None:
    assert buckets_of(generate_latest(metrics.REGISTRY).decode())
