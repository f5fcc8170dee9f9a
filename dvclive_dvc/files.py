"""Writing files so that a reader, a crash or a full disk never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEMP = re.compile(r"^\.(?P<name>.+)\.(?P<pid>\d+)-\d+\.dvclive-tmp$")


def _temp_beside(path: Path, folder: Path) -> Path:
    # The process and thread in the name keep two writers apart, and let `sweep` tell a dead
    # writer's leavings from a file that is being written.
    return folder / temp_name(path.name)


def temp_name(name: str) -> str:
    """What the half-written file for one of this name is called; `sweep` knows it again.

    Of a long name only the beginning: the file system has room for 255 bytes.
    """
    return f".{name[:_SHOWN]}.{os.getpid()}-{threading.get_ident()}.dvclive-tmp"


_SHOWN = 48


def write_whole(fd: int, data: bytes | memoryview) -> None:
    """Writes all of it: a signal may cut a single call short."""
    done = os.write(fd, data)
    if done != len(data):
        rest = memoryview(data)
        while done < len(rest):
            done += os.write(fd, rest[done:])


def replace(
    path: Path, data: bytes, *, scratch: Path | None = None, mode: int | None = None
) -> None:
    """Puts `data` at `path` whole or not at all; an existing file keeps its permissions.

    A symbolic link stays one: the file it names is replaced. `scratch` is a folder on the same
    file system for the half-written file, so that a kill leaves nothing beside a user's file;
    without it, or when it is on another file system, that is the folder of `path` itself.
    `mode` sets the permission bits of the result.

    Raises OSError with `path` and everything else as they were.
    """
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if mode is None:
        with contextlib.suppress(FileNotFoundError):
            mode = target.stat().st_mode & 0o7777
    folders = [scratch, target.parent] if scratch is not None else [target.parent]
    for folder in folders:
        temp = _temp_beside(target, folder)
        try:
            fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _O_BINARY, 0o666)
            try:
                with open(fd, "wb", closefd=False) as file:
                    file.write(data)
                if mode is not None:
                    temp.chmod(mode)
            finally:
                os.close(fd)
            temp.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                temp.unlink()
            if folder is folders[-1]:
                raise
        else:
            return


def put(path: str, data: bytes) -> None:
    """As `replace`, in as few calls as can be: for files that only the run writes.

    The new file has the permissions of any new file, and takes the place of a link rather than
    that of what the link names: DVC leaves links into its cache.
    """
    folder, name = os.path.split(path)
    temp = f"{folder}/{temp_name(name)}"
    try:
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _O_BINARY, 0o666)
        try:
            written = os.write(fd, data)
            while written < len(data):
                written += os.write(fd, data[written:])
        finally:
            os.close(fd)
        os.replace(temp, path)  # noqa: PTH105 - a Path would cost as much as the call
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temp)  # noqa: PTH108 - as above
        raise


def link_new_file(path: Path, data: bytes, *, mode: int = 0o666) -> bool:
    """Makes a file that is whole from the moment it has a name.

    False, with nothing done, where the file system has no nameless files, or nothing to name them
    by. Raises FileExistsError where the name is taken: of two who make it at once one wins.
    """
    try:
        fd = open_nameless(path.parent, mode)
    except FileNotFoundError:
        raise
    except OSError:
        return False
    with open(fd, "wb", buffering=0) as file:  # noqa: PTH123 - a descriptor
        left = memoryview(data)
        while left:
            left = left[file.write(left) :]
        try:
            give_name(fd, path)
        except FileNotFoundError:
            if not os.path.isdir(_DESCRIPTORS):  # noqa: PTH112 - no Path is made here
                return False
            raise
    return True


def open_nameless(folder: str | Path, mode: int = 0o666) -> int:
    """Opens a new file, to be written and read, that vanishes with its descriptor.

    Raises OSError where the file system of `folder` has none.
    """
    flag: int | None = getattr(os, "O_TMPFILE", None)  # Linux has it
    if flag is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP), str(folder))
    return os.open(folder, flag | os.O_RDWR | os.O_CLOEXEC, mode)


def give_name(fd: int, path: str | Path) -> None:
    """Gives a nameless file a name, on its own file system. Raises FileExistsError if it is taken.

    A process that dies just before leaves nothing.
    """
    # Given a folder's descriptor, which an absolute path has no need of, Python calls linkat(2),
    # which can follow the link in /proc to the file.
    try:
        os.link(f"{_DESCRIPTORS}/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


_DESCRIPTORS = "/proc/self/fd"


_O_BINARY: int = getattr(os, "O_BINARY", 0)


def replace_if_changed(path: Path, data: bytes, *, scratch: Path | None = None) -> bool:
    """As `replace`, unless the file already holds `data`; says whether it wrote."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    replace(path, data, scratch=scratch)
    return True


def remove_empty_folders(folder: Path, *, up_to: Path) -> None:
    """Removes `folder` and its parents while they are empty, never `up_to` or above it."""
    while folder != up_to and folder.is_relative_to(up_to):
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def process_alive(pid: int) -> bool:
    """Whether a process of this number runs on this machine (whoever it belongs to)."""
    if sys.platform == "win32":
        import psutil

        return bool(psutil.pid_exists(pid))
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def sweep(folder: Path) -> None:
    """Removes half-written files below `folder` whose writer is dead."""
    for root, _, names in os.walk(folder):
        for name in names:
            match = _TEMP.match(name)
            if match and not process_alive(int(match["pid"])):
                with contextlib.suppress(OSError):
                    Path(root, name).unlink()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds all other runs off the file at `path` (or about to be there) for a moment.

    The lock is an `flock` on the folder itself: nothing is created, and the kernel lets go of a
    dead holder's. Where folders cannot be locked (Windows, some network file systems) the work
    goes on without: `replace` still keeps the file whole.
    """
    try:
        import fcntl

        fd = os.open(path.parent, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        with contextlib.suppress(OSError):
            # A worker forked meanwhile has the folder open as well, and with it the lock.
            fcntl.flock(fd, fcntl.LOCK_UN)
        os.close(fd)


def dump_json(document: Any) -> bytes:
    """The package's JSON: indented by four, in UTF-8, ended by a newline; never NaN."""
    text = json.dumps(document, indent=4, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"
