"""A saved experiment goes to the remotes where DVC is told to send it, and only there."""

from __future__ import annotations

import dataclasses
import logging
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from saved_runs import record_of, write_run
from situations import dvc_inside, git, run

from dvclive_dvc.backend import Outcome
from dvclive_dvc.repo import autopush, experiments, journal, recovery
from dvclive_dvc.repo.record import Process


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


@pytest.mark.parametrize("given", ["../relative", "inside"])
@pytest.mark.parametrize("level", ["--project", "--local"])
def test_the_data_goes_to_a_relative_remote_where_dvc_push_puts_it(
    repo, tmp_path, monkeypatch, given, level
):
    monkeypatch.setenv("DVC_EXP_AUTO_PUSH", "1")
    dvc_inside("remote", "add", "-q", "-d", level, "near", given)
    commit = save(repo)
    store = repo.root / given
    assert pushed(tmp_path) == {"first-run": commit}
    assert list(store.rglob("*.dir")), "the data of the experiment is not in the remote"
    assert not (tmp_path / "store").exists(), "the data went to another remote"
    before = sorted(store.rglob("*"))
    dvc_inside("push", "-q")
    assert sorted(store.rglob("*")) == before, "`dvc push` has more to push, or another place"


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


def test_a_training_without_stderr_is_saved_and_pushed(repo, tmp_path):
    program = (
        "log = open('train.log', 'w')\n"  # takes the descriptor of stderr, for no other process
        "from dvclive_dvc import Live\n"
        "with Live(exp_name='first-run', report=None) as live:\n"
        "    live.log_metric('loss', 1)\n"
    )
    run(
        *("sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, program),
        cwd=repo.root,
        env={"DVC_EXP_AUTO_PUSH": "1"},
    )
    assert list(repo.experiments()) == ["first-run"], "the run is not saved"
    assert pushed(tmp_path) == repo.experiments(), "the experiment is not on the remote"


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


# -- remotes that fail in other ways ---------------------------------------------------------------


@pytest.fixture
def silent(repo, monkeypatch):
    """Makes `origin` a server that takes every connection and never says a word."""
    monkeypatch.setenv("DVC_EXP_AUTO_PUSH", "1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        repo.git("remote", "set-url", "origin", f"http://127.0.0.1:{port}/hub.git")
        yield server


def test_a_remote_that_never_answers_is_given_up(repo, silent, monkeypatch, caplog):
    monkeypatch.setattr(autopush, "_SILENCE", 0.5)
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = save(repo)
    assert time.monotonic() - began < 30, "a silent remote holds the end of the run"
    assert repo.experiments() == {"first-run": commit}, "the run is not saved"
    assert "dvc exp push origin first-run" in caplog.text, "nobody says how to push it later"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_does_not_wait_for_a_remote(repo, silent, number):
    program = (
        "from dvclive_dvc import Live\n"
        "live = Live(exp_name='first-run', report=None)\n"
        "live.log_metric('m', 1)\n"
        "live.end()\n"
        "print('went on')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    connection, _ = silent.accept()  # so it is pushing
    with connection:
        began = time.monotonic()
        process.send_signal(number)
        out, told = process.communicate(timeout=50)
        took = time.monotonic() - began
        connection.settimeout(10)
        while connection.recv(4096):
            pass  # until whoever pushed is gone
    assert took < 30, "the signal waited for the remote"
    assert process.returncode == -number, "the signal did not end the program"
    assert "went on" not in out
    assert "dvc exp push origin first-run" in told, "nobody says how to push it later"
    assert list(repo.experiments()) == ["first-run"], "the run is not saved"
    assert not journal.read_all(repo.root)[0], "a run that is saved waits to be saved"


def test_data_that_cannot_be_pushed_is_told_apart_from_the_commit(
    repo, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("DVC_EXP_AUTO_PUSH", "1")
    (tmp_path / "store").write_text("a file where the storage should be")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = save(repo)
    assert pushed(tmp_path) == {"first-run": commit}
    (warning,) = [one.getMessage() for one in caplog.records if one.name == "dvclive_dvc"]
    assert "only its commit is on 'origin', its data is not" in warning, "what failed is unclear"
    assert "dvc exp push origin first-run" in warning


def test_a_name_that_another_experiment_has_on_the_remote_is_told(repo, tmp_path, caplog):
    first = save(repo)
    dvc_inside("exp", "push", "-q", "origin", "first-run")
    dvc_inside("exp", "remove", "-q", "first-run")
    dvc_inside("config", "-q", "--local", "exp.auto_push", "true")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        save(repo, id="another")
    assert pushed(tmp_path) == {"first-run": first}, "what others pushed is overwritten"
    assert "another experiment of that name is there" in caplog.text, "nobody says it is not pushed"


def test_a_recovered_run_is_pushed_and_holds_no_other_run_off_meanwhile(repo, silent, caplog):
    record = record_of(repo, process=Process(1, "elsewhere"))
    write_run(record.dir)
    journal.keep(record, Outcome())
    recovering = threading.Thread(target=recovery.recover, args=(repo.root,))
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        recovering.start()
        connection, _ = silent.accept()  # so it is pushing
        with connection, journal.held(repo.root):
            assert recovering.is_alive(), "who begins a run waits for another's remote"
            silent.close()
        recovering.join()
    assert list(repo.experiments()) == ["first-run"], "the run is not saved"
    assert "dvc exp push origin first-run" in caplog.text, "nobody says that it is not pushed"
