"""From what is on disk below the run's folder to the `Page` that a report shows."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import itertools
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backend import Mode, Outcome, Status
from . import room
from .page import Chart, Page, group_of, natural
from .pictures import Album
from .series import Series, outlined
from .wording import short, whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ..layout import Layout
    from .facts import Facts

# Values of all charts together, and rows of one: more than a screen has pixels for.
_POINTS = 100_000
_POINTS_OF_ONE = 1_000
# Of a matrix each cell counts: those of a hundred classes.
_CELLS_OF_ONE = 10_000
_FEWEST_POINTS = 12
# Rows that the outline of one stretch of one column takes.
_CORNERS = 5
# Characters of a word in a plot, which has room for a third of them.
_LONGEST_LABEL = 100
_DEFAULT_TEMPLATE = "linear"
_COUNTING = {"confusion", "confusion_normalized"}
_JOINING = {"linear", "simple", "smooth"}


class Reader:
    """Reads one run, again and again while it goes on; what has not changed is not read twice."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._series: dict[Path, Series] = {}
        self._tables: dict[Path, tuple[tuple[int, int], Any]] = {}
        self._album = Album(layout)

    def read(self, facts: Facts) -> Page:
        """The page of the run as it is on disk now."""
        layout = self._layout
        notes: list[str] = []
        # What was only ever words has no line; its last value stands in the summary.
        series = [one for one in self._metrics(notes) if one.numeric]
        tables = self._plots(facts, notes)
        metrics, plots = _charts(layout, series, tables)
        summary = self._cached(layout.metrics_file, _load_json) or {}
        params = self._cached(layout.params_file, _load_yaml) or {}
        texts: list[Sequence[tuple[str, ...]]] = [
            sorted(
                ((name, short(value)) for name, value in _flat(summary, "/") if name != "step"),
                key=lambda row: _place(row[0]),
            ),
            [(name, whole(value)) for name, value in _flat(params, ".")],
            [
                (name, one.type or "", _relative(one.path), whole(one.desc or ""))
                for name, one in facts.entries.artifacts.items()
            ],
        ]
        wants = [
            *map(room.of_rows, texts),
            sum(map(room.of_chart, metrics)),
            sum(map(room.of_chart, plots)),
        ]
        *_, left = room.shares([*wants, room.BYTES], room.BYTES)
        galleries, total, shown, taken = self._album.galleries(left)
        shares = room.shares(wants, room.BYTES - taken)
        summed, given, kept = itertools.starmap(room.fitted, zip(texts, shares[:3], strict=True))
        charts = room.leading(metrics, shares[3]) + room.leading(plots, shares[4])
        notes.extend(_left_out("plots", len(metrics) + len(plots) - len(charts)))
        notes.extend(_left_out("rows of tables", sum(map(len, texts)) - len(summed + given + kept)))
        status, status_text = _status(facts.outcome)
        return Page(
            name=_name(layout, facts),
            status=status,
            status_text=status_text,
            facts=_facts(layout, facts),
            metrics=summed,
            params=given,
            artifacts=kept,
            charts=tuple(charts),
            galleries=galleries,
            images_total=total,
            images_shown=shown,
            templates=_templates_of(layout.root),
            notes=tuple(notes),
        )

    def _metrics(self, notes: list[str]) -> list[Series]:
        found = []
        for folder, folders, names in os.walk(self._layout.metrics_dir):
            folders.sort()
            for name in sorted(names):
                if not name.endswith(".tsv"):
                    continue
                path = Path(folder, name)
                series = self._series.setdefault(path, Series(path))
                try:
                    series.read()
                except OSError:
                    continue
                except UnicodeDecodeError as error:  # a file of somebody else's
                    notes.append(
                        f"{_relative_to(path, self._layout.root)} cannot be read: {error}."
                    )
                    continue
                found.append(series)
        return sorted(found, key=lambda one: _place(_metric_of(self._layout, one.path)))

    def _cached(self, path: Path, load: Any) -> Any:
        """What `load` makes of the file, again only when it has changed; None without a file."""
        try:
            stat = path.stat()
        except OSError:
            return None
        stamp = (stat.st_mtime_ns, stat.st_size)
        known = self._tables.get(path)
        if known is None or known[0] != stamp:
            known = self._tables[path] = (stamp, load(path))
        return known[1]

    def _plots(self, facts: Facts, notes: list[str]) -> list[_Table]:
        found = []
        for plot in facts.entries.plots:
            if plot.path.suffix != ".json":
                continue
            name = _relative_to(plot.path, self._layout.plots_dir)
            try:
                rows = self._cached(plot.path, _load_rows)
            except (ValueError, OSError) as error:
                notes.append(f"{name} cannot be read: {str(error).rstrip('.')}.")
                continue
            if rows:
                found.append(_Table.of(rows, plot.config, name))
            else:
                notes.append(f"{name} holds no data.")
        return found


