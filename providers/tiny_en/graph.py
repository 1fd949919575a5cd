"""The decoding graph, HLG.fst: any of the vocabulary's words, in any order.

    start ──piece──▶ a tree of the words' pieces ──(a word's last piece)──▶ start

A word's cost is paid as soon as it is sure: where the tree branches, that of the commonest word
ahead. Labels are pieces plus one, as sherpa-onnx's decoder has them; it takes its text from them,
so that the graph needs no words to put out. Every state may be the last: sherpa-onnx shows nothing
new of an utterance until one is, and partial hypotheses would wait for the end of each word.

Other words, spelled by pieces at a cost, were tried: of 69 none was heard rightly, and by noise and
telephone more errors were made.
"""

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec

from providers.tiny_en.pieces import Pieces
from providers.tiny_en.sentences import read_grammar, sentences, words_of

START = 0
SAMPLED = 20_000
SEED = 4242
UNSEEN = 0.5


class Costs(msgspec.Struct, frozen=True):
    """Tuned on sentences that were neither trained on nor are tested with."""

    scale: float = 0.2
    """Of a word's negative log probability; of more, the network is overruled too often."""
    cut_word: float = 3.0
    """Of an utterance that ends within a word; with more, partial hypotheses come later."""


class _Graph:
    """States and arcs as the text format of OpenFst has them; the first state is the start."""

    def __init__(self, blank: int, cut_word: float) -> None:
        self.lines: list[str] = []
        self._blank = blank
        self._cut_word = cut_word
        self._states = 0
        self._waits(self._state(is_word=True))

    def _state(self, is_word: bool) -> int:
        self._states += 1
        self.lines.append(f"{self._states - 1} {0 if is_word else self._cut_word:.4f}")
        return self._states - 1

    def arc(self, start: int, end: int, piece: int, cost: float = 0.0) -> None:
        self.lines.append(f"{start} {end} {piece + 1} {piece + 1} {cost:.4f}")

    def free_arc(self, start: int, end: int, cost: float = 0.0) -> None:
        """Taken between two rows."""
        self.lines.append(f"{start} {end} 0 0 {cost:.4f}")

    def _waits(self, state: int) -> None:
        self.arc(state, state, self._blank)

    def emits(self, piece: int, is_word: bool) -> int:
        """A state that a piece leads to, and that may go on for several rows."""
        state = self._state(is_word)
        self.arc(state, state, piece)
        return state

    def rest(self, after: int, is_word: bool) -> int:
        """A state of blanks after a piece."""
        state = self._state(is_word)
        self.arc(after, state, self._blank)
        self._waits(state)
        return state


class _Node:
    """Of the tree of words by their pieces."""

    def __init__(self) -> None:
        self.next: dict[int, _Node] = {}
        self.word_cost = math.inf

    def add(self, pieces: list[int], cost: float) -> None:
        node = self
        for piece in pieces:
            node = node.next.setdefault(piece, _Node())
        node.word_cost = cost

    def least(self) -> float:
        """Cost of the commonest word from here on."""
        return min([self.word_cost, *(node.least() for node in self.next.values())])


def word_costs(lines: Iterable[str], words: Iterable[str]) -> dict[str, float]:
    """Negative log probabilities; a word that no line has counts as one said half a time."""
    counts = Counter(word for line in lines for word in line.split())
    smoothed = {word: max(counts[word], UNSEEN) for word in {*words, *counts}}
    total = sum(smoothed.values())
    return {word: -math.log(count / total) for word, count in sorted(smoothed.items())}


def vocabulary() -> dict[str, float]:
    """What the grammar has, and its trained kind of sentence; no held-out sentence is read."""
    return word_costs(sentences(SAMPLED, SEED), words_of(read_grammar()))


def describe(pieces: Pieces, words: dict[str, float], costs: Costs) -> str:
    """The graph in OpenFst's text format."""
    tree = _Node()
    for word, cost in words.items():
        tree.add(pieces.encode(word), costs.scale * cost)
    graph = _Graph(pieces.blank, costs.cut_word)
    for piece, node in tree.next.items():
        _add_node(graph, piece, node, [START], node.least())
    return "\n".join(graph.lines) + "\n"


def write(folder: Path, costs: Costs | None = None) -> None:
    """Makes HLG.fst of the folder's tokens.txt."""
    import kaldifst

    pieces = Pieces.read(folder / "tokens.txt")
    text = describe(pieces, vocabulary(), costs or Costs())
    kaldifst.compile(text, acceptor=False).write(str(folder / "HLG.fst"))


def _add_node(graph: _Graph, piece: int, node: _Node, before: list[int], owed: float) -> None:
    """`owed` is what the arcs from the states before have yet to pay, of all that is sure here."""
    is_word = node.word_cost < math.inf
    state = graph.emits(piece, is_word)
    for one in before:
        graph.arc(one, state, piece, owed)
    paid = node.least()
    if is_word:
        graph.free_arc(state, START, node.word_cost - paid)
    if node.next:
        rest = graph.rest(state, is_word)
        for follower, child in node.next.items():
            # The same piece twice running is one to CTC unless a blank parts them.
            then = [rest] if follower == piece else [state, rest]
            _add_node(graph, follower, child, then, child.least() - paid)
