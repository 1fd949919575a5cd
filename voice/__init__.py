"""The call: from the caller's microphone to the caller's ear.

    leaf    events errors config wire metrics audio
    core    speech turn endpoint hypothesis clauses playout conversation prompt response timeline
    driver  session reply
    edge    transports http bench
    root    cli server

The core is told facts and the time and answers with what to do; it never waits and never looks at
a clock. `docs/wire.md` says what a client sees of it.
"""
