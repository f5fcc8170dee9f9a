"""A run, as the rest of the package would hand it over for saving; for the tests here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dvclive_dvc.backend import Outcome
from dvclive_dvc.repo import experiments, git, merges, reflog
from dvclive_dvc.repo.record import Process, Record, Source

if TYPE_CHECKING:
    from pathlib import Path

    from situations import Situation


def write_run(folder: Path, value: float = 0.5) -> None:
    """Writes what a small run leaves in its folder."""
    (folder / "plots" / "metrics").mkdir(parents=True, exist_ok=True)
    (folder / "plots" / "metrics" / "loss.tsv").write_text(f"step\tloss\n0\t{value}\n")
    (folder / "metrics.json").write_text(f'{{"loss": {value}, "step": 0}}\n')
    (folder / "params.yaml").write_text("lr: 0.1\n")
    (folder / "dvc.yaml").write_text(
        "params:\n- params.yaml\nmetrics:\n- metrics.json\nplots:\n- plots/metrics:\n    x: step\n"
    )


def record_of(
    repo: Situation,
    *,
    dir: str = "dvclive",
    name: str = "first-run",
    include: tuple[str, ...] = (),
    sources: tuple[Source, ...] = (),
    pointers: tuple[str, ...] = (),
    **more,
) -> Record:
    """The record of a run that begins now in `repo`, seen from its working directory."""
    place = git.locate(repo.cwd, os.environ)
    assert place is not None
    assert place.head is not None
    folder = repo.cwd / dir
    dvc_root = next((p for p in (repo.cwd, *repo.cwd.parents) if (p / ".dvc").is_dir()), repo.root)
    facts = {
        "id": f"id-{name}",
        "git_root": place.root,
        "dvc_root": dvc_root,
        "dir": folder,
        "dvcyaml": folder / "dvc.yaml",
        "baseline": place.head,
        "name": name,
        "message": None,
        "script": "src/train.py",
        "include": tuple(repo.cwd / path for path in include),
        "commit_data": True,
        "sources": sources,
        "pointers": tuple(repo.cwd / path for path in pointers),
        "process": Process(os.getpid(), "here"),
        "started": "2026-01-02T03:04:05+00:00",
        "git": place.variables,
        "reflog": reflog.length(place.git_dir),
        "merging": merges.unconcluded(place.git_dir),
    }
    return Record(**{**facts, **more})


def files_of(repo: Situation, commit: str) -> list[str]:
    """The files of a commit."""
    return repo.git("ls-tree", "-r", "--name-only", commit).splitlines()


def saved(repo: Situation, **facts) -> str:
    """Writes a small run and saves it: the experiment's commit."""
    record = record_of(repo, **facts)
    write_run(record.dir)
    return experiments.save(record, Outcome())


def git_of(record: Record) -> git.Git:
    """The record's repository, as the package opens it."""
    return git.Git(record.git_root, record.git)
