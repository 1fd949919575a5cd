"""Three plots as inline SVG: distributions, values over time, bars of percentiles.

Colours come from the page's style sheet (`.s0` … `.s5` for series) and follow light and dark.
"""

import math
from collections.abc import Sequence
from html import escape

import msgspec

WIDTH, HEIGHT = 460.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 48.0, 12.0, 10.0, 34.0
SERIES_COLOURS = 6
_STEPS_OF_A_CURVE = 200
"""Points a curve is drawn with at most; more cannot be seen and make the page heavy."""


class Series(msgspec.Struct, frozen=True):
    """One line, cloud or group of bars."""

    name: str
    values: tuple[float, ...]
    at: tuple[float, ...] = ()
    """Positions on the x axis, where the values are drawn over something."""


class _Axes(msgspec.Struct, frozen=True):
    """From values to places in the picture."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
        across = (x - self.x[0]) / (self.x[1] - self.x[0]) * width
        up = (y - self.y[0]) / (self.y[1] - self.y[0]) * height
        return round(_LEFT + across, 1), round(HEIGHT - _BOTTOM - up, 1)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that enclose `low` and `high`."""
    if high <= low:
        high = low + 1
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 10) for n in range(first, last + 1)]


def ecdf(series: Sequence[Series], label: str) -> str:
    """Share of values at or below x."""
    values = [value for one in series for value in one.values]
    if not values:
        return ""
    x_ticks = ticks(min(values), max(values))
    axes = _Axes((x_ticks[0], x_ticks[-1]), (0.0, 1.0))
    body = [_grid(axes, x_ticks, [0.0, 0.25, 0.5, 0.75, 0.95], "ms", percent=True)]
    for number, one in enumerate(series):
        ordered = sorted(one.values)
        path: list[str] = []
        drawn = 0.0
        for rank in _ranks(len(ordered)):
            x, y = axes.at(ordered[rank], drawn)
            drawn = (rank + 1) / len(ordered)
            path.append(f"{'L' if path else 'M'}{x},{y}V{axes.at(ordered[rank], drawn)[1]}")
        end_x, _ = axes.at(x_ticks[-1], 1.0)
        body.append(
            f'<path class="line s{number % SERIES_COLOURS}" d="{"".join(path)}H{end_x}">'
            f"<title>{escape(one.name)}: {len(ordered)} values</title></path>"
        )
    return _picture(body, f"{label}: share of turns at or below")


def _ranks(count: int) -> list[int]:
    """Ranks a curve is drawn through; the highest ones all, since the tail is what matters."""
    if count <= _STEPS_OF_A_CURVE:
        return list(range(count))
    spread = {round(n * (count - 1) / _STEPS_OF_A_CURVE) for n in range(_STEPS_OF_A_CURVE + 1)}
    return sorted(spread | set(range(count - 20, count)))


def scatter(series: Sequence[Series], label: str, x_label: str) -> str:
    """Every value where it happened."""
    values = [value for one in series for value in one.values]
    if not values:
        return ""
    positions = [at for one in series for at in one.at]
    x_ticks, y_ticks = ticks(0.0, max(positions)), ticks(min(0.0, *values, 0.0), max(values))
    axes = _Axes((x_ticks[0], x_ticks[-1]), (y_ticks[0], y_ticks[-1]))
    body = [_grid(axes, x_ticks, y_ticks, x_label)]
    for number, one in enumerate(series):
        dots = []
        for at, value in zip(one.at, one.values, strict=True):
            x, y = axes.at(at, value)
            dots.append(
                f'<circle cx="{x}" cy="{y}" r="2"><title>{escape(one.name)}: {value:g} ms at '
                f"{at:g} s</title></circle>"
            )
        body.append(f'<g class="dots s{number % SERIES_COLOURS}">{"".join(dots)}</g>')
    return _picture(body, f"{label} over time")


def bars(groups: Sequence[tuple[str, Sequence[Series]]], label: str) -> str:
    """Groups side by side, each with one bar for each series (one value each)."""
    values = [value for _, series in groups for one in series for value in one.values]
    if not values:
        return ""
    y_ticks = ticks(min(0.0, *values, 0.0), max(0.0, *values))
    axes = _Axes((0.0, float(len(groups))), (y_ticks[0], y_ticks[-1]))
    body = [_grid(axes, [], y_ticks, "callers")]
    for place, (group, series) in enumerate(groups):
        room = 0.8 / max(len(series), 1)
        for number, one in enumerate(series):
            left, top = axes.at(place + 0.1 + number * room, max(one.values[0], 0.0))
            right, bottom = axes.at(place + 0.1 + (number + 0.9) * room, min(one.values[0], 0.0))
            body.append(
                f'<rect class="bar s{number % SERIES_COLOURS}" x="{left}" y="{top}" '
                f'width="{right - left:.1f}" height="{max(bottom - top, 0.5):.1f}">'
                f"<title>{escape(group)}, {escape(one.name)}: {one.values[0]:g} ms</title></rect>"
            )
        x, y = axes.at(place + 0.5, y_ticks[0])
        body.append(f'<text x="{x}" y="{y + 14}" text-anchor="middle">{escape(group)}</text>')
    return _picture(body, f"{label}: percentiles by number of callers")


def _grid(
    axes: _Axes,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_label: str,
    *,
    percent: bool = False,
) -> str:
    parts = []
    for value in y_ticks:
        x, y = axes.at(axes.x[0], value)
        text = f"{value:.0%}" if percent else f"{value:g}"
        parts.append(f'<line class="grid" x1="{x}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{x - 6}" y="{y + 4}" text-anchor="end">{text}</text>')
    for value in x_ticks:
        x, y = axes.at(value, axes.y[0])
        parts.append(f'<text x="{x}" y="{y + 14}" text-anchor="middle">{value:g}</text>')
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>'
    )
    return "".join(parts)


def _picture(body: Sequence[str], label: str) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(label)}">'
        f"{''.join(body)}</svg>"
    )
