"""When sound has gone on without a word for too long, and when it is the same one again."""

from voice.drone import SAME_SOUND_MS, WORDLESS_S, Drone
from voice.endpoint import samples

LONG = samples(WORDLESS_S * 1000)
HELLO, SECOND = 9000, 20_000


def begun() -> Drone:
    drone = Drone()
    drone.begin(1000, 1.0)
    return drone


def test_it_is_wordless_so_long_behind_its_beginning_or_its_newest_word() -> None:
    drone = begun()
    assert not drone.is_wordless_at(1000 + LONG - 1, 9.0)
    assert drone.is_wordless_at(1000 + LONG, 1.0 + WORDLESS_S)
    drone.hear("hello", HELLO, 2.0)
    assert not drone.is_wordless_at(HELLO + LONG - 1, 9.0)
    assert drone.is_wordless_at(HELLO + LONG, 2.0 + WORDLESS_S)


def test_what_comes_faster_than_it_is_spoken_is_given_the_same_time() -> None:
    drone = begun()
    assert not drone.is_wordless_at(1000 + 10 * LONG, 2.0)
    assert drone.is_wordless_at(1000 + 10 * LONG, 1.0 + WORDLESS_S)


def test_so_is_a_recogniser_that_hears_it_anew() -> None:
    drone = begun()
    drone.wait(4.0)
    assert not drone.is_wordless_at(1000 + LONG, 1.0 + WORDLESS_S)
    assert drone.is_wordless_at(1000 + LONG + samples(4000), 5.0 + WORDLESS_S)


def test_the_same_words_written_otherwise_are_no_news() -> None:
    drone = begun()
    drone.hear("what are you", HELLO, 2.0)
    drone.asked = True
    drone.hear("What are you?", SECOND, 3.0)
    assert drone.news == HELLO and drone.asked
    drone.hear("What are your", SECOND, 3.0)
    assert drone.news == SECOND and not drone.asked


def test_what_begins_soon_behind_it_is_the_same_sound_going_on() -> None:
    drone, soon = begun(), samples(SAME_SOUND_MS)
    assert not drone.is_found_at(0)
    drone.found(50_000)
    assert drone.is_found_at(50_000) and drone.is_found_at(50_000 + soon - 1)
    assert not drone.is_found_at(49_999) and not drone.is_found_at(50_000 + soon)
