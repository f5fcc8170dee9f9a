"""The commit says how the run ended and by whom; its reference takes nobody else's name."""

from __future__ import annotations

import logging
import re
import socket
import subprocess
import sys
import time

import pytest
from dvc.repo.experiments.refs import ExpRefInfo
from saved_runs import record_of, saved, write_run

from dvclive_dvc.backend import Outcome, Status
from dvclive_dvc.repo import experiments
from dvclive_dvc.repo.record import reference


def test_the_message_tells_how_the_run_ended_and_no_secret(repos):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    outcome = Outcome(
        Status.FAILED, "builtins.ValueError", "src/train.py:12", exit_code=3, signal="SIGTERM"
    )
    commit = experiments.save(record, outcome)
    text = repo.git("log", "-1", "--format=%B", commit)
    assert re.match(r"dvc: commit experiment [0-9a-f]{40}\n\n", text)
    trailers = repo.git("log", "-1", "--format=%(trailers:only)", commit).splitlines()
    assert [line for line in trailers if line] == [
        "Dvclive-Status: failed",
        "Dvclive-Run: id-first-run",
        "Dvclive-Script: src/train.py",
        "Dvclive-Exception: builtins.ValueError",
        "Dvclive-Raised-At: src/train.py:12",
        "Dvclive-Exit-Code: 3",
        "Dvclive-Signal: SIGTERM",
    ]


def test_the_users_message_comes_first(repos):
    repo = repos.make("git_and_dvc")
    commit = experiments.save(
        record_of(repo, message="Try a wider net\n\nIt may\0 help"), Outcome()
    )
    text = repo.git("log", "-1", "--format=%B", commit)
    assert text.startswith("Try a wider net\n\nIt may help\n\nDvclive-Status: completed\n")


def test_the_author_is_the_one_git_would_take(repos, monkeypatch):
    repo = repos.make("git_and_dvc")
    commit = saved(repo)
    shown = "%an <%ae> %aI|%cn <%ce> %cI"
    repo.git("commit", "-q", "--allow-empty", "-m", "by git")
    assert repo.git("log", "-1", f"--format={shown}", commit) == repo.git(
        "log", "-1", f"--format={shown}"
    )
    repo.git("config", "user.name", "Grace <Hopper>")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "A Robot")
    monkeypatch.setenv("GIT_AUTHOR_DATE", "1500000000 -0730")
    commit = saved(repo, name="second")
    assert repo.git("log", "-1", "--format=%an|%cn|%ad", "--date=raw", commit) == (
        "Grace Hopper|A Robot|1500000000 -0730"
    )


@pytest.mark.parametrize("reader", ["libgit2", "git", "libgit2 alone"])
def test_a_name_that_is_no_utf8_is_the_authors_as_git_would_have_it(repos, monkeypatch, reader):
    repo = repos.make("git_and_dvc")
    with (repo.root / ".git" / "config").open("ab") as file:
        file.write(b'[user]\n\tname = J\xf6rg\n[remote "z\xfcrich"]\n\turl = /nowhere\n')
    if reader == "git":
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.quotePath")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    record = record_of(repo)
    with monkeypatch.context() as patch:
        if reader == "libgit2 alone":
            patch.setenv("PATH", "/nowhere")
        commit = experiments.save(record, Outcome())
    repo.git("commit", "-q", "--allow-empty", "-m", "by git")
    by_git, ours = (
        subprocess.run(
            ["git", "cat-file", "commit", one], cwd=repo.root, check=True, capture_output=True
        ).stdout.splitlines()[2:4]
        for one in ("HEAD", commit)
    )
    assert ours == by_git
    assert ours[0].startswith("author Jörg <".encode()), "the name is not the one given"


@pytest.mark.parametrize(
    "given",
    [
        "Thu, 07 Apr 2005 22:13:13 +0200",
        "2005-04-07T22:13:13+0200",
        "2005-04-07 22:13:13 -0730",
        "2005.04.07 22:13:13",
        "04/07/2005 22:13:13",
        "@1112911993 +0000",
    ],
)
def test_a_date_is_taken_in_every_form_that_git_takes(repos, monkeypatch, given):
    repo = repos.make("git_and_dvc")
    monkeypatch.setenv("GIT_AUTHOR_DATE", given)
    commit = saved(repo)
    repo.git("commit", "-q", "--allow-empty", "-m", "by git")
    shown = ("log", "-1", "--format=%ad", "--date=raw")
    assert repo.git(*shown, commit) == repo.git(*shown), "Git takes it for another moment"


def test_a_date_that_git_does_not_know_is_said_and_the_run_is_saved(repos, monkeypatch, caplog):
    repo = repos.make("git_and_dvc")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "the other day")
    with caplog.at_level(logging.WARNING, "dvclive_dvc"):
        commit = saved(repo)
    assert abs(int(repo.git("log", "-1", "--format=%ct", commit)) - time.time()) < 60
    assert "GIT_COMMITTER_DATE='the other day' is no date" in caplog.text


def test_without_any_identity_the_run_is_saved_all_the_same(repos, monkeypatch, home):
    repo = repos.make("no_identity")
    (home / ".gitconfig").write_text("")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{role}_DATE")
    commit = saved(repo)
    assert repo.git("log", "-1", "--format=%ae", commit).endswith(f"@{socket.gethostname()}")


@pytest.mark.parametrize("packed", [False, True])
def test_a_name_taken_meanwhile_gets_a_suffix(repos, packed):
    repo = repos.make("git_and_dvc")
    record = record_of(repo)
    write_run(record.dir)
    commits = []
    for _ in range(3):
        commits.append(experiments.save(record, Outcome()))
        if packed:
            repo.git("pack-refs", "--all")
    assert repo.experiments() == {
        "first-run": commits[0], "first-run-2": commits[1], "first-run-3": commits[2],
    }  # fmt: skip


def test_the_reference_is_the_one_dvc_looks_for():
    sha = "0123456789abcdef0123456789abcdef01234567"
    assert reference(sha, "a-name") == str(ExpRefInfo(sha, "a-name"))


WITHOUT_PROC = """
from pathlib import Path
from PIL import Image
from dvclive_dvc import Live
Path("model.pt").write_text("weights")
with Live(report=None) as live:
    live.log_metric("loss", 0.5)
    live.log_image("a.png", Image.new("L", (2, 1)))
    live.log_artifact("model.pt")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="hides /proc by a mount namespace")
def test_a_run_is_saved_where_there_is_no_proc_to_name_new_files_by(repos, tmp_path):
    repo = repos.make("git_and_dvc")
    script = tmp_path / "train.py"
    script.write_text(WITHOUT_PROC)
    hidden = f"mount -t tmpfs none /proc && exec {sys.executable} {script}"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", hidden], capture_output=True, text=True, check=False
    )
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip(f"no mount namespace here: {done.stderr.strip()}")
    assert done.returncode == 0, f"the training died: {done.stderr}"
    assert "could not" not in done.stderr, f"something was not saved: {done.stderr}"
    (name,) = repo.git("for-each-ref", "--format=%(refname)", "refs/exps").splitlines()
    entered = repo.git("ls-tree", "-r", "--name-only", name).splitlines()
    assert {"model.pt.dvc", "dvclive/plots/images/a.png"} <= set(entered), "files are missing"
    assert repo.git("fsck", "--strict") == "", "the repository is damaged"
    left = [str(path) for path in repo.root.rglob("*.dvclive-tmp")]
    assert not left, f"half-written files stayed: {left}"
