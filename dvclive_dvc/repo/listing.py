"""What a folder holds, and what is remembered of it: enough to tell that it did not change.

DVC's state database remembers a hash for each file; asking it costs several times the stat that
the question needs. So beside it one small file is kept for each folder that was cached: the
names, stamps and hashes of all its files, to be compared in bulk.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from array import array
from dataclasses import dataclass, field
from json.encoder import encode_basestring_ascii as _quoted
from typing import TYPE_CHECKING, Any, Protocol

from .. import files
from ..errors import ArtifactError
from .objects import INODE_BITS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .objects import Stamp, Version

_VERSION = 3
_HASH = 16  # bytes of an md5
_STAMP = 3  # inode, change time in ns, size
_AT_ONCE = 512  # files whose stats are held at a time: more would set off the garbage collector
_LINES = 2048  # of JSON at a time
_DVC_IGNORES = frozenset({".git", ".hg", ".dvc"})


class Filter(Protocol):
    """Takes a folder and the names of its sub-folders and files; gives those that DVC keeps."""

    def __call__(self, root: str, dirs: list[str], files: list[str]) -> tuple[list[str], list[str]]:
        """Says which names of one folder are kept."""


@dataclass
class Listing:
    """The files below a folder, each at the same place of every column.

    names:  relative to the folder, parts joined by `/`, in the order the file system gave them.
    stamps: inode, time of the last change (ns) and size, three numbers a file.
    mtimes: seconds since the epoch, as `os.stat` gives them: DVC's state wants this very number.
    linked: places of the files that are symbolic links or have several names.
    passed_over: symbolic links to folders, which DVC leaves out of a folder's content.
    """

    names: list[str] = field(default_factory=list)
    stamps: array[int] = field(default_factory=lambda: array("q"))
    mtimes: array[float] = field(default_factory=lambda: array("d"))
    linked: list[int] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)

    def append(self, name: str, status: os.stat_result) -> None:
        """Adds a file at the end."""
        self.names.append(name)
        self.stamps.extend((status.st_ino & INODE_BITS, status.st_ctime_ns, status.st_size))
        self.mtimes.append(status.st_mtime)

    def put(self, place: int, status: os.stat_result | Stamp) -> None:
        """Replaces the stamps of one file."""
        first, stamps = place * _STAMP, self.stamps
        stamps[first] = status.st_ino & INODE_BITS
        stamps[first + 1] = status.st_ctime_ns
        stamps[first + 2] = status.st_size
        self.mtimes[place] = status.st_mtime

    def drop(self, places: set[int]) -> None:
        """Takes files out again (they vanished before they could be read)."""
        keep = [place for place in range(len(self.names)) if place not in places]
        moved = {old: new for new, old in enumerate(keep)}
        self.names = [self.names[place] for place in keep]
        self.mtimes = array("d", (self.mtimes[place] for place in keep))
        self.stamps = array("q", (number for place in keep for number in self.stamp(place)))
        self.linked = [moved[place] for place in self.linked if place in moved]

    def stamp(self, place: int) -> array[int]:
        """Inode, change time and size of one file."""
        return self.stamps[place * _STAMP : (place + 1) * _STAMP]

    def inode(self, place: int) -> int:
        """The inode of one file."""
        return self.stamps[place * _STAMP]

    def size(self, place: int) -> int:
        """The size of one file, in bytes."""
        return self.stamps[place * _STAMP + 2]

    def version(self, place: int) -> Version:
        """What `objects.version` says of one file."""
        return self.inode(place), self.mtimes[place], self.size(place)

    def total(self) -> int:
        """The size of all files, in bytes."""
        return sum(self.stamps[2::_STAMP])


def scan(root: str, ignored: Filter | None = None) -> Listing:
    """Lists the folder at `root`, in the order of `os.walk`: one stat a file.

    `ignored` leaves out what a `.dvcignore` names; None stands for DVC's default rules.
    Raises ArtifactError for what cannot be cached.
    """
    found = Listing()
    folders = [""]
    while folders:
        prefix = folders.pop()
        folder = f"{root}/{prefix}".rstrip("/") if prefix else root
        below: list[str] = []
        try:
            with _entries(folder) as (entries, fd):
                here = entries if ignored is None else _kept(folder, entries, ignored)
                plain = _scan_folder(found, folder, prefix, here, below, default=ignored is None)
                for first in range(0, len(plain), _AT_ONCE):
                    _add_files(found, prefix, plain[first : first + _AT_ONCE], fd)
        except FileNotFoundError:
            if not prefix:
                raise
        except PermissionError as error:
            raise ArtifactError(
                f"Cannot read the folder '{folder}' of the artifact: {error.strerror}. "
                "Give yourself the right to, or keep it out by a `.dvcignore` rule."
            ) from error
        folders += reversed(below)
    return found


@contextlib.contextmanager
def descriptor(folder: str) -> Iterator[int | None]:
    """The folder, opened: a stat of what is in it then walks one name, not the path.

    None where the system has no such stat.
    """
    if os.scandir not in os.supports_fd or os.stat not in os.supports_dir_fd:
        yield None
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _entries(folder: str) -> Iterator[tuple[list[os.DirEntry[str]], int | None]]:
    """The entries of a folder, to be looked at before the block ends, and its descriptor."""
    with descriptor(folder) as fd, os.scandir(folder if fd is None else fd) as entries:
        yield list(entries), fd


def _kept(folder: str, here: list[os.DirEntry[str]], ignored: Filter) -> list[os.DirEntry[str]]:
    dirs = [entry.name for entry in here if entry.is_dir()]
    known = set(dirs)
    others = [entry.name for entry in here if entry.name not in known]
    dirs, others = ignored(folder, dirs, others)
    kept = {*dirs, *others}
    return [entry for entry in here if entry.name in kept]


def _scan_folder(
    found: Listing,
    folder: str,
    prefix: str,
    here: list[os.DirEntry[str]],
    below: list[str],
    *,
    default: bool,
) -> list[os.DirEntry[str]]:
    """Sorts out what one folder holds; gives its regular files, of which no stat is made yet.

    The folders in it are added to `below`.
    """
    if default and prefix and any(entry.name == ".dvc" for entry in here):
        return []  # a DVC repository of its own, which DVC leaves out
    regular = [entry for entry in here if entry.is_file(follow_symlinks=False)]
    if len(regular) < len(here):
        for entry in here:
            if entry.is_symlink():
                _scan_link(found, folder, prefix, entry)
            elif entry.is_dir():
                if not default or entry.name not in _DVC_IGNORES:
                    below.append(f"{prefix}{entry.name}/")
            elif not entry.is_file():
                _refuse_kind(entry, folder)
    return [
        entry
        for entry in regular
        if entry.name[0] != "." or not _is_special(entry, folder, default=default)
    ]


def _refuse_kind(entry: os.DirEntry[str], folder: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        raise ArtifactError(
            f"'{folder}/{entry.name}' is {kind_of(entry.stat().st_mode)}, which cannot be cached. "
            "Move it out of the artifact."
        )


def _add_files(
    found: Listing, prefix: str, entries: list[os.DirEntry[str]], fd: int | None
) -> None:
    """As `Listing.append` for each, column by column: a good part of the time of thousands."""
    try:
        stats = _stats(entries, fd)
    except FileNotFoundError:
        # One of them was removed meanwhile.
        if len(entries) > 1:
            for entry in entries:
                _add_files(found, prefix, [entry], fd)
        return
    found.linked += [at for at, one in enumerate(stats, len(found.names)) if one.st_nlink > 1]
    found.names += [prefix + entry.name for entry in entries]
    stamps = array("q", bytes(8 * _STAMP * len(stats)))
    stamps[::_STAMP] = array("q", [one.st_ino & INODE_BITS for one in stats])
    stamps[1::_STAMP] = array("q", [one.st_ctime_ns for one in stats])
    stamps[2::_STAMP] = array("q", [one.st_size for one in stats])
    found.stamps.extend(stamps)
    found.mtimes.extend([one.st_mtime for one in stats])


def _stats(entries: list[os.DirEntry[str]], fd: int | None) -> list[os.stat_result]:
    if fd is None:
        return [entry.stat(follow_symlinks=False) for entry in entries]
    # An entry would hold on to the stat it made, so that all of them were there at a time.
    status = os.stat
    return [status(entry.name, dir_fd=fd, follow_symlinks=False) for entry in entries]


def _is_special(entry: os.DirEntry[str], folder: str, *, default: bool) -> bool:
    if entry.name == ".dvcignore":
        # DVC refuses it too (dvc_data: IgnoreInCollectedDirError): what it would leave out
        # depends on where the folder is looked at from.
        raise ArtifactError(
            f"'{folder}/{entry.name}' must not be inside an artifact. Move its rules to a "
            "`.dvcignore` above the artifact."
        )
    return default and entry.name == ".git"


def _scan_link(found: Listing, folder: str, prefix: str, entry: os.DirEntry[str]) -> None:
    if entry.name == ".git":
        return
    try:
        status = entry.stat()
    except OSError as error:
        raise ArtifactError(
            f"'{folder}/{entry.name}' is a symbolic link that leads nowhere "
            f"({error.strerror}). Remove it, or make what it names."
        ) from error
    if stat.S_ISDIR(status.st_mode):
        found.passed_over.append(prefix + entry.name)
    elif stat.S_ISREG(status.st_mode):
        found.linked.append(len(found.names))
        found.append(prefix + entry.name, status)
    else:
        raise ArtifactError(
            f"'{folder}/{entry.name}' leads to {kind_of(status.st_mode)}, which cannot be "
            "cached. Remove it."
        )


def kind_of(mode: int) -> str:
    """What a thing that is neither file nor folder is called."""
    kinds = {
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "neither a file nor a folder")


def order(listing: Listing, memory: Memory | None) -> list[int]:
    """The places sorted by name, as DVC sorts a folder's files."""
    if memory is not None and memory.names == listing.names:
        return memory.order.tolist()
    return sorted(range(len(listing.names)), key=listing.names.__getitem__)


