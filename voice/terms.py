"""By what one call's turns are decided; each may be replaced at any time."""

from voice.nearness import Nearness
from voice.own_voice import NothingPlayed, OwnSound
from voice.turn_rules import TurnRules
from voice.words import NoWords, Words


class Terms:
    def __init__(
        self, rules: TurnRules, words: Words | None = None, sound: OwnSound | None = None
    ) -> None:
        """Args:
        words: Without any, every word is a turn's.
        sound: Without any, only words tell an echo.
        """
        self.rules = rules
        self.words: Words = words or NoWords(rules.silence_ms)
        self.sound: OwnSound = sound or NothingPlayed()
        self.nearness = Nearness()
