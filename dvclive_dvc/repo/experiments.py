"""A run as a DVC experiment: its name, its tree, its commit, its reference."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import re
import secrets
import socket
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .. import dvcyaml, files
from ..errors import InvalidValueError, RepositoryError, SaveError
from ..notices import logger
from . import belongings, merges, reflog, trees
from .git import Git, common_dir, make_folder, packed_ref
from .record import reference
from .snapshot import Blobs, Status, Tracked

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet

    import pygit2

    from ..backend import Outcome
    from .context import Context
    from .record import Record

# Of 255 bytes a file system gives a name, some are Git's (`.lock`) and some for a suffix.
_MAX_NAME = 200
_INTERNAL_DATE = re.compile(r"@?(\d+)(?: ([+-])(\d\d)(\d\d))?")

# -- names -----------------------------------------------------------------------------------


def choose_name(context: Context, wanted: str | None) -> str:
    """The experiment's name: the wished one, `DVC_EXP_NAME`, else one as DVC makes them.

    One that cannot be a reference, or is taken on this baseline, gives a warning and a fresh
    name: at start, not after ten hours. Costs two look-ups, however many experiments there are.
    """
    name = wanted or context.exp_name
    if name:
        trouble = _trouble_with(name)
        if trouble is None and not _taken(context, name):
            return name
        fresh = _fresh_name(context)
        logger.warning(
            "The experiment cannot be named '%s': %s. It will be '%s'. Choose another name by "
            "`Live(exp_name=...)` or DVC_EXP_NAME.",
            name,
            trouble or "an experiment of that name exists on this commit",
            fresh,
        )
        return fresh
    return _fresh_name(context)


def _trouble_with(name: str) -> str | None:
    import pygit2

    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "it is no text that UTF-8 could hold"
    if length > _MAX_NAME:
        return f"it becomes a file's name, which has room for {_MAX_NAME} bytes of it"
    if "/" in name:
        # dvc/repo/experiments/refs.py: ExpRefInfo.from_ref takes no more than five parts.
        return "DVC cannot read a name with '/'"
    if name.startswith("-"):
        return "a name that begins with '-' reads as an option of `dvc exp`"
    if "\0" in name or not pygit2.reference_is_valid_name(f"refs/exps/ab/cd/{name}"):
        return "Git takes no such name for a reference (see `git check-ref-format --help`)"
    return None


def _taken(context: Context, name: str) -> bool:
    if context.git_dir is None or context.baseline is None:
        return False
    common = common_dir(context.git_dir)
    ref = reference(context.baseline, name)
    return os.path.lexists(common / ref) or packed_ref(common, ref) is not None


def _fresh_name(context: Context) -> str:
    make = _generator()
    for _ in range(50):
        name = make()
        if not _taken(context, name):
            return name
    return f"{make()}-{secrets.token_hex(3)}"


def _generator() -> Callable[[], str]:
    """DVC's own `gen_random_name`, without importing DVC.

    Importing dvc.repo.experiments.utils loads all of DVC (0.3 s), for a function that needs
    nothing but `random` and its own word lists; so it is taken out of the file by itself, and
    imported the usual way only where that fails.
    """
    import importlib.util

    with contextlib.suppress(Exception):
        spec = importlib.util.find_spec("dvc")
        folder = spec.submodule_search_locations[0]  # type: ignore[union-attr, index]
        text = Path(folder, "repo", "experiments", "utils.py").read_text(encoding="utf-8")
        match = re.search(r"^def gen_random_name\(.*?(?=^\S)", text, re.MULTILINE | re.DOTALL)
        names: dict[str, object] = {"random": random}
        exec(match.group(), names)  # type: ignore[union-attr]  # noqa: S102 - DVC's own source
        made = names["gen_random_name"]
        if isinstance(made(), str):  # type: ignore[operator]
            return made  # type: ignore[return-value]
    from dvc.repo.experiments.utils import gen_random_name

    return gen_random_name  # type: ignore[no-any-return]


# -- what the user includes ------------------------------------------------------------------


def included(paths: Iterable[Path], root: Path) -> tuple[Path, ...]:
    """The user's `Live(include=...)` as paths below the Git root, links as themselves.

    Raises InvalidValueError for one outside, which would be missing hours later. One that is not
    there is a warning: the training may write it yet.
    """
    return tuple(_within_root(path, root) for path in paths)


def _within_root(given: Path, root: Path) -> Path:
    itself = Path(os.path.realpath(given.parent), given.name)
    # A link from elsewhere into the repository is a spelling of what it leads to.
    path = itself if itself.is_relative_to(root) else Path(os.path.realpath(given))
    if not path.is_relative_to(root):
        raise InvalidValueError(
            f"'{given}', of Live(include=...), is outside of the Git repository '{root}', so no "
            "experiment can hold it. Include what is inside, or copy it there."
        )
    if not os.path.lexists(path):
        logger.warning(
            "'%s', of Live(include=...), is not there yet: the experiment will be without it "
            "unless it is written before the run ends.",
            given,
        )
    return path


def _left_out_of(folder: Path, git: Git) -> Callable[[bytes], bool] | None:
    """Tells of a path (absolute) inside an included folder whether Git ignores it.

    None where Git ignores the folder itself: it was named in spite of that.
    """
    if _was_meant(folder, git):
        return None
    start = len(os.fsencode(git.root)) + 1
    ignored = git.ignores_below(os.fsencode(folder)[start:])
    return lambda path: ignored(path[start:])


def _was_meant(folder: Path, git: Git) -> bool:
    # Of the top folder Git cannot be asked, and libgit2 says that it is ignored.
    return folder != git.root and git.ignores(
        os.fsencode(folder.relative_to(git.root)), tracked=True
    )


def _is_included(path: bytes, record: Record, git: Git) -> bool:
    """Whether a path (relative to the Git root) is what the user included, or in there."""
    full = os.path.join(os.fsencode(git.root), path)  # noqa: PTH118 - bytes
    if full in map(os.fsencode, record.include):
        return True
    around = [one for one in record.include if _within(full, os.fsencode(one))]
    return any(_was_meant(one, git) for one in around) or (bool(around) and not git.ignores(path))


# -- saving ----------------------------------------------------------------------------------


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
        git = Git(record.git_root, record.git)
        tree = _tree(git, record, status, overrides or {}, covered, others)
        tree = _without_other_runs(git, record, tree, others)
        return _commit(git, record, outcome, tree)


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
    overrides: Mapping[str, bytes],
    covered: Collection[str],
    others: Collection[Record],
) -> bytes:
    # The run's own files are read and compressed while `git status` looks at what is tracked.
    blobs = Blobs(git)
    begun = _merges_begun(git, record)
    kept_by_dvc = _kept_by_dvc_where_it_ran(git, record, begun)
    own = {
        path
        for path in _own_files(git, record, covered, others)
        if path.split(b"/", 1)[0] != b".git" and not kept_by_dvc(path)
    }
    for path in own:
        blobs.add(path)
    look = status.result()
    worked_on, moves = _worked_on(git, record, look.commit)
    then = trees.of_commit(git.repo, worked_on)
    carried = _carried(git, look, then, begun)
    tracked = look.seen_from(worked_on, then, carried)
    lost = {*look.staged, *look.on_disk} - {*tracked.staged, *tracked.on_disk} - own
    merged = set(_changed(git, then, begun, lost))
    lost -= merged
    lost -= {*_of_others(record, others, lost), *_unchanged(git, then, lost)}
    _tell_of_move(record, look, tracked, lost, merged)
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
    brought = _brought(git, look, carried, moves, begun, own_now)
    changes.update((path, entry) for path, entry in read.items() if path not in brought)
    changes.update(_sources(git, record, tracked.base, changes))
    for name, data in overrides.items():
        path = os.fsencode(name)
        if path in brought or not (path in own or carried(path)):
            continue
        old = changes.get(path) or trees.find(git.repo, tracked.base, path)
        changes[path] = (old[0] if old else trees.FILE, git.write("blob", data))
    return trees.changed(git, tracked.base, changes)


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
    for path, entry in trees.find_files(git.repo, tracked.base, same - tracked.staged.keys()):
        blobs.unchanged(path, entry)


def _of_others(
    record: Record, others: Collection[Record], paths: Collection[bytes]
) -> Collection[bytes]:
    """Those of the paths (relative to the Git root) that are another run's."""
    if not others:
        return ()
    is_theirs = belongings.of_others(record, others)
    return {path for path in paths if is_theirs(f"{record.git_root}/{os.fsdecode(path)}")}


