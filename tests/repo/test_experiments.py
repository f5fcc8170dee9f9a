"""A run becomes an experiment: named, whole, and with nothing of the user's touched."""

from __future__ import annotations

import dvc.api
from saved_runs import record_of, write_run

from dvclive_dvc.backend import Outcome
from dvclive_dvc.repo import experiments


def test_a_run_becomes_an_experiment_that_dvc_reads(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    repo.write("src/train.py", "EPOCHS = 7\n")
    repo.write("notes.txt", "mine alone")
    write_run(repo.root / "dvclive")
    before = repo.state()

    commit = experiments.save(record, Outcome())

    assert repo.state() == before
    assert repo.experiments() == {"first-run": commit}
    assert repo.git("show", f"{commit}:src/train.py") == "EPOCHS = 7"
    files = repo.git("ls-tree", "-r", "--name-only", commit).splitlines()
    assert "dvclive/plots/metrics/loss.tsv" in files
    assert "notes.txt" not in files, "an untracked file of the user's must not enter"
    assert repo.git("rev-parse", f"{commit}^") == record.baseline
    repo.git("fsck", "--strict")
    shown = {row["Experiment"]: row for row in dvc.api.exp_show()}
    assert shown["first-run"]["loss"] == 0.5
    assert shown["first-run"]["rev"] == commit[:7]


def test_a_name_taken_meanwhile_gets_a_suffix(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    write_run(repo.root / "dvclive")

    for _ in range(3):
        experiments.save(record, Outcome())

    assert sorted(repo.experiments()) == ["first-run", "first-run-2", "first-run-3"]
