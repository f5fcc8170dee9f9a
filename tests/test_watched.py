"""A run as an editor sees it: the signal files from the outside."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from situations import dvc_inside

from dvclive_dvc import Live

ONLY = Path(".dvc/tmp/exps/run/DVCLIVE_ONLY")
STEP = Path(".dvc/tmp/exps/run/DVCLIVE_STEP_COMPLETED")


def test_a_saved_run_is_announced_from_its_start_to_its_end(repos):
    repos.make("git_and_dvc")
    live = Live(exp_name="tidy-name")
    assert json.loads(ONLY.read_bytes()) == {"exp_name": "tidy-name", "pid": os.getpid()}
    assert not STEP.exists()
    for step in range(12):
        live.next_step()
        assert json.loads(STEP.read_bytes()) == {"pid": os.getpid(), "step": step}
    live.end()
    assert not ONLY.exists()
    assert not STEP.exists()


def test_a_run_that_is_not_saved_tells_its_steps_only(repos):
    repos.make("git_and_dvc")
    live = Live(save_dvc_exp=False)
    live.next_step()
    assert not ONLY.exists()
    assert json.loads(STEP.read_bytes())["step"] == 0
    live.end()
    assert not STEP.exists()


def test_a_run_that_makes_the_project_is_announced_in_it(repos):
    repos.make("git_without_dvc")
    live = Live()
    assert ONLY.exists()
    live.end()
    assert not ONLY.exists()


def test_a_run_that_fails_takes_its_signals_away(repos):
    repos.make("git_and_dvc")

    def train():
        with Live() as live:
            live.next_step()
            _ = live.step // 0

    with pytest.raises(ZeroDivisionError):
        train()
    assert not ONLY.exists()
    assert not STEP.exists()


def test_steps_are_told_to_the_project_that_dvc_root_names(tmp_path, monkeypatch):
    # The way a queued experiment runs: in a folder of its own inside the parent's `.dvc`.
    inside = tmp_path / ".dvc" / "tmp" / "exps" / "tmp1234"
    (inside / ".dvc").mkdir(parents=True)
    monkeypatch.chdir(inside)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    live = Live()
    live.next_step()
    assert json.loads((tmp_path / STEP).read_bytes()) == {"pid": os.getpid(), "step": 0}
    live.end()
    assert not (tmp_path / STEP).exists()


def test_where_there_is_no_project_nothing_is_written(tmp_path):
    live = Live(report=None)
    live.next_step()
    assert not (tmp_path / ".dvc").exists()
    live.end()


def test_a_project_without_git_is_watched_and_caches_artifacts(repos, caplog):
    repos.make("dvc_without_git")
    live = Live()
    live.log_metric("acc", 1)
    live.next_step()
    assert json.loads(STEP.read_bytes())["step"] == 0
    Path("model.bin").write_text("weights")
    live.log_artifact("model.bin")
    live.end()
    warnings = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len(warnings) == 1, warnings
    assert "Git" in warnings[0], "the run cannot be saved, and why"
    assert not Path(".gitignore").exists(), "there is no Git that would read it"
    Path("model.bin").unlink()
    dvc_inside("checkout")
    assert Path("model.bin").read_text() == "weights"