def times(listing: Listing, memory: Memory | None) -> list[str]:
    """The mtimes in digits.

    To find those takes longer than all else there is to do about a file that did not change, so
    they are remembered, too.
    """
    mtimes = listing.mtimes
    if memory is None or memory.names != listing.names:
        return list(map(repr, mtimes))
    found = str(memory.times, "ascii").split()
    for place in _other_places(memory.mtimes.tobytes(), mtimes.tobytes(), 8):
        found[place] = repr(mtimes[place])
    return found


def tree_bytes(listing: Listing, hashes: bytes, order: list[int]) -> bytes:
    """The `.dir` object of a folder, byte for byte as dvc_data's `Tree.as_bytes` makes it."""
    digits, names = hashes.hex(), listing.names
    parts = [
        ", ".join(
            [
                f'{{"md5": "{digits[32 * at : 32 * at + 32]}", "relpath": {_quoted(names[at])}}}'
                for at in some
            ]
        ).encode()
        for some in _in_parts(order)
    ]
    return b"[" + b", ".join(parts) + b"]"


def link_token(root: str, listing: Listing, times: list[str], order: list[int]) -> str:
    """What DVC remembers of a folder it put into the workspace, to know it untouched later.

    The same as dvc_data's `get_mtime_and_size`, without its second walk over the files.
    """
    start = _quoted(f"{root}/")[:-1]
    names = listing.names
    token = hashlib.md5(b"{", usedforsecurity=False)
    before = start
    for some in _in_parts(order):
        pairs = [f"{_quoted(names[at])[1:]}: {times[at]}" for at in some]
        token.update((before + f", {start}".join(pairs)).encode())
        before = f", {start}"
    token.update(b"}")
    return token.hexdigest()


