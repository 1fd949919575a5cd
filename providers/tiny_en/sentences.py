"""Sentences from `grammar.txt`: the same ones for the same seed.

{price} ─▶ how much is {thing} ─▶ how much is a (small|large) {..} ─▶ how much is a large coffee
"""

import random
import re
from pathlib import Path
from zlib import crc32

GRAMMAR = Path(__file__).with_name("grammar.txt")
SPOKEN_BY_HAND = Path(__file__).with_name("held_out.txt")
OF_OTHER_WORDS = Path(__file__).with_name("other_words.txt")
HELD_OUT_OF = 20
"""One sentence in so many is never trained on, whoever speaks it; chosen by its letters."""
LONGEST_WORDS = 14

_SLOT = re.compile(r"\{(\w+)\}")
_SLOT_AND_ENDING = re.compile(_SLOT.pattern + r"\w*")
_INNERMOST = re.compile(r"\(([^()\[\]]*)\)|\[([^()\[\]]*)\]")
_WEIGHT = re.compile(r"(\d+)\*")

Grammar = dict[str, tuple[list[str], list[int]]]


def read_grammar(path: Path = GRAMMAR) -> Grammar:
    """Choices and their weights, by the name of their list.

    Raises:
        ValueError: If a line uses a list that is not there.
    """
    grammar: Grammar = {}
    for line in path.read_text("utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("@"):
            choices, weights = grammar.setdefault(line[1:].strip(), ([], []))
            continue
        weight = _WEIGHT.match(line)
        choices.append(line[weight.end() :] if weight else line)
        weights.append(int(weight[1]) if weight else 1)
    for name, (choices, _) in grammar.items():
        for used in _SLOT.findall(" ".join(choices)):
            if used not in grammar:
                raise ValueError(f"{path.name}: @{name} uses {{{used}}}, which is not there")
    return grammar


def expand(grammar: Grammar, name: str, rng: random.Random) -> str:
    choices, weights = grammar[name]
    text = rng.choices(choices, weights)[0]

    def choose(found: re.Match[str]) -> str:
        is_needed = found[1] is not None
        options: list[str] = found[1 if is_needed else 2].split("|")
        return rng.choice(options) if is_needed or rng.random() < 0.5 else ""

    while (simpler := _INNERMOST.sub(choose, text)) != text:
        text = simpler
    text = _SLOT.sub(lambda slot: expand(grammar, slot[1], rng), text)
    return " ".join(text.split())


def words_of(grammar: Grammar) -> list[str]:
    """Every word that is written in it, sorted; not those that an ending makes, as of {noun}s."""
    text = " ".join(" ".join(choices) for choices, _ in grammar.values())
    return sorted(set(re.findall(r"[a-z][a-z']*", _SLOT_AND_ENDING.sub(" ", text))))


def is_held_out(sentence: str) -> bool:
    return crc32(sentence.encode()) % HELD_OUT_OF == 0


def hand_written() -> list[str]:
    """Sentences no template made, never trained on."""
    return _lines(SPOKEN_BY_HAND)


def of_other_words() -> list[str]:
    """Sentences with a word or more that no training had."""
    return _lines(OF_OTHER_WORDS)


def _lines(path: Path) -> list[str]:
    lines = path.read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def sentences(count: int, seed: int, held_out: bool = False) -> list[str]:
    """`count` different sentences, of the trained or of the held-out kind."""
    grammar = read_grammar()
    rng = random.Random(seed)
    banned = set(hand_written())
    found: dict[str, None] = {}
    while len(found) < count:
        sentence = expand(grammar, "sentence", rng)
        if len(sentence.split()) > LONGEST_WORDS or sentence in banned:
            continue
        if is_held_out(sentence) == held_out:
            found[sentence] = None
    return list(found)
