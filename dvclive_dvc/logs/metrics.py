"""Metrics: one `.tsv` a metric, one line a call, in the kernel when the call returns."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import time
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import InvalidDataTypeError, InvalidNameError
from ..notices import logger
from .names import check_spelling, checked

if TYPE_CHECKING:
    from pathlib import Path

    from ..layout import Layout
    from ..losses import Losses

# Enough for a usual run's metrics, few enough to leave descriptors to data loaders: many
# systems allow a process 256 or 1,024.
_MAX_OPEN = 200
_APPEND = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
# What takes a file's place is let be for so many seconds: Git and DVC put files aside and back
# (`git stash`, `dvc exp run --queue`), and refuse to where they were written to meanwhile.
_SETTLED = 1.0
_ALLOWED = "int, float, str, bool, Decimal, NumPy scalars, tensors of one element"
# A cell is one line without tabs: DVC reads the rows with Python's csv module, others split the
# text by str.splitlines(), which takes all of these for the end of a line.
_ONE_LINE = dict.fromkeys(map(ord, "\0\t\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), " ")


class Names:
    """The metrics' names of one run: which are known, and which cannot stand beside them."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._dotted: dict[str, str] = {}

    def __contains__(self, name: object) -> bool:
        return name in self._known

    def checked(self, name: Any) -> str:
        """A new name, normalised.

        Raises InvalidNameError where it cannot be a metric's, or would be shown as another: DVC
        joins the parts of a name by dots, and `dvc exp show` fails for the whole repository
        when two become one (dvc.utils.flatten).
        """
        text = checked(name, "metric")
        if text.partition("/")[0] == "step":
            raise InvalidNameError(
                f"A metric cannot be called {text!r}: metrics.json keeps the run's step under "
                "'step'. Set `live.step`, or call the metric something like 'train_step'."
            )
        other = self._dotted.get(text.replace("/", "."), text)
        if other != text:
            raise InvalidNameError(
                f"Metric {text!r} cannot stand beside metric {other!r}: DVC shows both under one "
                "name, because it joins the parts of a name by dots. Rename one of them."
            )
        return text

    def add(self, name: str) -> None:
        """Makes a checked name a known one."""
        self._known.add(name)
        self._dotted[name.replace("/", ".")] = name

    def reserve(self, summary: dict[str, Any], above: str = "") -> None:
        """Keeps the names that an earlier run's summary has."""
        for key, value in summary.items():
            if isinstance(value, dict):
                self.reserve(value, f"{above}{key}/")
            else:
                name = f"{above}{key}"
                self._dotted[name.replace("/", ".")] = name


def to_scalar(name: str, value: Any) -> tuple[Any, str]:
    """The value as the summary's JSON holds it, and as its cell in the `.tsv` shows it.

    Raises InvalidDataTypeError for what is neither one number nor one string.
    """
    kind = type(value)
    if kind is float:
        text = repr(value)
        return (value if math.isfinite(value) else text), text
    if kind is bool:
        return value, str(value)
    if kind is int:
        try:
            return value, str(value)
        except ValueError as error:  # more digits than Python, and so DVC, reads back
            raise InvalidDataTypeError(name, kind, f"{_ALLOWED}; of 4,300 digits") from error
    if kind is str:
        return _text(value)
    for base in (bool, int, float, str):
        if isinstance(value, base) and not hasattr(value, "item"):
            return to_scalar(name, base(value))
    return _by_item(name, value)


def _text(value: str) -> tuple[str, str]:
    if not value.isascii():
        # A lone surrogate is no Unicode: neither DVC nor a JSON parser would read the file.
        value = value.encode("utf-8", "backslashreplace").decode()
    cell = value.translate(_ONE_LINE)
    # csv takes a quote in front for the start of a field that may go on over many lines.
    return value, quoted(cell) if cell.startswith('"') else cell


def quoted(cell: str) -> str:
    """The cell as csv reads it back, whatever it starts with."""
    doubled = cell.replace('"', '""')
    return f'"{doubled}"'