@dataclass(frozen=True)
class _Table:
    """The rows of one plot's file, and which columns of them are drawn how."""

    rows: Sequence[Mapping[str, Any]]
    config: Mapping[str, Any]
    name: str
    template: str
    x: str
    ys: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any], name: str) -> _Table:
        x = str(config.get("x") or next(iter(rows[0])))
        wanted = config.get("y") or [key for key in rows[0] if key != x][-1:]
        ys = tuple(str(y) for y in ([wanted] if isinstance(wanted, str) else wanted))
        return cls(rows, config, name, str(config.get("template") or _DEFAULT_TEMPLATE), x, ys)

    @property
    def fields(self) -> list[str]:
        return list(dict.fromkeys([self.x, *self.ys]))

    @property
    def most(self) -> int:
        """Rows that are drawn where nothing else is."""
        return _CELLS_OF_ONE if self.template in _COUNTING else _POINTS_OF_ONE


def _charts(
    layout: Layout, series: Sequence[Series], tables: Sequence[_Table]
) -> tuple[list[Chart], list[Chart]]:
    """The charts of metrics and of plots, with as many points each as there is room for."""
    wants = [min(one.total, _POINTS_OF_ONE) for one in series]
    wants += [min(len(one.rows), one.most) * len(one.fields) for one in tables]
    shares = iter(room.shares(wants, _POINTS))
    metrics = [_of_metric(layout, one, max(_FEWEST_POINTS, next(shares))) for one in series]
    plots = [_of_table(one, max(_FEWEST_POINTS, next(shares) // len(one.fields))) for one in tables]
    return metrics, _told_apart(plots)


def _told_apart(charts: Sequence[Chart]) -> list[Chart]:
    """The charts, those of one title with the names of their plots as well."""
    seen = collections.Counter(chart.title for chart in charts)

    def told(chart: Chart) -> Chart:
        if seen[chart.title] == 1:
            return chart
        name = chart.source.removeprefix("plots/").removesuffix(".json")
        return dataclasses.replace(chart, title=f"{chart.title} \u00b7 {name}")

    return [told(chart) for chart in charts]


def _left_out(what: str, number: int) -> Iterator[str]:
    if number:
        yield f"{number:,} more {what} are left out to keep the report small."


def _templates_of(root: Path) -> Path | None:
    """Where the repository around the run keeps plot templates of its own (`.dvc/plots`)."""
    for folder in root.parents:
        if (folder / ".dvc").is_dir():
            own = folder / ".dvc" / "plots"
            return own if own.is_dir() else None
    return None


def _metric_of(layout: Layout, path: Path) -> str:
    return _relative_to(path, layout.metrics_dir).removesuffix(".tsv")


def _place(name: str) -> tuple[object, ...]:
    """Where a metric stands: those of no group first, those about the machine last.

    Numbers in a name count as such: `layer2` stands before `layer10`.
    """
    group = group_of(name)
    rank = 0 if not group else 2 if group == "system" else 1
    return rank, [natural(part) for part in name.split("/")], name


def _of_metric(layout: Layout, series: Series, budget: int) -> Chart:
    source = _relative_to(series.path, layout.root)
    name = _metric_of(layout, series.path)
    column = series.columns[-1]
    if column == "step":  # that of another metric's name, `val/step`
        column = name
    xs, ys = series.outline(budget)
    steps = _steps(xs)
    holes: list[tuple[Any, str]] = []
    values: Sequence[float | None] = ys
    if not math.isfinite(sum(ys)):
        values = [y if math.isfinite(y) else None for y in ys]
        holes = [
            (x, short(series.words.get(x, str(y))))
            for x, y in zip(steps, ys, strict=True)
            if not math.isfinite(y)
        ]
    return Chart(
        title=name,
        source=source,
        template=_DEFAULT_TEMPLATE,
        x="step",
        ys=(column,),
        x_label="step",
        y_label=column,
        columns={"step": steps, column: values},
        holes=holes,
        total=series.total,
        shown=len(steps),
        is_metric=True,
    )


def _steps(xs: list[float]) -> Sequence[float]:
    """Steps as whole numbers where they are; as a range where one follows the other."""
    steps = [int(x) if math.isfinite(x) else 0 for x in xs]
    if steps != xs:
        return [x if math.isfinite(x) else 0 for x in xs]
    following = range(steps[0], steps[0] + len(steps)) if steps else range(0)
    return following if steps == list(following) else steps


def _of_table(table: _Table, budget: int) -> Chart:
    rows, config = table.rows, table.config
    total = shown = len(rows)
    counts = None
    every = 1
    if table.template in _COUNTING:
        seen = collections.Counter(
            tuple(_plain(row.get(field)) for field in table.fields) for row in rows
        )
        # In the order of the file, as long as all of them are drawn.
        cells = list(seen.items()) if len(seen) <= budget else seen.most_common(budget)
        columns = {field: [key[i] for key, _ in cells] for i, field in enumerate(table.fields)}
        counts = [count for _, count in cells]
        shown = sum(counts)
    else:
        outline = None
        if table.template in _JOINING:
            rows = _upwards(rows, table.x)
            outline = _outline(rows, table.x, table.ys, budget)
        every = math.ceil(total / budget) if outline is None else 1
        rows = rows[::every] if outline is None else outline
        columns = {field: [_plain(row.get(field)) for row in rows] for field in table.fields}
        shown = len(rows)
    return Chart(
        title=str(config.get("title") or table.name.removesuffix(".json")),
        source=f"plots/{table.name}",
        template=table.template,
        x=table.x,
        ys=table.ys,
        x_label=str(config.get("x_label") or table.x),
        y_label=str(config.get("y_label") or ", ".join(table.ys)),
        columns=columns,
        counts=counts,
        total=total,
        shown=shown,
        every=every,
    )


def _outline(
    rows: Sequence[Mapping[str, Any]], x: str, ys: Sequence[str], budget: int
) -> Sequence[Mapping[str, Any]] | None:
    """Rows, `budget` of them at most, whose lines cover the same ground as those of all.

    None where there is no line whose outline could be kept: among words, or with more columns
    than there is room for.
    """
    if len(rows) <= budget:
        return rows
    if budget < _CORNERS * len(ys):
        return None
    xs: list[Any] = [row.get(x) for row in rows]
    columns = [[row.get(y) for row in rows] for y in ys]
    if not all(isinstance(v, (int, float)) and not math.isnan(v) for v in xs):
        return None
    if not all(isinstance(v, (int, float, type(None))) for column in columns for v in column):
        return None
    # Vega joins the points by `x`, whatever their order in the file.
    order = sorted(range(len(rows)), key=xs.__getitem__)
    width = math.ceil(len(rows) / (budget // (_CORNERS * len(ys))))
    chosen: set[int] = set()
    for column in columns:
        values = [_finite(column[i]) for i in order]
        chosen.update(outlined(range(len(rows)), values, width))
    return [rows[order[i]] for i in sorted(chosen)]


def _finite(value: float | None) -> float:
    """The number; NaN for a missing one and for a whole number too large to be drawn."""
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.nan


def _upwards(rows: Sequence[Mapping[str, Any]], x: str) -> Sequence[Mapping[str, Any]]:
    """Rows that fall along `x`, turned round.

    Vega joins points by `x`, and leaves those that share one in their order: of a curve that was
    computed from right to left, as precision over recall is, each upright part would be crossed.
    """
    values = [row.get(x) for row in rows]
    numbers = [v for v in values if isinstance(v, (int, float))]
    if len(numbers) < len(values) or numbers[-1] >= numbers[0]:
        return rows
    falling = all(b <= a for a, b in itertools.pairwise(numbers))
    return rows[::-1] if falling else rows


def _load_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _load_yaml(path: Path) -> Any:
    from ruamel.yaml import YAML

    return YAML(typ="safe").load(path.read_bytes())


def _load_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a plot's file: a list of objects, or the first such list in an object."""
    document = _load_json(path)
    if isinstance(document, dict):
        document = next((v for v in document.values() if isinstance(v, list)), [])
    return [row for row in document if isinstance(row, dict)]


def _plain(value: Any) -> Any:
    """A value as JSON holds it: numbers that are none become null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (int, float)) or value is None:
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}\u2026"


def _flat(value: Any, joint: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Names joined by `joint` and their values."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _flat(item, joint, f"{prefix}{joint}{key}" if prefix else str(key))
    elif prefix:
        yield prefix, value


def last_step(layout: Layout) -> int | None:
    """The last complete step of a run that is on disk; None before the first."""
    try:
        step = json.loads(layout.metrics_file.read_bytes())["step"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return step if isinstance(step, int) else None


def _name(layout: Layout, facts: Facts) -> str:
    """What stands over the report: other words for each run of one `dvc exp run` or `dvc repro`.

    The first gives its runs one name and the second none, so their folders tell them apart.
    """
    name, given = facts.run.name, Path(layout.given)
    folder = layout.root.name if given.is_absolute() or not given.name else given.as_posix()
    if not name:
        return folder
    return f"{name} \u00b7 {folder}" if facts.run.mode is Mode.EXP_RUN else name


def _status(outcome: Outcome | None) -> tuple[str, str]:
    """One word for how the run stands, and what more is known of its end."""
    if outcome is None:
        return "running", ""
    parts = []
    if outcome.signal:
        parts.append(f"by {outcome.signal}")
    if outcome.exception:
        parts.append(outcome.exception.removeprefix("builtins."))
    if outcome.raised_at:
        parts.append(f"at {outcome.raised_at}")
    if outcome.exit_code is not None and outcome.status is not Status.COMPLETED:
        parts.append(f"exit code {outcome.exit_code}")
    return outcome.status.value, " ".join(parts)


def _facts(layout: Layout, facts: Facts) -> tuple[tuple[str, str], ...]:
    until = facts.ended or datetime.datetime.now(datetime.timezone.utc)
    told = [
        ("Baseline", (facts.run.baseline or "")[:7]),
        ("Step", "" if facts.step is None else f"{facts.step:,}"),
        ("Duration", duration((until - facts.started).total_seconds())),
        ("Started", facts.started.strftime("%Y-%m-%d %H:%M UTC")),
        ("Folder", layout.given),
        ("Run by", "" if facts.run.mode in _USUAL else facts.run.mode.value),
    ]
    return tuple((label, text) for label, text in told if text)


_USUAL = {Mode.STANDALONE, Mode.NO_REPO}


def duration(seconds: float) -> str:
    """A length of time in its two largest units: `1 h 5 min`, `3.2 s`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _relative_to(path: Path, folder: Path) -> str:
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.name


def _relative(path: Path) -> str:
    """A path the way a person in the working directory would write it."""
    text = os.path.relpath(path)
    return text if not text.startswith("..") else str(path)
