"""Conversations that do not go well yet, and what is found in each.

A strict list: an entry whose conversation goes well fails the suite, and so does one that goes
wrong without what is written here.
"""

from tests.conversations.findings import Kind

ADAPTIVE_ENDPOINT = {
    Kind.EARLY: """
        a thought in mid-sentence
        a conjunction left open
        a filler says that more will come
        a slow thinker and a patient agent
        ja: a sentence left open by its te-form
        ja: a particle at the end
        ja: a filler in the middle
        ko: a connective ending
        ko: an object without its verb
        zh: a reason without its end
        zh: thinking of the date
        a telephone number in three groups
        digits written as digits
        a card number with a patient agent
        a name that is spelled
        an address in pieces
        ja: a telephone number
        ja: a reservation number written in digits
        ko: a telephone number
        ja: a name by its characters
        ko: a name behind a thought
        zh: a telephone number
        the last word is late, and it changes everything
        a caller who pauses, and is got used to
        ja: a caller who pauses, and is got used to
        """,
    Kind.LATE: """
        yes
        no
        ja: hai
        ko: ne, as an answer
        zh: dui, as an answer
        """,
}
"""semantic_vad is a fixed silence."""

DUCK_AND_CONFIRM = {
    Kind.FALSE: """
        mm-hm
        three of them in one answer
        a drawn-out agreement
        agreement while the model thinks
        agreement with a slow recogniser
        agreement whose final is lost
        agreement, and later a question
        ja: un
        ja: naruhodo
        ja: sou desu ne, and no language was set
        ja: un, and after a breath a question
        ko: ne
        ko: geureokunyo
        ko: agreement while the model thinks
        zh: en
        zh: dui, hao de
        zh: agreement as the answer begins
        a cough over the answer
        a cough as the answer begins
        a cough while the model thinks
        a cough, and the client goes quiet in the middle of it
        zh: a cough and then a word
        ko: a cough over the answer
        a loud speakerphone
        a quiet rest of it
        misheard echo
        echo and a slow recogniser
        echo in answer after answer
        the last word comes back when the answer is over
        stop, over the echo
        the caller repeats what the agent said
        echo and agreement
        ja: a loud speakerphone
        ja: misheard echo
        ja: yamete, over the echo
        ko: a loud speakerphone
        zh: a quiet rest of it
        ko: misheard echo
        zh: stop, over the echo
        """,
    Kind.EXTRA: """
        echo where nobody may interrupt
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
