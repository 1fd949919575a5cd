from voice.ids import Ids


def test_names_are_unique_and_say_what_they_name() -> None:
    ids = Ids("k3f9")
    made = [ids.new(kind) for kind in ("item", "resp", "item", "event", "item")]
    assert len(set(made)) == 5
    assert [name.split("_")[0] for name in made] == ["item", "resp", "item", "event", "item"]


def test_names_of_one_kind_sort_in_the_order_they_were_made() -> None:
    ids = Ids("k3f9")
    made = [ids.new("item") for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == 5000


def test_two_sessions_share_no_name() -> None:
    assert Ids("a").new("item") != Ids("b").new("item")


def test_a_replayed_call_gets_the_same_names() -> None:
    one, two = Ids("seed"), Ids("seed")
    assert [one.new("resp") for _ in range(3)] == [two.new("resp") for _ in range(3)]


def test_names_fit_the_limit_that_clients_ids_have() -> None:
    ids = Ids("0123456789")
    for _ in range(70_000):
        name = ids.new("item")
    assert len(name) <= 32
