"""Conversations that do not go well yet, and what is found in each.

A strict list: an entry whose conversation goes well fails the suite, and so does one that goes
wrong without what is written here.
"""

from tests.conversations.findings import Kind

ADAPTIVE_ENDPOINT = {
    Kind.EARLY: """
        """,
    Kind.LATE: """
        """,
}
"""semantic_vad is a fixed silence."""

DUCK_AND_CONFIRM = {
    Kind.FALSE: """
        agreement while the model thinks
        agreement with a slow recogniser
        ko: agreement while the model thinks
        echo and agreement
        """,
    Kind.EXTRA: """
        echo where nobody may interrupt
        the last word comes back when the answer is over
        """,
}
"""Any 64 ms of sound cut the answer; what is heard back of it becomes a turn."""

AWAITED: dict[str, Kind] = {
    name.strip(): kind
    for feature in (ADAPTIVE_ENDPOINT, DUCK_AND_CONFIRM)
    for kind, names in feature.items()
    for name in names.strip().splitlines()
    if name.strip()
}
