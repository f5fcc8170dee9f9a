"""Metrics: one `.tsv` a metric, one line a call, in the kernel when the call returns."""

from __future__ import annotations

import errno
import math
import os
import time
from typing import TYPE_CHECKING, Any

from ..errors import InvalidDataTypeError, InvalidNameError
from .names import checked

if TYPE_CHECKING:
    from pathlib import Path

    from ..layout import Layout
    from ..losses import Losses

# Enough for a usual run's metrics, few enough to leave descriptors to data loaders: many
# systems allow a process 256 or 1,024.
_MAX_OPEN = 200
_APPEND = os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)
_ALLOWED = "int, float, str, bool, Decimal, NumPy scalars, tensors of one element"
# A cell is one line without tabs: DVC reads the rows with Python's csv module.
_ONE_LINE = str.maketrans({"\t": " ", "\n": " ", "\r": " "})


def checked_name(name: Any) -> str:
    """The metric's name, normalised; raises InvalidNameError where it cannot be one."""
    text = checked(name, "metric")
    if text == "step":
        raise InvalidNameError(
            "A metric cannot be called 'step': metrics.json keeps the run's step under that name. "
            "Set `live.step`, or call the metric something like 'train_step'."
        )
    return text


def to_scalar(name: str, value: Any) -> tuple[Any, str]:
    """The value as the summary's JSON holds it, and as its cell in the `.tsv` shows it.

    Raises InvalidDataTypeError for what is neither one number nor one string.
    """
    kind = type(value)
    if kind is float:
        text = repr(value)
        return (value if math.isfinite(value) else text), text
    if kind is int or kind is bool:
        return value, str(value)
    if kind is str:
        return value, value.translate(_ONE_LINE)
    for base in (bool, int, float, str):
        if isinstance(value, base) and not hasattr(value, "item"):
            return to_scalar(name, base(value))
    return _by_item(name, value)


def _by_item(name: str, value: Any) -> tuple[Any, str]:
    # NumPy, torch, jax and tensorflow scalars all have `.item()`: none is imported for it.
    if type(value).__name__ == "Decimal":
        return to_scalar(name, float(value))
    item = getattr(value, "item", None)
    try:
        plain = item() if callable(item) else None
    except (TypeError, ValueError, RuntimeError) as error:
        raise InvalidDataTypeError(name, type(value), _ALLOWED) from error
    if not isinstance(plain, (bool, int, float, str)):
        raise InvalidDataTypeError(name, type(value), _ALLOWED)
    kept, cell = to_scalar(name, plain)
    # str() of a NumPy scalar is its shortest form: float32(0.1) is 0.1, not 0.10000000149.
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
        cell = str(value)
    return kept, cell


class _Series:
    """One metric's file: its descriptor while it is open, and whether rows carry a time."""

    __slots__ = ("fd", "path", "timestamp")

    def __init__(self, path: Path, *, timestamp: bool) -> None:
        self.path = path
        self.timestamp = timestamp
        self.fd = -1


class MetricWriter:
    """Appends rows to the metrics' files of one run, the last used of them kept open."""

    def __init__(self, layout: Layout, losses: Losses) -> None:
        self._layout = layout
        self._losses = losses
        self._series: dict[str, _Series] = {}
        self._open: dict[str, _Series] = {}
        # Whether an earlier run that is gone on with left files.
        self.resumed = False

    def __bool__(self) -> bool:
        """Whether any metric has a file."""
        return self.resumed or bool(self._series)

    def append(self, name: str, step: int, cell: str, *, timestamp: bool) -> None:
        """Adds one row. A write that fails is forgiven and leaves only whole lines behind.

        Raises InvalidNameError where the file system takes `name` for that of another metric.
        """
        series = self._open.get(name)
        if series is None:
            try:
                series = self._opened(name, timestamp=timestamp)
            except OSError as error:
                self._losses.note(self._path(name), error)
                return
        if series.timestamp:
            line = f"{time.time_ns() // 1_000_000}\t{step}\t{cell}\n"
        else:
            line = f"{step}\t{cell}\n"
        try:
            _write_whole(series.fd, line.encode("utf-8", "surrogatepass"))
        except OSError as error:
            self._losses.note(series.path, error)

    def _path(self, name: str) -> Path:
        return self._layout.metrics_dir / f"{name}.tsv"

    def _opened(self, name: str, *, timestamp: bool) -> _Series:
        series = self._series.get(name)
        if series is None:
            series = _Series(self._path(name), timestamp=timestamp)
            series.fd = _create(series, name)
        else:
            series.fd = os.open(series.path, _APPEND)
        while len(self._open) >= _MAX_OPEN:
            oldest = self._open.pop(next(iter(self._open)))
            os.close(oldest.fd)
            oldest.fd = -1
        self._series[name] = series
        self._open[name] = series
        return series

    def close(self) -> None:
        """Closes the files; a later `append` opens them again."""
        while self._open:
            _, series = self._open.popitem()
            os.close(series.fd)
            series.fd = -1


def _create(series: _Series, name: str) -> int:
    """Opens the metric's file, new with its header, or an earlier run's to be gone on with."""
    path = series.path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fd = os.open(path, _APPEND | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        if path.name not in os.listdir(path.parent):  # noqa: PTH208 - the name as it is spelt
            raise InvalidNameError(
                f"Metric {name!r} differs from another metric only by upper and lower case, "
                "and this file system takes both for one file. Rename one of them."
            ) from None
        fd = os.open(path, _APPEND)
        with path.open("rb") as file:
            first = file.readline()
        if first:
            series.timestamp = first.startswith(b"timestamp\t")
            return fd
    column = name.rpartition("/")[2]
    columns = ["timestamp", "step"] if series.timestamp else ["step"]
    columns.append("value" if column in columns else column)
    _write_whole(fd, ("\t".join(columns) + "\n").encode("utf-8", "surrogatepass"))
    return fd


def _write_whole(fd: int, line: bytes) -> None:
    """Appends a line, or takes back the part of it that a full disk let through."""
    written = os.write(fd, line)
    if written != len(line):
        os.ftruncate(fd, os.fstat(fd).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
