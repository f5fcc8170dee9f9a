"""Merges that Git has begun and not concluded: what they put on disk without moving HEAD."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

# The first is the tree of all that a merge put on disk, conflicts with their marks
# (merge-ort.c, merge_switch_to_result). A rebase, a cherry-pick, a revert and `git stash pop` leave
# it as well, where they stop. The others are the commits that come in, for a Git before 2.34 and
# for what waits for its commit without a conflict.
_BRINGING = ("AUTO_MERGE", "MERGE_HEAD", "CHERRY_PICK_HEAD")
# These name what is done anew or undone; the files on disk are not as they have them.
_REDOING = ("REBASE_HEAD", "REVERT_HEAD")
# AUTO_MERGE also stays behind after what went well, as a `git stash pop` does mostly. These are
# there for only as long as something waits: MERGE_MSG for what was picked or reverted with
# `--no-commit` too, SQUASH_MSG for `git merge --squash` (branch.c, remove_branch_state).
_WAITING = (
    *("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "MERGE_MSG", "SQUASH_MSG"),
    *("rebase-merge", "rebase-apply"),
)


def unconcluded(git_dir: Path) -> tuple[str, ...]:
    """The trees and commits of the merges and the like that are under way, as full hashes."""
    return tuple(one for name in (*_BRINGING, *_REDOING) for one in _hashes(git_dir, name))


def begun(
    git_dir: Path, already: Collection[str] | None, in_conflict: Callable[[], bool]
) -> dict[str, int]:
    """What came in by merges that wait and are not `already` known, and when it came.

    That is by the file system's clock, in nanoseconds: what they put on disk is not younger. None
    where nobody looked before; then none is known to have come since. `in_conflict` tells whether
    files are in conflict, which is all that a `git stash pop` leaves of its stop; it is asked only
    where the answer counts.
    """
    found = {}
    for name in _BRINGING if already is not None else ():
        for one in set(_hashes(git_dir, name)).difference(already or ()):
            with contextlib.suppress(FileNotFoundError):  # concluded just now
                found[one] = (git_dir / name).stat().st_mtime_ns
    return found if found and (_waits(git_dir) or in_conflict()) else {}


def _waits(git_dir: Path) -> bool:
    return any((git_dir / name).exists() for name in _WAITING)


def _hashes(git_dir: Path, name: str) -> list[str]:
    try:
        return (git_dir / name).read_text("ascii").split()
    except (OSError, UnicodeDecodeError):
        return []
