"""What logging costs while a run goes on: rows about metrics, steps, images and the report."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

from .. import places
from ..measure import Bench, Contender, Result, Row
from ..work import NAMES

if TYPE_CHECKING:
    from pathlib import Path


def _work(who: str, function: str, *, note: str = "", **params) -> Contender:
    """Times the function in a place without earlier results; `note` is a format of its answer."""

    def measure(bench: Bench, place: Path) -> Result:
        shutil.rmtree(place / "dvclive", ignore_errors=True)
        told = bench.child(who, function, place, **params)
        return Result(told.get("seconds", told.get("megabytes")), note.format(**told))

    return measure


def _earlier_steps(place: Path, steps: int) -> None:
    """What a run that has done so many steps left, in the format both packages read."""
    folder = place / "dvclive"
    shutil.rmtree(folder, ignore_errors=True)
    summary: dict = {"train": {}, "step": steps - 1}
    for name in NAMES:
        file = folder / "plots" / "metrics" / f"{name}.tsv"
        file.parent.mkdir(parents=True, exist_ok=True)
        key = name.partition("/")[2]
        rows = "".join(f"{step}\t{0.5 + step}\n" for step in range(steps))
        file.write_text(f"step\t{key}\n{rows}")
        summary["train"][key] = 0.5 + steps - 1
    (folder / "metrics.json").write_text(json.dumps(summary, indent=4))


def _next_step(who: str, at: int, count: int) -> Contender:
    def measure(bench: Bench, place: Path) -> Result:
        _earlier_steps(place, at)
        return Result(bench.child(who, "next_step", place, at=at, count=count)["seconds"])

    return measure


def _replaced_json(at: int) -> Contender:
    def measure(bench: Bench, place: Path) -> Result:
        # With as much of the disk's cache waiting to be written: a rename has to wait for it.
        _earlier_steps(place, at)
        return Result(bench.child("limit", "replace_json", place, count=100)["seconds"])

    return measure


def _next_step_row(at: int, count: int, **more) -> Row:
    return Row(
        f"`next_step` with 10 metrics, at step {at:,}",
        places.repository,
        ours=_next_step("ours", at, count),
        public=_next_step("public", at, min(count, 10)),
        limit=_replaced_json(at),
        limit_is="`json.dump` of the summary + `os.replace`",
        goal="within 2 times and flat",
        **more,
    )


ROWS = (
    Row(
        "`log_metric`, one call",
        places.repository,
        ours=_work("ours", "log_metric", steps=1000),
        public=_work("public", "log_metric", steps=200),
        limit=_work("limit", "write_lines", steps=1000),
        limit_is="unbuffered `file.write` of the same line",
        goal="within 4 times",
        repeats=9,
    ),
    _next_step_row(10, 60, repeats=9),
    _next_step_row(1_000, 60, repeats=9),
    _next_step_row(100_000, 20, full=True, repeats=3, slow=frozenset({"public"})),
    Row(
        "1,000 steps × 10 metrics, HTML report on",
        places.repository,
        ours=_work("ours", "whole_run", steps=1000, report="html"),
        limit=_work("ours", "whole_run", steps=1000),
        limit_is="the same with the report off",
        goal="within 1.05 times",
    ),
    Row(
        "5,000 metrics a step, 100 steps",
        places.repository,
        ours=_work(
            "ours",
            "many_metrics",
            metrics=5000,
            steps=100,
            note="{files} open files; second half {second_half:.2f}× the first",
        ),
        goal="linear; open files under 300",
        full=True,
        repeats=1,
        warm_up=False,
    ),
    Row(
        "`log_image`, 1,000 of 50×50",
        places.repository,
        ours=_work("ours", "images", count=1000),
        public=_work("public", "images", count=1000),
        limit=_work("limit", "save_images", count=1000),
        limit_is="Pillow's own save",
        goal="within 1.1 times",
    ),
    Row(
        "memory that 99,000 further steps × 10 metrics take",
        places.repository,
        ours=_work("ours", "memory_of_steps", short=1_000, long=100_000),
        goal="within 20 MB",
        unit="MB",
        full=True,
        repeats=1,
        warm_up=False,
    ),
)
