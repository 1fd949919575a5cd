"""Whether the recognised words are the agent's own, come back through the caller's microphone.

The heard words are laid against every stretch of what is being said, at the least number of words
put in, left out or changed (Sellers 1980, bit-parallel after Myers 1999 and Hyyrö 2003). In
Chinese, Japanese and Korean each character counts as a word.

    spoken   we are open from nine until eight every day except sunday
    heard          open from mine until ate every                       1 of 6 wrong: echo
    heard    are you open on sunday                                     3 of 5 wrong: the caller
    heard          open from nine until stop                            "stop" is nobody's echo

An echo is garbled at its edges and in its sounds, not in its order. A caller who repeats the
agent's words to correct or to ask puts in a telling word: "no", "you", "what", a question's か.
"""

from voice.scripts import words

MOST_WRONG = 0.35
"""Share of the heard words. Measured on stretches of two to ten words of 42 sentences, with words
left out, put in and replaced by random ones: of those with 0, 10, 20 and 30 % wrong, 100, 88, 73
and 59 % are told as echoes; of 246 callers' questions against each sentence, none of 10,332."""
LONGEST_ECHO = 1.3
"""Times the spoken words: what is longer has something of its own."""
LEAST_LETTERS = 4
"""Words that are shorter must be equal: "no" is not "so"."""
NEAR = 0.7
"""Share of a word's letters that must agree at its two ends; "sunday" and "monday" share less."""
TELLING = frozenset(
    """
    no not stop wait hold sorry excuse actually but what when where who why how which can could
    i i'm i'd you your my me please don't yes hello pardon
    """.split()
)
TELLING_CHARACTERS = frozenset("吗嗎呢吧不别別停等待왜뭐잠")
ASKING = frozenset("か까吗嗎呢")
"""As the last character, behind one that it did not follow in what was said."""
MOST_SPOKEN = 80
"""Words, or characters where each one counts: more than anyone says in eight seconds."""
FEW_WORDS = 4
"""So few must all be right."""


def is_echo(text: str, spoken: str) -> bool:
    """Whether `text` is the agent's own speech.

    Args:
        text: What was recognised.
        spoken: What the agent has said in the last eight seconds or so, present clause included.
    """
    heard, said = words(text), words(spoken)[-MOST_SPOKEN:]
    if not heard or not said or len(heard) > LONGEST_ECHO * len(said) + 1:
        return False
    known = set(said)
    heard = _rejoined(heard, known)
    strange = [word for word in heard if word not in known]
    if any(word in TELLING or word in TELLING_CHARACTERS for word in strange):
        return False
    if heard[-1] in ASKING and "".join(heard[-2:]) not in "".join(said):
        return False
    # A word by itself is misheard for nothing: "nein" is not "neun".
    same = _resemblances(set(strange), known) if strange and len(heard) > 1 else {}
    allowed = int(len(heard) * MOST_WRONG) if len(heard) > FEW_WORDS else 0
    if len(strange) - len(same) > allowed or not _ends_alike(heard, known, same):
        return False
    return _least_errors([same.get(word, word) for word in heard], said) <= allowed


def _rejoined(heard: list[str], known: set[str]) -> list[str]:
    """With "on line" as the "online" that was said."""
    joined: list[str] = []
    for word in heard:
        may_join = joined and not (joined[-1] in known and word in known)
        if may_join and joined[-1] + word in known:
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _ends_alike(heard: list[str], known: set[str], same: dict[str, str]) -> bool:
    """Two strange words at the end are the caller's, who has begun to speak over the echo."""
    return any(word in known or word in same for word in heard[-2:])


def _resemblances(strange: set[str], known: set[str]) -> dict[str, str]:
    """Of misheard words, the word they stand for."""
    found = {}
    for word in strange:
        if len(word) < LEAST_LETTERS:
            continue
        for candidate in known:
            if abs(len(candidate) - len(word)) <= 2 and _is_near(word, candidate):
                found[word] = candidate
                break
    return found


def _is_near(word: str, other: str) -> bool:
    """Whether one garbled place in the middle or at an end is all that differs."""
    longest, shortest = max(len(word), len(other)), min(len(word), len(other))
    needed = NEAR * longest
    if shortest < needed or (word[0] != other[0] and word[-1] != other[-1]):
        return False
    front = 0
    while front < shortest and word[front] == other[front]:
        front += 1
    back = 0
    while back < shortest - front and word[-1 - back] == other[-1 - back]:
        back += 1
    return front + back >= needed


def _least_errors(heard: list[str], said: list[str]) -> int:
    """Edit distance of `heard` to the stretch of `said` that it is nearest to."""
    places: dict[str, int] = {}
    for at, word in enumerate(heard):
        places[word] = places.get(word, 0) | 1 << at
    every, last = (1 << len(heard)) - 1, 1 << len(heard) - 1
    plus, minus = every, 0
    errors = least = len(heard)
    for word in said:
        match = places.get(word, 0)
        zero = (((match & plus) + plus) ^ plus) | match | minus
        across_plus = minus | ~(zero | plus)
        across_minus = plus & zero
        if across_plus & last:
            errors += 1
        elif across_minus & last:
            errors -= 1
        least = min(least, errors)
        across_plus <<= 1
        across_minus <<= 1
        plus = (across_minus | ~(zero | across_plus)) & every
        minus = across_plus & zero & every
    return least
