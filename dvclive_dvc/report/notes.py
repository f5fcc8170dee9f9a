"""What a reader must know of a chart to read it rightly."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .page import Chart

_NAMED = 4


def of_chart(chart: Chart) -> Iterator[str]:
    """Sentences on rows that are not drawn and on values that are no finite number."""
    if chart.counts is not None and chart.shown < chart.total:
        yield (
            f"The {len(chart.counts):,} most frequent pairs, in {chart.shown:,} of "
            f"{chart.total:,} rows."
        )
    elif chart.shown < chart.total:
        how = f"one in every {chart.every:,}" if chart.every > 1 else "no peak is left out"
        yield f"{chart.shown:,} of {chart.total:,} rows drawn; {how}."
    if chart.holes:
        steps = ", ".join(f"{text} at {_at(at)}" for at, text in chart.holes[:_NAMED])
        more = ", \u2026" if len(chart.holes) > _NAMED or chart.shown < chart.total else ""
        yield f"No finite number: {steps}{more}"


def _at(x: object) -> str:
    return f"{x:,}" if isinstance(x, (int, float)) else str(x)
