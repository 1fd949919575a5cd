"""The call: from the caller's microphone to the caller's ear.

    leaf    errors events ids phrases wire settings config metrics
    core    audio resample speech endpoint turn hypothesis plaintext clauses playout
            conversation prompt requests response timeline security
    driver  ear utterances reply answer answers record session
    edge    transports health desk http logs bench
    root    build server cli *_command

The core is told facts and the time and answers with what to do; it never waits and never looks at
a clock. `docs/wire.md` says what a client sees of it.
"""
