"""What tracking data costs: rows about `log_artifact`. DVC is imported before the clock starts."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import TYPE_CHECKING

from .. import places
from ..measure import Bench, Contender, Result, Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ARTIFACT = "artifact"


def _repository(bench: Bench, place: Path, *, make: Callable[[Path], None], pointers: int = 0):
    bench.run("git", "init", "-q", cwd=place)
    bench.dvc("init", "-q", cwd=place)
    places.pointer_files(place, pointers)
    bench.run("git", "add", "--all", cwd=place)
    bench.run("git", "commit", "-q", "-m", "start", cwd=place)
    make(place / ARTIFACT)


def _as_new(bench: Bench, place: Path) -> None:
    """As before the artifact was first tracked: no object, no pointer, no state of DVC's."""
    for folder in (place / ".dvc" / "cache", place / ".dvc" / "tmp", place / "dvclive"):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(bench.env["DVC_SITE_CACHE_DIR"], ignore_errors=True)
    for name in (f"{ARTIFACT}.dvc", "tiny.bin.dvc", ".gitignore"):
        (place / name).unlink(missing_ok=True)
    shutil.rmtree(place / "copies", ignore_errors=True)


def _log(who: str, bench: Bench, place: Path) -> Result:
    return Result(bench.child(who, "artifact", place, path=ARTIFACT)["seconds"])


def _first_time(who: str) -> Contender:
    def measure(bench: Bench, place: Path) -> Result:
        _as_new(bench, place)
        return _log(who, bench, place)

    return measure


def _again(who: str) -> Contender:
    def measure(bench: Bench, place: Path) -> Result:
        _as_new(bench, place)
        _log(who, bench, place)
        return _log(who, bench, place)

    return measure


def _changed(place: Path) -> list[str]:
    """Every hundredth file of the folder, with new content."""
    found = [p for p in sorted((place / ARTIFACT).rglob("*")) if p.is_file()][::100]
    for path in found:
        path.write_bytes(os.urandom(path.stat().st_size))
    return [str(path) for path in found]


def _one_percent(who: str) -> Contender:
    def measure(bench: Bench, place: Path) -> Result:
        _as_new(bench, place)
        _log(who, bench, place)
        _changed(place)
        return _log(who, bench, place)

    return measure


def _one_percent_limit(bench: Bench, place: Path) -> Result:
    stats = _limit("stat_each")(bench, place).value
    shutil.rmtree(place / "copies", ignore_errors=True)
    only = _changed(place)
    work = bench.child("limit", "read_md5_write", place, path=ARTIFACT, only=only)["seconds"]
    return Result(stats + work)


def _limit(function: str) -> Contender:
    def measure(bench: Bench, place: Path) -> Result:
        shutil.rmtree(place / "copies", ignore_errors=True)
        told = bench.child("limit", function, place, path=ARTIFACT)
        shutil.rmtree(place / "copies", ignore_errors=True)
        return Result(told["seconds"])

    return measure


def _rows_of(what: str, make: Callable[[Path], None], *, limit: str, limit_is: str, **more):
    """An artifact's first time, and the same again when nothing changed."""
    prepare = partial(_repository, make=make)
    yield Row(
        f"`log_artifact` of {what}, first time",
        prepare,
        ours=_first_time("ours"),
        public=_first_time("public"),
        limit=_limit(limit),
        limit_is=limit_is,
        goal="within 1.2 times",
        **more,
    )
    yield Row(
        f"`log_artifact` of {what}, unchanged",
        prepare,
        ours=_again("ours"),
        public=_again("public"),
        limit=_limit("stat_each"),
        limit_is="a stat of each file",
        goal="within 3 times",
        **more,
    )


def _folder_rows(count: int, size: int, what: str, **more):
    make = partial(places.folder_of_files, count=count, size=size)
    yield from _rows_of(
        what, make, limit="read_md5_write", limit_is="read, md5, write each, one core", **more
    )
    yield Row(
        f"`log_artifact` of {what}, 1 % changed",
        partial(_repository, make=make),
        ours=_one_percent("ours"),
        public=_one_percent("public"),
        limit=_one_percent_limit,
        limit_is="that work for the changed + a stat of each",
        goal="within 3 times",
        **more,
    )


def _one_small_file(path: Path) -> None:
    path.write_bytes(os.urandom(1000))


def _small_beside_none(bench: Bench, place: Path) -> Result:
    return _first_time("ours")(bench, place.parent / f"{place.name}-alone")


def _with_an_empty_one_beside(bench: Bench, place: Path, *, pointers: int) -> None:
    alone = place.parent / f"{place.name}-alone"
    alone.mkdir()
    _repository(bench, alone, make=_one_small_file)
    _repository(bench, place, make=_one_small_file, pointers=pointers)


def _small_row(pointers: int, **more) -> Row:
    return Row(
        f"`log_artifact` of 1 kB beside {pointers:,} other `.dvc` files",
        partial(_with_an_empty_one_beside, pointers=pointers),
        ours=_first_time("ours"),
        public=_first_time("public"),
        limit=_small_beside_none,
        limit_is="the same with none",
        goal="flat, under 10 ms",
        **more,
    )


def _memory(bench: Bench, place: Path) -> Result:
    _as_new(bench, place)
    return Result(bench.child("ours", "memory_of_artifact", place, path=ARTIFACT)["megabytes"])


ROWS = (
    *_rows_of(
        "100 MB",
        partial(places.big_file, megabytes=100),
        limit="read_md5_write",
        limit_is="one pass: read, md5, write",
    ),
    *_folder_rows(1_000, 1_000, "1,000 files of 1 kB"),
    *_rows_of(
        "1 GB",
        partial(places.big_file, megabytes=1000),
        limit="md5",
        limit_is="md5 of the file alone",
        full=True,
        repeats=3,
    ),
    *_folder_rows(1_000, 200_000, "1,000 files of 200 kB", full=True, repeats=3),
    *_folder_rows(10_000, 2_000, "10,000 files of 2 kB", full=True, repeats=3),
    *_folder_rows(
        100_000,
        100,
        "100,000 files of 100 B",
        full=True,
        repeats=2,
        slow=frozenset({"public"}),
        warm_up=False,
    ),
    _small_row(500),
    _small_row(5_000, full=True, slow=frozenset({"public"})),
    Row(
        "memory of `log_artifact`, 100,000 files of 100 B",
        partial(_repository, make=partial(places.folder_of_files, count=100_000, size=100)),
        ours=_memory,
        goal="under 150 MB",
        unit="MB",
        full=True,
        repeats=1,
        warm_up=False,
    ),
)
