"""Git trees: a commit's tree with some paths changed, every untouched folder taken as it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ..notices import logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pygit2

    from .git import Git

# Modes as Git writes them in a tree.
FILE, EXECUTABLE, LINK, FOLDER, SUBMODULE = 0o100644, 0o100755, 0o120000, 0o040000, 0o160000

# A file's mode and hash; None for one that shall not be there.
Entry = tuple[int, bytes]
Changes = "Mapping[bytes, Entry | None]"


def find(git: Git, tree: bytes, path: bytes) -> Entry | None:
    """What stands at `path` (POSIX, relative) in a tree; None where nothing does."""
    entry: Entry | None = (FOLDER, tree)
    for part in path.split(b"/"):
        if entry is None or entry[0] != FOLDER:
            return None
        entry = git.tree(entry[1]).get(part)
    return entry


def differing(repo: pygit2.Repository, a: bytes, b: bytes) -> Iterator[bytes]:
    """The paths, of all but folders, that two trees have otherwise."""
    import pygit2

    one, other = (repo[pygit2.Oid(raw=tree)].peel(pygit2.Tree) for tree in (a, b))
    for delta in one.diff_to_tree(other).deltas:
        yield delta.new_file.raw_path


def of_commit(repo: pygit2.Repository, commit: str) -> bytes:
    """The raw hash of a commit's tree. Raises KeyError where the commit is not there."""
    import pygit2

    return repo[commit].peel(pygit2.Commit).tree_id.raw


def changed(git: Git, base: bytes | None, changes: Mapping[bytes, Entry | None]) -> bytes:
    """Writes the tree that is `base` with `changes` made; returns its raw hash.

    Paths are POSIX, relative to the tree. Only the folders on the way to a change are read and
    written, so the cost does not follow the repository's size. A folder left empty vanishes.
    A submodule's entry stays; what would be below it is left out, with a warning.
    """
    return _folder(git, base, changes) or _write(git, {})


def _folder(
    git: Git, base: bytes | None, changes: Mapping[bytes, Entry | None], above: bytes = b""
) -> bytes | None:
    entries = dict(git.tree(base)) if base else {}
    below: dict[bytes, dict[bytes, Entry | None]] = {}
    for path, entry in changes.items():
        name, slash, rest = path.partition(b"/")
        if slash:
            below.setdefault(name, {})[rest] = entry
        elif entry is not None:
            entries[name] = entry
        elif entries.get(name, (0,))[0] != FOLDER:
            # A file that became a folder is both: gone itself, and others are below it.
            entries.pop(name, None)
    for name, inner in below.items():
        old = entries.get(name)
        place = above + name
        if old and old[0] == SUBMODULE:
            _warn_of_lost(place, [path for path, entry in inner.items() if entry is not None])
            continue
        tree = _folder(git, old[1] if old and old[0] == FOLDER else None, inner, place + b"/")
        if tree is not None:
            entries[name] = (FOLDER, tree)
        elif old and old[0] == FOLDER:
            del entries[name]
    return _write(git, entries) if entries else None


def _warn_of_lost(submodule: bytes, paths: list[bytes]) -> None:
    if not paths:
        return
    logger.warning(
        "'%s' is a submodule, of which the experiment has the recorded commit alone: it is without "
        "'%s'%s. Keep outside of the submodule what an experiment shall have.",
        os.fsdecode(submodule),
        os.fsdecode(submodule + b"/" + paths[0]),
        f" and {len(paths) - 1} more" if len(paths) > 1 else "",
    )


def _write(git: Git, entries: Mapping[bytes, Entry]) -> bytes:
    ordered = sorted(entries.items(), key=_place)
    return git.write(
        "tree", b"".join([b"%o %s\0%s" % (mode, name, sha) for name, (mode, sha) in ordered])
    )


def _place(item: tuple[bytes, Entry]) -> bytes:
    # Git sorts a folder as if its name ended in a slash (tree.c, base_name_compare).
    name, (mode, _) = item
    return name + b"/" if mode == FOLDER else name
