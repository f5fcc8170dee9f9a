"""Rows of the table, and how they are measured: contenders in turn, in one run, the median."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

WORK = Path(__file__).with_name("work.py")
PROJECT = Path(__file__).resolve().parents[1]
MODULES = {"ours": "dvclive_dvc", "public": "dvclive"}


@dataclass(frozen=True)
class Result:
    """One measurement; `note` is shown beside it."""

    value: float
    note: str = ""


@dataclass
class Bench:
    """The two interpreters and the folder all of it happens in.

    ours, public: interpreters with this package and with the public dvclive.
    base:         a scratch folder on the disk that is to be measured.
    """

    ours: Path
    public: Path
    base: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        home = self.base / "home"
        (home / "dvc").mkdir(parents=True)
        (home / ".gitconfig").write_text(
            "[user]\n    name = Bench\n    email = bench@example.com\n"
            "[init]\n    defaultBranch = main\n[gc]\n    auto = 0\n[maintenance]\n    auto = 0\n"
        )
        (home / "dvc" / "config").write_text(
            "[core]\n    analytics = false\n    check_update = false\n"
        )
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GIT_", "DVC", "XDG_", "PYTHON", "SLURM_", "OMPI_", "RANK"))
        }
        self.env = {
            **kept,
            "HOME": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "DVC_NO_ANALYTICS": "1",
            "DVC_SITE_CACHE_DIR": str(home / "site-cache"),
            "DVC_GLOBAL_CONFIG_DIR": str(home / "dvc"),
            "DVC_SYSTEM_CONFIG_DIR": str(home / "dvc-system"),
            "MPLCONFIGDIR": str(home / "matplotlib"),
            "WANDB_MODE": "offline",
            "WANDB_SILENT": "true",
            "WANDB_ERROR_REPORTING": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
            "NO_PROXY": "*",
        }

    def start(self, who: str, function: str, cwd: Path, **params) -> subprocess.Popen[str]:
        """Starts the work in a fresh interpreter; its pipes are open."""
        python = self.public if who == "public" else self.ours
        env = self.env if who == "public" else {**self.env, "PYTHONPATH": str(PROJECT)}
        given = json.dumps({"module": MODULES.get(who, ""), **params})
        return subprocess.Popen(
            [python, WORK, function, given], cwd=cwd, env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def child(self, who: str, function: str, cwd: Path, **params) -> dict:
        """Runs the work in a fresh interpreter and returns what it measured.

        Beside that, `begun` is when the process was started, on the clock that it measured with.
        """
        begun = time.monotonic()
        process = self.start(who, function, cwd, **params)
        out, said = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{who} {function} {params} failed:\n{said[-3000:]}")
        return {"begun": begun, **json.loads(out.strip().splitlines()[-1])}

    def run(self, *command: str | Path, cwd: Path, stdin: str | None = None) -> str:
        """Runs a program of the preparation or of a limit."""
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd, env=self.env, text=True, input=stdin,
            capture_output=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{command} failed: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout

    def dvc(self, *args: str | Path, cwd: Path) -> str:
        """Runs `dvc` of this package's interpreter."""
        return self.run(self.ours, "-m", "dvc", *args, cwd=cwd)

    def timed(self, *command: str | Path, cwd: Path) -> float:
        """How long a program takes, from start to end."""
        begun = time.perf_counter()
        self.run(*command, cwd=cwd)
        return time.perf_counter() - begun


Contender = Callable[[Bench, Path], Result]


@dataclass(frozen=True)
class Row:
    """One line of the table.

    prepare:  makes the place (an empty folder) once, before anything is timed.
    ours, public, limit, others: each measures once in that place; None where there is none.
    limit_is: what the limit does, in the table's words.
    goal:     what is promised, in the table's words.
    full:     only with BENCH=full.
    repeats:  how many rounds; `slow` contenders take part in the first round only.
    """

    name: str
    prepare: Callable[[Bench, Path], None]
    ours: Contender
    public: Contender | None = None
    limit: Contender | None = None
    limit_is: str = ""
    goal: str = ""
    others: Mapping[str, Contender] = field(default_factory=dict)
    unit: str = "s"
    full: bool = False
    repeats: int = 5
    warm_up: bool = True
    slow: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Measured:
    """A row's medians by contender; None where one could not be measured, the reason noted."""

    row: Row
    medians: Mapping[str, Result | None]
    rounds: int


def measure(row: Row, bench: Bench, place: Path, *, repeats: int | None = None) -> Measured:
    """Prepares the row's place and runs its contenders in turn; leaves nothing behind."""
    place.mkdir(parents=True)
    rounds = repeats or row.repeats
    contenders = {
        name: contender
        for name, contender in (
            ("limit", row.limit), ("public", row.public), ("ours", row.ours), *row.others.items(),
        )
        if contender is not None
    }  # fmt: skip
    results: dict[str, list[Result]] = {name: [] for name in contenders}
    failed: dict[str, str] = {}
    try:
        row.prepare(bench, place)
        for number in range(-1 if row.warm_up else 0, rounds):
            for name in _from(number, list(contenders)):
                contender = contenders[name]
                if name in failed or (name in row.slow and number != 0):
                    continue
                try:
                    result = contender(bench, place)
                except RuntimeError as error:
                    failed[name] = str(error)
                    print(f"{row.name}: {name}: {error}", file=sys.stderr)
                    continue
                if number >= 0:
                    results[name].append(result)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    medians = {name: _median(found) for name, found in results.items()}
    return Measured(row, medians, rounds)


def _from(number: int, names: list[str]) -> list[str]:
    # Who comes first changes: what one writes the disk may still be busy with in the next one's
    # time.
    first = number % len(names)
    return names[first:] + names[:first]


def _median(results: list[Result]) -> Result | None:
    if not results:
        return None
    value = statistics.median(one.value for one in results)
    notes = sorted({one.note for one in results if one.note})
    return Result(value, "; ".join(notes))