def _in_parts(order: list[int]) -> Iterator[list[int]]:
    # Memory that was used a moment ago is at hand; a hundred thousand lines would take new.
    for first in range(0, len(order), _LINES):
        yield order[first : first + _LINES]


@dataclass(frozen=True)
class Memory:
    """A folder as it was when its content was put into the cache.

    times:   the mtimes in digits, a space between two.
    hashes:  16 bytes a file.
    order:   the places sorted by name.
    md5:     the hash of the folder, `size` that of all its files in bytes.
    buckets: inode and time of change of each of the cache's folders that hold the objects: while
             they stand, no object was removed. (That one was made writable and written into is
             not seen.)
    kinds:   the `cache.type` by which the files got their kind of link.
    """

    names: list[str]
    stamps: array[int]
    mtimes: array[float]
    times: bytes | memoryview
    hashes: bytes
    order: array[int]
    md5: str
    size: int
    buckets: dict[str, tuple[int, int]]
    kinds: list[str]

    def same_as(self, listing: Listing) -> bool:
        """Whether not one file was added, removed or changed since."""
        return (
            self.mtimes == listing.mtimes
            and self.stamps == listing.stamps
            and self.names == listing.names
        )

    def recall(self, listing: Listing, hashes: bytearray) -> list[int]:
        """Fills in the hashes of the files that did not change; gives the places of the others."""
        if self.names == listing.names:
            hashes[:] = self.hashes
            stamped = _other_places(self.stamps.tobytes(), listing.stamps.tobytes(), 8 * _STAMP)
            dated = _other_places(self.mtimes.tobytes(), listing.mtimes.tobytes(), 8)
            return sorted({*stamped, *dated})
        places = {name: place for place, name in enumerate(self.names)}
        stamps, mtimes, mine = listing.stamps, listing.mtimes, self.stamps
        others = []
        for place, name in enumerate(listing.names):
            was = places.get(name)
            if (
                was is None
                or self.mtimes[was] != mtimes[place]
                or mine[was * 3] != stamps[place * 3]
                or mine[was * 3 + 1] != stamps[place * 3 + 1]
                or mine[was * 3 + 2] != stamps[place * 3 + 2]
            ):
                others.append(place)
            else:
                hashes[place * 16 : place * 16 + 16] = self.hashes[was * 16 : was * 16 + 16]
        return others


