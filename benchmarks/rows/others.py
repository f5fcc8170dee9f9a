"""The same small run with other loggers that keep what they log on the own disk."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from .. import places
from ..measure import Bench, Contender, Result, Row

if TYPE_CHECKING:
    from pathlib import Path

STEPS = 1_000


def _run(who: str, function: str) -> Contender:
    """From the making of the run to its end; the import is not counted."""

    def measure(bench: Bench, place: Path) -> Result:
        for name in ("dvclive", "mlruns", "wandb", "tensorboard-logs"):
            shutil.rmtree(place / name, ignore_errors=True)
        (place / "mlflow.db").unlink(missing_ok=True)
        return Result(bench.child(who, function, place, steps=STEPS)["seconds"])

    return measure


ROWS = (
    Row(
        f"{STEPS:,} steps × 10 metrics, no report, not saved",
        places.repository,
        ours=_run("ours", "whole_run"),
        public=_run("public", "whole_run"),
        others={
            "MLflow (SQLite)": _run("public", "whole_run_mlflow"),
            "W&B, offline": _run("public", "whole_run_wandb"),
            "Trackio": _run("public", "whole_run_trackio"),
            "TensorBoard's writer": _run("public", "whole_run_tensorboard"),
        },
        repeats=3,
        warm_up=False,
    ),
)
