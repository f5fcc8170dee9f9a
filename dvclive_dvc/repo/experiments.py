"""A run as a DVC experiment: the tree of what ran and came of it, saved in a commit of its own."""

from __future__ import annotations

import contextlib
import os
from functools import partial
from typing import TYPE_CHECKING

from .. import dvcyaml
from ..errors import RepositoryError, SaveError
from ..notices import logger
from . import belongings, commits, include, ran, trees
from .git import Git
from .snapshot import Blobs, Status, Tracked, is_no_submodule

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from ..backend import Outcome
    from .record import Record


@contextlib.contextmanager
def looking(record: Record) -> Iterator[Status]:
    """A look at the tracked files, for `save`, that goes on within the block.

    Raises `SaveError` where the repository cannot be looked at.
    """
    with _as_save_error():
        git = Git(record.git_root, record.git)
        _check_baseline(git, record.baseline)
        status = Status(git, record.baseline)
    try:
        yield status
    finally:
        status.stop()


@contextlib.contextmanager
def _as_save_error() -> Iterator[None]:
    import pygit2

    try:
        yield
    except (OSError, ValueError, KeyError, pygit2.GitError, RepositoryError) as error:
        raise SaveError(_reason(error)) from error


def save(
    record: Record,
    outcome: Outcome,
    overrides: Mapping[str, bytes] | None = None,
    covered: Collection[str] = (),
    others: Collection[Record] = (),
    *,
    status: Status | None = None,
) -> str:
    """Saves the run as an experiment and returns its commit's full hash.

    Only objects and one new reference are written: no branch, index, stash, reflog, hook or
    lock of the user's is touched. `overrides` are files' contents that enter instead of those
    on disk (path relative to the Git root); `covered` are DVC's outputs (absolute), whose bytes
    DVC keeps and Git must not; `others` are the project's other runs that are not saved yet, whose
    files stay as the index has them. `status` is a look that began earlier (`looking`).

    Raises `SaveError` with its cause when it could not be done; nothing is left behind then but
    objects that `git gc` removes.
    """
    if status is None:
        with looking(record) as own:
            return save(record, outcome, overrides, covered, others, status=own)
    with _as_save_error():
        git = status.git
        blobs = Blobs(git)
        tree = _tree(git, record, status, blobs, overrides or {}, covered, others)
        tree = _without_other_runs(git, record, blobs, tree, others)
        return commits.create(git, record, outcome, tree)


