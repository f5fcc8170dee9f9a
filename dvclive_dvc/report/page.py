"""What a report shows, as values: every form of it (HTML, Markdown, notebook) draws these."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TICKS = 6


def group_of(metric: str) -> str:
    """The first part of a metric's name that has several; empty for a name of one part."""
    return metric.split("/", 1)[0] if "/" in metric else ""


def natural(name: str) -> list[int | str]:
    """The place of a name among others, numbers in it counted as such: `w_2` before `w_10`."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


@dataclass(frozen=True)
class Chart:
    """One plot: its data as columns, and how DVC would draw it.

    title:    what stands over it.
    source:   the file it comes from, relative to the run's folder.
    template: the name of a DVC template.
    x, ys:    columns.
    columns:  the values; None where a number is missing (NaN, an infinity, an empty cell).
    counts:   how often each row occurs, where equal rows were put together.
    holes:    (x, what it says) of the values that are no finite number.
    total:    rows in the file; `shown` of them are in `columns`.
    every:    one in so many rows is shown; 1 where all are, or the outline of all.
    is_metric: one of `log_metric`, not of `log_plot` or `log_sklearn_plot`.
    """

    title: str
    source: str
    template: str
    x: str
    ys: tuple[str, ...]
    x_label: str
    y_label: str
    columns: Mapping[str, Sequence[Any]]
    counts: Sequence[int] | None = None
    holes: Sequence[tuple[Any, str]] = ()
    total: int = 0
    shown: int = 0
    every: int = 1
    is_metric: bool = False

    @property
    def ticks(self) -> int:
        """How many parts the axis of `x` has at most: whole numbers are not divided."""
        xs = self.columns[self.x]
        whole = isinstance(xs, range) or all(
            isinstance(x, int) or (isinstance(x, float) and x.is_integer()) for x in xs
        )
        return int(min(_TICKS, max(1, max(xs) - min(xs)))) if xs and whole else _TICKS

    def extremes(self) -> tuple[tuple[Any, float], tuple[Any, float]] | None:
        """Where the first column is lowest and highest: (x, value) of each."""
        xs, ys = self.columns[self.x], self.columns[self.ys[0]]
        known = [y for y in ys if y is not None] if None in ys else ys
        if not known:
            return None
        low, high = min(known), max(known)
        return (xs[ys.index(low)], low), (xs[ys.index(high)], high)


@dataclass(frozen=True)
class Picture:
    """One logged image: its name, its file, and its bytes where they are shown.

    step is the number in the name of one of a series `folder/{step}.png`; size is in pixels,
    where the file tells it at once.
    """

    name: str
    path: Path
    data: bytes
    kind: str
    step: int | None = None
    scaled: bool = False
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Gallery:
    """Pictures under one name: one alone, or a series over steps; `total` with those left out."""

    name: str
    pictures: tuple[Picture, ...]
    total: int


@dataclass(frozen=True)
class Page:
    """All that the report says.

    facts:     (label, text) of what the run is.
    metrics:   (name, last value), flat, in the order of their charts.
    params:    (name, value), flat.
    artifacts: (name, type, path, description).
    templates: the folder of the repository's own plot templates, where there is one.
    notes:     sentences about what could not be shown.
    """

    name: str
    status: str
    status_text: str
    facts: tuple[tuple[str, str], ...]
    metrics: tuple[tuple[str, ...], ...]
    params: tuple[tuple[str, ...], ...]
    artifacts: tuple[tuple[str, ...], ...]
    charts: tuple[Chart, ...]
    galleries: tuple[Gallery, ...]
    images_total: int
    images_shown: int
    templates: Path | None = None
    notes: tuple[str, ...] = ()