def _other_places(old: bytes, new: bytes, width: int) -> Iterator[int]:
    """Where two columns of items of `width` bytes differ; looked for in blocks, as most do not."""
    block = 8 * width
    for start in range(0, len(new), block):
        if old[start : start + block] != new[start : start + block]:
            for at in range(start, min(start + block, len(new)), width):
                if old[at : at + width] != new[at : at + width]:
                    yield at // width


def recalled(path: Path) -> Memory | None:
    """The memory kept in the file at `path`; None where there is none that can be read."""
    try:
        data = path.read_bytes()
        line, _, body = data.partition(b"\n")
        head = json.loads(line)
        if head["version"] != _VERSION:
            return None
        count = head["files"]
        names, times, stamps, mtimes, order, hashes = _cut(
            body, head["names"], head["times"], count * 24, count * 8, count * 4, count * _HASH
        )
        return Memory(
            names=str(names, "utf-8").split("\0") if count else [],
            stamps=_column("q", stamps),
            mtimes=_column("d", mtimes),
            times=times,
            hashes=bytes(hashes),
            order=_column("i", order),
            md5=head["md5"],
            size=head["size"],
            buckets={name: (pair[0], pair[1]) for name, pair in head["buckets"].items()},
            kinds=head["kinds"],
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None


def _column(kind: str, data: memoryview) -> array[Any]:
    column = array(kind)
    column.frombytes(data)
    return column


def _cut(body: bytes, *sizes: int) -> Iterator[memoryview]:
    """The parts that `body` is made of. Raises ValueError where it is not whole."""
    if len(body) != sum(sizes):
        raise ValueError("not as long as its head says")
    at, view = 0, memoryview(body)
    for size in sizes:
        yield view[at : at + size]
        at += size


def remember(path: Path, memory: Memory) -> None:
    """Keeps `memory` in the file at `path`; a failure costs only a later hashing."""
    names = "\0".join(memory.names).encode()
    head = {
        "version": _VERSION,
        "files": len(memory.names),
        "names": len(names),
        "times": len(memory.times),
        "md5": memory.md5,
        "size": memory.size,
        "buckets": memory.buckets,
        "kinds": memory.kinds,
    }
    columns = (names, memory.times, memory.stamps, memory.mtimes, memory.order, memory.hashes)
    data = b"".join((json.dumps(head).encode(), b"\n", *columns))
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, data)
