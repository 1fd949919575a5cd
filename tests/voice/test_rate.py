from voice.rate import Rate


def test_so_many_go_through_in_any_minute_and_no_more() -> None:
    rate = Rate(window_s=60)
    assert [rate.refuses("a", 3, now) for now in (0, 10, 20)] == [0, 0, 0]
    assert rate.refuses("a", 3, 30) == 30, "until the first is a minute ago"
    assert rate.refuses("a", 3, 60) == 0
    assert rate.refuses("a", 3, 60) == 10, "until the second is"


def test_what_is_refused_does_not_count() -> None:
    rate = Rate(window_s=60)
    rate.refuses("a", 1, 0)
    assert all(rate.refuses("a", 1, now) for now in range(1, 60))
    assert rate.refuses("a", 1, 60) == 0


def test_each_name_counts_for_itself() -> None:
    rate = Rate(window_s=60)
    assert rate.refuses("a", 1, 0) == 0
    assert rate.refuses("b", 1, 0) == 0
    assert rate.refuses("a", 1, 1) > 0


def test_names_are_bounded_and_whoever_comes_now_is_known() -> None:
    rate = Rate(window_s=60, names=10)
    for number in range(1000):
        rate.refuses(str(number), 1, 0)
    assert len(rate._times) == 10
    assert rate.refuses("999", 1, 1) > 0
