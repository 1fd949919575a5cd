"""The steps of the completeness score, and tables of endings that map onto them.

0     DICTATED  a number wants more:    "my number is five five five"
0.05  DANGLING  the grammar wants more:  "a table for"   "土曜日に"   "그리고"   "因为"
0.1   FILLER    still thinking:          "um"            "えっと"     "음"       "嗯"
0.2   OPEN      most go on from here:    "if i come on saturday"   "行くので"   "如果下雨的话"
0.4   SOFT      some stop here:          "予約したいんですけど"   "예약하고 싶은데요"
0.5   UNSURE    nothing is known
0.7   CLAUSE    could be all of it:      "a table for two"
0.9   FINAL     the language says so:    "ですか"   "습니다"   "吗"   "what do you mean"
"""

DICTATED = 0.0
"""The pauses between its groups are the longest there are within a turn."""
DANGLING = 0.05
FILLER = 0.1
OPEN = 0.2
SOFT = 0.4
UNSURE = 0.5
CLAUSE = 0.7
FINAL = 0.9

LONGEST_ENDING = 20
"""Characters; an ending in a table may not be longer."""


def endings(groups: dict[float, str], *, of_words: bool) -> dict[str, float]:
    """The table for `ending`.

    Args:
        groups: For each score its endings: a line holds several, parted by "," where they are
            whole words (`of_words`), else by a blank.
        of_words: Whether an ending begins where a word does. Within other tables, one that begins
            with "_" does.
    """
    found: dict[str, float] = {}
    for score, lines in groups.items():
        items = lines.replace("\n", ",").split(",") if of_words else lines.split()
        for item in filter(None, map(str.strip, items)):
            ending = f" {item}" if of_words else item.replace("_", " ")
            if len(ending) > LONGEST_ENDING or found.setdefault(ending, score) != score:
                raise ValueError(f"ending {ending!r} is too long or has two scores")
    return found


def ending(text: str, table: dict[str, float]) -> tuple[str, float] | None:
    """The longest of the table's endings that `text` has, and its score."""
    tail = f" {text[-LONGEST_ENDING:]}" if len(text) < LONGEST_ENDING else text[-LONGEST_ENDING:]
    for start in range(len(tail)):
        score = table.get(tail[start:])
        if score is not None:
            return tail[start:], score
    return None
