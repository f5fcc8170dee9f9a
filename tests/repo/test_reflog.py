"""HEAD's reflog: read as Git writes it, and as far as it goes."""

from __future__ import annotations

import pytest

from dvclive_dvc.repo import reflog


@pytest.fixture
def repo(repos):
    return repos.make("git_and_dvc")


def head(repo):
    return repo.git("rev-parse", "HEAD")


def test_the_moves_since_a_moment_are_told_oldest_first(repo):
    git_dir = repo.root / ".git"
    begun, first = reflog.length(git_dir), head(repo)
    repo.git("commit", "-q", "--allow-empty", "-m", "second")
    second = head(repo)
    repo.git("commit", "-q", "--allow-empty", "--amend", "-m", "third")
    third = head(repo)
    repo.git("reset", "-q", "--soft", first)
    found = reflog.moves(git_dir, begun, first, first)
    assert [(one.old, one.new, one.committed) for one in found] == [
        (first, second, True),
        (second, third, True),
        (third, first, False),
    ], "not what happened"
    assert reflog.moves(git_dir, begun, first, second) == found[:1], "what came later is told"
    assert reflog.moves(git_dir, reflog.length(git_dir), first, first) == [], (
        "nothing happened since"
    )


def test_without_a_reflog_there_are_no_moves(repo):
    (repo.root / ".git" / "logs" / "HEAD").unlink()
    assert reflog.length(repo.root / ".git") == 0
    assert reflog.moves(repo.root / ".git", 500, head(repo), head(repo)) == []


@pytest.mark.parametrize("known", [True, False], ids=["shortened since", "length unknown"])
def test_where_the_length_does_not_fit_the_last_leave_of_the_commit_counts(repo, known):
    git_dir = repo.root / ".git"
    repo.git("commit", "-q", "--allow-empty", "-m", "second")
    begun, second = reflog.length(git_dir), head(repo)
    repo.git("commit", "-q", "--allow-empty", "-m", "third")
    log = git_dir / "logs" / "HEAD"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[-1:]))
    found = reflog.moves(git_dir, begun if known else None, second, head(repo))
    assert [(one.old, one.new) for one in found] == [(second, head(repo))], "the move is missed"


@pytest.mark.parametrize("title", ['Revert "second"', 'Reapply "second"'])
def test_a_revert_that_had_stopped_is_known_by_its_title(repo, title):
    git_dir = repo.root / ".git"
    begun, first = reflog.length(git_dir), head(repo)
    # As `git revert --continue` has it; newer versions call the revert of a revert otherwise.
    repo.git("commit", "-q", "--allow-empty", "-m", title)
    (move,) = reflog.moves(git_dir, begun, first, head(repo))
    assert (move.committed, move.concluded) == (False, True), "it passes for a user's own commit"
