"""DVC's state database, which remembers a file's hash with its stat: many files at a time.

It is only a memory. When it cannot be used nothing fails: DVC hashes once more.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..notices import logger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .objects import Stamp

    Row = tuple[str, str, os.stat_result | Stamp]  # a file's absolute path, its md5, its stat

_ASKED = 999  # files asked about in one query, as dvc_data does


@contextlib.contextmanager
def forgiving(what: str) -> Iterator[None]:
    """Lets `what` (a verb) fail, with a line in the log for those who look for it."""
    import sqlite3

    from dvc_data.hashfile.cache import DiskError, Timeout

    try:
        yield
    except (sqlite3.Error, DiskError, Timeout, OSError) as error:
        logger.debug("cannot %s DVC's state: %s", what, error)


def info_of(status: os.stat_result | Stamp) -> dict[str, Any]:
    """What dvc_data's `State` looks at of a file (dvc_data/fsutils.py, `_localfs_info`)."""
    return {
        "type": "file",
        "ino": status.st_ino,
        "mtime": status.st_mtime,
        "size": status.st_size,
        "mode": status.st_mode,
    }


def hash_info(md5: str) -> Any:
    """The hash as dvc_data takes it."""
    from dvc_data.hashfile.hash_info import HashInfo

    return HashInfo("md5", md5)


def keep(repo: Any, rows: list[Row]) -> None:
    """Remembers the hash of each file."""
    if not rows:
        return
    state, fs = repo.state, repo.fs
    with forgiving("write"):
        try:
            state.hashes.set_many([(name, _text(md5, status)) for name, md5, status in rows])
            # dvc_data's own way takes twice the time; this one counts only when DVC reads from
            # it what was put in.
            name, md5, status = rows[-1]
            known = state.get(name, fs, info_of(status))[1]
        except AttributeError:
            known = None
        if known is None or known.value != md5:
            state.save_many([(name, hash_info(md5), info_of(s)) for name, md5, s in rows], fs)


def _text(md5: str, status: os.stat_result | Stamp) -> str:
    # dvc_data/hashfile/state.py, `_checksum` and `State.save_many`.
    size = status.st_size
    stamp = f"([{status.st_ino}, {status.st_mtime!r}, {size}],)".encode()
    checksum = int(hashlib.md5(stamp, usedforsecurity=False).hexdigest(), 16)
    return f'{{"version":1,"checksum":"{checksum}","size":{size},"hash_info":{{"md5":"{md5}"}}}}'


def told(
    repo: Any, folder: str, asked: Iterable[tuple[int, str, dict[str, Any]]]
) -> Iterator[tuple[int, str]]:
    """The md5 of those files below `folder` that are known as they are now.

    asked: a number for each file, which is given back, its absolute path, and its info.
    """
    state, fs = repo.state, repo.fs
    rest = iter(asked)
    with forgiving("read"):
        if not _knows_any(state, folder):
            return
        while batch := list(islice(rest, _ASKED)):
            infos = {name: info for _, name, info in batch}
            answers = state.get_many(list(infos), fs, infos)
            for (number, _, _), (_, _, known) in zip(batch, answers, strict=False):
                if known is not None and known.name == "md5":
                    yield number, known.value


def _knows_any(state: Any, folder: str) -> bool:
    # One question in place of thousands, when a folder is new.
    try:
        query = "SELECT EXISTS (SELECT 1 FROM Cache WHERE key >= ? AND key < ?)"
        ((some,),) = state.hashes._sql(query, (f"{folder}/", f"{folder}0"))  # noqa: SLF001 - guarded: without it only the short cut is lost
    except (AttributeError, TypeError, ValueError):
        return True
    return bool(some)


def keep_link(repo: Any, path: str, inode: int, token: str) -> None:
    """Remembers that DVC may take `path` away at a checkout, as long as `token` still fits it."""
    state = repo.state
    with forgiving("write"):
        try:
            links, root = state.links, state.root_dir
        except AttributeError:
            state.set_link(path, inode, token)
        else:
            # `set_link` closes the database each time, which costs four fsyncs, and it tries for
            # ever where the database cannot be written (diskcache, `__setitem__`): a full disk
            # would hang the training.
            links.set(os.path.relpath(path, root), (inode, token), retry=False)
