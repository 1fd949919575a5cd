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

import os

# Before numpy is loaded: waking a pool of threads for the matrix of one audio frame takes 16 ms,
# the product itself half of one.
for _library in ("OPENBLAS", "OMP", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
