"""Whether what comes in sounds like what is being played: our own voice in the caller's microphone.

    played    __/^^\\__/^\\____/^^^\\_        the answer, step by step, as the caller hears it
    heard     _____/^^\\__/^\\____/^^^\\_     the same shape, later and weaker: an echo
    heard     _____/^^\\__/^^^^^^^^^^^\\_     more than ours explains: somebody talks over it

Words alone do not tell: an echo is misheard, and loud sound without words is no less an echo. Both
sides are known as power in steps of 32 ms, VAD's chunks; at the lag where they fit best

    likeness = correlation of their levels in dB - share of the heard power that ours cannot explain

where ours, smeared by the room, explains up to three times what its gain makes of it, and the gain
is that of the quieter part of the loud steps, so that somebody who talks over it does not raise it.
A lag that was sure once is believed for the rest of the call: others then count less.

1 is an echo, 0 is somebody else; from 0.5 on it is taken for ours. Measured, of moments 0.45 s and
more into the sound: 10 to 17 % of echoes are missed, 4 % of callers taken for one at that moment.
(Flite's voices through simulated rooms: 10 to 380 ms late, 6 to 32 dB down, 0.15 to 0.7 s of
reverberation, some from a clipping loudspeaker, noise at -70 to -50 dBFS; human speech over them
and without them; Silero said when somebody sounds.)
"""

from collections import deque

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from providers.base import LISTEN_RATE_HZ, VAD_CHUNK_SAMPLES, VadFrame
from voice.playout import Playout

Floats = NDArray[np.float64]

STEP_MS = VAD_CHUNK_SAMPLES * 1000 // LISTEN_RATE_HZ
MOST_LAG = 13
"""Steps, 416 ms: the way to the loudspeaker and back, through the client's buffer and the room."""
WINDOW = 30
LEAST, LEAST_SOUND = 15, 12
"""Steps: with less than 480 ms, 384 of them in question, nothing can be said. A short "stop" in the
first moments of an answer looks like the answer's own beginning."""
BEFORE = 10
"""Steps in front of the sound in question: an echo begins when what is played does."""
JUDGE_EVERY = 8
"""Steps; a judgement takes as long as four VAD chunks."""
REVERB_S = 0.25
"""Of a furnished room: in so long sound falls by 60 dB."""
GAIN_SHARE = 0.35
SLACK = 3.0
"""5 dB: what the loudspeaker, the room and the steps' edges do to single steps."""
LOUD = 0.03
FLOOR = 1e-4
"""Of the loudest played step: -15 dB, from which on gains are told, and -40, below which all is
silence."""
FEWEST = 8
"""Steps in which something is played, for their levels to be compared."""
SURE = 0.7
STRANGE_LAG = 0.15
"""Less likeness where the lag is not the one known, give or take two steps."""

_FADING: Floats = np.power(10.0, -6 * STEP_MS / 1000 / REVERB_S * np.arange(8), dtype=np.float64)