def _by_item(name: str, value: Any) -> tuple[Any, str]:
    if type(value).__name__ == "Decimal":
        # A signalling NaN is one that float() refuses.
        return to_scalar(name, math.nan if value.is_nan() else float(value))
    plain = _item(name, value)
    if not isinstance(plain, (bool, int, float, str)):
        raise InvalidDataTypeError(name, type(value), _ALLOWED)
    kept, cell = to_scalar(name, plain)
    # str() of a NumPy scalar is its shortest form: float32(0.1) is 0.1, not 0.10000000149.
    if isinstance(plain, float) and type(value).__module__ == "numpy" and not value.ndim:
        cell = str(value)
    return kept, cell


def _item(name: str, value: Any) -> Any:
    """The one element of a scalar; NumPy's, torch's, jax's or tensorflow's, none imported."""
    try:
        if callable(getattr(value, "item", None)):
            plain = value.item()
            # NumPy's longest floats and integers have no Python type to become.
            return float(plain) if type(plain) is type(value) else plain
        if callable(getattr(value, "numpy", None)):  # tensorflow
            return value.numpy().item()
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise InvalidDataTypeError(name, type(value), _ALLOWED) from error
    return None


class _Series:
    """One metric's file: its descriptor while it is open, and whether rows carry a time.

    `size` is what it has when nobody else wrote to it.
    """

    __slots__ = ("fd", "folder", "path", "size", "timestamp")

    def __init__(self, path: Path, *, timestamp: bool) -> None:
        self.path = path
        self.folder = str(path.parent)
        self.timestamp = timestamp
        self.fd = -1
        self.size = 0


class MetricWriter:
    """Appends rows to the metrics' files of one run, the last used of them kept open."""

    def __init__(self, layout: Layout, losses: Losses) -> None:
        self._layout = layout
        self._losses = losses
        self._series: dict[str, _Series] = {}
        self._open: dict[str, _Series] = {}
        # When entries of the folders came or went last, as far as the files were looked at since.
        self._folders: dict[str, int | None] = {}
        self._disturbed_since: float | None = None
        # Whether an earlier run that is gone on with left files.
        self.resumed = False

    def __bool__(self) -> bool:
        """Whether any metric has a file."""
        return self.resumed or bool(self._series)

    def append(self, name: str, step: int, cell: str, *, timestamp: bool) -> None:
        """Adds one row. A write that fails is forgiven and leaves only whole lines behind."""
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
        row = line.encode()
        try:
            _write_whole(series.fd, row)
        except OSError as error:
            self._losses.note(series.path, error)
        else:
            series.size += len(row)

    def _path(self, name: str) -> Path:
        return self._layout.metrics_dir / f"{name}.tsv"

    def _opened(self, name: str, *, timestamp: bool) -> _Series:
        series = self._series.get(name)
        if series is None:
            series = _Series(self._path(name), timestamp=timestamp)
            series.fd = _create(series, name)
            series.size = os.fstat(series.fd).st_size
        else:
            try:
                series.fd = os.open(series.path, _APPEND)
            except FileNotFoundError:
                series.fd = _create(series, name)
            self._tell_of_altered([series])
        while len(self._open) >= _MAX_OPEN:
            oldest = self._open.pop(next(iter(self._open)))
            os.close(oldest.fd)
            oldest.fd = -1
        self._series[name] = series
        self._open[name] = series
        return series

    def prepare(self, name: str, *, timestamp: bool) -> None:
        """Makes a new metric's file; trouble of the disk shows when its first row is written.

        Raises InvalidNameError where the file system takes `name` for that of another metric.
        """
        if name not in self._open:
            with contextlib.suppress(OSError):
                self._opened(name, timestamp=timestamp)

    def keep_in_place(self, *, at_last: bool = False) -> None:
        """Puts a file back whose place was taken while the run goes on, with all its rows.

        The rows go to the file that was opened, which may have no name any more: `git stash` puts
        another in the place of a tracked one. A warning tells of a file that others wrote to, as
        DVC does when it puts changes aside. Costs a stat of each folder and of each open file.
        """
        opened = self._open.values()
        now = {folder: _time_of(folder) for folder in {series.folder for series in opened}}
        altered = [series for series in opened if os.fstat(series.fd).st_size != series.size]
        if now == self._folders and not altered and not at_last:
            return
        displaced = [series for series in opened if not _is_in_place(series)]
        if not self._layout.root.is_dir():
            displaced = []  # who removes it all wants none of it
        if not displaced and not altered:
            self._disturbed_since = None
        elif not at_last and not self._has_settled():
            return
        else:
            self._tell_of_altered(altered)
            self._put_back(displaced)
            self._disturbed_since = None
        self._folders = now

    def _put_back(self, displaced: list[_Series]) -> None:
        back = []
        for series in displaced:
            with self._losses.forgiven(series.path):
                _write_anew(series)
                back.append(series)
        if back:
            logger.warning(
                "%s replaced or removed while the run goes on, by `git stash` or the like; it is "
                "put back with the run's rows.",
                _named(back),
            )

    def _tell_of_altered(self, series: list[_Series]) -> None:
        altered = [one for one in series if os.fstat(one.fd).st_size != one.size]
        for one in altered:
            one.size = os.fstat(one.fd).st_size
        if altered:
            logger.warning(
                "%s written to by another program while the run goes on, so rows may be missing "
                "there. Where that was Git or DVC, which put changes aside, see `git stash list`.",
                _named(altered),
            )

    def _has_settled(self) -> bool:
        if self._disturbed_since is None:
            self._disturbed_since = time.monotonic()
        return time.monotonic() - self._disturbed_since > _SETTLED

    def close(self) -> None:
        """Closes the files; a later `append` opens them again."""
        while self._open:
            _, series = self._open.popitem()
            os.close(series.fd)
            series.fd = -1


