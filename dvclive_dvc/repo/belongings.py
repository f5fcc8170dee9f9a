"""Which files are a run's own for Git to keep: not another run's, and not what DVC keeps."""

from __future__ import annotations

import os
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from .record import Record

_TEMPORARY = b".dvclive-tmp"


def of_others(record: Record, others: Collection[Record]) -> Callable[[str], bool]:
    """Tells of a path (absolute) whether it is another run's than `record`'s.

    Of folders inside one another the innermost decides. The pointer files of artifacts are their
    run's wherever they are, but for data that was there as it is before that run began: it is the
    user's, and the others ran with it as well. A `.gitignore` is the user's, to which runs add
    their lines.
    """
    own = str(record.dir)
    theirs = {str(other.dir) for other in others} - {own}
    folders = sorted({own, *theirs}, key=len, reverse=True)
    ours = {str(path) for path in record.pointers}
    began: dict[str, list[str]] = {}
    for other in others:
        for pointer in other.pointers:
            if pointer.suffix == ".dvc" and str(pointer) not in ours:
                began.setdefault(str(pointer), []).append(other.started)

    def is_theirs(path: str) -> bool:
        if path in began:
            return written_since(path.removesuffix(".dvc"), min(began[path]))
        inside = (one for one in folders if path == one or path.startswith(one + "/"))
        return path not in ours and next(inside, own) in theirs

    return is_theirs


def written_since(path: str, moment: str) -> bool:
    """Whether a file, or anything in a folder, was written since; also where nobody can tell."""
    try:
        since = datetime.fromisoformat(moment).timestamp()
        return any(os.stat(one).st_mtime >= since for one in _all_of(path))  # noqa: PTH116 - many
    except (OSError, ValueError):
        return True


def _all_of(path: str) -> Iterator[str]:
    yield path
    for folder, folders, names in os.walk(path):
        yield from (f"{folder}/{name}" for name in (*folders, *names))


def below(
    top: bytes,
    kept_by_dvc: Collection[bytes],
    leaves_out: Callable[[bytes], bool] | None = None,
    *,
    takes_repository: Callable[[bytes], bool],
) -> Iterator[bytes]:
    """The files at and below `top`, links as themselves, without what DVC keeps.

    DVC keeps what a `.dvc` file beside it names, and the paths given. Half-written files, and files
    and folders that the caller `leaves_out` are left out, and so is another repository below `top`
    unless the caller takes it: then its files enter as plain ones, which is what Git makes of those
    that are tracked in there. Raises OSError where a folder cannot be listed: what is in there
    would be missing and nobody told.
    """
    if not os.path.isdir(top) or os.path.islink(top):  # noqa: PTH112, PTH114 - bytes
        yield top
        return
    for folder, folders, names in os.walk(top, onerror=_unless_gone):
        if b".git" in (*folders, *names):
            if folder != top and not takes_repository(folder):
                folders.clear()
                continue
            for entries in (folders, names):  # in a linked worktree it is a file
                entries[:] = [one for one in entries if one != b".git"]
        beside = set(_outputs_beside(folder, names))
        for name in (*names, *(one for one in folders if _is_link(folder, one))):
            path = os.path.join(folder, name)  # noqa: PTH118 - bytes
            kept = path in kept_by_dvc or path in beside
            if not (kept or name.endswith(_TEMPORARY) or (leaves_out and leaves_out(path))):
                yield path
        folders[:] = [
            name
            for name in folders
            if name != b".dvc"
            and (path := os.path.join(folder, name)) not in kept_by_dvc  # noqa: PTH118 - bytes
            and path not in beside
            and not (leaves_out and leaves_out(path))
        ]


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _is_link(folder: bytes, name: bytes) -> bool:
    return os.path.islink(os.path.join(folder, name))  # noqa: PTH114, PTH118 - bytes


def _outputs_beside(folder: bytes, names: list[bytes]) -> Iterator[bytes]:
    """What the `.dvc` files of a folder cover. By `dvc add` that is their name without `.dvc`."""
    for name in names:
        if name.endswith(b".dvc") and name != b".dvc":
            yield os.path.join(folder, name.removesuffix(b".dvc"))  # noqa: PTH118 - bytes
