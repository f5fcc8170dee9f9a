"""What a run costs before its first value: rows about process start and `Live()`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .. import places
from ..measure import Bench, Contender, Result, Row

if TYPE_CHECKING:
    from pathlib import Path


def _since_start(who: str, function: str) -> Contender:
    def measure(bench: Bench, place: Path) -> Result:
        told = bench.child(who, function, place)
        places.forget_run(bench, place)
        return Result(told["now"] - told["begun"])

    return measure


def _live(who: str) -> Contender:
    def measure(bench: Bench, place: Path) -> Result:
        told = bench.child(who, "start", place)
        places.forget_run(bench, place)
        return Result(told["seconds"])

    return measure


def _live_in(small: str) -> Contender:
    def measure(bench: Bench, place: Path) -> Result:
        return _live("ours")(bench, place.parent / f"{place.name}-{small}")

    return measure


def _with_small_beside(bench: Bench, place: Path, *, files: int, experiments: int) -> None:
    small = place.parent / f"{place.name}-small"
    small.mkdir()
    for folder, many, runs in ((small, 100, 10), (place, files, experiments)):
        places.repository(bench, folder, files=many)
        places.experiments(bench, folder, runs)


ROWS = (
    Row(
        "process start to first metric",
        places.repository,
        ours=_since_start("ours", "first_metric"),
        public=_since_start("public", "first_metric"),
        limit=_since_start("limit", "import_pygit2"),
        limit_is='`python -c "import pygit2"`',
        goal="within 2 times",
        repeats=9,
    ),
    Row(
        "`Live()`, 100 tracked files, 10 experiments",
        partial(_with_small_beside, files=100, experiments=10),
        ours=_live("ours"),
        public=_live("public"),
        limit=_live_in("small"),
        limit_is="the same, once more",
        goal="flat",
        repeats=9,
    ),
    Row(
        "`Live()`, 50,000 tracked files",
        partial(_with_small_beside, files=50_000, experiments=10),
        ours=_live("ours"),
        public=_live("public"),
        limit=_live_in("small"),
        limit_is="the same with 100",
        goal="flat",
        full=True,
        slow=frozenset({"public"}),
    ),
    Row(
        "`Live()`, 10,000 experiments",
        partial(_with_small_beside, files=100, experiments=10_000),
        ours=_live("ours"),
        public=_live("public"),
        limit=_live_in("small"),
        limit_is="the same with 10",
        goal="flat",
        full=True,
        slow=frozenset({"public"}),
    ),
)
