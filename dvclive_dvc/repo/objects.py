"""Bytes into DVC's cache: a file is read once, hashed and written in the same pass.

An object appears under its name whole or not at all: it is written as a file without a name, of
which a kill leaves nothing, or, where the file system has none, under a temporary name. Whatever
can be linked or cloned instead of written is, as DVC would (dvc_objects/fs/generic.py, `transfer`:
a reflink is always tried first).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import queue
import re
import stat
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

READ_ONLY = 0o444  # what DVC takes for "this object needs no more hashing"
# Up to this size a file is read at once, so that its hash, and with it the place of its object,
# is known before anything is written.
AT_ONCE = 1 << 20
# From this size on a thread of its own hashes while the next piece is read and written.
TWO_THREADS = 8 << 20
_PIECE = 1 << 20
_PIECES = 6
_TEMP = re.compile(r"\.(?P<pid>\d+)-\d+-\d+\.dvclive-tmp")
_NO_LINK = {
    errno.EPERM, errno.ENOTSUP, errno.EXDEV, errno.ENOTTY, errno.ENOSYS, errno.EINVAL,
    errno.EAGAIN, errno.EOPNOTSUPP, errno.EMLINK, errno.EACCES,
}  # fmt: skip
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_READ: int = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_CREATE: int = (
    os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)


# An inode may use all 64; a column of `listing.Listing` has room for a signed number.
INODE_BITS = (1 << 63) - 1

# Inode, time in seconds and size; a change of the number of links is none of the content.
Version = tuple[int, float, int]


class Stamp(NamedTuple):
    """What is remembered of a file's stat, as `os.stat_result` calls it."""

    st_mode: int
    st_ino: int
    st_size: int
    st_mtime: float
    st_ctime_ns: int


class Stored(NamedTuple):
    """A file whose bytes are in the cache.

    size:   of the cached bytes.
    status: of the file those bytes are still the content of; None when another process changed
            it while it was read.
    """

    md5: str
    size: int
    status: os.stat_result | Stamp | None


def sweep(root: str) -> None:
    """Removes half-written objects of processes that are dead from a cache."""
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            match = _TEMP.fullmatch(entry.name)
            if match and not files.process_alive(int(match["pid"])):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


