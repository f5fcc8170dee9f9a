"""Measured rows -> a table in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .measure import Measured, Result

HEAD = (
    "| | dvclive_dvc | dvclive 3.49.1 | faster by | limit | of the limit | what the limit is |\n"
    "|---|---:|---:|---:|---:|---:|---|"
)


def quantity(value: float, unit: str) -> str:
    """Three figures and a unit a person reads at a glance."""
    if unit != "s":
        return f"{value:,.1f} {unit}" if value < 100 else f"{value:,.0f} {unit}"
    for size, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= size or name == "µs":
            figure = value / size
            digits = 0 if figure >= 100 else 1 if figure >= 10 else 2
            return f"{figure:.{digits}f} {name}"
    raise AssertionError


def _ratio(upper: Result | None, lower: Result | None) -> str:
    if upper is None or lower is None or lower.value <= 0:
        return "–"
    times = upper.value / lower.value
    return f"{times:.0f}×" if times >= 20 else f"{times:.1f}×" if times >= 2 else f"{times:.2f}×"


def line(measured: Measured) -> str:
    """One row of the table, and one more for each other package."""
    row = measured.row

    def cell(result: Result | None) -> str:
        if result is None:
            return "–"
        return quantity(result.value, row.unit) + (f" ({result.note})" if result.note else "")

    ours, public, limit = (measured.medians.get(name) for name in ("ours", "public", "limit"))
    main = (
        f"| {row.name} | {cell(ours)} | {cell(public)} | {_ratio(public, ours)} | {cell(limit)} "
        f"| {_ratio(ours, limit)} | {row.limit_is} |"
    )
    lines = [main]
    for name in row.others:
        other = measured.medians.get(name)
        told = cell(other) if other else "could not be run here"
        lines.append(f"| – the same with {name} | | {told} | {_ratio(other, ours)} | | | |")
    return "\n".join(lines)
