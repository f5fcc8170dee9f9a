"""What a killed run had no time to write out: its summary and dvc.yaml, from what is on disk."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from .. import dvcyaml, files
from ..backend import Entries, Plot
from ..errors import RepositoryError
from ..layout import DVCYAML_NAME, Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from .record import Record

# More than any row of numbers takes; only a metric of very long strings has longer ones.
_TAIL = 1 << 16


def layout_of(record: Record) -> Layout:
    """Where the run's files are; its folder as one would write it at the top of the project."""
    given = os.path.relpath(record.dir, record.dvc_root)
    return Layout(
        given,
        record.dir,
        record.dvcyaml or record.dir / DVCYAML_NAME,
        dvcyaml_on=record.dvcyaml is not None,
    )


def catch_up(layout: Layout, step: int | None = None) -> None:
    """Brings metrics.json and the dvc.yaml up to the rows that were logged last.

    This is what `end()` would have written, and into the same files. What these hold beyond the
    rows stays. Half-written files of the dead process are removed. `step` is the last complete one,
    where the run could note that.
    """
    files.sweep(layout.root)
    # A file that cannot be written is saved as it is: better an old summary than no run.
    with contextlib.suppress(OSError):
        for _, path in _series(layout.metrics_dir):
            cut_torn_row(path)
    with contextlib.suppress(OSError):
        _write_summary(layout, step)
    if layout.dvcyaml_on:
        with contextlib.suppress(OSError, RepositoryError):
            dvcyaml.Writer(layout, resume=True).write(_entries(layout))


def _write_summary(layout: Layout, step: int | None) -> None:
    rows = {
        name: row
        for name, path in _series(layout.metrics_dir)
        if (row := last_row(path)) is not None
    }
    try:
        summary = json.loads(layout.metrics_file.read_bytes())
    except FileNotFoundError:
        summary = {}
    except ValueError:
        return
    if rows and isinstance(summary, dict):
        new = brought_up(summary, rows, step)
        files.replace_if_changed(layout.metrics_file, files.dump_json(new))


def _series(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*.tsv")):
        yield path.relative_to(folder).as_posix().removesuffix(".tsv"), path


def cut_torn_row(path: Path) -> None:
    """Takes away a last row without its end: its value may be half of one.

    The file's time stays that of the run's last sign of life (`edits.last_sign`).
    """
    with path.open("r+b") as file:
        written = os.fstat(file.fileno())
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - _TAIL)
        file.seek(start)
        tail = file.read()
        if tail and not tail.endswith(b"\n") and b"\n" in tail:
            file.truncate(start + tail.rindex(b"\n") + 1)
            os.utime(path, ns=(written.st_atime_ns, written.st_mtime_ns))


def last_row(path: Path) -> tuple[int, str] | None:
    """Step and value of the last whole row of a metric's file; None where there is none."""
    with path.open("rb") as file:
        header = file.readline().decode("utf-8", "surrogatepass").rstrip("\n").split("\t")
        start = file.tell()
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start, size - _TAIL))
        text = file.read().decode("utf-8", "replace")
    # A row without its end was cut by a crash of the machine: the value may be half of one.
    *whole, _ = text.split("\n")
    cells = whole[-1].split("\t") if whole else []
    if len(cells) != len(header) or "step" not in header:
        return None
    with contextlib.suppress(ValueError):
        return int(cells[header.index("step")]), cells[-1]
    return None


def brought_up(
    summary: Mapping[str, Any], rows: Mapping[str, tuple[int, str]], step: int | None = None
) -> dict[str, Any]:
    """The summary with the last row's value of each metric in place of an older one.

    Its step is the one given: on a full disk the file could not be written at the end. Without
    one it is the one the file has: a step that `next_step()` did not complete never began, for
    `end()` neither. Else it is the last row's, where steps were set by hand.
    """
    new: dict[str, Any] = json.loads(json.dumps(summary))
    for name, (_, cell) in rows.items():
        *folders, last = name.split("/")
        node = new
        for part in folders:
            node = node.setdefault(part, {}) if isinstance(node, dict) else None
        if not isinstance(node, dict) or isinstance(node.get(last), dict):
            continue
        # Equal as text: the summary knows better whether it is a number or a string.
        if last not in node or _cell(node[last]) != cell:
            node[last] = _value(cell)
    latest = max((at for at, _ in rows.values()), default=0)
    if step is not None:
        new["step"] = step
    elif "step" not in new and latest > 0:
        new["step"] = latest
    return new


def _cell(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)


def _value(cell: str) -> Any:
    if cell in {"True", "False"}:
        return cell == "True"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            value = kind(cell)
            # JSON has no NaN; the summary holds those by name, as the row does.
            return value if str(value) not in {"nan", "inf", "-inf"} else cell
    return cell


def _entries(layout: Layout) -> Entries:
    """The run's entries: those its dvc.yaml has, and what of the usual ones it lacks."""
    former = dvcyaml.read_entries(layout)
    plots = {plot.path: plot for plot in former.plots if plot.path.exists()}
    drawn: dict[Path, Plot] = {}
    if any(_series(layout.metrics_dir)):
        drawn[layout.metrics_dir] = Plot(layout.metrics_dir, {"x": "step"})
    if layout.images_dir.is_dir():
        drawn[layout.images_dir] = Plot(layout.images_dir)
    for folder in (layout.custom_dir, layout.sklearn_dir):
        for path in sorted(folder.rglob("*.json")):
            drawn[path] = Plot(path)
    return Entries(
        params=(layout.params_file,) if layout.params_file.exists() else (),
        metrics=(layout.metrics_file,) if layout.metrics_file.exists() else (),
        plots=tuple({**drawn, **plots}.values()),
        artifacts=former.artifacts,
    )
