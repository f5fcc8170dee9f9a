"""What the user takes into an experiment by `Live(include=...)`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidValueError
from ..notices import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .git import Git
    from .record import Record


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


def left_out_of(folder: Path, git: Git) -> Callable[[bytes], bool] | None:
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


def is_included(path: bytes, record: Record, git: Git) -> bool:
    """Whether a path (relative to the Git root) is what the user included, or in there."""
    full = os.path.join(os.fsencode(git.root), path)  # noqa: PTH118 - bytes
    if full in map(os.fsencode, record.include):
        return True
    around = [one for one in record.include if within(full, os.fsencode(one))]
    return any(_was_meant(one, git) for one in around) or (bool(around) and not git.ignores(path))


def within(path: bytes, folder: bytes) -> bool:
    """Whether a path is a folder, or in there; both absolute."""
    return path == folder or path.startswith(folder + b"/")
