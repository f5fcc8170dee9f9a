"""The seed repositories are what their names say, and the seal and the state helper hold."""

from __future__ import annotations

import os
from pathlib import Path

import pygit2
import pytest
from situations import PROJECT, State, dvc_inside, git, python, situation_names, state_of


@pytest.mark.parametrize("name", situation_names())
def test_every_situation_can_be_made_and_is_clean(repos, name):
    made = repos.make(name)

    assert Path.cwd() == made.cwd.resolve(), "the test starts in the situation's folder"
    assert made.state() == made.state(), "looking at a repository must not change it"


@pytest.mark.parametrize(
    ("name", "has_git", "has_commit", "dvc_root"),
    [
        ("no_git", False, False, None),
        ("git_without_commit", True, False, None),
        ("git_without_dvc", True, True, None),
        ("git_and_dvc", True, True, "."),
        ("dvc_subdirectory", True, True, "models/digits"),
        ("pipeline", True, True, "."),
        ("dataset", True, True, "."),
        ("nested_folder", True, True, "."),
    ],
)
def test_seeds_hold_what_their_names_say(repos, name, has_git, has_commit, dvc_root):
    made = repos.make(name)

    assert (made.root / ".git").is_dir() == has_git
    if has_git:
        head = made.git("rev-parse", "--verify", "-q", "HEAD", check=False)
        assert bool(head) == has_commit
    if has_commit:
        assert made.git("status", "--porcelain") == "", "a committed seed starts clean"
    found = [p.parent for p in made.root.rglob(".dvc") if p.is_dir()]
    assert found == ([] if dvc_root is None else [made.root / dvc_root])


def test_the_dataset_and_the_model_are_in_dvcs_hands(repos):
    repos.make("dataset")
    assert dvc_inside("status") == "Data and pipelines are up to date.\n"
    repos.make("pipeline")
    assert dvc_inside("status") == "Data and pipelines are up to date.\n"


def test_the_environment_holds_nothing_of_the_machine(home, tmp_path):
    assert Path.home() == home
    assert Path.cwd() == tmp_path
    assert git("config", "--list", "--show-origin", "--name-only").count(str(home)) >= 2
    assert "/etc/gitconfig" not in git("config", "--list", "--show-origin")
    left = {name for name in os.environ if name.startswith(("DVCLIVE", "SLURM_", "OMPI_"))}
    left = {name for name in left if not name.startswith("DVCLIVE_DVC_")}  # the tests' own
    assert not left, f"left over: {left}"


def test_libgit2_sees_the_sealed_configuration(repos):
    made = repos.make("git_and_dvc")
    author = pygit2.Repository(str(made.root)).default_signature
    assert (author.name, author.email) == ("Ada Tester", "ada@example.com")


def test_scripts_import_this_very_package():
    where = python("import dvclive_dvc.errors as e; print(e.__file__)").stdout.strip()
    assert Path(where) == PROJECT / "dvclive_dvc" / "errors.py"


def _stage(repo):
    repo.write("src/train.py", "EPOCHS = 3\n")
    repo.git("add", "src/train.py")


def _stash(repo):
    repo.write("src/train.py", "EPOCHS = 4\n")
    repo.git("stash")


def _untracked(repo):
    repo.write("notes.txt", "mine")


def _touched(repo):
    os.utime(repo.root / "README.md", ns=(1, 1))


def _detached(repo):
    repo.git("checkout", "-q", "--detach")


def _branch(repo):
    repo.git("branch", "other")


def _locked(repo):
    (repo.root / ".git" / "index.lock").touch()


def _dvc_locked(repo):
    (repo.root / ".dvc" / "tmp").mkdir()
    (repo.root / ".dvc" / "tmp" / "rwlock").touch()


def _hook(repo):
    (repo.root / ".git" / "hooks" / "pre-commit").write_text("exit 1\n")


def _mode(repo):
    (repo.root / "README.md").chmod(0o755)


@pytest.mark.parametrize(
    "deed",
    [_stage, _stash, _untracked, _touched, _detached, _branch, _locked, _dvc_locked, _hook, _mode],
)
def test_the_state_tells_whatever_was_touched(repos, deed):
    made = repos.make("git_and_dvc")
    before = made.state()
    deed(made)
    assert before.changes(made.state()), f"{deed.__name__} went unnoticed"


def test_the_state_leaves_out_what_a_run_may_write(repos):
    made = repos.make("git_and_dvc")
    before = made.state("dvclive", "model.pt")
    made.write("dvclive/metrics.json", "{}")
    made.write("model.pt", "weights")
    made.git("update-ref", "refs/exps/ab/cd/some-name", "HEAD")
    assert made.state("dvclive", "model.pt") == before
    assert made.state() != before, "the same files count when nobody says they are the run's"


def test_a_difference_is_told_by_what_differs():
    told = State(a="1", b="2").changes(State(b="3", c="4"))
    assert told == [
        "gone:    a: 1",
        "changed: b",
        "         from 2",
        "         to   3",
        "new:     c: 4",
    ]


def test_outside_git_the_state_is_the_files(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    assert list(state_of(tmp_path)) == ["file a.txt"]
