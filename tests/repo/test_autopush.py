"""A saved experiment goes to the remotes where DVC is told to send it, and only there."""

from __future__ import annotations

import dataclasses
import logging
import subprocess
import sys

import pytest
from saved_runs import record_of, write_run
from situations import dvc_inside, git

from dvclive_dvc.backend import Outcome
from dvclive_dvc.repo import autopush, experiments


@pytest.fixture
def repo(repos, tmp_path):
    """A repository with a Git remote `origin` and a DVC remote, both bare folders."""
    made = repos.make("dataset")
    git("init", "-q", "--bare", "hub.git", cwd=tmp_path)
    made.git("remote", "add", "origin", str(tmp_path / "hub.git"))
    made.git("push", "-q", "origin", "main")
    dvc_inside("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    made.commit()
    made.git("push", "-q", "origin", "main")
    return made


def save(repo, **facts):
    record = record_of(repo, **facts)
    write_run(record.dir)
    commit = experiments.save(record, Outcome())
    autopush.push(record, commit)
    return commit


def pushed(tmp_path, hub="hub.git"):
    lines = git(
        "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps", cwd=tmp_path / hub
    )
    return {line.split()[0].rsplit("/", 1)[1]: line.split()[1] for line in lines.splitlines()}


@pytest.mark.parametrize("way", ["variable", "configuration"])
def test_the_experiment_and_its_data_go_to_the_remotes(repo, tmp_path, monkeypatch, way):
    if way == "variable":
        monkeypatch.setenv("DVC_EXP_AUTO_PUSH", "true")
    else:
        dvc_inside("config", "-q", "--local", "exp.auto_push", "true")
    commit = save(repo)
    assert pushed(tmp_path) == {"first-run": commit}
    assert list((tmp_path / "store").rglob("*.dir")), "the data of the experiment went along"


def test_nothing_is_pushed_unasked(repo, tmp_path):
    save(repo)
    assert pushed(tmp_path) == {}


@pytest.mark.parametrize("said", ["true  # every run", '"true" # every run', "true#every run"])
def test_a_comment_behind_the_switch_is_none_of_its_value(repo, tmp_path, said):
    local = repo.root / ".dvc" / "config.local"
    local.write_text(f"[exp]\n    auto_push = {said}\n")
    assert dvc_inside("config", "exp.auto_push").strip().lower() == "true", "as DVC reads it"
    commit = save(repo)
    assert pushed(tmp_path) == {"first-run": commit}


def test_the_variable_wins_over_the_configuration(repo, tmp_path, monkeypatch):
    dvc_inside("config", "-q", "exp.auto_push", "true")
    monkeypatch.setenv("DVC_EXP_AUTO_PUSH", "off")
    save(repo)
    assert pushed(tmp_path) == {}


@pytest.mark.parametrize("way", ["variable", "configuration"])
def test_the_remote_may_be_another(repo, tmp_path, monkeypatch, way):
    git("init", "-q", "--bare", "mine.git", cwd=tmp_path)
    repo.git("remote", "add", "mine", str(tmp_path / "mine.git"))
    dvc_inside("config", "-q", "--local", "exp.auto_push", "true")
    if way == "variable":
        monkeypatch.setenv("DVC_EXP_GIT_REMOTE", "mine")
    else:
        dvc_inside("config", "-q", "--local", "exp.git_remote", "mine")
    save(repo)
    assert pushed(tmp_path) == {}
    assert list(pushed(tmp_path, "mine.git")) == ["first-run"]


def test_an_experiment_with_a_suffix_is_pushed_under_its_own_name(repo, tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_EXP_AUTO_PUSH", "1")
    save(repo)
    commit = save(repo, id="another")
    assert pushed(tmp_path)["first-run-2"] == commit


def test_a_dead_remote_is_one_warning_with_the_command_that_pushes_later(
    repo, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("DVC_EXP_AUTO_PUSH", "1")
    (tmp_path / "hub.git").rename(tmp_path / "gone.git")
    before = repo.state("dvclive")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = save(repo)
    assert repo.experiments() == {"first-run": commit}
    (warning,) = [one for one in caplog.records if one.name == "dvclive_dvc"]
    assert "dvc exp push origin first-run" in warning.getMessage()
    assert repo.state("dvclive") == before


def test_dvc_is_not_imported_where_pushing_is_off(repo):
    record = record_of(repo)
    program = (
        "import sys\nfrom pathlib import Path\nfrom types import SimpleNamespace\n"
        "from dvclive_dvc.repo import autopush\n"
        "autopush.push(SimpleNamespace(dvc_root=Path(sys.argv[1])), 'x')\n"
        "print('dvc' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(record.dvc_root)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "False"
    assert dataclasses.is_dataclass(record)
