"""Everyone who reads DVC reads a saved run, and a pipeline's, with no special case.

`saved_run` holds two runs of a script that logged one of everything, `pipeline_run` one
`dvc exp run`; both are made once a session, each test has a copy.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from situations import dvc, dvc_inside, git, run

PLOT_FILES = {
    "dvclive/plots/custom/spread.json",
    "dvclive/plots/sklearn/calibration.json",
    "dvclive/plots/sklearn/confusion_matrix.json",
    "dvclive/plots/sklearn/det.json",
    "dvclive/plots/sklearn/precision_recall.json",
    "dvclive/plots/sklearn/roc.json",
}


@pytest.fixture
def saved(repos):
    """Two saved runs; the workspace has the second one's files, none of them added to Git."""
    return repos.make("saved_run")


@pytest.fixture
def clean(saved):
    """The same, with the workspace as Git has it."""
    saved.git("clean", "-fdqx", "-e", ".dvc")
    return saved


@pytest.fixture
def pipeline(repos):
    return repos.make("pipeline_run")


def contents(folder):
    """Path -> bytes of every file, but for Git's, DVC's and the logger's own."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".git", ".dvc"} & set(path.relative_to(folder).parts)
    }


# -- exp show, list, diff ---------------------------------------------------------------------


def rows(repo):
    """Name -> data of the experiments in `dvc exp show --json`."""
    [_, baseline] = json.loads(dvc_inside("exp", "show", "--json", cwd=repo.cwd))
    return {one["name"]: one["revs"][0]["data"] for one in baseline["experiments"]}


def test_exp_show_has_metrics_params_and_outputs_as_json(saved):
    data = rows(saved)
    assert set(data) == {"first-run", "second-run"}
    assert data["first-run"]["metrics"]["dvclive/metrics.json"]["data"] == {
        "acc": 1 - 0.5 / 3,
        "nested": {"loss": 0.5 / 3},
        "final": 5.0,
        "step": 2,
    }
    assert data["second-run"]["params"]["dvclive/params.yaml"]["data"] == {
        "lr": 0.25,
        "model": {"kind": "mlp", "layers": [8, 4]},
    }
    assert set(data["first-run"]["outs"]) == {"model.pt", "predictions"}
    for one in data.values():
        assert all(
            not held.get("error") for kind in ("metrics", "params") for held in one[kind].values()
        )


def test_exp_show_has_them_as_csv_and_markdown(saved):
    table = list(csv.DictReader(io.StringIO(dvc_inside("exp", "show", "--csv"))))
    [row] = [row for row in table if row["Experiment"] == "second-run"]
    assert (row["lr"], row["final"], row["step"], row["model.kind"]) == ("0.25", "2.5", "2", "mlp")
    text = dvc_inside("exp", "show", "--md")
    [line] = [line for line in text.splitlines() if "first-run" in line]
    assert "0.5" in line
    assert text.startswith("| Experiment")


def test_exp_show_has_a_pipelines_run_beside_its_stage(pipeline):
    [data] = rows(pipeline).values()
    assert data["metrics"]["dvclive/metrics.json"]["data"]["summary_metric"] == 1.0
    assert data["params"]["params.yaml"]["data"] == {"epochs": 2, "lr": 0.5}
    assert set(data["outs"]) == {"model.pt"}


def test_exp_list_has_both(saved):
    assert sorted(dvc_inside("exp", "list", "--name-only").split()) == ["first-run", "second-run"]


def test_exp_diff_tells_what_changed(saved):
    changed = json.loads(dvc_inside("exp", "diff", "first-run", "second-run", "--json"))
    assert changed["metrics"]["dvclive/metrics.json"]["final"] == {
        "old": 5.0, "new": 2.5, "diff": -2.5,
    }  # fmt: skip
    lr = changed["params"]["dvclive/params.yaml"]["lr"]
    assert (lr["old"], lr["new"]) == (0.5, 0.25)


# -- metrics, params, plots -------------------------------------------------------------------


def test_metrics_show_and_diff(saved):
    values = json.loads(dvc_inside("metrics", "show", "--json"))
    assert values[""]["data"]["dvclive/metrics.json"]["data"]["final"] == 2.5
    changed = json.loads(dvc_inside("metrics", "diff", "first-run", "second-run", "--json"))
    assert changed["dvclive/metrics.json"]["nested.loss"]["new"] == 0.25 / 3


def test_params_diff(saved):
    changed = json.loads(dvc_inside("params", "diff", "first-run", "second-run", "--json"))
    lr = changed["dvclive/params.yaml"]["lr"]
    assert (lr["old"], lr["new"]) == (0.5, 0.25)


def plots(*command):
    """Name -> list of what DVC would draw, from `dvc plots ... --json`."""
    answer = json.loads(dvc_inside("plots", *command, "--json", "-o", "drawn"))
    assert not answer.get("errors"), answer["errors"]
    return answer["data"]


def points(plot):
    """The datapoints of each Vega plot DVC made."""
    return [one["content"]["data"]["values"] for one in plot]


def test_plots_show_draws_every_kind(saved):
    drawn = plots("show")
    images = {f"dvclive/plots/images/digits/{step}.png" for step in range(3)}
    images = {Path(name).as_posix() for name in images} | {"dvclive/plots/images/sample.png"}
    curves = {"dvclive/plots/metrics/acc.tsv", "dvclive/plots/metrics/nested/loss.tsv"}
    for name in PLOT_FILES | images | curves:
        [hit] = [key for key in drawn if name in key.replace(os.sep, "/")]
        assert drawn[hit], f"nothing is drawn of {name}"
        if name in images:
            assert drawn[hit][0]["type"] == "image"
            assert Path(drawn[hit][0]["url"].removeprefix("file://")).stat().st_size > 0
        else:
            assert points(drawn[hit])[0], f"{name} has no points"


def test_plots_show_has_each_value_at_its_step(saved):
    drawn = plots("show")
    [acc] = [plot for name, plot in drawn.items() if name.endswith("acc.tsv")]
    assert [(p["step"], p["acc"]) for p in points(acc)[0]] == [
        (str(step), str(1 - 0.25 / (step + 1))) for step in range(3)
    ]
    [matrix] = [plot for name, plot in drawn.items() if "confusion" in name]
    assert [(p["actual"], p["predicted"]) for p in points(matrix)[0]] == [
        ("0", "0"), ("0", "1"), ("1", "1"), ("1", "1"),
    ]  # fmt: skip


def test_plots_diff_sets_two_runs_side_by_side(saved):
    drawn = plots("diff", "first-run", "second-run")
    for name in PLOT_FILES | {"dvclive/plots/metrics/acc.tsv"}:
        [hit] = [key for key in drawn if name in key.replace(os.sep, "/")]
        revisions = {revision for one in drawn[hit] for revision in one["revisions"]}
        assert revisions == {"first-run", "second-run"}, name
    for step in range(3):
        [hit] = [key for key in drawn if key.replace(os.sep, "/").endswith(f"digits/{step}.png")]
        assert {one["revisions"][0] for one in drawn[hit]} == {"first-run", "second-run"}


def test_plots_of_a_pipelines_run_are_drawn(pipeline):
    drawn = plots("diff", "pipeline-run")
    assert any(name.endswith("nested/metric.tsv") for name in drawn)
    assert any(name.endswith("img.png") for name in drawn)


# -- apply, branch, rename, remove, save ------------------------------------------------------


def is_settled():
    """Whether DVC sees nothing to do in the workspace."""
    assert dvc_inside("status") == "Data and pipelines are up to date.\n"
    states = json.loads(dvc_inside("data", "status", "--json"))
    assert not states.get("uncommitted"), states
    return True


@pytest.mark.parametrize("workspace", ["clean", "saved"])
def test_apply_brings_back_every_byte(request, workspace):
    repo = request.getfixturevalue(workspace)
    before = contents(repo.root) if workspace == "saved" else None
    dvc_inside("exp", "apply", "first-run")
    assert Path("model.pt").read_text() == "weights 0.5"
    assert Path("predictions/two.csv").read_text() == "two,0.5\n"
    assert json.loads(Path("dvclive/metrics.json").read_text())["final"] == 5.0
    assert Path("dvclive/report.html").is_file()
    assert is_settled()
    dvc_inside("commit")
    assert is_settled()
    dvc_inside("exp", "apply", "second-run")
    assert is_settled()
    if before:
        assert contents(repo.root) == before, "the way there and back changed something"


def test_apply_of_a_pipelines_run_leaves_nothing_to_do(pipeline):
    git("clean", "-fdqx", "-e", ".dvc")
    dvc_inside("exp", "apply", "pipeline-run")
    assert Path("model.pt").read_text() == "weights of {'epochs': 2, 'lr': 0.5}"
    assert Path("dvclive/dvc.yaml").is_file()
    assert is_settled()
    dvc_inside("commit")
    assert is_settled()
    assert "didn't change" in dvc("repro")


def test_branch_makes_a_branch_of_it(clean):
    dvc_inside("exp", "branch", "first-run", "its-branch")
    clean.git("checkout", "-q", "its-branch")
    dvc_inside("checkout")
    assert Path("model.pt").read_text() == "weights 0.5"
    assert is_settled()


def test_rename_and_remove(saved):
    dvc_inside("exp", "rename", "first-run", "better-name")
    assert sorted(saved.experiments()) == ["better-name", "second-run"]
    dvc_inside("exp", "remove", "better-name")
    assert sorted(saved.experiments()) == ["second-run"]


def test_save_takes_the_applied_run_up(clean):
    dvc_inside("exp", "apply", "first-run")
    dvc_inside("exp", "save", "-n", "saved-by-dvc", "-I", "dvclive")
    data = rows(clean)
    kinds = ("metrics", "params")
    for kind in kinds:
        assert data["saved-by-dvc"][kind] == data["first-run"][kind]


# -- sharing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "name", "model"),
    [
        ("saved_run", "first-run", "weights 0.5"),
        ("pipeline_run", "pipeline-run", "weights of {'epochs': 2, 'lr': 0.5}"),
    ],
)
def test_push_and_pull_bring_the_same_bytes_to_a_fresh_clone(
    repos, tmp_path, situation, name, model
):
    repo = repos.make(situation)
    git("init", "-q", "--bare", tmp_path / "server.git", cwd=tmp_path)
    repo.git("remote", "add", "origin", str(tmp_path / "server.git"))
    repo.git("clean", "-fdqx", "-e", ".dvc")
    repo.git("push", "-q", "origin", "main")
    dvc_inside("exp", "push", "origin", name)

    git("clone", "-q", str(tmp_path / "server.git"), str(tmp_path / "clone"), cwd=tmp_path)
    os.chdir(tmp_path / "clone")
    dvc_inside("exp", "pull", "origin", name)
    dvc_inside("exp", "apply", name)
    dvc_inside("pull")
    assert Path("model.pt").read_text() == model
    assert is_settled()
    theirs = contents(tmp_path / "clone")
    os.chdir(repo.root)
    dvc_inside("exp", "apply", name)
    assert contents(repo.root) == theirs, "the clone has other bytes"


# -- artifacts --------------------------------------------------------------------------------


@pytest.fixture
def registered(clean):
    """The first run on its branch, its model registered as a version with `gto`."""
    dvc_inside("exp", "branch", "first-run", "its-branch")
    clean.git("checkout", "-q", "its-branch")
    run("gto", "register", "dvclive:digits-model", "--version", "v1.2.3", cwd=clean.root)
    clean.git("checkout", "-q", "main")
    return clean


def test_artifacts_get_brings_a_registered_version(registered, tmp_path):
    target = tmp_path / "fetched.pt"
    dvc_inside("artifacts", "get", ".", "dvclive:digits-model", "-o", str(target))
    assert target.read_text() == "weights 0.5"


def test_the_api_shows_a_registered_artifact(registered):
    from dvc.api import artifacts_show

    found = artifacts_show("dvclive:digits-model", repo=str(registered.root))
    assert found["path"] == "model.pt"
    assert found["rev"] == registered.git("rev-parse", "its-branch")


def test_gto_reads_the_repository(registered):
    shown = run("gto", "show", "--json", cwd=registered.root).stdout
    assert "v1.2.3" in shown
    run("gto", "show", "dvclive:digits-model", cwd=registered.root)
    assert "dvclive:digits-model" in run("gto", "show", cwd=registered.root).stdout
    run("gto", "doctor", cwd=registered.root)


def test_the_artifacts_entry_says_all_that_was_logged(saved):
    from dvc.repo import Repo

    with Repo(str(saved.root)) as repo:
        artifact = repo.artifacts.read()["dvclive/dvc.yaml"]["digits-model"]
    assert (artifact.type, artifact.desc) == ("model", "tells digits apart")
    assert artifact.labels == ["vision", "small"]
    assert artifact.meta == {"framework": "none", "size": [1, 2]}
    assert artifact.path == "../model.pt"


def test_the_api_shows_experiments(saved):
    from dvc.api import exp_show

    table = {row["Experiment"]: row for row in exp_show(repo=str(saved.root))}
    assert table["first-run"]["final"] == 5.0
    assert table["second-run"]["lr"] == 0.25


# -- what DVC collects ------------------------------------------------------------------------


def cached(repo):
    return {
        path.relative_to(repo.root / ".dvc" / "cache").as_posix()
        for path in (repo.root / ".dvc" / "cache" / "files").rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("situation", ["saved_run", "pipeline_run"])
def test_garbage_collection_keeps_what_experiments_hold_and_drops_the_rest(repos, situation):
    repo = repos.make(situation)
    repo.git("clean", "-fdqx", "-e", ".dvc")
    before = cached(repo)
    assert before, "there is nothing to collect"
    dvc_inside("gc", "-w", "--all-experiments", "-f")
    assert cached(repo) == before
    name = next(iter(repo.experiments()))
    dvc_inside("exp", "apply", name)
    shutil.rmtree("dvclive")
    repo.git("clean", "-fdqx", "-e", ".dvc")
    dvc_inside("gc", "-w", "-f")
    assert cached(repo) == set()
