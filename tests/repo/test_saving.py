"""A run is saved with its own files alone, whatever else goes on in the project."""

from __future__ import annotations

import json

import pytest
from situations import dvc_inside

from dvclive_dvc import Live


def entries_of(repo, commit, *paths):
    """Hashes of what a commit has at the paths, by name."""
    lines = repo.git("ls-tree", "-r", commit, *paths).splitlines()
    return {line.split("\t")[1]: line.split()[2] for line in lines}


@pytest.fixture
def two(repos):
    """A repository that tracks the results of two runs, each with an artifact, as they were."""
    repo = repos.make("git_and_dvc")
    for name in ("one", "two"):
        repo.write(f"{name}.pt", "first weights")
        with Live(f"runs/{name}", save_dvc_exp=False, report=None) as live:
            live.log_metric("loss", 0.5)
            live.log_artifact(f"{name}.pt")
    repo.write("runs/two/notes.txt", "kept")
    repo.git("add", "-A")
    repo.commit()
    return repo


def start(repo, name, **more):
    """A run that has logged something, its artifact included, and goes on."""
    live = Live(f"runs/{name}", exp_name=name, report=None, **more)
    live.log_metric("loss", 0.1)
    (repo.root / f"{name}.pt").unlink()
    repo.write(f"{name}.pt", f"weights of {name}")
    live.log_artifact(f"{name}.pt")
    live.make_summary()
    return live


def test_what_another_run_changed_so_far_is_not_in_the_experiment(two):
    other = start(two, "two")
    (two.root / "runs/two/notes.txt").unlink()
    two.write("two.pt", "half of the next weights")
    run = start(two, "one")
    run.end()
    saved = two.experiments()["one"]
    committed = entries_of(two, "HEAD", "runs/two", "two.pt.dvc")
    assert entries_of(two, saved, "runs/two", "two.pt.dvc") == committed, (
        "files of a run that goes on are in the experiment as they happened to be, or gone from it"
    )
    assert entries_of(two, saved, "one.pt.dvc") != entries_of(two, "HEAD", "one.pt.dvc"), (
        "the run's own artifact is not in its experiment"
    )
    other.end()
    saved = two.experiments()["two"]
    assert "runs/two/notes.txt" not in entries_of(two, saved, "runs"), (
        "what the run itself deleted is in its experiment"
    )
    assert entries_of(two, saved, "two.pt.dvc") != committed["two.pt.dvc"], (
        "the pointer of the run's own artifact stayed as it was"
    )


def test_the_users_staged_files_in_another_runs_folder_enter_as_they_are_staged(two):
    two.write("runs/two/notes.txt", "staged")
    two.git("add", "runs/two/notes.txt")
    other = start(two, "two")
    two.write("runs/two/notes.txt", "written by the other run")
    start(two, "one").end()
    other.end()
    assert two.git("show", f"{two.experiments()['one']}:runs/two/notes.txt") == "staged", (
        "the index is what the user gave to Git"
    )


def test_an_included_folder_around_another_runs_does_not_bring_that_along(repos):
    repo = repos.make("git_and_dvc")
    repo.write("runs/settings.yaml", "lr: 1\n")
    other = Live("runs/two", report=None)
    other.log_metric("loss", 1)
    with Live("runs/one", exp_name="one", report=None, include=["runs"]) as live:
        live.log_metric("loss", 1)
    other.end()
    files = entries_of(repo, repo.experiments()["one"], "runs")
    assert "runs/settings.yaml" in files, "an included file is missing"
    assert "runs/one/metrics.json" in files, "the run's own files are missing"
    assert not [name for name in files if name.startswith("runs/two/")], "another run's files"


def test_a_run_inside_the_folder_of_another_leaves_out_the_outer_ones_files(repos):
    repo = repos.make("git_and_dvc")
    for folder in ("runs", "runs/fold"):
        with Live(folder, save_dvc_exp=False, report=None) as live:
            live.log_metric("loss", 0.5)
    repo.git("add", "-A")
    repo.commit()
    outer, inner = (Live(one, exp_name=one[-4:], report=None) for one in ("runs", "runs/fold"))
    for live in (outer, inner):
        live.log_metric("loss", 0.1)
        live.make_summary()
    inner.end()
    outer.end()
    saved = repo.experiments()["fold"]
    (own, outers) = (
        entries_of(repo, saved, path) == entries_of(repo, "HEAD", path)
        for path in ("runs/fold/metrics.json", "runs/metrics.json")
    )
    assert not own, "the inner run's own results are not in its experiment"
    assert outers, "the inner run's experiment has results of the run around it"


def test_a_dvcyaml_of_other_runs_enters_without_their_entries(repos):
    repo = repos.make("git_and_dvc")
    repo.write("dvc.yaml", "vars:\n- a: 1   # mine\n")
    repo.commit()
    other = Live("runs/two", dvcyaml="dvc.yaml", report=None)
    other.log_metric("loss", 1)
    other.next_step()
    with Live("runs/one", exp_name="one", report=None) as live:
        live.log_metric("loss", 1)
    assert "runs/two/metrics.json" in (repo.root / "dvc.yaml").read_text()
    other.end()
    entered = repo.git("show", f"{repo.experiments()['one']}:dvc.yaml")
    assert "runs/two" not in entered, "DVC would look for files that the experiment lacks"
    _, head = json.loads(dvc_inside("exp", "show", "--json"))
    assert [one["revs"][0]["error"] for one in head["experiments"]] == [None, None]
