"""Custom plots: datapoints as strict JSON, and how DVC shall draw them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import files
from ..backend import Plot
from ..errors import InvalidDataTypeError, InvalidNameError, InvalidPlotDataError
from ..errors import InvalidParameterTypeError as _NotPlain
from . import names
from .params import converted

if TYPE_CHECKING:
    from pathlib import Path

    from ..layout import Layout

_ALLOWED = "a list of dicts, a pandas DataFrame, a structured or a two-dimensional NumPy array"


@dataclass(frozen=True)
class PlotData:
    """A plot that was checked and not yet written: its entry in dvc.yaml, its file's content."""

    plot: Plot
    content: bytes


def checked(
    layout: Layout,
    name: str,
    datapoints: Any,
    x: str,
    y: str | Sequence[str],
    template: str | None,
    title: str | None,
    x_label: str | None,
    y_label: str | None,
) -> PlotData:
    """The plot, fit to be drawn by DVC; nothing is written.

    A row without some column that others have gets null there: DVC drops rows that differ in
    their columns (dvc.render.converter.vega).

    Raises:
        InvalidNameError: `name` cannot be a file's.
        InvalidDataTypeError: an argument or a value has a type that cannot be logged.
        InvalidPlotDataError: there are no rows, or one lacks `x` or a `y`.
    """
    path = placed(layout.custom_dir, name)
    columns = _columns(name, "y", y)
    for field, value in (
        ("template", template), ("title", title), ("x_label", x_label), ("y_label", y_label)
    ):  # fmt: skip
        if value is not None and not isinstance(value, str):
            raise InvalidDataTypeError(field, type(value), "a string, or None")
    first = _columns(name, "x", x)
    rows = [_row(name, row) for row in _rows(name, datapoints)]
    _check_columns(name, rows, [*first, *columns])
    config = {
        "template": template,
        "x": first[0],
        "y": columns[0] if isinstance(y, (str, int)) else columns,
        "title": title,
        "x_label": x_label,
        "y_label": y_label,
    }
    return PlotData(
        Plot(path, {key: value for key, value in config.items() if value}),
        table_json(_evened(rows)),
    )


def write(data: PlotData) -> None:
    """Replaces the plot's file."""
    data.plot.path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(data.plot.path, data.content)


def placed(folder: Path, name: Any) -> Path:
    """The file for a plot's name; a `.json` the user put there already is not doubled."""
    text = names.checked(name, "plot").removesuffix(".json")
    if not text.rpartition("/")[2]:
        raise InvalidNameError(f"The plot's name {name!r} is empty but for its ending.")
    return folder / f"{text}.json"


def table_json(rows: Sequence[Mapping[str, Any]], group: str | None = None) -> bytes:
    """Rows as strict JSON, a line each, under the key `group` where one is given.

    NaN and infinities become the strings "nan", "inf" and "-inf", as they stand in metrics
    files: a strict reader takes them, and Vega leaves such points out.
    """
    lines = ",\n".join(json.dumps(row, ensure_ascii=False, allow_nan=False) for row in rows)
    text = f"[\n{lines}\n]" if rows else "[]"
    if group is not None:
        text = f"{{{json.dumps(group)}: {text}}}"
    return text.encode("utf-8", "surrogatepass") + b"\n"


def cell(name: str, value: Any) -> Any:
    """One value as JSON holds it; raises InvalidDataTypeError for what it cannot hold."""
    kind = type(value)
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind is int or kind is str or kind is bool or value is None:
        return value
    if kind.__name__ in {"NaTType", "NAType"}:  # pandas' own words for a missing value
        return None
    try:
        plain = converted(name, value)
    except _NotPlain as error:
        raise InvalidDataTypeError(
            name, kind, "numbers, strings, booleans, None, dates, and lists or dicts of them"
        ) from error
    return _finite(plain)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    return value


def _columns(name: str, axis: str, given: Any) -> list[str]:
    several = axis == "y" and isinstance(given, Sequence) and not isinstance(given, (str, bytes))
    found = list(given) if several else [given]
    for column in found:
        if isinstance(column, bool) or not isinstance(column, (str, int)):
            allowed = "a column's name" + (", or a list of them" if axis == "y" else "")
            raise InvalidDataTypeError(f"{name}: {axis}", type(column), allowed)
    if not found:
        raise InvalidPlotDataError(f"Plot '{name}' has no `y`. Name one column or several.")
    return [str(column) for column in found]


def _rows(name: str, datapoints: Any) -> Sequence[Any]:
    # pandas' and polars' frames and NumPy's arrays are known by what they do, not imported.
    kind = type(datapoints)
    if hasattr(datapoints, "columns") and callable(getattr(datapoints, "to_dict", None)):
        if hasattr(datapoints, "to_dicts"):
            return list(datapoints.to_dicts())
        return list(datapoints.to_dict(orient="records"))
    fields = getattr(getattr(datapoints, "dtype", None), "names", None)
    if fields is not None:
        return [dict(zip(fields, row, strict=True)) for row in datapoints.ravel().tolist()]
    if hasattr(datapoints, "dtype") and getattr(datapoints, "ndim", None) == 2:  # noqa: PLR2004 - rows and columns
        return [dict(enumerate(row)) for row in datapoints.tolist()]
    if isinstance(datapoints, (list, tuple)) and all(isinstance(r, Mapping) for r in datapoints):
        return datapoints
    raise InvalidDataTypeError(name, kind, _ALLOWED)


def _row(name: str, row: Mapping[Any, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in row.items():
        if type(key) is not str:
            if isinstance(key, (tuple, bytes)) or not hasattr(key, "__str__"):
                raise InvalidDataTypeError(f"{name}: column {key!r}", type(key), "a string")
            key = str(key)  # noqa: PLW2901 - as JSON would write it
        plain[key] = cell(name, value)
    return plain


def _check_columns(name: str, rows: list[dict[str, Any]], needed: list[str]) -> None:
    if not rows:
        raise InvalidPlotDataError(
            f"Plot '{name}' has no datapoints, so {needed[0]!r} is not in them. Log it once "
            "there is one row."
        )
    for number, row in enumerate(rows):
        for column in needed:
            if column not in row:
                raise InvalidPlotDataError(
                    f"Plot '{name}': column {column!r} is not in row {number} of its datapoints, "
                    f"which has: {', '.join(map(repr, row)) or 'nothing'}. "
                    "Give every row the columns named by x and y."
                )


def _evened(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    columns = dict.fromkeys(key for row in rows for key in row)
    if all(len(row) == len(columns) for row in rows):
        return rows
    return [{key: row.get(key) for key in columns} for row in rows]
