"""What ran, where HEAD or a merge put other files in its place while the run went on."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..notices import logger
from . import merges, reflog, trees

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    import pygit2

    from .git import Git
    from .record import Record
    from .snapshot import Status, Tracked


def worked_on(git: Git, record: Record, seen: str) -> tuple[str, list[reflog.Move]]:
    """The last commit that was made of the files that ran, before others took their place.

    `seen` is where HEAD was when the files were looked at. It is the answer where the baseline
    was only built upon, or amended: what was committed is what ran then. With HEAD's moves since
    the run began.
    """
    moves = _moves(git, record, seen)
    reached = at = record.baseline
    for move in moves:
        if move.new == move.old:
            continue
        if move.old != at or move.new not in git.repo:
            return reached, moves
        at = move.new
        if move.committed and _were_left_alone(git, reached, move):
            reached = move.new
        elif move.committed:
            return reached, moves
    if at == reached and (reached == seen or _is_made_of(git.repo, seen, reached)):
        return seen, moves
    return reached, moves


def _moves(git: Git, record: Record, seen: str) -> list[reflog.Move]:
    """HEAD's moves, of which the first is a commit of what ran if it concludes what was under way.

    What had brought its files began before the run then.
    """
    moves = reflog.moves(Path(git.repo.path), record.reflog, record.baseline, seen)
    if moves and moves[0].concluded and _was_under_way(git.repo, moves[0], record.merging or ()):
        moves[0] = dataclasses.replace(moves[0], committed=True)
    return moves


def _was_under_way(repo: pygit2.Repository, move: reflog.Move, merging: Collection[str]) -> bool:
    """Whether a commit concludes one of the operations that a run began in the middle of.

    A merge has what came in as a parent, a cherry-pick and a rebase keep its author and their
    date, and a revert names it. AUTO_MERGE tells nothing here: it may be older than all of them.
    """
    return any(
        one.id in new.parent_ids
        or one.author == new.author
        or str(one.id).encode() in new.raw_message
        for new in _commits(repo, (move.new,))
        for one in _commits(repo, merging)
    )


def _commits(repo: pygit2.Repository, names: Iterable[str]) -> list[pygit2.Commit]:
    import pygit2

    found = []
    for one in names:
        with contextlib.suppress(KeyError, ValueError, pygit2.GitError):  # a tree; or collected
            found.append(repo[one].peel(pygit2.Commit))
    return found


def _were_left_alone(git: Git, reached: str, made: reflog.Move) -> bool:
    """Whether a commit is made of the files of `reached`, though HEAD was put elsewhere meanwhile.

    `git reset --soft` and `--mixed` leave the files alone, so each that HEAD has otherwise then is
    in the next `git commit -a`; after any other move those are as HEAD has them.
    """
    ran, moved, new = (trees.of_commit(git.repo, one) for one in (reached, made.old, made.new))
    return all(
        trees.find(git, new, path) != trees.find(git, moved, path)
        for path in trees.differing(git.repo, ran, moved)
    )


def _is_made_of(repo: pygit2.Repository, commit: str, former: str) -> bool:
    """What there is to go by without a reflog: whether a commit goes on from, or amends, another.

    An amended commit keeps its author and their date.
    """
    import pygit2

    try:
        new, old = (repo[one].peel(pygit2.Commit) for one in (commit, former))
        amended = new.parent_ids == old.parent_ids and new.author == old.author
        return amended or repo.descendant_of(commit, former)
    except (KeyError, ValueError, pygit2.GitError) as error:
        logger.debug("how HEAD moved cannot be told: %s", error)
        return False


def merges_begun(git: Git, record: Record, status: Status) -> dict[bytes, int]:
    """The trees of the merges that began while the run went on and wait for their commit."""
    import pygit2

    found = {}

    def in_conflict() -> bool:
        return bool(status.result().conflict)

    for one, when in merges.begun(Path(git.repo.path), record.merging, in_conflict).items():
        # Nothing holds such a tree against `git gc`.
        with contextlib.suppress(KeyError, ValueError, pygit2.GitError):
            found[git.repo[one].peel(pygit2.Tree).id.raw] = when
    return found


def carried(
    git: Git, look: Tracked, then: bytes, begun: Collection[bytes]
) -> Callable[[bytes], bool]:
    """Whether what is uncommitted of a path may come from the working tree of the tree `then`.

    `git switch` takes a change along exactly where both commits have the same, and `git reset
    --soft` leaves the index as it was. A merge begins only on files without changes, so one that
    it has otherwise is its own.
    """
    arrived = {look.base, *begun} - {then}
    if not arrived:
        return lambda _: True
    in_conflict = set(look.conflict)

    def carried(path: bytes) -> bool:
        before = trees.find(git, then, path)
        now = look.index[path] if path in look.index else trees.find(git, look.base, path)
        if now == before and path not in in_conflict:
            return True
        return all(trees.find(git, tree, path) == before for tree in arrived)

    return carried


def changed(
    git: Git, tree: bytes, others: Collection[bytes], paths: Iterable[bytes]
) -> Iterator[bytes]:
    """Those of the paths that any of the other trees has otherwise than a tree."""
    for path in paths if others else ():
        entry = trees.find(git, tree, path)
        if any(trees.find(git, one, path) != entry for one in others):
            yield path


def unchanged(git: Git, tree: bytes, paths: Iterable[bytes]) -> Iterator[bytes]:
    """Those of the paths that are on disk just as a tree has them: what a mixed reset leaves."""
    for path in paths:
        entry = trees.find(git, tree, path)
        if entry is None or entry[0] not in (trees.FILE, trees.EXECUTABLE):
            continue
        with contextlib.suppress(OSError, KeyError):  # a partial clone may lack the object
            file = git.root / os.fsdecode(path)
            data = git.read(entry[1])
            if file.stat().st_size == len(data) and file.read_bytes() == data:
                yield path


def brought(
    git: Git,
    look: Tracked,
    carried: Callable[[bytes], bool],
    moves: Collection[reflog.Move],
    begun: Mapping[bytes, int],
    own: Mapping[bytes, trees.Entry],
) -> Collection[bytes]:
    """Those of the run's own files that another commit's took the place of.

    They are as HEAD or a merge has them, not written since that came, and no commit was made of
    them.
    """
    foreign = [path for path, entry in own.items() if not carried(path)]
    arrived = {look.base: reflog.last_written(Path(git.repo.path)), **begun}
    made = [
        (trees.of_commit(git.repo, move.old), trees.of_commit(git.repo, move.new))
        for move in moves
        if foreign and move.committed and move.old in git.repo and move.new in git.repo
    ]

    def is_brought(path: bytes) -> bool:
        by = [arrived[tree] for tree in arrived if trees.find(git, tree, path) == own[path]]
        if any(trees.find(git, a, path) != trees.find(git, b, path) for a, b in made):
            return False
        place = os.path.join(os.fsencode(git.root), path)  # noqa: PTH118 - bytes
        with contextlib.suppress(FileNotFoundError):
            written = os.lstat(place).st_mtime_ns
            return any(when is None or written <= when for when in by)
        return bool(by)

    return set(filter(is_brought, foreign))


def kept_by_dvc_where_it_ran(
    git: Git, record: Record, begun: Collection[bytes]
) -> Callable[[bytes], bool]:
    """Tells of data whose pointer file left the disk with another commit's files."""
    seen = git.head or record.baseline
    then = trees.of_commit(git.repo, worked_on(git, record, seen)[0])
    if not {trees.of_commit(git.repo, seen), *begun} - {then}:
        return lambda _: False

    def kept(path: bytes) -> bool:
        parts = path.split(b"/")
        around = (b"/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        return any(trees.find(git, then, one + b".dvc") for one in around)

    return kept


def tell_of_move(
    record: Record, look: Tracked, taken: Tracked, lost: set[bytes], merged: set[bytes]
) -> None:
    """Says where HEAD moved while the run went on, and what is `lost`: changed, not committed.

    Or that HEAD stayed, and a merge that waits for its commit has changed what is `merged`.
    """
    if look.commit == record.baseline and taken.base == look.base:
        if merged:
            logger.warning(
                "Since the run '%s' began, a merge or the like has changed '%s'%s and waits to be "
                "concluded; the experiment has the version of %s, which the run had.",
                record.name,
                os.fsdecode(min(merged)),
                f" and {len(merged) - 1} more" if len(merged) > 1 else "",
                taken.commit[:7],
            )
        return
    text = (
        f"HEAD has moved since the run '{record.name}' began; the experiment belongs to the commit "
        f"it began on, {record.baseline[:7]}."
    )
    if taken.base != look.base:
        text += (
            " Another branch, a pull or a reset has changed the files since, so those that Git "
            f"tracks are as {taken.commit[:7]} has them, but for the run's own, the sources it had "
            "loaded and what is not committed."
        )
    lost = lost - {os.fsencode(source.path) for source in record.sources}
    if lost:
        text += (
            f" Left out is what is not committed of '{os.fsdecode(min(lost))}'"
            + (f" and {len(lost) - 1} more" if len(lost) > 1 else "")
            + ", because HEAD has other versions there than the run had."
        )
    logger.warning("%s", text)
