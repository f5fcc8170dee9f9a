"""What was edited after a run that was lost: it is not what ran.

All that counts are the times of files, among themselves: they are of one clock, whoever wrote.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RepositoryError
from ..notices import logger
from .git import Git

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from ..layout import Layout
    from .record import Record

_SHOWN = 3


def last_sign(layout: Layout, journal: Path) -> int | None:
    """When the run wrote last that it is known of, in nanoseconds; None where nothing tells.

    A journal that says how the run ended was written then. Neither its summary, dvc.yaml nor
    report count: a recovery writes those, also one that fails.
    """
    own = (journal, layout.params_file, *_files(layout.plots_dir))
    return max((at for path in own if (at := _time_of(path)) is not None), default=None)


def with_inputs(record: Record, moment: int | None) -> Record:
    """The run with those of its inputs that were edited since, as they were when it began.

    One that was edited while the run went on stays as it is, for `end()` takes it so. One that is
    gone was edited when its folder was.
    """
    if moment is None:
        return record
    known = {source.path for source in record.sources}
    edited = tuple(
        source
        for source in record.inputs
        if source.path not in known and _written(record.git_root / source.path) > moment
    )
    return dataclasses.replace(record, sources=(*record.sources, *edited))


def _written(path: Path) -> int:
    for one in (path, *path.parents):
        with contextlib.suppress(OSError):
            info = one.lstat()
            # One that was moved here, or copied with its time, came when its entry changed.
            return max(info.st_mtime_ns, info.st_ctime_ns)
    return 0


def in_experiment(record: Record, commit: str, moment: int | None) -> tuple[str, ...]:
    """What was edited since, of all that the experiment has otherwise than its baseline.

    Whether the run had it so nobody can tell: what it had may never have been committed. Left out
    is what the run wrote itself, what the user included though Git did not track it (the run may
    write that, too), and the `.gitignore`s, to which other runs add lines. Of files that are gone
    nothing tells when they went.
    """
    import pygit2

    if moment is None:
        return ()
    git = Git(record.git_root, record.git)
    try:
        base = git.repo[record.baseline].peel(pygit2.Tree)
        changes = list(base.diff_to_tree(git.repo[commit].peel(pygit2.Tree)).deltas)
    except (KeyError, ValueError, RepositoryError, pygit2.GitError) as error:
        logger.debug("what was edited after the run cannot be told: %s", error)
        return ()
    root = f"{record.git_root}/"
    known = {
        *(os.fspath(path).removeprefix(root) for path in record.pointers),
        *(source.path for source in record.sources),
    }
    found: list[str] = []
    for delta in changes:
        name = os.fsdecode(delta.new_file.raw_path)
        path = record.git_root / name
        is_gone = delta.status == pygit2.enums.DeltaStatus.DELETED
        if is_gone or name in known or path.name == ".gitignore":
            continue
        is_new = delta.status == pygit2.enums.DeltaStatus.ADDED
        own = (record.dir, record.dvcyaml, *(record.include if is_new else ()))
        if not any(path.is_relative_to(one) for one in own if one is not None):
            found += _edited(record.git_root, name, moment)
    return tuple(found)


def _edited(root: Path, name: str, moment: int) -> Iterator[str]:
    """The name of a file that was written since; for a pointer file that of its data, too."""
    if name.endswith(".dvc"):
        data = name.removesuffix(".dvc")
        if any((_time_of(one) or 0) > moment for one in _files(root / data)):
            yield data
            return
    if (_time_of(root / name) or 0) > moment:
        yield name


def told(record: Record, found: Collection[str]) -> str:
    """The warning of what `in_experiment` found."""
    shown = ", ".join(f"'{name}'" for name in list(found)[:_SHOWN])
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (
        f"{shown}{more} changed after the last sign of life of the run '{record.name}', and which "
        "version it had is not known: the experiment has the later one."
    )


def _files(place: Path) -> Iterator[Path]:
    """A file itself, or those below a folder."""
    if not place.is_dir() or place.is_symlink():
        yield place
        return
    for folder, _, names in os.walk(place):
        yield from (Path(folder, name) for name in names)


def _time_of(path: Path) -> int | None:
    """When a file was written; a folder's time tells of other things."""
    try:
        info = path.lstat()
    except OSError:
        return None
    return None if stat.S_ISDIR(info.st_mode) else info.st_mtime_ns
