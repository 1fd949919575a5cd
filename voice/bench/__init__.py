"""The latency benchmark: callers who speak in real time, measured from where they sit.

    config       what to measure, and with which known delays
    speech       what the callers say, cut into frames that are ready for the wire
    schedule     which calls come when, how many turns they have and how they end         (pure)
    turns        one caller as a machine: told facts and the time, answers what to do     (pure)
                 · turn, wire_events, player: its values
    figures      times of one turn to milliseconds · distribution: many to p50 … p99.9, max (pure)
    caller       the machine on a socket, on an absolute schedule · messages: what it sends
    generator    all callers of one process · worker: that process, task: what it is told and tells
                 · workers: all of them, from outside
    server       the servers under test: start them, ask for their known delays
    weight       their CPU and memory · scrape: how late their loops were
    step         one number of callers
    knocking     those who find all lines busy, and what it costs the others
    draining     a server that is told to stop while everybody speaks
    ramp         more and more, until a step breaks its promises · slo: the promises
    run          the measured run: servers, steps, report
    report       the values of the report · html, plots, table: how it is shown
    compare      ratios of a run beside those of a committed baseline · check: the run for it
                 · calibration: what this machine's CPU is worth

It needs nothing of a server but the OpenAI Realtime GA events; `kaiwa.*` events are used where
they are offered.

How time is counted: a frame is *due* at the moment a microphone would have captured its last
sample, and every figure counts from due times, not from when the frame was really sent. So a late
generator cannot flatter the server; how late it was is measured too, and above 5 ms the report says
that its figures are not to be trusted.
"""