def _check_baseline(git: Git, baseline: str) -> None:
    if baseline not in git.repo:
        # Rebased away and collected since; a commit without its parent would break Git.
        raise RepositoryError(
            f"the commit that the run began on, {baseline[:7]}, is no longer in the repository"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"the repository lacks the object {error.args[0] if error.args else ''}"
    if isinstance(error, OSError) and isinstance(error.filename, bytes):
        return f"{error.strerror}: '{os.fsdecode(error.filename)}'"
    return str(error)


def _tree(
    git: Git,
    record: Record,
    status: Status,
    blobs: Blobs,
    overrides: Mapping[str, bytes],
    covered: Collection[str],
    others: Collection[Record],
) -> bytes:
    # The run's own files are read and compressed while `git status` looks at what is tracked.
    begun = ran.merges_begun(git, record, status)
    kept_by_dvc = ran.kept_by_dvc_where_it_ran(git, record, begun)
    own = {
        path
        for path in _own_files(git, record, covered, others)
        if path.split(b"/", 1)[0] != b".git" and not kept_by_dvc(path)
    }
    for path in own:
        blobs.add(path)
    look = status.result()
    worked_on, moves = ran.worked_on(git, record, look.commit)
    then = trees.of_commit(git.repo, worked_on)
    carried = ran.carried(git, look, then, begun)
    tracked = look.seen_from(worked_on, then, carried)
    lost = {*look.staged, *look.on_disk} - {*tracked.staged, *tracked.on_disk} - own
    merged = set(ran.changed(git, then, begun, lost))
    lost -= merged
    lost -= {*_of_others(record, others, lost), *ran.unchanged(git, then, lost)}
    ran.tell_of_move(record, look, tracked, lost, merged)
    theirs = _of_others(record, others, tracked.index.keys() - own)
    for path, before in tracked.on_disk.items():
        if path not in theirs and path not in own:
            blobs.add(path, before)
    _compare(blobs, own, git, look)
    for path in tracked.conflict:
        text = (
            "'%s' is in conflict; the experiment has it as it is in the working tree."
            if path in tracked.on_disk
            else "The submodule '%s' is in conflict; the experiment has the commit that HEAD has."
        )
        logger.warning(text, os.fsdecode(path))
    changes: dict[bytes, trees.Entry | None] = dict(tracked.staged)
    changes.update(dict.fromkeys(tracked.on_disk))
    changes.update((path, tracked.index[path]) for path in theirs)
    read = blobs.result()
    own_now = {path: read[path] for path in own & read.keys()}
    brought = ran.brought(git, look, carried, moves, begun, own_now)
    changes.update((path, entry) for path, entry in read.items() if path not in brought)
    changes.update(_dvcyaml_where_it_ran(git, record, blobs, then, look.base, carried, changes))
    changes.update(_sources(git, record, tracked.base, changes))
    for name, data in overrides.items():
        given = os.fsencode(name)
        path = _led_to(git, given)
        if any(one in brought or not (one in own or carried(one)) for one in {given, path}):
            continue
        old = changes.get(path) or trees.find(git, tracked.base, path)
        mode = old[0] if old and old[0] != trees.LINK else trees.FILE
        try:
            changes[path] = (mode, blobs.of_content(path, data))
        except RepositoryError as error:
            logger.warning(
                "'%s' could not be filtered with the hashes of the changed data, so the "
                "experiment has the old ones: %s. Run `dvc commit` when that is mended.",
                name,
                error,
            )
    return trees.changed(git, tracked.base, changes)


def _led_to(git: Git, path: bytes) -> bytes:
    """Where the text of a file is: that which a link leads to, unless it is no place of Git's."""
    root = os.fsencode(git.root)
    full = os.path.join(root, path)  # noqa: PTH118 - bytes
    if not os.path.islink(full):  # noqa: PTH114 - bytes
        return path
    inside, real = root + b"/", os.path.realpath(full)
    place = real.removeprefix(inside)
    return place if real.startswith(inside) and b".git" not in place.split(b"/") else path


def _dvcyaml_where_it_ran(
    git: Git,
    record: Record,
    blobs: Blobs,
    then: bytes,
    seen: bytes,
    carried: Callable[[bytes], bool],
    changes: Mapping[bytes, trees.Entry | None],
) -> Iterator[tuple[bytes, trees.Entry]]:
    """A dvc.yaml that the run shares, where another commit's has taken its place since.

    `then` is the tree that ran, `seen` that of HEAD now.
    """
    file = record.dvcyaml
    if file is None or file.is_relative_to(record.dir) or not file.is_relative_to(record.git_root):
        return
    path = os.fsencode(file.relative_to(record.git_root))
    entry, arrived, ran = changes.get(path), *(trees.find(git, one, path) for one in (seen, then))
    if entry is None or arrived is None or ran is None or carried(path):
        return
    try:
        text, theirs, ours = (_text_of(git, blobs, path, one) for one in (entry, arrived, ran))
        own = dvcyaml.carried_over(text, theirs, ours, file=file, root=record.dir)
    except (RepositoryError, UnicodeDecodeError) as error:
        logger.warning(
            "'%s' enters the experiment with what HEAD has in it now, which is not what the run "
            "had: %s",
            file,
            error,
        )
        return
    yield path, (ran[0], git.write("blob", own.encode()))


def _text_of(git: Git, blobs: Blobs, path: bytes, entry: trees.Entry) -> str:
    if not blobs.is_unfiltered(path):
        raise RepositoryError("a filter of Git's has made something else of its text")
    return git.read(entry[1]).decode()


def _compare(blobs: Blobs, paths: AbstractSet[bytes], git: Git, tracked: Tracked) -> None:
    """Tells of files that were added before Git's answer was there what Git has of them."""
    for path in paths & tracked.on_disk.keys():
        before = tracked.on_disk[path]
        if before is not None:
            blobs.amend(path, before)
    same = paths - tracked.on_disk.keys()
    for path in same & tracked.staged.keys():
        before = tracked.staged[path]
        if before is not None and before[0] != trees.SUBMODULE:
            blobs.unchanged(path, before)
    for path in sorted(same - tracked.staged.keys()):  # folder by folder
        before = trees.find(git, tracked.base, path)
        if before is not None and before[0] in (trees.FILE, trees.EXECUTABLE, trees.LINK):
            blobs.unchanged(path, before)


def _of_others(
    record: Record, others: Collection[Record], paths: Collection[bytes]
) -> Collection[bytes]:
    """Those of the paths (relative to the Git root) that are another run's."""
    if not others:
        return ()
    is_theirs = belongings.of_others(record, others)
    return {path for path in paths if is_theirs(f"{record.git_root}/{os.fsdecode(path)}")}


def _without_other_runs(
    git: Git, record: Record, blobs: Blobs, tree: bytes, others: Collection[Record]
) -> bytes:
    """The tree with each shared dvc.yaml freed of what other runs put into it meanwhile.

    Their files are not in this experiment, so `dvc exp show` would have an error for each.
    """
    folders = [record.dir, *(other.dir for other in others)]
    for file in dict.fromkeys((record.dvcyaml, *(other.dvcyaml for other in others))):
        if file is not None and not any(map(file.is_relative_to, folders)):
            tree = _without_others_in(file, git, record, blobs, tree)
    return tree


def _without_others_in(file: Path, git: Git, record: Record, blobs: Blobs, tree: bytes) -> bytes:
    if not file.is_relative_to(record.git_root):
        return tree
    path = os.fsencode(file.relative_to(record.git_root))
    entry = trees.find(git, tree, path)
    if entry is None:
        return tree
    before = trees.find(git, trees.of_commit(git.repo, record.baseline), path)
    try:
        text = _text_of(git, blobs, path, entry)
        committed = _text_of(git, blobs, path, before) if before else None
        own = dvcyaml.without(text, committed, file=file, lost=_lost_in(git, record, tree))
    except (RepositoryError, UnicodeDecodeError) as error:
        logger.debug("'%s' enters the experiment as it is: %s", file, error)
        return tree
    if own == text:
        return tree
    blob = git.write("blob", own.encode())
    return trees.changed(git, tree, {path: (entry[0], blob)})


def _lost_in(git: Git, record: Record, tree: bytes) -> Callable[[Path], bool]:
    """Whether a path is on disk, and neither in the tree nor DVC's to keep."""

    def lost(place: Path) -> bool:
        if not place.is_relative_to(record.git_root):
            return False
        name = os.fsencode(place.relative_to(record.git_root))
        if trees.find(git, tree, name):
            return False
        if os.path.lexists(f"{place}.dvc"):
            return trees.find(git, tree, name + b".dvc") is None
        # What Git ignores is DVC's to keep, or a stage's to make.
        return os.path.lexists(place) and not git.ignores(name)

    return lost


def _sources(
    git: Git, record: Record, base: bytes, changes: Mapping[bytes, trees.Entry | None]
) -> Iterator[tuple[bytes, trees.Entry]]:
    """The loaded sources as they were; only those that Git tracks, or did, or that are included."""
    known = (base, trees.of_commit(git.repo, record.baseline))
    for source in record.sources:
        path = os.fsencode(source.path)
        now = changes[path] if path in changes else trees.find(git, base, path)
        then = (source.mode, bytes.fromhex(source.blob))
        tracked = now is not None or any(trees.find(git, one, path) for one in known)
        if not tracked and not include.is_included(path, record, git):
            continue  # what the user did not give to Git stays out
        if now is not None and now[1] == then[1]:
            continue
        if path not in changes and _is_overlooked(git, source.path):
            logger.warning(
                "'%s' differs from what Git tracks, which Git is told to overlook; so the "
                "experiment has the version in the index, not the one that ran. Run `git "
                "update-index --no-assume-unchanged --no-skip-worktree %s` to change that.",
                source.path,
                source.path,
            )
            continue
        if source.blob not in git.repo:
            logger.warning(
                "'%s' changed after it was loaded, and Git no longer has the version that "
                "ran; the experiment has the present one.",
                source.path,
            )
            continue
        if any(entry is not None and one.startswith(path + b"/") for one, entry in changes.items()):
            logger.warning(
                "A folder has taken the place of '%s' after it was loaded; the experiment has the "
                "folder, and not the version that ran.",
                source.path,
            )
            continue
        if now is None and _is_on_disk(git, path, then):
            logger.warning(
                "Git no longer tracks '%s', which was loaded; the experiment has it all the same, "
                "but your next commit will not. Run `git add %s` to keep it there.",
                source.path,
                source.path,
            )
        else:
            logger.warning(
                "'%s' changed after it was loaded; the experiment has the version that ran.",
                source.path,
            )
        yield path, then


def _is_on_disk(git: Git, path: bytes, entry: trees.Entry) -> bool:
    blobs = Blobs(git)
    blobs.add(path, entry)
    blobs.unchanged(path, entry)  # of a filter that fails there is nothing to tell here
    found = blobs.result().get(path)
    return found is not None and found[1] == entry[1]


def _is_overlooked(git: Git, path: str) -> bool:
    """Whether a tracked file is marked assume-unchanged or skip-worktree."""
    try:
        listed = git.ask("ls-files", "-v", "-z", "--", f":(top,literal){path}")
    except RepositoryError:
        return False
    # git-ls-files(1): "S" is skip-worktree, a small letter assume-unchanged.
    return listed[:1] == b"S" or listed[:1].islower()


def _own_files(
    git: Git, record: Record, covered: Collection[str], others: Collection[Record]
) -> Iterator[bytes]:
    """Paths, relative to the Git root, of what the run wrote and what the user included."""
    root = os.fsencode(record.git_root)
    seen: set[bytes] = set()
    kept_by_dvc = {os.fsencode(path) for path in covered}
    # A path of theirs that was named itself was meant.
    left_out = kept_by_dvc | {os.fsencode(other.dir) for other in others}
    for missing in (path for path in record.include if not os.path.lexists(path)):
        logger.warning(
            "'%s', of Live(include=...), is not there, so the experiment is without it.", missing
        )
    passed_over: set[bytes] = set()
    written = (record.dir, record.dvcyaml, *record.pointers)
    for one, was_included in (
        *((one, False) for one in written if one is not None),
        *((one, True) for one in record.include),
    ):
        path = os.fsencode(one)
        if path != root and not path.startswith(root + b"/"):
            if not one.is_relative_to(record.dir):  # of its folder the run was told as it began
                logger.warning(
                    "'%s' is outside of the Git repository '%s', so the experiment is without it.",
                    one,
                    record.git_root,
                )
            continue
        if any(include.within(path, output) for output in kept_by_dvc):
            continue
        ignored = include.left_out_of(one, git) if was_included and one.is_dir() else None
        takes = (
            partial(_takes_none, git, record, passed_over)
            if was_included
            else partial(is_no_submodule, git)
        )
        for file in belongings.below(path, left_out, ignored, takes_repository=takes):
            name = file[len(root) + 1 :]
            if name not in seen:
                seen.add(name)
                yield name
    _tell_of_repositories(passed_over)


def _takes_none(git: Git, record: Record, passed_over: set[bytes], repository: bytes) -> bool:
    """Takes no repository inside of what the user included; adds those of which nothing enters."""
    is_taken = include.within(repository, os.fsencode(record.dir)) or repository in map(
        os.fsencode, record.include
    )
    if not is_taken and is_no_submodule(git, repository):
        passed_over.add(repository)
    return False


def _tell_of_repositories(passed_over: Collection[bytes]) -> None:
    if not passed_over:
        return
    logger.warning(
        "'%s'%s, inside of what Live(include=...) names, is a Git repository of its own, so the "
        "experiment is without it. To have its files, name it in Live(include=...) as well.",
        os.fsdecode(min(passed_over)),
        f" and {len(passed_over) - 1} more" if len(passed_over) > 1 else "",
    )
