"""What a server's own probe of its event loop saw, from its `/metrics`, where it has one."""

import aiohttp
import msgspec
from prometheus_client.parser import text_string_to_metric_families

from voice.bench.server import ASK_LIMIT_S, http_url

LOOP_LAG = "kaiwa_loop_lag_seconds"
SHARES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}

Buckets = dict[float, float]
"""Upper bound in seconds → how often the loop was at most that late. Cumulative."""


class LoopLag(msgspec.Struct, frozen=True, kw_only=True):
    """How late the server's loop came to its timers while the window was open.

    Upper bounds: of a histogram it is only known between which of its bounds a value lies. Infinite
    above the last one, which JSON cannot say: None.
    """

    count: int
    p50_ms: float | None
    p99_ms: float | None
    p999_ms: float | None


async def lag_buckets(urls: tuple[str, ...], api_key: str) -> Buckets:
    """Of all servers together; empty where one tells nothing."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    found: Buckets = {}
    try:
        timeout = aiohttp.ClientTimeout(total=ASK_LIMIT_S)
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
            for url in urls:
                async with session.get(http_url(url, "/metrics")) as response:
                    text = await response.text() if response.status == 200 else ""
                for bound, count in buckets_of(text).items():
                    found[bound] = found.get(bound, 0.0) + count
    except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError):
        return {}
    return found


def buckets_of(text: str) -> Buckets:
    """Of a page in Prometheus's text format; empty if it is none, or knows of no lag."""
    try:
        return {
            float(sample.labels["le"]): sample.value
            for family in text_string_to_metric_families(text)
            if family.name == LOOP_LAG
            for sample in family.samples
            if sample.name.endswith("_bucket")
        }
    except (ValueError, KeyError):
        return {}


def lag_between(before: Buckets, after: Buckets) -> LoopLag | None:
    """What was counted from one look to the other."""
    grown = {bound: count - before.get(bound, 0.0) for bound, count in sorted(after.items())}
    total = max(grown.values(), default=0.0)
    if not before or total <= 0:
        return None
    bounds: dict[str, float | None] = {}
    for name, share in SHARES.items():
        bound = next(bound for bound, count in grown.items() if count >= share * total)
        bounds[name] = None if bound == float("inf") else bound * 1000
    return LoopLag(count=round(total), **bounds)
