"""What saving costs when a run ends: rows about `end()`."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from typing import TYPE_CHECKING

from .. import places
from ..measure import Bench, Contender, Result, Row

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES = 16


def _end(who: str, **arguments) -> Contender:
    """A whole `end()` of a process that logged one metric; what it imports for it counts."""

    def measure(bench: Bench, place: Path) -> Result:
        told = bench.child(who, "end", place, **arguments)
        saved = places.experiments_there(bench, place)
        places.forget_run(bench, place)
        return Result(told["seconds"], "" if saved == 1 else f"{saved} saved")

    return measure


def _stash_create(bench: Bench, place: Path) -> Result:
    return Result(bench.timed("git", "stash", "create", cwd=place))


def _stat_and_parse(bench: Bench, place: Path) -> Result:
    return Result(bench.child("limit", "stat_and_parse", place)["seconds"])


def _files_row(files: int, report: str | None = None, **more) -> Row:
    drawn = f"{report.upper()} report on" if report else "no report"
    return Row(
        f"`end()`, {files:,} tracked files, one dirty, {drawn}",
        partial(places.repository, files=files),
        ours=_end("ours", report=report),
        public=_end("public", report=report),
        limit=_stash_create,
        limit_is="`git stash create` there",
        goal="not slower from 5,000 on",
        **more,
    )


def _outputs_row(outputs: int, **more) -> Row:
    return Row(
        f"`end()`, {outputs:,} DVC outputs, none changed, no report",
        partial(places.repository, files=100, outputs=outputs),
        ours=_end("ours"),
        public=_end("public"),
        limit=_stat_and_parse if outputs else _stash_create,
        limit_is="stat each, parse each `.dvc` in C" if outputs else "`git stash create` there",
        goal="within 3 times",
        **more,
    )


def _is_measured(line: str) -> bool:
    # The public package has words of its own on stdout.
    return line.startswith("{")


def _ends(bench: Bench, place: Path, who: str, count: int) -> tuple[float, float, int]:
    """So many processes that end at one moment.

    Seconds until the last is done, those that all of them had of the processors, `git` included,
    and how many were saved.
    """
    folders = [f"run-{number}" for number in range(count)]
    processes = [
        bench.start(who, "end_on_signal", place, dir=folder, dvcyaml=True) for folder in folders
    ]
    for process in processes:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("no pipes")
        line = process.stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"not ready: {line}{process.communicate()}")
    begun = time.monotonic()
    for process in processes:
        if process.stdin is not None:
            process.stdin.write("\n")
            process.stdin.flush()
    lines = [next(filter(_is_measured, process.stdout or ()), "") for process in processes]
    for process in processes:
        process.communicate()
    told = [json.loads(line) for line in lines]
    saved = places.experiments_there(bench, place)
    places.forget_run(bench, place, *folders)
    return max(one["now"] for one in told) - begun, sum(one["cpu"] for one in told), saved


def _together(who: str) -> Contender:
    def measure(bench: Bench, place: Path) -> Result:
        seconds, _, saved = _ends(bench, place, who, PROCESSES)
        return Result(seconds, f"{saved} of {PROCESSES} saved")

    return measure


_SHARE = PROCESSES / (os.cpu_count() or 1)


def _one_alone(bench: Bench, place: Path) -> Result:
    return Result(_ends(bench, place, "ours", 1)[0] * _SHARE)


def _processors_of_one(bench: Bench, place: Path) -> Result:
    return Result(_ends(bench, place, "ours", 1)[1] * _SHARE)


def _together_row(**more) -> Row:
    return Row(
        f"{PROCESSES} processes that end together",
        partial(places.repository, files=1_000),
        ours=_together("ours"),
        repeats=5,
        warm_up=False,
        **more,
    )


def _memory(bench: Bench, place: Path) -> Result:
    told = bench.child("ours", "memory_of_end", place)
    places.forget_run(bench, place)
    return Result(told["megabytes"])


def _index_size(bench: Bench, place: Path) -> Result:
    return Result((place / ".git" / "index").stat().st_size / 1e6)


ROWS = (
    _files_row(100, repeats=9),
    _files_row(5_000),
    _files_row(5_000, report="html"),
    _files_row(50_000, full=True, slow=frozenset({"public"}), warm_up=False),
    _files_row(200_000, full=True, repeats=3, slow=frozenset({"public"}), warm_up=False),
    _outputs_row(0),
    _outputs_row(100),
    _outputs_row(500, full=True, repeats=3, slow=frozenset({"public"}), warm_up=False),
    _outputs_row(2_000, full=True, repeats=3, slow=frozenset({"public"}), warm_up=False),
    _together_row(
        public=_together("public"),
        limit=_one_alone,
        limit_is=f"one process × {PROCESSES} / cores",
        goal="all saved, within 1.5 times",
    ),
    # One alone is busy on more than one core, so the row above has less room than it says.
    _together_row(
        limit=_processors_of_one,
        limit_is=f"what one has of the processors × {PROCESSES} / cores",
        goal="within 1.5 times",
    ),
    Row(
        "memory of `end()`, 200,000 tracked files",
        partial(places.repository, files=200_000),
        ours=_memory,
        limit=_index_size,
        limit_is="the index file",
        goal="within 4 times",
        unit="MB",
        full=True,
        repeats=1,
        warm_up=False,
    ),
)
