"""Which folders the runs of this process write into, for other processes to see.

A run that is saved has its journal; this is for all, and leaves nothing on disk. The sign is the
name of an abstract socket (unix(7)): only one process can have it, and the kernel takes it from
the dead. A lock on the folder itself would not do: `files.locked` holds others off by that.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import sys
import time
from typing import TYPE_CHECKING

from . import forks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_taken: dict[Path, tuple[str, int]] = {}
# A child that was forked a moment ago has this process's sign until it is told to let go.
_WAITS = (0.01, 0.02, 0.04, 0.08, 0.1, 0)


def take(folder: Path) -> bool:
    """Makes the folder this process's, and says whether it could.

    Runs of one process do not hold one another off: of those `Live` knows more. Only Linux has
    such sockets; elsewhere, and where none can be made, everybody may.
    """
    if sys.platform != "linux":
        return True
    found = folder.stat()
    # The path, because another folder may get the number of one that was deleted; the numbers,
    # because another container may have the path.
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]  # a name has 107 bytes
    name = f"\0dvclive_dvc {found.st_dev} {found.st_ino} {digest}"
    if folder in _taken and _taken[folder][0] == name:
        return True
    let_go(folder)
    import socket

    try:
        sign = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except OSError:
        return True
    with sign:
        for seconds in _WAITS:
            try:
                with forks.held_off:
                    sign.bind(name)
                    _taken[folder] = name, sign.detach()
            except OSError as error:  # noqa: PERF203 - it is tried a few times
                if error.errno != errno.EADDRINUSE:
                    return True
                time.sleep(seconds)
            else:
                return True
    return False


@contextlib.contextmanager
def borrowed(folder: Path) -> Iterator[bool]:
    """Keeps other processes out of the folder for a while; False where one is in it."""
    had = folder in _taken
    free = not folder.is_dir() or take(folder)
    try:
        yield free
    finally:
        if free and not had:
            let_go(folder)


def let_go(folder: Path) -> None:
    """Lets other processes have the folder."""
    with forks.held_off:
        _, fd = _taken.pop(folder, ("", -1))
        if fd >= 0:
            os.close(fd)


def _let_all_go() -> None:
    # A fork has the parent's descriptors, and would keep its folders when the parent is dead.
    for folder in list(_taken):
        with contextlib.suppress(OSError):
            let_go(folder)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_all_go)
