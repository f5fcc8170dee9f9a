"""Plain drawings of charts as SVG, for where Vega is not: no script, no library.

They stand in a notebook's output, in `report.md`, and in `report.html` without the extra
`report`. The colours follow those of the text around them.
"""

from __future__ import annotations

import math
import sys
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from .page import Chart

# The first are DVC's own (dvc_render.vega.OPTIONAL_ANCHOR_RANGES).
COLORS = ("#945dd6", "#13adc7", "#f46837", "#48bb78", "#4299e1", "#ed8936", "#f56565")
_WIDTH, _HEIGHT = 420, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 12, 10, 36
_BARS = 40
_CELLS = 40
_READABLE = 14
_DIGIT = 6.5  # as wide as one is, with a little air


def line_chart(chart: Chart, *, alone: bool = False) -> str:
    """The drawing; empty where the chart holds nothing to draw.

    `alone` makes a file of its own: named, and on a background that suits its colours.
    """
    if chart.counts is not None or _of_words(chart):
        body = "".join(_matrix(chart))
    elif chart.template.startswith("bar"):
        body = "".join(_bars(chart))
    else:
        body = "".join(_lines(chart))
    if not body:
        return ""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="11" role="img" '
    )
    if not alone:
        return f'{head} width="{_WIDTH}" style="max-width:100%" fill="currentColor">{body}</svg>'
    # A name with half a surrogate pair (a file name that is no UTF-8) is no text for a file.
    body = body.encode("utf-8", "replace").decode("utf-8")
    return (
        f'{head} width="{_WIDTH}" height="{_HEIGHT}" color="#5b6472" fill="#5b6472">'
        f"<title>{escape(chart.title.encode('utf-8', 'replace').decode())}</title>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>{body}</svg>\n'
    )


def _numbers(values: Iterable[Any]) -> list[float | None]:
    return [_number(v) if isinstance(v, (int, float)) else None for v in values]


def _number(value: float) -> float | None:
    """The number, where it is one that can be drawn."""
    try:
        number = float(value)
    except OverflowError:  # a whole number of more than 308 digits
        return None
    return number if math.isfinite(number) else None


def _lines(chart: Chart) -> Iterator[str]:
    xs = _numbers(chart.columns[chart.x])
    columns = [_numbers(chart.columns[y]) for y in chart.ys]
    points = [
        [(x, y) if x is not None and y is not None else None for x, y in zip(xs, ys, strict=True)]
        for ys in columns
    ]
    found = [point for line in points for point in line if point is not None]
    if not found:
        return
    x_low, x_high = _span([x for x, _ in found])
    y_low, y_high = _span([y for _, y in found])

    across, up = _along(x_low, x_high), _along(y_low, y_high)

    def at(x: float, y: float) -> tuple[float, float]:
        return (
            _LEFT + across(x) * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up(y) * (_HEIGHT - _TOP - _BOTTOM),
        )

    for tick, label in _labelled(_ticks(y_low, y_high)):
        _, py = at(x_low, tick)
        yield (
            f'<path d="M{_LEFT} {py:.1f}H{_WIDTH - _RIGHT}" stroke="currentColor" '
            f'stroke-opacity=".15"/><text x="{_LEFT - 6}" y="{py + 4:.1f}" '
            f'text-anchor="end">{label}</text>'
        )
    steps = sorted({x for x, _ in found})
    # Between round numbers around a single one it might not be.
    for tick, label in _labelled(_ticks(x_low, x_high, chart.ticks) if steps[1:] else steps):
        px, _ = at(tick, y_low)
        yield (
            f'<text x="{px:.1f}" y="{_HEIGHT - _BOTTOM + 15}" text-anchor="middle">{label}</text>'
        )
    yield _caption(chart.x_label)
    dots = chart.template.startswith("scatter")
    for i, line in enumerate(points):
        color = COLORS[i % len(COLORS)]
        for run in _runs(line):
            places = [at(x, y) for x, y in run]
            if dots or len(places) == 1:
                yield "".join(
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" fill="{color}"/>' for x, y in places
                )
                continue
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
            yield (
                f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.6" '
                'stroke-linejoin="round"/>'
            )
    if len(chart.ys) > 1:
        for i, y in enumerate(chart.ys):
            yield (
                f'<text x="{_WIDTH - _RIGHT}" y="{_TOP + 12 + 14 * i}" text-anchor="end" '
                f'fill="{COLORS[i % len(COLORS)]}">{escape(_cut(y))}</text>'
            )


def _of_words(chart: Chart) -> bool:
    columns = (chart.columns[chart.x], chart.columns[chart.ys[0]])
    return all(any(isinstance(value, str) for value in column) for column in columns)


def _runs(line: Sequence[tuple[float, float] | None]) -> Iterator[list[tuple[float, float]]]:
    """The unbroken stretches of a line."""
    run: list[tuple[float, float]] = []
    for point in (*line, None):
        if point is not None:
            run.append(point)
        elif run:
            yield run
            run = []


