"""The latency benchmark: callers who speak in real time, measured from where they sit.

    config    what to measure, and with which known delays
    speech    what the callers say, cut into frames that are ready for the wire
    turns     one caller as a machine: told facts and the time, answers with what to do     (pure)
    figures   times of one turn to milliseconds, many to p50/p95/p99/max                    (pure)
    caller    the machine on a socket, on an absolute schedule
    worker    one generator process full of callers · workers: all of them, from outside
    server    the server under test: start it, ask for its known delays
    weight    its CPU and memory
    run       the measured run: steps, workers, report
    report    the values of the report · html, plots, terminal: how it is shown

It needs nothing of a server but the OpenAI Realtime GA events; `kaiwa.*` events are used where
they are offered.

How time is counted: a frame is *due* at the moment a microphone would have captured its last
sample, and every figure counts from due times, not from when the frame was really sent. So a late
generator cannot flatter the server; how late it was is measured too, and above 5 ms the report says
that its figures are not to be trusted.
"""
