"""Merges that are under way: told apart by when they began."""

from __future__ import annotations

import subprocess

import pytest

from dvclive_dvc.repo import merges


def nothing_in_conflict():
    return False


def test_a_merge_that_began_since_is_told_apart_from_one_that_was_there(repos):
    repo = repos.make("merging")
    git_dir = repo.root / ".git"
    known = merges.unconcluded(git_dir)
    assert repo.git("rev-parse", "MERGE_HEAD") in known, "the commit that comes in is missing"
    begun = merges.begun(git_dir, known, nothing_in_conflict)
    assert not begun, "what was under way before is told as new"
    repo.git("merge", "--abort")
    assert merges.unconcluded(git_dir) == (), "a merge that was given up is told"
    subprocess.run(["git", "cherry-pick", "other"], cwd=repo.root, capture_output=True, check=False)
    begun = merges.begun(git_dir, (), nothing_in_conflict)
    assert repo.git("rev-parse", "CHERRY_PICK_HEAD") in begun, "the commit is missing"
    picked = (repo.root / "src" / "model.py").stat().st_mtime_ns
    assert max(begun.values()) >= picked, "the file would pass for one written since"


def test_where_nobody_looked_before_no_merge_is_new(repos):
    repo = repos.make("merging")
    assert merges.begun(repo.root / ".git", None, nothing_in_conflict) == {}


def test_what_a_stash_left_behind_is_a_merge_only_while_files_are_in_conflict(repos):
    repo = repos.make("git_and_dvc")
    repo.write("README.md", "mine\n")
    repo.git("stash", "-q")
    repo.git("stash", "pop", "-q")
    git_dir = repo.root / ".git"
    if not (git_dir / "AUTO_MERGE").exists():
        pytest.skip("this Git cleans up after itself")
    assert merges.begun(git_dir, (), nothing_in_conflict) == {}, "what went well is told as waiting"
    assert merges.begun(git_dir, (), lambda: True), "a stash that stopped in conflict is not told"
