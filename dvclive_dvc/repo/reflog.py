"""HEAD's reflog: what moved HEAD."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# refs/files-backend.c, log_ref_write_fd: no tab where nothing is said. Names and messages are in
# whatever encoding their writer had.
_LINE = re.compile(rb"([0-9a-f]{40}) ([0-9a-f]{40}) [^\n]*?> \d+ [+-]\d+(?:\t([^\n]*))?")
# What it has of a commit that was made of the working tree (builtin/commit.c).
_COMMITTED = (b"commit:", b"commit (amend):")
# What was brought by `git revert`, which says "revert:" only where it did not stop. The second is
# the revert of a revert from Git 2.43 on.
_REVERTED = (b'commit: Revert "', b'commit: Reapply "')
# What concludes an operation that had stopped (builtin/commit.c; sequencer.c, run_git_commit).
_CONCLUDED = (b"commit (merge):", b"commit (cherry-pick):", b"rebase (continue):", *_REVERTED)


@dataclass(frozen=True)
class Move:
    """HEAD went from one commit to another.

    committed: whether the working tree became a commit; nothing on disk changed by it.
    concluded: whether it became one at the end of a merge, rebase, cherry-pick or revert that had
               stopped and brought some of the files; is not `committed`.
    """

    old: str
    new: str
    committed: bool
    concluded: bool = False


def length(git_dir: Path) -> int:
    """How many bytes the reflog has now; 0 where none is kept."""
    try:
        return (git_dir / "logs" / "HEAD").stat().st_size
    except OSError:
        return 0


def last_written(git_dir: Path) -> int | None:
    """When HEAD moved last, by the file system's clock, in nanoseconds; None where nothing tells.

    What Git put on disk by that move is not younger.
    """
    try:
        return (git_dir / "logs" / "HEAD").stat().st_mtime_ns
    except OSError:
        return None


def moves(git_dir: Path, begun_at: int | None, commit: str, until: str) -> list[Move]:
    """HEAD's moves, oldest first, since it was at `commit` and the reflog had that length.

    They end where HEAD came to `until` for the last time; all are told where it did not. Where
    the reflog does not fit the length (a former version kept none, `git gc` shortens it), those
    count since HEAD last left the commit.
    """
    try:
        data = (git_dir / "logs" / "HEAD").read_bytes()
    except OSError:
        return []
    found = _since(data, begun_at, commit)
    ends = [commit, *(move.new for move in found)]
    return found[: len(found) - ends[::-1].index(until)] if until in ends else found


def _since(log: bytes, begun_at: int | None, commit: str) -> list[Move]:
    if begun_at is not None:
        before = _parsed(log[log.rfind(b"\n", 0, max(begun_at - 1, 0)) + 1 : begun_at])
        if begun_at == 0 or (before and before[-1].new == commit):
            return _parsed(log[begun_at:])
    found = _parsed(log)
    if not found or found[-1].new == commit:
        return []  # whether it was away, and since when, is not to be told
    left = [number for number, move in enumerate(found) if move.old == commit]
    return found[left[-1] :] if left else []


def _parsed(log: bytes) -> list[Move]:
    return [
        Move(
            match[1].decode("ascii"),
            match[2].decode("ascii"),
            said.startswith(_COMMITTED) and not said.startswith(_REVERTED),
            said.startswith(_CONCLUDED),
        )
        for line in log.split(b"\n")
        if (match := _LINE.fullmatch(line))
        for said in (match[3] or b"",)
    ]