class _Draft:
    """A new file in `folder` that shall become an object; `temp` is its name if it has to have one.

    Nothing is left of it unless it is published.
    """

    __slots__ = ("fd", "folder", "temp")

    def __init__(self, folder: str, fd: int, temp: str | None) -> None:
        self.folder = folder
        self.fd = fd
        self.temp = temp

    def __enter__(self) -> Self:
        return self

    def publish(self, path: str) -> None:
        """Makes it the object at `path`, unless another process has. Its folder must be there."""
        if self.temp is None:
            with contextlib.suppress(FileExistsError):
                files.give_name(self.fd, path)
            return
        self._shut()  # Windows renames no open file
        os.replace(self.temp, path)
        self.temp = None

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        # Also a KeyboardInterrupt must not leave half an object.
        self._shut()
        if self.temp is not None:
            _remove(self.temp)
        if isinstance(error, OSError) and error.errno in _NO_ROOM and error.filename is None:
            error.filename = self.folder  # whose disk is full, a write does not tell

    def _shut(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Objects:
    """The objects of DVC's local cache (`odb`, dvc_data's LocalHashFileDB).

    folder_mode: the mode that the cache's folders get, where `mkdir` alone can give it; None
                 while that is not known.
    """

    def __init__(self, odb: Any, folder_mode: int | None = None) -> None:
        self._odb = odb
        self.root: str = odb.path
        self._names = itertools.count()
        self._pid = os.getpid()
        self._reflinks = True
        # Whether a new file can go without a name until it is whole, and whether it has the mode
        # that it is made with: neither the umask nor a default ACL asks what is wanted.
        self._nameless = True
        self._protects: bool | None = None
        self.folder_mode = folder_mode
        # Read anew for each cache: a training script may set it.
        self._umask = _umask()

    def path(self, md5: str) -> str:
        """Where the object of this hash is, or would be."""
        return f"{self.root}{os.sep}{md5[:2]}{os.sep}{md5[2:]}"

    def has(self, md5: str, size: int | None = None) -> bool:
        """Whether the object is there, whole and to be trusted without hashing it.

        One that DVC would not trust (it is writable) is checked as DVC does, and removed when its
        bytes are not those of its name; so is one of another size.
        """
        path = self.path(md5)
        if not os.access(path, os.F_OK):  # an exception for each new object would cost as much
            return False
        status = os.stat(path)
        if size is not None and status.st_size != size:
            os.unlink(path)
            return False
        return stat.S_IMODE(status.st_mode) == READ_ONLY or self._checked(md5)

    def put(
        self,
        path: str,
        *,
        link: bool = False,
        told: Callable[[int], object] = lambda _: None,
    ) -> Stored:
        """Reads the file at `path` once and makes its bytes an object; `told` hears of progress.

        With `link` the file itself becomes the object, by a hard link, where that is possible.
        Raises OSError with no half-written object left.
        """
        fd = os.open(path, _READ)
        try:
            before = os.fstat(fd)
            if not stat.S_ISREG(before.st_mode):
                raise OSError(errno.EINVAL, "Not a regular file", path)
            # Two objects must never share an inode, so what is linked already is copied.
            if link and before.st_size and before.st_nlink == 1:
                md5, size = self._put_by_link(fd, path, before, told)
            elif before.st_size <= AT_ONCE:
                md5, size = self._put_at_once(fd, before.st_size)
                told(size)
            else:
                md5, size = self._put_in_pieces(fd, before.st_size, told)
        finally:
            os.close(fd)
        # By its path: one that was replaced by a rename is another file too.
        after = _looked_at(path)
        same = after is not None and version(after) == version(before) and after.st_size == size
        return Stored(md5, size, after if same else None)

    def put_bytes(self, md5: str, data: bytes | memoryview) -> None:
        """Makes `data`, whose hash is `md5`, an object, unless it is one already."""
        if self.has(md5, len(data)):
            return
        with self._draft() as draft:
            files.write_whole(draft.fd, data)
            self._publish(draft, md5)

    def link_to(self, md5: str, path: str, kinds: list[str], seen: Version) -> str | None:
        """Replaces the file at `path` by a link to, or a copy of, the object; says which.

        The first kind that the file system has is taken, as `dvc checkout --relink` does; None
        when it has none. There is no moment at which `path` is missing. Raises OSError (ESTALE)
        where the file is no longer the one that was `seen`: its bytes are in no object.
        """
        source = self.path(md5)
        folder = os.path.dirname(path)
        for kind in kinds:
            temp = os.path.join(folder, f".{self._unique()}.dvclive-tmp")
            try:
                self._link(kind, source, temp)
                _refuse_another(path, seen)
                os.replace(temp, path)
            except OSError as error:
                _remove(temp)
                if error.errno not in _NO_LINK or kind == "copy":
                    raise
            else:
                return kind
        return None

    def sweep(self) -> None:
        """Removes half-written objects of processes that are dead; O(1) in the cache's size."""
        sweep(self.root)

    # -- the ways in ---------------------------------------------------------------------------

    def _put_at_once(self, fd: int, size: int) -> tuple[str, int]:
        data = os.read(fd, size + 1)
        if len(data) != size:
            # Shorter or longer than its status says, or a short read: go on to the real end.
            parts = [data]
            while parts[-1]:
                parts.append(os.read(fd, _PIECE))
            data = b"".join(parts)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        self.put_bytes(md5, data)
        return md5, len(data)

    def _put_in_pieces(
        self, fd: int, expected: int, told: Callable[[int], object]
    ) -> tuple[str, int]:
        with self._draft() as draft:
            if self._cloned(fd, draft.fd):
                # The clone is nobody else's: its hash is the hash of what is in the cache.
                os.lseek(draft.fd, 0, os.SEEK_SET)
                md5, size = _digest(draft.fd, None, expected, told)
            else:
                md5, size = _digest(fd, draft.fd, expected, told)
            if not self.has(md5, size):
                self._publish(draft, md5)
        return md5, size

    def _put_by_link(
        self, fd: int, path: str, before: os.stat_result, told: Callable[[int], object]
    ) -> tuple[str, int]:
        md5, size = _digest(fd, None, before.st_size, told)
        if self.has(md5, size):
            return md5, size
        target = self.path(md5)
        self._make(os.path.dirname(target))
        try:
            os.link(path, target, follow_symlinks=True)
        except FileExistsError:
            return md5, size
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            os.lseek(fd, 0, os.SEEK_SET)
            return self._put_in_pieces(fd, before.st_size, told)
        with contextlib.suppress(OSError):
            os.chmod(target, READ_ONLY)
        if version(os.stat(target)) != version(before):
            # Written to since it was hashed: its bytes are not those of this name.
            os.unlink(target)
            os.chmod(path, stat.S_IMODE(before.st_mode))
            os.lseek(fd, 0, os.SEEK_SET)
            return self._put_in_pieces(fd, before.st_size, told)
        return md5, size

    def _cloned(self, fd: int, out: int) -> bool:
        if not self._reflinks:
            return False
        try:
            import fcntl

            fcntl.ioctl(out, _FICLONE, fd)
        except (ImportError, OSError):
            # A cache on a file system that cannot will not learn it during this run.
            self._reflinks = False
            return False
        return True

    # -- objects -------------------------------------------------------------------------------

    def _draft(self) -> _Draft:
        """A new file in the cache; nothing is left of it unless it is published."""
        try:
            return self._open_draft()
        except FileNotFoundError:
            self._make(self.root)
            return self._open_draft()

    def _open_draft(self) -> _Draft:
        fd, temp = -1, None
        if self._nameless:
            try:
                fd = files.open_nameless(self.root, READ_ONLY)
            except FileNotFoundError:
                raise
            except OSError:
                self._nameless = False
        if fd < 0:
            # In the root, not in the object's folder: there `sweep` finds what a kill left.
            temp = self._temporary()
            fd = os.open(temp, _CREATE, READ_ONLY)
        if self._protects is None:
            self._protects = stat.S_IMODE(os.fstat(fd).st_mode) == READ_ONLY
        return _Draft(self.root, fd, temp)

    def _publish(self, draft: _Draft, md5: str) -> None:
        if not self._protects:
            with contextlib.suppress(OSError):  # a file system may have no modes, as DVC knows
                os.fchmod(draft.fd, READ_ONLY)
        path = self.path(md5)
        try:
            self._put_in_place(draft, path)
        except OSError as error:
            if draft.temp is not None or error.errno in _NO_ROOM:
                raise
            # There is no /proc to name it by, or a rule against it.
            self._nameless = False
            with self._draft() as named:
                os.lseek(draft.fd, 0, os.SEEK_SET)
                _digest(draft.fd, named.fd, 0, lambda _: None)
                self._publish(named, md5)

    def _put_in_place(self, draft: _Draft, path: str) -> None:
        try:
            draft.publish(path)
        except FileNotFoundError:
            self._make(os.path.dirname(path))
            draft.publish(path)

    def _temporary(self) -> str:
        return f"{self.root}{os.sep}.{self._unique()}.dvclive-tmp"

    def _checked(self, md5: str) -> bool:
        from dvc_objects.errors import ObjectFormatError

        try:
            self._odb.check(md5)
        except (FileNotFoundError, ObjectFormatError):
            return False
        return True

    def _make(self, folder: str) -> None:
        if self.folder_mode is None or not self._made(folder, self.folder_mode):
            if os.path.isdir(folder):
                return
            # DVC's own: `cache.shared` decides the folder's mode.
            self._odb.makedirs(folder)
            mode = stat.S_IMODE(os.stat(folder).st_mode)
            inherits = os.stat(os.path.dirname(folder)).st_mode & stat.S_ISGID
            # A mode that `mkdir` alone gives; DVC asks for two calls more, 256 times over.
            if not inherits and not mode & ~0o777 and not mode & self._umask:
                self.folder_mode = mode

    def _made(self, folder: str, mode: int) -> bool:
        try:
            os.mkdir(folder, mode)
        except OSError:
            return False
        return True

    def _link(self, kind: str, source: str, temp: str) -> None:
        if kind == "symlink":
            os.symlink(source, temp)
        elif kind == "hardlink" and os.stat(source).st_size:
            os.link(source, temp)
        else:
            # An empty file is never linked: many of one data set would run out of links, says
            # dvc_objects.
            with _opened(source, _READ) as fd, _opened(temp, _CREATE, 0o666) as out:
                if kind == "reflink":
                    import fcntl

                    fcntl.ioctl(out, _FICLONE, fd)
                else:
                    _digest(fd, out, os.fstat(fd).st_size, lambda _: None)

    def _unique(self) -> str:
        return f"{self._pid}-{threading.get_ident()}-{next(self._names)}"


_FICLONE = 0x40049409  # linux/fs.h; macOS clones by path, which dvc_objects does at checkout


def _umask() -> int:
    # To ask by the system call is to set it, for a moment and for all threads of a training.
    with contextlib.suppress(OSError, ValueError, IndexError):
        with open("/proc/self/status", "rb") as file:
            told = file.read()
        return int(told.split(b"\nUmask:", 1)[1].split(maxsplit=1)[0], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def version(status: os.stat_result | Stamp) -> Version:
    """What tells the content of a file from an earlier or later one."""
    return status.st_ino & INODE_BITS, status.st_mtime, status.st_size


def _refuse_another(path: str, seen: Version) -> None:
    now = _looked_at(path)
    if now is None or version(now) != seen:
        raise OSError(errno.ESTALE, "Changed meanwhile", path)


def _looked_at(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _remove(temp: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(temp)


@contextlib.contextmanager
def _opened(path: str, flags: int, mode: int = 0o777) -> Iterator[int]:
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def _digest(
    fd: int, out: int | None, expected: int, told: Callable[[int], object]
) -> tuple[str, int]:
    """The md5 and size of what is read from `fd`, written to `out` in the same pass."""
    hasher = hashlib.md5(usedforsecurity=False)
    if expected < TWO_THREADS:
        return _digest_alone(hasher, fd, out, told)
    return _digest_beside(hasher, fd, out, told)


def _digest_alone(
    hasher: Any, fd: int, out: int | None, told: Callable[[int], object]
) -> tuple[str, int]:
    size = 0
    buffer = memoryview(bytearray(_PIECE))
    while count := os.readv(fd, [buffer]):
        hasher.update(buffer[:count])
        if out is not None:
            files.write_whole(out, buffer[:count])
        size += count
        told(count)
    return hasher.hexdigest(), size


def _digest_beside(
    hasher: Any, fd: int, out: int | None, told: Callable[[int], object]
) -> tuple[str, int]:
    free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
    full: queue.SimpleQueue[tuple[memoryview, int] | None] = queue.SimpleQueue()
    for _ in range(_PIECES):
        free.put(memoryview(bytearray(_PIECE)))

    def hashing() -> None:
        while (item := full.get()) is not None:
            buffer, count = item
            hasher.update(buffer[:count])
            free.put(buffer)

    thread = threading.Thread(target=hashing, name="dvclive-md5", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        # As where a folder is cached: a limit, or the end of a program of Python 3.12.
        return _digest_alone(hasher, fd, out, told)
    size = 0
    try:
        while True:
            buffer = free.get()
            count = os.readv(fd, [buffer])
            if not count:
                break
            # The write comes first: a buffer in `full` is the hasher's to give back.
            if out is not None:
                files.write_whole(out, buffer[:count])
            full.put((buffer, count))
            size += count
            told(count)
    finally:
        full.put(None)
        thread.join()
    return hasher.hexdigest(), size
