"""Every metric: name, unit, buckets, meaning. Labels are bounded; no ids, no words."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from providers.base import ProviderError
from voice.speculation import HitRate
from voice.timeline import Percentiles, Summary, TurnRecord

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

_LATENCY_S = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)

PARTIAL = Histogram(
    "kaiwa_partial_seconds",
    "Start of speech to the first partial hypothesis.",
    buckets=_LATENCY_S,
    registry=REGISTRY,
)
FINAL = Histogram(
    "kaiwa_final_seconds",
    "End of speech to the final hypothesis.",
    buckets=_LATENCY_S,
    registry=REGISTRY,
)
TTS_START = Histogram(
    "kaiwa_tts_start_seconds",
    "End of speech to the first audio of the answer handed to the transport.",
    buckets=_LATENCY_S,
    registry=REGISTRY,
)
SPAN = Histogram(
    "kaiwa_span_seconds",
    "A turn's time, by stage; the stages of one turn sum to its total.",
    ["stage"],
    buckets=(0.001, 0.002, 0.005, 0.01, *_LATENCY_S),
    registry=REGISTRY,
)
TURNS = Counter("kaiwa_turns_total", "Turns, by how they ended.", ["outcome"], registry=REGISTRY)
SESSIONS = Gauge("kaiwa_sessions", "Calls that are open.", registry=REGISTRY)
REFUSED = Counter(
    "kaiwa_refused_total", "Connections refused before the upgrade.", ["why"], registry=REGISTRY
)
FALLBACKS = Counter(
    "kaiwa_fallbacks_total",
    "Requests that another provider served, or that went on without one (to: none).",
    ["slot", "provider", "to"],
    registry=REGISTRY,
)
PROVIDER_ERRORS = Counter(
    "kaiwa_provider_errors_total",
    "Failures of providers.",
    ["slot", "provider", "fault"],
    registry=REGISTRY,
)
CLIENT_ERRORS = Counter(
    "kaiwa_client_errors_total", "Error events sent to clients.", ["code"], registry=REGISTRY
)
BARGE_INS = Counter(
    "kaiwa_barge_ins_total",
    "Speech over an answer, by what it was: turn, backchannel, echo, far, or nothing in words.",
    ["was"],
    registry=REGISTRY,
)
TURN_OPINIONS = Counter(
    "kaiwa_turn_opinions_total",
    "Pauses that the turn model was asked about, and its opinions by what they were: complete, "
    "incomplete, or late. What is asked and never answered was too much for it.",
    ["was"],
    registry=REGISTRY,
)
UNDERRUNS = Counter(
    "kaiwa_underruns_total",
    "Times an answer's sound ran dry before its end, by the server's estimate.",
    registry=REGISTRY,
)
LOOP_LAG = Histogram(
    "kaiwa_loop_lag_seconds",
    "How late the event loop came to a timer.",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5),
    registry=REGISTRY,
)
LOAD_LAG = Gauge(
    "kaiwa_load_lag_seconds",
    "How late the event loop usually came in the last second.",
    registry=REGISTRY,
)
LOAD_LEVEL = Gauge(
    "kaiwa_load_level",
    "What is left out: 0 nothing, 1 partials, 2 speculation, 3 small frames, 4 further calls.",
    registry=REGISTRY,
)
TASKS = Gauge("kaiwa_tasks", "Tasks of the event loop.", registry=REGISTRY)
PEERS = Gauge("kaiwa_webrtc_peers", "WebRTC calls that are connected.", registry=REGISTRY)
MEDIA_PACKETS_WAS = ("received", "lost", "late", "recovered")
MEDIA_PACKETS = Counter(
    "kaiwa_media_packets_total",
    "Callers' audio packets (WebRTC), by what became of them: received, lost, late (of the lost), "
    "recovered (of the lost: from the packet behind).",
    ["was"],
    registry=REGISTRY,
)
DROPPED_CLIENTS = Counter(
    "kaiwa_dropped_clients_total", "Clients that stopped reading.", registry=REGISTRY
)
PHONE_FRAMES = Counter(
    "kaiwa_phone_frames_total",
    "Frames of telephone providers that were no use: late (or twice), garbled, late_mark.",
    ["carrier", "was"],
    registry=REGISTRY,
)
PHONE_MISSING = Counter(
    "kaiwa_phone_missing_seconds_total",
    "Callers' sound that never came, filled with silence.",
    ["carrier"],
    registry=REGISTRY,
)
WEBRTC_CALLS = Gauge(
    "kaiwa_webrtc_calls", "Calls over WebRTC, connected or not yet.", registry=REGISTRY
)
WEBRTC_OFFERS = Counter(
    "kaiwa_webrtc_offers_total",
    "Offers of WebRTC calls, by what became of them: answered, and of those: abandoned.",
    ["outcome"],
    registry=REGISTRY,
)
SPECULATIONS = Counter(
    "kaiwa_speculations_total",
    "Answers begun before the turn was over, by what became of them.",
    ["outcome"],
    registry=REGISTRY,
)
SPECULATIONS_LEFT_OUT = Counter(
    "kaiwa_speculations_left_out_total",
    "Answers that were not begun early, by what spoke against it.",
    ["why"],
    registry=REGISTRY,
)
SPECULATION_LEAD = Histogram(
    "kaiwa_speculation_lead_seconds",
    "Time saved by an answer that was begun early and adopted.",
    buckets=_LATENCY_S,
    registry=REGISTRY,
)
SPECULATION_HIT_RATE = Gauge(
    "kaiwa_speculation_hit_rate",
    "Share of the last 50 early answers, made or only noted, that were the ones asked for.",
    registry=REGISTRY,
)
WASTED_TOKENS = Counter(
    "kaiwa_speculation_wasted_tokens_total",
    "Tokens of early answers that were thrown away; estimated where the server did not count.",
    ["kind", "how"],
    registry=REGISTRY,
)


def count_failure(error: ProviderError) -> None:
    labels = (error.slot.value, error.provider, error.fault.value)
    PROVIDER_ERRORS.labels(*labels).inc()


class Figures:
    """The three figures of the latest turns, for /api/performance."""

    def __init__(self, speculation: HitRate | None = None) -> None:
        self.turns = 0
        self.speculation = speculation or HitRate()
        self._latest = {name: Percentiles() for name in ("partial", "final", "tts_start")}

    def record(self, record: TurnRecord, now: float) -> None:
        """Counts a closed turn, here and in the metrics above."""
        self.turns += 1
        TURNS.labels(record.outcome.value).inc()
        for span in record.spans:
            SPAN.labels(span.name.value).observe(span.ms / 1000)
        for name, histogram, ms in (
            ("partial", PARTIAL, record.partial_ms),
            ("final", FINAL, record.final_ms),
            ("tts_start", TTS_START, record.tts_start_ms),
        ):
            if ms is not None:
                histogram.observe(ms / 1000)
                self._latest[name].add(ms, now)

    def summary(self, now: float, window_s: float | None) -> dict[str, Summary]:
        return {name: values.summary(now, window_s) for name, values in self._latest.items()}
