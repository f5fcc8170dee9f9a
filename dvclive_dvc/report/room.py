"""How the bytes of a report are shared out, so that it opens at once whatever was logged."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .page import Chart

# A report of 5 MB, without Vega's scripts and the page's own.
BYTES = 3_900_000
# What surrounds a chart, a row of a table and a number in the file, beside names and texts.
_CHART, _ROW, _NUMBER, _HOLE = 520, 90, 22, 30
# Characters of a text that is cut to fit.
_LEAST_TEXT = 20


def shares(wants: Sequence[int], total: int) -> list[int]:
    """What each gets: as much as it wants, or an equal part of what the modest leave over."""
    given = [0] * len(wants)
    for place, number in enumerate(sorted(range(len(wants)), key=wants.__getitem__)):
        given[number] = min(wants[number], total // (len(wants) - place))
        total -= given[number]
    return given


def of_chart(chart: Chart) -> int:
    """The bytes, about, that a chart takes in the file."""
    names = sum(_of_text(text) for text in (chart.title, chart.x_label, chart.y_label))
    columns = sum(_of_column(column) for column in chart.columns.values())
    counts = 8 * len(chart.counts or ())
    names += sum(map(_of_text, (*chart.columns, chart.title)))
    return _CHART + 2 * names + columns + counts + _HOLE * len(chart.holes)


def of_rows(rows: Sequence[tuple[str, ...]]) -> int:
    """The bytes, about, that these rows of a table take in the file."""
    return sum(map(_of_row, rows))


def fitted(rows: Sequence[tuple[str, ...]], room: int) -> tuple[tuple[str, ...], ...]:
    """The rows, long texts at their ends cut short and the last rows left out as far as needed."""
    sizes = [_of_row(row) for row in rows]
    kept: list[tuple[str, ...]] = []
    for row, size, share in zip(rows, sizes, shares(sizes, room), strict=True):
        *cells, text = row
        if share < size and len(text) > _LEAST_TEXT:
            most = len(text) * max(0, _of_text(text) - size + share) // _of_text(text)
            text = f"{text[: max(_LEAST_TEXT, most - 3)]}\u2026"  # three bytes
        kept.append((*cells, text))
    taken = 0
    for number, row in enumerate(kept):
        taken += _of_row(row)
        if taken > room:
            return tuple(kept[:number])
    return tuple(kept)


def leading(charts: Sequence[Chart], room: int) -> list[Chart]:
    """The first of the charts, as many as there is room for."""
    kept = []
    for chart in charts:
        room -= of_chart(chart)
        if room < 0:
            break
        kept.append(chart)
    return kept


def _of_row(row: tuple[str, ...]) -> int:
    return _ROW + sum(map(_of_text, row))


def _of_text(text: str) -> int:
    return len(escape(text).encode("utf-8", "replace"))


def _of_column(values: Sequence[Any]) -> int:
    if isinstance(values, range):
        return _NUMBER
    return sum(len(json.dumps(v)) + 1 if isinstance(v, str) else _NUMBER for v in values)
