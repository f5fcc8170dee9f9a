"""The place a run is in: read once, believed before the environment."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path

import pytest
from situations import dvc, git, python

from dvclive_dvc.backend import Mode
from dvclive_dvc.repo import backend
from dvclive_dvc.repo.context import detect

HASH = "0123456789abcdef0123456789abcdef01234567"


def executing(repo, baseline=None):
    """Leaves the reference that `dvc exp run` leaves while it is at work; gives its variables."""
    baseline = baseline or repo.git("rev-parse", "HEAD")
    repo.git("update-ref", "refs/exps/exec/EXEC_BASELINE", baseline)
    return {
        "DVC_ROOT": str(repo.cwd),
        "DVC_STAGE": "train",
        "DVC_EXP_BASELINE_REV": baseline,
        "DVC_EXP_NAME": "tidy-name",
    }


# -- without any pipeline --------------------------------------------------------------------


def test_outside_git_there_is_no_repository_and_nothing_is_loaded_to_learn_it(repos):
    made = repos.make("no_git")
    assert detect(environ={}) == detect(made.cwd, {}), "the working directory is the default"
    found = detect(environ={})
    assert (found.mode, found.git_root, found.dvc_root) == (Mode.NO_REPO, None, None)
    said = python(
        "import sys; from dvclive_dvc.repo import context; context.detect();"
        "print({'pygit2', 'dvc'} & set(sys.modules))"
    ).stdout
    assert said == "set()\n", f"a script outside any repository pays for {said}"


def test_a_repository_is_recognised_without_loading_dvc(repos):
    made = repos.make("git_and_dvc")
    found = detect(environ={})
    assert found.mode is Mode.STANDALONE
    assert found.git_root == found.dvc_root == found.watched_root == made.root.resolve()
    assert found.baseline == made.git("rev-parse", "HEAD")
    assert (found.stage, found.exp_name, found.notes) == (None, None, ())
    said = python(
        "import sys; from dvclive_dvc.repo import context; context.detect();"
        "print('dvc' in sys.modules)"
    ).stdout
    assert said == "False\n"


def test_a_context_cannot_be_changed(repos):
    repos.make("git_and_dvc")
    with pytest.raises(dataclasses.FrozenInstanceError):
        detect(environ={}).mode = Mode.REPRO


def test_a_repository_without_a_commit_has_no_baseline(repos):
    repos.make("git_without_commit")
    found = detect(environ={})
    assert (found.mode, found.baseline) == (Mode.STANDALONE, None)


def test_without_dvc_there_is_no_project(repos):
    made = repos.make("git_without_dvc")
    found = detect(environ={})
    assert (found.git_root, found.dvc_root) == (made.root.resolve(), None)


def test_a_project_in_a_subdirectory_has_its_own_root(repos):
    made = repos.make("dvc_subdirectory")
    (made.cwd / "deep").mkdir()
    found = detect(made.cwd / "deep", {})
    assert found.dvc_root == made.cwd.resolve()
    assert found.git_root == made.root.resolve()
    assert detect(made.root, {}).dvc_root is None, "the root above is no DVC project"


def test_a_project_around_another_repository_is_not_its_project(repos):
    made = repos.make("git_and_dvc")
    inner = made.root / "vendor" / "tool"
    inner.mkdir(parents=True)
    git("init", "-q", cwd=inner)
    assert detect(inner, {}).dvc_root is None


def test_a_folder_reached_through_a_link_is_the_folder(repos, tmp_path):
    made = repos.make("nested_folder")
    (tmp_path / "short").symlink_to(made.cwd)
    assert detect(tmp_path / "short", {}).git_root == made.root.resolve()


def test_git_variables_lead_to_the_repository_they_name(repos, tmp_path):
    made = repos.make("git_and_dvc")
    away = tmp_path / "away"
    away.mkdir()
    found = detect(away, {"GIT_DIR": str(made.root / ".git"), "GIT_WORK_TREE": str(made.root)})
    assert found.git_root == made.root.resolve()
    assert found.git["GIT_WORK_TREE"] == str(made.root.resolve())


def test_a_name_wished_for_in_the_environment_is_no_sign_of_a_pipeline(repos):
    repos.make("git_and_dvc")
    found = detect(environ={"DVC_EXP_NAME": "mine"})
    assert (found.mode, found.exp_name, found.notes) == (Mode.STANDALONE, "mine", ())


# -- as a stage, with the variables alone -----------------------------------------------------


def test_a_root_and_a_stage_are_a_reproduction(repos):
    made = repos.make("pipeline")
    found = detect(environ={"DVC_ROOT": str(made.root), "DVC_STAGE": "train"})
    assert (found.mode, found.stage, found.notes) == (Mode.REPRO, "train", ())
    assert found.baseline == made.git("rev-parse", "HEAD")


def test_a_baseline_that_dvc_is_working_on_is_an_experiment(repos):
    made = repos.make("pipeline")
    environ = executing(made)
    found = detect(environ=environ)
    assert found.mode is Mode.EXP_RUN
    assert found.baseline == environ["DVC_EXP_BASELINE_REV"]
    assert (found.stage, found.exp_name, found.notes) == ("train", "tidy-name", ())


def test_the_executors_reference_is_found_when_git_has_packed_it(repos):
    made = repos.make("pipeline")
    environ = executing(made)
    made.git("pack-refs", "--all")
    assert detect(environ=environ).mode is Mode.EXP_RUN


def test_a_pipeline_without_git_is_a_pipeline(repos):
    made = repos.make("no_git")
    dvc("init", "-q", "--no-scm")
    found = detect(environ={"DVC_ROOT": str(made.root), "DVC_STAGE": "train"})
    assert (found.mode, found.git_root) == (Mode.REPRO, None)
    assert found.watched_root == found.dvc_root == made.root.resolve()


def test_empty_variables_say_nothing(repos):
    repos.make("pipeline")
    empty = {"DVC_ROOT": "", "DVC_STAGE": "", "DVC_EXP_BASELINE_REV": "", "DVC_EXP_NAME": ""}
    assert detect(environ=empty) == detect(environ={})


# -- stale and half-set environments ----------------------------------------------------------


def one_note(found):
    assert len(found.notes) == 1, found.notes
    return found.notes[0]


@pytest.mark.parametrize("where", ["another", "missing", "relative"])
def test_a_root_left_over_from_elsewhere_is_said_and_not_believed(repos, where, tmp_path):
    another = repos.make("pipeline", at="another")
    here = repos.make("git_and_dvc")
    root = {"another": str(another.root), "missing": str(tmp_path / "gone"), "relative": "root"}
    environ = {
        "DVC_ROOT": root[where],
        "DVC_STAGE": "train",
        "DVC_EXP_BASELINE_REV": HASH,
        "DVC_EXP_NAME": "theirs",
    }
    found = detect(environ=environ)
    assert found.mode is Mode.STANDALONE
    assert found.baseline == here.git("rev-parse", "HEAD"), "the baseline is this repository's"
    assert (found.stage, found.exp_name) == (None, None), "stage and name are another run's"
    assert found.watched_root == here.root.resolve()
    assert "DVC_ROOT" in one_note(found)
    assert "unset DVC_ROOT DVC_STAGE DVC_EXP_BASELINE_REV DVC_EXP_NAME" in one_note(found)


def test_a_stale_root_outside_git_is_said_too(repos, tmp_path):
    another = repos.make("pipeline", at="another")
    found = detect(tmp_path, {"DVC_ROOT": str(another.root), "DVC_STAGE": "train"})
    assert found.mode is Mode.NO_REPO
    assert "DVC_ROOT" in one_note(found)


def test_a_run_outside_git_tells_of_a_stale_root_as_well(repos, tmp_path):
    another = repos.make("pipeline", at="another")
    why = backend.find(tmp_path, {"DVC_ROOT": str(another.root)})
    assert "DVC_ROOT" in why
    assert "No Git repository" in why


def test_a_root_above_another_repository_is_not_its_pipeline(repos):
    outer = repos.make("pipeline")
    inner = outer.root / "vendor" / "tool"
    inner.mkdir(parents=True)
    git("init", "-q", cwd=inner)
    found = detect(inner, {"DVC_ROOT": str(outer.root), "DVC_STAGE": "train"})
    assert found.mode is Mode.STANDALONE, "DVC of the outer repository would never see the run"
    assert "DVC_ROOT" in one_note(found)


def test_a_root_alone_is_taken_for_a_stage_and_said(repos):
    made = repos.make("pipeline")
    found = detect(environ={"DVC_ROOT": str(made.root)})
    assert (found.mode, found.stage) == (Mode.REPRO, None)
    assert "DVC_STAGE is not" in one_note(found)
    assert "`unset DVC_ROOT`" in one_note(found)


def test_a_stage_alone_is_said(repos):
    repos.make("pipeline")
    found = detect(environ={"DVC_STAGE": "train"})
    assert (found.mode, found.stage) == (Mode.STANDALONE, None)
    assert "DVC_ROOT is not" in one_note(found)


def test_a_baseline_alone_is_said_where_it_is_not_head(repos):
    made = repos.make("pipeline")
    found = detect(environ={"DVC_EXP_BASELINE_REV": HASH})
    assert (found.mode, found.baseline) == (Mode.STANDALONE, made.git("rev-parse", "HEAD"))
    assert "DVC_EXP_BASELINE_REV" in one_note(found)
    assert detect(environ={"DVC_EXP_BASELINE_REV": found.baseline}).notes == ()


@pytest.mark.parametrize("left", ["nothing", "another baseline"])
def test_an_experiment_that_is_over_is_said_and_the_run_taken_for_a_stage(repos, left):
    made = repos.make("pipeline")
    first = made.git("rev-parse", "HEAD")
    environ = executing(made)
    made.git("update-ref", "-d", "refs/exps/exec/EXEC_BASELINE")
    if left == "another baseline":
        made.write("train.py", "pass\n")
        executing(made, made.commit())
    found = detect(environ=environ)
    assert found.mode is Mode.REPRO
    assert first in one_note(found)


# -- as a stage, under real DVC ---------------------------------------------------------------


@pytest.fixture
def asked(repos, tmp_path, monkeypatch):
    """Runs a `dvc` command in the asking pipeline; gives the repository and its answers."""
    made = repos.make("asking_stage")
    monkeypatch.setenv("ANSWERS", str(tmp_path / "answers"))

    def ask(*command):
        dvc(*command, cwd=made.root)
        lines = (tmp_path / "answers").read_text().splitlines()
        return made, [json.loads(line) for line in lines]

    return ask


def test_dvc_repro_is_recognised(asked):
    made, [answer] = asked("repro")
    top = str(made.root.resolve())
    assert answer["mode"] == "REPRO"
    assert answer["stage"] == "ask"
    assert (answer["git_root"], answer["dvc_root"], answer["watched_root"]) == (top, top, top)
    assert answer["cwd"] == str(made.root.resolve() / "src"), "the stage has a `wdir`"
    assert answer["notes"] == []


def test_dvc_exp_run_in_the_workspace_is_recognised(asked):
    made, [answer] = asked("exp", "run", "-n", "tidy-name")
    assert answer["mode"] == "EXP_RUN"
    assert answer["baseline"] == made.git("rev-parse", "HEAD")
    assert (answer["stage"], answer["exp_name"]) == ("ask", "tidy-name")
    assert answer["dvc_root"] == answer["watched_root"] == str(made.root.resolve())
    assert answer["notes"] == []


def test_a_temporary_executor_is_recognised_and_its_parent_known(asked):
    made, [answer] = asked("exp", "run", "--temp", "-n", "tidy-name")
    parent = made.root.resolve()
    assert answer["mode"] == "EXP_RUN"
    assert Path(answer["DVC_ROOT"]) == parent, "this is what DVC says, and why it is not believed"
    assert answer["watched_root"] == str(parent)
    assert answer["git_root"] == answer["dvc_root"]
    assert Path(answer["dvc_root"]).is_relative_to(parent / ".dvc" / "tmp" / "exps")
    assert answer["baseline"] == made.git("rev-parse", "HEAD")
    assert answer["notes"] == []


def test_a_leftover_root_that_reaches_a_stage_is_said(asked, monkeypatch, tmp_path):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))
    _, [answer] = asked("repro")
    assert answer["mode"] == "STANDALONE", "dvc repro hands on the DVC_ROOT it was given"
    assert "DVC_ROOT" in answer["notes"][0]


def test_the_environment_of_the_process_is_the_default(repos, monkeypatch):
    made = repos.make("pipeline")
    monkeypatch.setenv("DVC_ROOT", str(made.root))
    monkeypatch.setenv("DVC_STAGE", "train")
    assert detect().mode is Mode.REPRO
    assert detect() == detect(Path.cwd(), os.environ)
