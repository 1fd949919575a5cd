"""Subword units: byte pair encoding over words, kept as sherpa-onnx's `tokens.txt`.

▁ means "a word begins"; numbers are in the order of learning, the blank is last
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

BLANK = "<blk>"
LETTERS = "abcdefghijklmnopqrstuvwxyz'"
START = "▁"


def learn(lines: Iterable[str], count: int) -> list[str]:
    """`count` pieces: every letter within and at the start of a word, then the commonest pairs.

    Source: Sennrich et al., Neural Machine Translation of Rare Words with Subword Units, 2016.
    """
    counts = Counter(word for line in lines for word in line.split())
    pieces = [*LETTERS, *(START + letter for letter in LETTERS)]
    split = {word: [START + word[0], *word[1:]] for word in counts}
    while len(pieces) < count:
        pairs: Counter[str] = Counter()
        for word, parts in split.items():
            for left, right in zip(parts, parts[1:], strict=False):
                pairs[left + right] += counts[word]
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        pieces.append(best)
        split = {word: _join(parts, best) for word, parts in split.items()}
    return pieces


class Pieces:
    """Text to numbers and back. `blank` is the number after the last piece."""

    def __init__(self, pieces: list[str]) -> None:
        self.pieces = pieces
        self.blank = len(pieces)
        self._number = {piece: number for number, piece in enumerate(pieces)}
        self._of_word = cache(self._split)

    @classmethod
    def read(cls, path: Path) -> "Pieces":
        lines = path.read_text("utf-8").splitlines()
        return cls([line.split()[0] for line in lines if not line.startswith(BLANK)])

    def write(self, path: Path) -> None:
        lines = [f"{piece} {number}" for number, piece in enumerate([*self.pieces, BLANK])]
        path.write_text("\n".join(lines) + "\n", "utf-8")

    def encode(self, text: str) -> list[int]:
        return [number for word in text.split() for number in self._of_word(word)]

    def decode(self, numbers: Iterable[int]) -> str:
        return "".join(self.pieces[number] for number in numbers).replace(START, " ").strip()

    def _split(self, word: str) -> list[int]:
        parts = [START + word[0], *word[1:]]
        while True:
            pairs = [left + right for left, right in zip(parts, parts[1:], strict=False)]
            known = [self._number[pair] for pair in pairs if pair in self._number]
            if not known:
                return [self._number[part] for part in parts]
            parts = _join(parts, self.pieces[min(known)])


def _join(parts: list[str], whole: str) -> list[str]:
    joined: list[str] = []
    for part in parts:
        if joined and joined[-1] + part == whole:
            joined[-1] = whole
        else:
            joined.append(part)
    return joined