class EchoEnergy:
    """One call's. Told of every judged chunk while an answer sounds, and for a while behind it."""

    def __init__(self) -> None:
        self._playout: Playout | None = None
        self._end = 0
        self._played_ms: deque[float] = deque(maxlen=WINDOW + MOST_LAG + 1)
        """Position in what is played, at the end of each step; where it stands, nothing is."""
        self._rms: deque[tuple[float, ...]] = deque(maxlen=WINDOW + MOST_LAG)
        self._lag: int | None = None
        self._judged_from = self._judged_at = 0
        self._likeness = 0.0

    def hear(self, frame: VadFrame, at: float, playout: Playout | None) -> None:
        """Args:
        at: Loop time at which the chunk's last sample was spoken.
        playout: The answer's that is being played; None: no more of it is.
        """
        if playout is not None and playout is not self._playout:
            self._playout = playout
            self._played_ms.clear()
            self._rms.clear()
            self._played_ms.append(0.0)
        if self._playout is not None:
            self._end = frame.end_sample
            last_ms = self._played_ms[-1]
            self._played_ms.append(last_ms if playout is None else playout.heard_ms(at))
            self._rms.append(frame.rms)

    def likeness(self, from_sample: int) -> float:
        """How much what was heard since `from_sample`, the last second at most, is like what was
        played; -1 to 1, and 0 where it is too little to say."""
        age = (self._end - self._judged_at) // VAD_CHUNK_SAMPLES
        sounding = (self._end - from_sample) // VAD_CHUNK_SAMPLES
        window = min(WINDOW, sounding + BEFORE, len(self._rms))
        if sounding < LEAST_SOUND or window < LEAST:
            return 0.0
        if from_sample != self._judged_from or age >= JUDGE_EVERY:
            self._judged_from, self._judged_at = from_sample, self._end
            self._likeness = self._compare(window)
        return self._likeness

    def _compare(self, window: int) -> float:
        played = self._played()
        if not played.any():
            return 0.0
        heard = np.square(self._rms).mean(axis=1)
        found, lag = _best(heard[-window:], played, heard.min(), self._lag)
        if found >= SURE:
            self._lag = lag
        return found

    def _played(self) -> Floats:
        """[WINDOW + MOST_LAG] Power of what was played while each step was heard, and nothing
        before the answer began."""
        assert self._playout is not None
        edges_ms = np.array(self._played_ms)
        pcm, from_ms, rate_hz = self._playout.trace()
        samples = np.frombuffer(pcm, "<i2").astype(np.float64)
        total = np.zeros(len(samples) + 1)
        np.cumsum(samples * samples, out=total[1:])
        places = np.clip((edges_ms - from_ms) * rate_hz / 1000, 0, len(samples))
        # A client's report may set the position back: then nothing is played for a step.
        power = np.maximum(np.diff(total[places.astype(np.intp)]), 0)
        played: Floats = np.zeros(WINDOW + MOST_LAG)
        played[len(played) - len(power) :] = np.convolve(power, _FADING)[: len(power)]
        return played


def _best(heard: Floats, played: Floats, noise: float, known: int | None) -> tuple[float, int]:
    """The greatest likeness, and its lag in steps."""
    at_most = played[-len(heard) - MOST_LAG :]
    loudest = float(at_most.max())
    ours = _lagged(at_most, len(heard))
    levels = _lagged(np.log(at_most + FLOOR * loudest + 1), len(heard))
    correlation = _correlation(np.log(heard + noise + 1), levels, ours > FLOOR * loudest)
    loud = ours > LOUD * loudest
    gains = np.where(loud, heard / (ours + 1), np.inf)
    gains.sort(axis=1)  # the steps that are not loud come last
    place = (GAIN_SHARE * np.maximum(loud.sum(axis=1) - 1, 0)).astype(np.intp)
    gain = gains[np.arange(len(gains)), place]
    gain[~np.isfinite(gain)] = 0
    strange = np.maximum(heard - 2 * noise - SLACK * gain[:, None] * ours, 0)
    likeness = correlation - strange.sum(axis=1) / max(float(heard.sum()), 1.0)
    if known is not None:
        likeness[np.abs(np.arange(len(likeness)) - known) > 2] -= STRANGE_LAG
    lag = int(likeness.argmax())
    return float(likeness[lag]), lag


def _lagged(steps: Floats, count: int) -> Floats:
    """[MOST_LAG + 1, count] The last `count` steps, and as many one step earlier, and so on."""
    return sliding_window_view(steps, count)[::-1]


def _correlation(heard: Floats, ours: Floats, counts: NDArray[np.bool_]) -> Floats:
    """Of one row with each of many, over the steps that count; 0 where those are few."""
    number = counts.sum(axis=1)
    many = np.maximum(number, 1)[:, None]
    one = (heard - (counts @ heard)[:, None] / many) * counts
    other = (ours - (ours * counts).sum(axis=1, keepdims=True) / many) * counts
    size = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1))
    result: Floats = np.where(number < FEWEST, 0, (one * other).sum(axis=1) / (size + 1e-9))
    return result
