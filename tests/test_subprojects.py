"""Several DVC projects in one Git repository: what belongs where, and what crosses a border."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from situations import dvc, dvc_inside

from dvclive_dvc import Live
from dvclive_dvc.errors import ArtifactError


@pytest.fixture
def monorepo(repos):
    """`models/digits`, where the test is, and `models/faces`, each a DVC project."""
    return repos.make("monorepo_pipeline")


def told(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def metrics_shown(folder, name):
    """The metrics files `dvc exp show` has of an experiment, seen from `folder`."""
    for baseline in json.loads(dvc_inside("exp", "show", "--json", cwd=folder)):
        for one in baseline["experiments"] or ():
            if one["name"] == name:
                return set(one["revs"][0]["data"]["metrics"])
    raise AssertionError(f"no experiment '{name}'")


def test_a_run_in_a_project_below_the_root_is_that_projects(monorepo, caplog):
    with Live(exp_name="mine") as live:
        live.log_metric("acc", 1)
        Path("model.bin").write_text("weights")
        live.log_artifact("model.bin")
    assert metrics_shown(monorepo.cwd, "mine") == {"dvclive/metrics.json"}
    assert (monorepo.cwd / ".dvc" / "cache").is_dir()
    assert told(caplog) == []


@pytest.mark.parametrize("path", ["../faces/model.bin", "../../model.bin"])
def test_an_artifact_across_the_border_is_refused_before_anything_is_written(monorepo, path):
    Path(path).write_text("weights")
    before = monorepo.state("models/digits/dvclive")
    live = Live(save_dvc_exp=False)
    with pytest.raises(ArtifactError) as caught:
        live.log_artifact(path)
    live.end()
    assert monorepo.state("models/digits/dvclive") == before
    assert str(monorepo.cwd.resolve()) in str(caught.value), "which project the run belongs to"
    assert "copy=True" in str(caught.value), "what to do instead"
    if "faces" in path:
        assert "another DVC project" in str(caught.value)


def test_a_copy_of_it_is_tracked_in_the_runs_own_project(monorepo):
    Path("../faces/model.bin").write_text("weights")
    with Live(exp_name="mine") as live:
        live.log_artifact("../faces/model.bin", copy=True)
    assert Path("dvclive/artifacts/model.bin.dvc").is_file()
    assert not Path("../faces/model.bin.dvc").exists()
    Path("dvclive/artifacts/model.bin").unlink()
    dvc_inside("checkout", "dvclive/artifacts/model.bin.dvc")
    assert Path("dvclive/artifacts/model.bin").read_text() == "weights"


def test_an_artifact_in_a_project_inside_this_one_is_refused(repos):
    repo = repos.make("git_and_dvc")
    Path("inner").mkdir()
    dvc("init", "-q", "--subdir", cwd=Path("inner"))
    repo.commit()
    Path("inner/model.bin").write_text("weights")
    live = Live(save_dvc_exp=False)
    with pytest.raises(ArtifactError, match="another DVC project"):
        live.log_artifact("inner/model.bin")
    live.end()
    assert not Path("inner/model.bin.dvc").exists(), "DVC of the outer project would never see it"


def test_a_run_started_above_the_projects_belongs_to_its_folders_project(monorepo, caplog):
    os.chdir(monorepo.root)
    with Live("models/digits/dvclive", exp_name="mine") as live:
        live.log_metric("acc", 1)
        Path("models/digits/model.bin").write_text("weights")
        live.log_artifact("models/digits/model.bin")
        running = monorepo.cwd / ".dvc" / "tmp" / "exps" / "run" / "DVCLIVE_ONLY"
        assert running.is_file(), "it is that project's editor that watches"
    assert not (monorepo.root / ".dvc").exists(), "the repository was made a DVC project"
    assert metrics_shown(monorepo.cwd, "mine") == {"dvclive/metrics.json"}
    assert told(caplog) == []
    Path("models/digits/model.bin").unlink()
    dvc_inside("checkout", "model.bin.dvc", cwd=monorepo.cwd)
    assert Path("models/digits/model.bin").read_text() == "weights"


def test_a_run_that_makes_a_project_above_others_names_them(monorepo, caplog):
    os.chdir(monorepo.root)
    with Live(exp_name="mine") as live:
        live.log_metric("acc", 1)
    [warning] = told(caplog)
    assert "'models/digits', 'models/faces'" in warning, "the projects are not named"
    assert "Live(dir='models/digits/dvclive')" in warning, "it does not say what to do"
    assert (monorepo.root / ".dvc").is_dir(), "the run was to be saved in a project of its own"
    with Live(exp_name="again") as live:
        live.log_metric("acc", 1)
    assert told(caplog) == [warning], "it is said again where nothing is initialised"


def test_an_index_that_cannot_be_read_keeps_no_run_from_starting(repos):
    repo = repos.make("git_without_dvc")
    (repo.root / ".git" / "index").write_bytes(b"junk")
    with Live(report=None) as live:
        live.log_metric("acc", 1)
    assert (repo.root / ".dvc").is_dir(), "DVC was not initialised"
    assert Path("dvclive/metrics.json").is_file(), "the run did not take place"


def test_a_folder_outside_the_project_but_in_git_is_saved_and_warned_of(monorepo, caplog):
    with Live("../../results", exp_name="mine") as live:
        live.log_metric("acc", 1)
    [warning] = told(caplog)
    assert "outside the DVC project" in warning
    assert monorepo.git("show", f"{monorepo.experiments()['mine']}:results/metrics.json")
    assert metrics_shown(monorepo.cwd, "mine") == set(), "which is what the warning says"


def test_a_folder_in_another_project_is_saved_and_warned_of(monorepo, caplog):
    with Live("../faces/dvclive", exp_name="mine") as live:
        live.log_metric("acc", 1)
    [warning] = told(caplog)
    assert "another DVC project" in warning
    assert metrics_shown(monorepo.cwd, "mine") == set()
    assert metrics_shown(monorepo.root / "models" / "faces", "mine") == {"dvclive/metrics.json"}


@pytest.mark.parametrize(
    ("path", "reader"), [("../../dvc.yaml", "no project"), ("../faces/dvc.yaml", "models/faces'")]
)
def test_a_dvcyaml_outside_the_project_is_written_and_warned_of(monorepo, caplog, path, reader):
    with Live(dvcyaml=path, exp_name="mine") as live:
        live.log_metric("acc", 1)
    [warning] = told(caplog)
    assert f"'{path}'" in warning, "the warning does not name the file as it was given"
    assert reader in warning, "the warning does not say who reads the file"
    assert str(monorepo.cwd.resolve()) in warning, "it does not say where the run belongs"
    assert Path(path).is_file(), "the file that was asked for is not written"
    assert metrics_shown(monorepo.cwd, "mine") == set(), "which is what the warning says"
    shown = metrics_shown(monorepo.root / "models" / "faces", "mine")
    assert bool(shown) == ("faces" in path), "the project that the warning names does not read it"


@pytest.mark.parametrize("path", ["dvc.yaml", "results/dvc.yaml", "dvclive/dvc.yaml"])
def test_a_dvcyaml_inside_the_project_is_not_warned_of(monorepo, caplog, path):
    with Live(dvcyaml=path, exp_name="mine") as live:
        live.log_metric("acc", 1)
    assert told(caplog) == [], "a dvc.yaml that DVC reads was warned of"


@pytest.mark.parametrize("link", [False, True])
def test_a_folder_outside_of_git_is_warned_of_and_logged_all_the_same(
    monorepo, tmp_path, caplog, link
):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    if link:
        Path("dvclive").symlink_to(folder)
    with Live("dvclive" if link else folder, exp_name="mine") as live:
        [warning] = told(caplog)
        assert "outside of the Git repository" in warning, "the warning comes too late"
        assert ("'dvclive' leads to" in warning) == link, "it does not say how"
        live.log_metric("acc", 1)
    assert (folder / "metrics.json").is_file()
    assert "mine" in monorepo.experiments(), "the code that ran is saved"
    assert told(caplog) == [warning], "the same is told again at the end"