def _matrix(chart: Chart) -> Iterator[str]:
    """How often each pair of words occurs: darker where more is counted."""
    counts: dict[tuple[str, str], int] = {}
    columns = zip(chart.columns[chart.x], chart.columns[chart.ys[0]], strict=True)
    each = chart.counts or [1] * len(chart.columns[chart.x])
    for (a, b), count in zip(columns, each, strict=True):
        counts[str(a), str(b)] = counts.get((str(a), str(b)), 0) + count
    across = sorted({x for x, _ in counts})[:_CELLS]
    down = sorted({y for _, y in counts})[:_CELLS]
    most = max(counts.values(), default=1)
    if not across:
        return
    side = min((_WIDTH - 2 * _LEFT) / len(across), (_HEIGHT - _TOP - _BOTTOM) / len(down))
    for i, x in enumerate(across):
        for j, y in enumerate(down):
            count = counts.get((x, y), 0)
            left, top = _LEFT + 30 + i * side, _TOP + j * side
            share = count / most
            yield (
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{side:.1f}" height="{side:.1f}" '
                f'fill="{COLORS[0]}" fill-opacity="{0.06 + 0.94 * share:.2f}"/>'
            )
            if side > max(_READABLE, _DIGIT * len(str(most))):
                ink = ' fill="#fff"' if share > 0.5 else ""  # noqa: PLR2004 - half as dark
                yield (
                    f'<text x="{left + side / 2:.1f}" y="{top + side / 2 + 4:.1f}" '
                    f'text-anchor="middle"{ink}>{count}</text>'
                )
    if side > _READABLE:
        for i, x in enumerate(across):
            left = _LEFT + 30 + (i + 0.5) * side
            yield (
                f'<text x="{left:.1f}" y="{_TOP + side * len(down) + 14:.1f}" '
                f'text-anchor="middle">{escape(_cut(x, side / 6))}</text>'
            )
        for j, y in enumerate(down):
            yield (
                f'<text x="{_LEFT + 24}" y="{_TOP + (j + 0.5) * side + 4:.1f}" '
                f'text-anchor="end">{escape(_cut(y, 12))}</text>'
            )
    yield _caption(f"{chart.x_label} \u2192, {chart.y_label} \u2193")


def _bars(chart: Chart) -> Iterator[str]:
    """Horizontal bars, as DVC's templates lay them: the number is `x`, the name `y`."""
    numbers = _numbers(chart.columns[chart.x])
    names = chart.columns[chart.ys[0]]
    bars = [(str(n), v) for n, v in zip(names, numbers, strict=True) if v is not None]
    if chart.template.endswith("sorted"):
        bars.sort(key=lambda bar: -bar[1])
    bars = bars[:_BARS]
    if not bars:
        return
    high = max(0.0, *(value for _, value in bars))
    low = min(0.0, *(value for _, value in bars))
    height = min(22.0, (_HEIGHT - _TOP - _BOTTOM) / len(bars))
    along = _along(low, high if high > low else 1)
    room = _WIDTH - 2 * _LEFT - _RIGHT
    left = 2 * _LEFT
    for i, (name, value) in enumerate(bars):
        top = _TOP + i * height
        start = left + along(min(value, 0)) * room
        width = (along(max(value, 0)) - along(min(value, 0))) * room
        yield (
            f'<rect x="{start:.1f}" y="{top + 1:.1f}" width="{width:.1f}" '
            f'height="{height - 2:.1f}" fill="{COLORS[0]}"><title>{escape(name)}: {value:g}'
            f'</title></rect><text x="{left - 6}" y="{top + height / 2 + 4:.1f}" '
            f'text-anchor="end">{escape(_cut(name, 17))}</text>'
        )
    yield _caption(chart.x_label)


def _caption(text: str) -> str:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return (
        f'<text x="{middle:.0f}" y="{_HEIGHT - 5}" text-anchor="middle" '
        f'fill-opacity=".75">{escape(_cut(text, 60))}</text>'
    )


def _cut(text: str, most: float = 28) -> str:
    most = max(1, int(most))
    return text if len(text) <= most else f"{text[: most - 1]}\u2026"


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if low == high:
        room = abs(low) * 0.1 or 1.0
        return max(low - room, -sys.float_info.max), min(high + room, sys.float_info.max)
    return low, high


def _along(low: float, high: float) -> Callable[[float], float]:
    """How far along from `low` (0) to `high` (1) a number lies.

    Of two floats the difference may be more than a float can hold, and of the smallest ones it
    has no half: so they are brought to about 1 first, which by a power of two rounds nothing.
    """
    power = -math.frexp(max(abs(low), abs(high)))[1]
    start = math.ldexp(low, power)
    length = math.ldexp(high, power) - start
    return lambda value: (math.ldexp(value, power) - start) / length


def _ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers between the two, about so many."""
    rough = high / about - low / about
    if not math.isfinite(rough) or rough <= 0:
        return []
    power = 10.0 ** math.floor(math.log10(rough))
    if not power:  # below the smallest floats there is nothing round
        return []
    step = next((m * power for m in (1, 2, 5, 10) if m * power >= rough), 10 * power)
    first = math.ceil(low / step)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _labelled(ticks: list[float]) -> list[tuple[float, str]]:
    """The ticks and their labels, in as few digits as tell them apart."""
    labels: list[str] = []
    for digits in range(4, 18):
        labels = [_tick(tick, digits) for tick in ticks]
        if len(set(labels)) == len(ticks):
            break
    return list(zip(ticks, labels, strict=True))


def _tick(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 1e5:  # noqa: PLR2004 - as many digits as there is room for
        for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= size and abs(value) < size * 1e4:
                return f"{value / size:.{max(digits, 6)}g}{unit}"
    return f"{value:.{digits}g}"