def _worked_on(git: Git, record: Record, seen: str) -> tuple[str, list[reflog.Move]]:
    """The last commit that was made of the files that ran, before others took their place.

    `seen` is where HEAD was when the files were looked at. It is the answer where the baseline
    was only built upon, or amended: what was committed is what ran then. With HEAD's moves since
    the run began.
    """
    moves = reflog.moves(Path(git.repo.path), record.reflog, record.baseline, seen)
    reached = at = record.baseline
    for move in moves:
        if move.new == move.old:
            continue
        if move.old != at or move.new not in git.repo:
            return reached, moves
        at = move.new
        if move.committed and _were_left_alone(git.repo, reached, move):
            reached = move.new
        elif move.committed:
            return reached, moves
    if at == reached and (reached == seen or _is_made_of(git.repo, seen, reached)):
        return seen, moves
    return reached, moves


def _were_left_alone(repo: pygit2.Repository, reached: str, made: reflog.Move) -> bool:
    """Whether a commit is made of the files of `reached`, though HEAD was put elsewhere meanwhile.

    `git reset --soft` and `--mixed` leave the files alone, so each that HEAD has otherwise then is
    in the next `git commit -a`; after any other move those are as HEAD has them.
    """
    ran, moved, new = (trees.of_commit(repo, one) for one in (reached, made.old, made.new))
    return all(
        trees.find(repo, new, path) != trees.find(repo, moved, path)
        for path in trees.differing(repo, ran, moved)
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


def _merges_begun(git: Git, record: Record) -> dict[bytes, int]:
    """The trees of the merges that began while the run went on and wait for their commit."""
    import pygit2

    found = {}
    for one, when in merges.begun(Path(git.repo.path), record.merging).items():
        # Nothing holds such a tree against `git gc`.
        with contextlib.suppress(KeyError, ValueError, pygit2.GitError):
            found[git.repo[one].peel(pygit2.Tree).id.raw] = when
    return found


def _carried(
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
        before = trees.find(git.repo, then, path)
        now = look.index[path] if path in look.index else trees.find(git.repo, look.base, path)
        if now == before and path not in in_conflict:
            return True
        return all(trees.find(git.repo, tree, path) == before for tree in arrived)

    return carried


def _changed(
    git: Git, tree: bytes, others: Collection[bytes], paths: Iterable[bytes]
) -> Iterator[bytes]:
    """Those of the paths that any of the other trees has otherwise than a tree."""
    for path in paths if others else ():
        entry = trees.find(git.repo, tree, path)
        if any(trees.find(git.repo, one, path) != entry for one in others):
            yield path


def _unchanged(git: Git, tree: bytes, paths: Iterable[bytes]) -> Iterator[bytes]:
    """Those of the paths that are on disk just as a tree has them: what a mixed reset leaves."""
    for path in paths:
        entry = trees.find(git.repo, tree, path)
        if entry is None or entry[0] not in (trees.FILE, trees.EXECUTABLE):
            continue
        with contextlib.suppress(OSError, KeyError):  # a partial clone may lack the object
            file = git.root / os.fsdecode(path)
            data = git.read(entry[1])
            if file.stat().st_size == len(data) and file.read_bytes() == data:
                yield path


def _brought(
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
        by = [arrived[tree] for tree in arrived if trees.find(git.repo, tree, path) == own[path]]
        if any(trees.find(git.repo, a, path) != trees.find(git.repo, b, path) for a, b in made):
            return False
        place = os.path.join(os.fsencode(git.root), path)  # noqa: PTH118 - bytes
        with contextlib.suppress(FileNotFoundError):
            written = os.lstat(place).st_mtime_ns
            return any(when is None or written <= when for when in by)
        return bool(by)

    return set(filter(is_brought, foreign))


def _kept_by_dvc_where_it_ran(
    git: Git, record: Record, begun: Collection[bytes]
) -> Callable[[bytes], bool]:
    """Tells of data whose pointer file left the disk with another commit's files."""
    seen = git.head or record.baseline
    then = trees.of_commit(git.repo, _worked_on(git, record, seen)[0])
    if not {trees.of_commit(git.repo, seen), *begun} - {then}:
        return lambda _: False

    def kept(path: bytes) -> bool:
        parts = path.split(b"/")
        around = (b"/".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        return any(trees.find(git.repo, then, one + b".dvc") for one in around)

    return kept


def _tell_of_move(
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


def _without_other_runs(git: Git, record: Record, tree: bytes, others: Collection[Record]) -> bytes:
    """The tree with each shared dvc.yaml freed of what other runs put into it meanwhile.

    Their files are not in this experiment, so `dvc exp show` would have an error for each.
    """
    folders = [record.dir, *(other.dir for other in others)]
    for file in dict.fromkeys((record.dvcyaml, *(other.dvcyaml for other in others))):
        if file is not None and not any(map(file.is_relative_to, folders)):
            tree = _without_others_in(file, git, record, tree)
    return tree


def _without_others_in(file: Path, git: Git, record: Record, tree: bytes) -> bytes:
    if not file.is_relative_to(record.git_root):
        return tree
    path = os.fsencode(file.relative_to(record.git_root))
    entry = trees.find(git.repo, tree, path)
    if entry is None:
        return tree
    before = trees.find(git.repo, trees.of_commit(git.repo, record.baseline), path)
    try:
        text = git.read(entry[1]).decode()
        committed = git.read(before[1]).decode() if before else None
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
        if trees.find(git.repo, tree, name):
            return False
        if os.path.lexists(f"{place}.dvc"):
            return trees.find(git.repo, tree, name + b".dvc") is None
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
        now = changes[path] if path in changes else trees.find(git.repo, base, path)
        then = (source.mode, bytes.fromhex(source.blob))
        tracked = now is not None or any(trees.find(git.repo, one, path) for one in known)
        if not tracked and not _is_included(path, record, git):
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
        logger.warning(
            "'%s' changed after it was loaded; the experiment has the version that ran.",
            source.path,
        )
        yield path, then


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
    written = (record.dir, record.dvcyaml, *record.pointers)
    for one, was_included in (
        *((one, False) for one in written if one is not None),
        *((one, True) for one in record.include),
    ):
        path = os.fsencode(one)
        if path != root and not path.startswith(root + b"/"):
            logger.warning(
                "'%s' is outside of the Git repository '%s', so the experiment is without it.",
                one,
                record.git_root,
            )
            continue
        if any(_within(path, output) for output in kept_by_dvc):
            continue
        ignored = _left_out_of(one, git) if was_included and one.is_dir() else None
        for file in belongings.below(path, left_out, ignored):
            name = file[len(root) + 1 :]
            if name not in seen:
                seen.add(name)
                yield name


def _within(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder + b"/")


# -- commit and reference --------------------------------------------------------------------


def _commit(git: Git, record: Record, outcome: Outcome, tree: bytes) -> str:
    lines = (
        f"tree {tree.hex()}",
        f"parent {record.baseline}",
        f"author {_identity(git, 'author')}",
        f"committer {_identity(git, 'committer')}",
        "",
        message(record, outcome, tree.hex()),
    )
    commit = git.write("commit", "\n".join(lines).encode("utf-8", "replace")).hex()
    name = record.name
    for number in range(2, 10_000):
        if _create_reference(git.common_dir, reference(record.baseline, name), commit):
            if name != record.name:
                logger.warning(
                    "The name '%s' was taken while the run was going; the experiment is '%s'.",
                    record.name,
                    name,
                )
            return commit
        name = f"{record.name}-{number}"
    raise SaveError(f"No free name like '{record.name}' was found.")


def message(record: Record, outcome: Outcome, fingerprint: str) -> str:
    """The commit's message: the user's or DVC's, then how the run ended, as trailers.

    The run's id tells a later recovery that the run is saved already.

    No argument, variable or exception's text: those hold secrets, and experiments are pushed.
    """
    trailers = {
        "Dvclive-Status": outcome.status.value,
        "Dvclive-Run": record.id,
        "Dvclive-Script": record.script,
        "Dvclive-Exception": outcome.exception,
        "Dvclive-Raised-At": outcome.raised_at,
        "Dvclive-Exit-Code": outcome.exit_code,
        "Dvclive-Signal": outcome.signal,
    }
    lines = [f"{key}: {_one_line(str(it))}" for key, it in trailers.items() if it is not None]
    text = (record.message or f"dvc: commit experiment {fingerprint}").replace("\0", "").strip()
    return text.encode("utf-8", "replace").decode() + "\n\n" + "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode().split())


def _identity(git: Git, role: str) -> str:
    """Who commits and when, as Git finds it (ident.c): variables, configuration, the system.

    Git refuses where it would have to guess; a run is not lost for that, so the guess is taken.
    """

    def first(*keys: str) -> str | None:
        for key in keys:
            value = os.environ.get(key) or (git.setting(key) if "." in key else None)
            # Git strips what would break the line (ident.c, strbuf_addstr_without_crud).
            value = re.sub(r"[<>\n\0]", "", value or "").strip(" .,:;\"'\\")
            if value:
                return value
        return None

    upper = f"GIT_{role.upper()}"
    name = first(f"{upper}_NAME", f"{role}.name", "user.name") or _system_name()
    email = first(f"{upper}_EMAIL", f"{role}.email", "user.email", "EMAIL")
    when, offset = _moment(git, upper)
    hours, minutes = divmod(abs(offset), 60)
    zone = f"{'-' if offset < 0 else '+'}{hours:02}{minutes:02}"
    return f"{name} <{email or _system_email()}> {when} {zone}"


def _system_name() -> str:
    with contextlib.suppress(Exception):
        import pwd

        name = pwd.getpwuid(os.getuid()).pw_gecos.split(",")[0].strip()
        if name:
            return name
    with contextlib.suppress(Exception):
        return getpass.getuser()
    return "unknown"


def _system_email() -> str:
    user = "unknown"
    with contextlib.suppress(Exception):
        user = getpass.getuser()
    return f"{user}@{socket.gethostname() or 'localhost'}"


def _moment(git: Git, role: str) -> tuple[int, int]:
    """Seconds since the epoch and minutes east of Greenwich, from a GIT_*_DATE or the clock."""
    given = os.environ.get(f"{role}_DATE")
    if given:
        # "Git internal format" of git-commit(1); "@" marks it.
        match = _INTERNAL_DATE.fullmatch(given.strip())
        if match is None:
            # Of the other forms Git takes more than it tells of (date.c).
            with contextlib.suppress(RepositoryError):
                names = {f"{role}_NAME": "-", f"{role}_EMAIL": "-"}
                said = git.ask("var", f"{role}_IDENT", variables=names).decode("ascii")
                match = _INTERNAL_DATE.fullmatch(said.rpartition(">")[2].strip())
        if match:
            minutes = int(match[3] or 0) * 60 + int(match[4] or 0)
            return int(match[1]), -minutes if match[2] == "-" else minutes
        with contextlib.suppress(ValueError):  # there may be no `git` to ask
            moment = datetime.fromisoformat(given.strip().replace("Z", "+00:00")).astimezone()
            return int(moment.timestamp()), _minutes(moment)
        logger.warning(
            "%s_DATE='%s' is no date that Git knows, so the experiment bears the present one. "
            "git-commit(1), DATE FORMATS, has the forms.",
            role,
            given,
        )
    return int(time.time()), _minutes(datetime.now().astimezone())


def _minutes(moment: datetime) -> int:
    offset = moment.utcoffset()
    return int(offset.total_seconds() // 60) if offset else 0


def _create_reference(common: Path, name: str, commit: str) -> bool:
    """Creates a reference from nothing; False where it exists already.

    libgit2 checks for an existing one before it takes its lock, so of two runs that end
    together one would replace the other. Here the kernel decides: a finished file without a
    name is linked to its name, which fails when that is there; a kill leaves nothing behind.
    """
    path = common / name
    if packed_ref(common, name) is not None:
        return False
    for _ in range(100):
        try:
            make_folder(path.parent)
            if not files.link_new_file(path, f"{commit}\n".encode("ascii")):
                _create_by_lock(path, f"{commit}\n".encode("ascii"))
        except FileExistsError:
            return False
        except FileNotFoundError:
            continue  # `git pack-refs` removed the empty folder between the two calls
        if packed_ref(common, name) not in (None, commit):
            # Packed by Git between the look and the link: it was there first.
            path.unlink()
            return False
        return True
    raise FileNotFoundError(f"The folder of {path} vanishes as soon as it is made.")


def _create_by_lock(path: Path, data: bytes) -> None:
    """As Git itself does it, where the file system has no nameless files."""
    lock = path.with_name(path.name + ".lock")
    fd = os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(data)
        if os.path.lexists(path):
            raise FileExistsError(path)
        lock.replace(path)
    finally:
        lock.unlink(missing_ok=True)