def _time_of(folder: str) -> int | None:
    try:
        return os.stat(folder).st_mtime_ns  # noqa: PTH116 - each step
    except OSError:
        return None


def _is_in_place(series: _Series) -> bool:
    try:
        return os.path.samestat(series.path.stat(), os.fstat(series.fd))
    except OSError:
        return False


def _named(series: list[_Series]) -> str:
    more = f" and {len(series) - 1} more were" if len(series) > 1 else " was"
    return f"'{series[0].path}'{more}"


def _write_anew(series: _Series) -> None:
    with open(series.fd, "rb", closefd=False) as file:
        file.seek(0)
        rows = file.read()
    series.path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(series.path, rows)
    series.size = len(rows)
    fd = os.open(series.path, _APPEND)
    os.close(series.fd)
    series.fd = fd


def _create(series: _Series, name: str) -> int:
    """Opens the metric's file, new with its header, or an earlier run's to be gone on with."""
    path = series.path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        fd = os.open(path, _APPEND | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        check_spelling(path.parents[name.count("/")], f"{name}.tsv", "Metric")
        fd = os.open(path, _APPEND)
        with path.open("rb") as file:
            first = file.readline()
        if first:
            series.timestamp = first.startswith(b"timestamp\t")
            return fd
    _write_whole(fd, header(name, timestamp=series.timestamp))
    return fd


def header(name: str, *, timestamp: bool) -> bytes:
    """The first line of a metric's file."""
    column = name.rpartition("/")[2]
    columns = ["timestamp", "step"] if timestamp else ["step"]
    if column in columns:
        column = "value"
    columns.append(quoted(column) if column.startswith('"') else column)
    return ("\t".join(columns) + "\n").encode()


def _write_whole(fd: int, line: bytes) -> None:
    """Appends a line, or takes back the part of it that a full disk let through."""
    written = os.write(fd, line)
    if written != len(line):
        os.ftruncate(fd, os.fstat(fd).st_size - written)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
