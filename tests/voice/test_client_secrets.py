from voice.client_secrets import ClientSecrets

SETTINGS = {"instructions": "Speak slowly."}


def test_a_secret_is_good_until_it_expires_and_as_often_as_one_likes() -> None:
    kept = ClientSecrets()
    assert kept.keep("ek_one", SETTINGS, 600, now=100) == 0
    for now in (100, 300, 699.9):
        found = kept.find("ek_one", now)
        assert found is not None and found.settings == SETTINGS
    assert kept.find("ek_one", 700) is None


def test_no_other_word_is_one() -> None:
    kept = ClientSecrets()
    kept.keep("ek_one", SETTINGS, 600, now=0)
    kept.keep("one", SETTINGS, 600, now=0)
    for word in ("", "ek_", "ek_two", "ek_one ", "EK_ONE", "one", "ek_\ud800"):
        assert kept.find(word, 1) is None


def test_their_number_is_bounded_and_room_comes_when_the_first_expires() -> None:
    kept = ClientSecrets(most=3)
    for number in range(3):
        assert kept.keep(f"ek_{number}", {}, 60 + number, now=0) == 0
    assert kept.keep("ek_more", {}, 60, now=10) == 50
    assert kept.find("ek_more", 10) is None and kept.find("ek_0", 10) is not None
    assert kept.keep("ek_more", {}, 60, now=60) == 0
    assert len(kept) == 3


def test_none_is_kept_in_clear() -> None:
    kept = ClientSecrets()
    kept.keep("ek_visible", SETTINGS, 60, now=0)
    assert "visible" not in repr(vars(kept))
