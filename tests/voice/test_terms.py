"""What a call is decided by where it is told nothing, and that each may change in mid-call."""

from voice.terms import Terms
from voice.turn_rules import TurnRules
from voice.words import NoWords


def test_without_rules_of_words_every_word_is_a_turns_and_the_silence_is_as_set() -> None:
    terms = Terms(TurnRules(silence_ms=700))
    assert terms.words.delay_ms("and", is_final=False) == 700
    assert not terms.words.is_backchannel("mm-hm") and not terms.words.is_echo("nine", "nine")


def test_without_what_is_played_nothing_sounds_like_our_own_voice_or_far_away() -> None:
    terms = Terms(TurnRules())
    assert terms.sound.likeness(0) < terms.rules.echo_likeness
    assert not terms.nearness.is_far(0, terms.rules.far_db)


def test_words_that_are_given_are_taken_though_they_know_nothing() -> None:
    words = NoWords(300)
    assert Terms(TurnRules(silence_ms=700), words).words is words
