"""A file or folder -> its content in DVC's cache: known already, or read once and put there.

With DVC's own configuration, cache and state database, so that DVC finds what it would have left
itself, and hashes nothing again.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import errno
import hashlib
import os
import stat
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ArtifactError, RepositoryError
from ..notices import logger, on_terminal
from . import crew
from . import hashes as state
from . import listing as listings
from .dvcignore import DvcIgnore
from .objects import AT_ONCE, Objects, Stored, version

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from .listing import Listing, Memory
    from .objects import Stamp, Version

_BATCH = 256  # small files a thread takes at a time
_ROWS = 4096  # rows of DVC's state database written in one go
_NEVER = (0, 0)  # what no folder of the cache is like
# Below this mean size threads cost more, by passing Python's lock around, than they hash: such
# files are shared out to processes.
_SHARED = 64 << 10
_MAX_JOBS = 16  # beyond that a disk gains nothing


@dataclass(frozen=True)
class Hashed:
    """A content that is in the cache.

    md5:    its hash; ends in `.dir` for a folder.
    size:   in bytes; the sum of its files for a folder.
    nfiles: how many files a folder has; None for a file.
    isexec: whether it is a file that may be executed.
    """

    md5: str
    size: int
    nfiles: int | None = None
    isexec: bool = False

    @property
    def isdir(self) -> bool:
        """Whether it is a folder's content."""
        return self.md5.endswith(".dir")


@dataclass(frozen=True)
class Dvc:
    """What is asked of DVC, opened once.

    kinds:    `cache.type`: how a file gets from the cache into the workspace, best first.
    jobs:     `core.checksum_jobs`, or the number of cores.
    memories: the folder for what is remembered of cached folders.
    ignore:   what its `.dvcignore` files say.
    """

    repo: Any
    objects: Objects
    kinds: list[str]
    jobs: int
    memories: Path
    ignore: DvcIgnore
    autostage: bool
    uses_git: bool


def listed(path: Path, dvc: Dvc) -> Listing:
    """The files of the folder at `path` that DVC keeps. Raises ArtifactError where it cannot."""
    listing = listings.scan(str(path), dvc.ignore.below(path))
    try:
        "\0".join(listing.names).encode()
    except UnicodeEncodeError as error:
        raise ArtifactError(
            f"Artifact '{path}' holds a file whose name is not UTF-8, which DVC cannot keep. "
            "Rename it."
        ) from error
    return listing


def cache(
    path: Path, status: os.stat_result, dvc: Dvc, listing: Listing | None, *, keep: bool
) -> tuple[Hashed, Callable[[], None]]:
    """Caches what is at `path`; the second value makes the workspace what `dvc add` leaves there.

    `status` is the stat of `path`, links followed, `listing` what a folder holds. `keep` says that
    the workspace's files must stay as they are, so that none becomes an object itself. Raises
    OSError for trouble of the place, with no half-written object left.
    """
    if listing is not None:
        return _Folder(path, dvc, keep=keep).cache(listing)
    return _cache_file(path, status, dvc, keep=keep)


def open_dvc(root: Path) -> Dvc:
    """Opens the DVC repository at `root`. Raises RepositoryError where DVC cannot."""
    try:
        from dvc.repo import Repo
        from dvc.scm import NoSCM
    except ImportError as error:
        raise RepositoryError(f"DVC cannot be imported: {error}. Install `dvc`.") from error
    try:
        # Git is asked by `GitView`: DVC's own view of it would be read in full here.
        repo = Repo(str(root), scm=NoSCM(str(root)))
        core = repo.config["core"]
        odb = repo.cache.local
    except Exception as error:  # a broken configuration or database raises any of dozens
        raise RepositoryError(
            f"DVC cannot open its repository at '{root}': {error}. `dvc doctor` tells more."
        ) from error
    return Dvc(
        repo=repo,
        objects=Objects(odb),
        kinds=list(odb.cache_types),
        jobs=core.get("checksum_jobs") or min(_MAX_JOBS, _cores()),
        memories=Path(repo.site_cache_dir) / "dvclive-folders",
        ignore=DvcIgnore(repo),
        autostage=bool(core.get("autostage")),
        uses_git=not core.get("no_scm"),
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _is_exec(status: os.stat_result | Stamp) -> bool:
    return bool(status.st_mode & 0o111)


def _warn_changed(names: list[str]) -> None:
    logger.warning(
        "%s changed while being cached. What is in the cache is whole and matches its hash, but "
        "may be a state between two: log the artifact when nothing writes to it.",
        f"'{names[0]}'" if len(names) == 1 else f"{len(names)} files, '{names[0]}' among them,",
    )


# -- a file --------------------------------------------------------------------------------------


def _cache_file(
    path: Path, status: os.stat_result | Stamp, dvc: Dvc, *, keep: bool
) -> tuple[Hashed, Callable[[], None]]:
    name, repo = str(path), dvc.repo
    known = None
    with state.forgiving("read"):
        _, known = repo.state.get(name, repo.fs, state.info_of(status))
    md5 = known.value if known is not None and known.name == "md5" else None
    is_link = path.is_symlink()
    fresh = md5 is None or not dvc.objects.has(md5, status.st_size)
    size = status.st_size
    steady = True
    isexec = _is_exec(status)  # before a link into the cache takes the permission away
    if fresh:
        becomes = dvc.kinds[:1] == ["hardlink"] and not keep and not is_link
        with _progress(size, str(path.name), unit="B") as told:
            stored = dvc.objects.put(name, link=becomes, told=told)
        md5, size = stored.md5, stored.size
        steady = stored.status is not None
        if stored.status is None:
            _warn_changed([name])
        else:
            status = stored.status
            state.keep(repo, [(name, md5, status)])
    assert md5 is not None  # noqa: S101 - either DVC's state knew it, or it was just hashed
    hashed = Hashed(md5, size, isexec=isexec)

    def relink() -> None:
        if not steady or version(os.stat(name)) != version(status):
            # What is in the workspace is in no object; DVC must not take it for its own either.
            if steady:
                _warn_changed([name])
            return
        moved = _relink_file(name, hashed, dvc, version(status), is_link=is_link)
        if fresh or moved:
            token = str(round(path.stat().st_mtime * 1_000_000_000))
            state.keep_link(repo, name, path.lstat().st_ino, token)

    return hashed, relink


def _relink_file(name: str, hashed: Hashed, dvc: Dvc, seen: Version, *, is_link: bool) -> bool:
    status = os.stat(name)
    relinks = _needs_relink(dvc, name, hashed.md5, status, is_link=is_link, alone=True)
    moved = bool(_linked(dvc, [(name, hashed.md5, seen)])) if relinks else False
    if hashed.isexec:
        _set_exec(name, hashed, dvc)
    return moved


def _set_exec(name: str, hashed: Hashed, dvc: Dvc) -> None:
    """Lets its owner execute the file, also where that is a link to the object (as DVC does)."""
    with contextlib.suppress(OSError):
        mode = stat.S_IMODE(os.stat(name).st_mode)
        if mode & stat.S_IXUSR:
            return
        os.chmod(name, mode | stat.S_IXUSR)
        # An object that is no longer read-only is trusted only if the state knows its hash.
        target = dvc.objects.path(hashed.md5)
        state.keep(dvc.repo, [(target, hashed.md5, os.stat(target))])


def _needs_relink(
    dvc: Dvc, name: str, md5: str, status: os.stat_result, *, is_link: bool, alone: bool = False
) -> bool:
    """Whether `dvc add` would put another kind of file in its place (dvc_data: _needs_relink).

    A file of a folder may stay what it is when `cache.type` has its kind at all; one that is an
    artifact `alone` becomes the first kind that is possible.
    """
    is_hardlink = not is_link and status.st_nlink > 1
    is_copy = not is_link and not is_hardlink
    for kind in dvc.kinds:
        if is_copy and (kind == "copy" or (kind == "reflink" and not alone)):
            return False
        if kind == "hardlink" and is_hardlink:
            return os.stat(dvc.objects.path(md5)).st_ino != status.st_ino
        if kind == "symlink" and is_link:
            return os.readlink(name) != dvc.objects.path(md5)
        if alone and kind in ("hardlink", "symlink"):
            return True
    return not is_copy or "reflink" not in dvc.kinds


def _linked(
    dvc: Dvc, wanted: Iterable[tuple[str, str, Version]]
) -> list[tuple[str, os.stat_result]]:
    """Puts links to, or copies of, objects in place of files; gives those that are new.

    A file that is not the one that was cached (any more) is left, with a warning.
    """
    done: list[tuple[str, os.stat_result]] = []
    failed = 0
    changed: list[str] = []
    rows: list[state.Row] = []
    for name, md5, seen in wanted:
        try:
            kind = dvc.objects.link_to(md5, name, dvc.kinds, seen)
        except OSError as error:
            if error.errno == errno.ESTALE:
                changed.append(name)
                continue
            logger.debug("cannot link '%s': %s", name, error)
            kind = None
        if kind is None:
            failed += 1
            continue
        status = os.stat(name)
        done.append((name, status))
        rows.append((name, md5, status))
    if failed:
        logger.warning(
            "%d files are cached, but stay in the workspace as they were: none of cache.type=%s "
            "is possible there. `dvc config cache.type` changes it.",
            failed,
            ",".join(dvc.kinds),
        )
    if changed:
        _warn_changed(changed)
    state.keep(dvc.repo, rows)
    return done


# -- a folder ------------------------------------------------------------------------------------


class _Folder:
    """The caching of one folder, once."""

    def __init__(self, path: Path, dvc: Dvc, *, keep: bool) -> None:
        self._path = path
        self._root = str(path)
        self._dvc = dvc
        self._keep = keep
        key = hashlib.sha256(os.fsencode(self._root)).hexdigest()[:32]
        self._memory_file = dvc.memories / key
        self._gone: set[int] = set()
        self._changed: list[int] = []
        # The cache's folders by their first byte: those that nobody wrote to since the last time,
        # and those that this time did.
        self._standing: dict[int, tuple[int, int]] = {}
        self._written: set[int] = set()

    def cache(self, listing: Listing) -> tuple[Hashed, Callable[[], None]]:
        self._tell_of_passed_over(listing)
        memory = listings.recalled(self._memory_file)
        objects = self._dvc.objects
        same = memory is not None and memory.kinds == self._dvc.kinds and memory.same_as(listing)
        if memory is not None and same and objects.has(memory.md5):
            known = memory.hashes
            missing = self._missing(listing, known, range(len(listing.names)), memory)
            if not missing:
                hashed = Hashed(memory.md5, memory.size, len(listing.names))
                return hashed, lambda: None
        hashes = bytearray(16 * len(listing.names))
        unknown = self._recall(listing, hashes, memory)
        self._store(listing, hashes, unknown)
        self._forget_vanished(listing, hashes)
        order = listings.order(listing, memory)
        data = listings.tree_bytes(listing, bytes(hashes), order)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
        objects.put_bytes(md5, data)
        self._written.add(int(md5[:2], 16))
        del data
        hashed = Hashed(md5, listing.total(), len(listing.names))

        def relink() -> None:
            self._relink(listing, hashes)
            times = listings.times(listing, memory)
            token = listings.link_token(self._root, listing, times, order)
            state.keep_link(self._dvc.repo, self._root, self._path.lstat().st_ino, token)
            self._remember(listing, bytes(hashes), hashed, order, times)

        if self._keep:
            times = listings.times(listing, memory)
            self._remember(listing, bytes(hashes), hashed, order, times)
        return hashed, relink

    def _tell_of_passed_over(self, listing: Listing) -> None:
        if listing.passed_over:
            logger.warning(
                "'%s/%s' is a symbolic link to a folder: like `dvc add`, this leaves out what is "
                "behind it (%d such links in the artifact).",
                self._root,
                listing.passed_over[0],
                len(listing.passed_over),
            )

    # What is known already

    def _recall(self, listing: Listing, hashes: bytearray, memory: Memory | None) -> list[int]:
        """Fills in the hashes that are known and whose objects are there; gives the others."""
        if memory is None:
            unknown: list[int] = list(range(len(listing.names)))
        else:
            unknown = memory.recall(listing, hashes)
            strangers = set(unknown)
            known = (at for at in range(len(listing.names)) if at not in strangers)
            unknown += self._missing(listing, hashes, known, memory)
        told = list(self._told_by_state(listing, hashes, unknown))
        lost = set(self._missing(listing, hashes, told, None))
        told_set = set(told) - lost
        return [at for at in unknown if at not in told_set] if told_set else unknown

    def _told_by_state(
        self, listing: Listing, hashes: bytearray, places: list[int]
    ) -> Iterator[int]:
        asked = (
            (
                at,
                f"{self._root}/{listing.names[at]}",
                {
                    "type": "file",
                    "ino": listing.inode(at),
                    "mtime": listing.mtimes[at],
                    "size": listing.size(at),
                },
            )
            for at in places
        )
        for at, md5 in state.told(self._dvc.repo, self._root, asked):
            hashes[at * 16 : at * 16 + 16] = bytes.fromhex(md5)
            yield at

    def _missing(
        self,
        listing: Listing,
        hashes: bytes | bytearray,
        places: Iterable[int],
        memory: Memory | None,
    ) -> list[int]:
        """Those of `places` whose object is not in the cache (any more)."""
        standing: dict[int, tuple[int, int]] = {}
        if memory is not None:
            now = _buckets(self._dvc.objects.root, memory.buckets)
            for name, was in memory.buckets.items():
                if now.get(name) == was:
                    standing[int(name, 16)] = was
            self._standing = standing
            if len(standing) == len(memory.buckets):
                return []
        has = self._dvc.objects.has
        return [
            at
            for at in places
            if hashes[at * 16] not in standing
            and not has(hashes[at * 16 : at * 16 + 16].hex(), listing.size(at))
        ]

    # What is not

    def _store(self, listing: Listing, hashes: bytearray, unknown: list[int]) -> None:
        rows: list[state.Row] = []
        repo = self._dvc.repo
        label = self._path.name
        with _progress(len(unknown), label, unit="file") as told:
            for at, stored in self._stored(listing, unknown):
                told(1)
                if stored is None:
                    self._gone.add(at)
                    continue
                digest = bytes.fromhex(stored.md5)
                hashes[at * 16 : at * 16 + 16] = digest
                self._written.add(digest[0])
                if stored.status is None:
                    self._changed.append(at)
                    # No stamp is right for it, so that it is looked at again next time.
                    listing.stamps[at * 3 + 1] = 0
                    listing.stamps[at * 3 + 2] = stored.size
                    continue
                listing.put(at, stored.status)
                name = f"{self._root}/{listing.names[at]}"
                rows.append((name, stored.md5, stored.status))
                if len(rows) >= _ROWS:
                    state.keep(repo, rows)
                    rows.clear()
        state.keep(repo, rows)
        if self._changed:
            _warn_changed([f"{self._root}/{listing.names[at]}" for at in self._changed])

    def _stored(self, listing: Listing, places: list[int]) -> Iterator[tuple[int, Stored | None]]:
        becomes = self._dvc.kinds[:1] == ["hardlink"] and not self._keep
        if becomes:
            # Of files with equal bytes one becomes the object. To `dvc add` that is the last one
            # it walks by (dvc_data, `ReferenceHashFileDB.add`).
            places = sorted(places, reverse=True)
        linked = set(listing.linked)
        put, root, names = self._dvc.objects.put, self._root, listing.names

        def asked(at: int) -> tuple[str, bool]:
            return f"{root}/{names[at]}", becomes and at not in linked

        def work(at: int) -> Stored | None:
            path, link = asked(at)
            try:
                return put(path, link=link)
            except FileNotFoundError:
                if os.path.lexists(path):
                    raise
                return None  # one file may vanish

        jobs = self._dvc.jobs
        if sum(listing.size(at) for at in places) < _SHARED * len(places):
            helpers = jobs - 1 if len(places) >= crew.WORTH_IT else 0
            yield from crew.shared_out(places, self._dvc.objects, helpers, asked=asked, do=work)
        elif jobs == 1 or len(places) < 2:  # noqa: PLR2004 - nothing to share out
            yield from ((at, work(at)) for at in places)
        else:
            yield from _shared_out(work, _batches(listing, places), jobs)

    def _forget_vanished(self, listing: Listing, hashes: bytearray) -> None:
        if not self._gone:
            return
        logger.warning(
            "%d files of '%s' were removed while it was being cached; they are left out.",
            len(self._gone),
            self._root,
        )
        kept = [at for at in range(len(listing.names)) if at not in self._gone]
        hashes[:] = b"".join(hashes[at * 16 : at * 16 + 16] for at in kept)
        listing.drop(self._gone)

    # What is left behind

    def _relink(self, listing: Listing, hashes: bytearray) -> None:
        dvc = self._dvc
        if any(kind in ("copy", "reflink") for kind in dvc.kinds):
            looked_at: Iterable[int] = listing.linked
        else:
            looked_at = range(len(listing.names))
        wanted = {}
        linked = set(listing.linked)
        for at in looked_at:
            if not listing.stamps[at * 3 + 1]:
                continue  # it changed while it was read, and that is told
            name = f"{self._root}/{listing.names[at]}"
            md5 = hashes[at * 16 : at * 16 + 16].hex()
            is_link = at in linked and os.path.islink(name)
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name)
                if _needs_relink(dvc, name, md5, status, is_link=is_link):
                    wanted[name] = (at, md5)
        if wanted:
            files = ((name, md5, listing.version(at)) for name, (at, md5) in wanted.items())
            for name, status in _linked(dvc, files):
                listing.put(wanted[name][0], status)

    def _remember(
        self, listing: Listing, hashes: bytes, hashed: Hashed, order: list[int], times: list[str]
    ) -> None:
        names = {number: f"{number:02x}" for number in set(hashes[::16])}
        now = _buckets(self._dvc.objects.root, names.values())
        buckets = {}
        for number, name in names.items():
            # What was seen before the work is the safer to keep: a removal since shows.
            seen = None if number in self._written else self._standing.get(number)
            buckets[name] = seen or now.get(name, _NEVER)
        buckets.update(dict.fromkeys(self._that_lost_objects(hashes), _NEVER))
        memory = listings.Memory(
            names=listing.names,
            stamps=listing.stamps,
            mtimes=listing.mtimes,
            times=" ".join(times).encode("ascii"),
            hashes=hashes,
            order=array("i", order),
            md5=hashed.md5,
            size=hashed.size,
            buckets=buckets,
            kinds=self._dvc.kinds,
        )
        listings.remember(self._memory_file, memory)

    def _that_lost_objects(self, hashes: bytes) -> Collection[str]:
        """The cache's folders that lost objects while this went on; that is warned of.

        A folder that is written to does not show what else becomes of it, and `dvc gc` knows
        nothing of data without a pointer.
        """
        digits = hashes.hex()
        wanted: dict[str, set[str]] = {f"{number:02x}": set() for number in self._written}
        for start in range(0, len(digits), 32):
            names = wanted.get(digits[start : start + 2])
            if names is not None:
                names.add(digits[start + 2 : start + 32])
        lost = {
            bucket: absent
            for bucket, names in wanted.items()
            if (absent := _absent(f"{self._dvc.objects.root}/{bucket}", names))
        }
        if lost:
            logger.warning(
                "%d objects of '%s' were removed from DVC's cache while it was being cached, as "
                "`dvc gc` does. Log it again, or run `dvc add %s`, to have them there.",
                sum(map(len, lost.values())),
                self._root,
                self._root,
            )
        return lost.keys()


def _buckets(root: str, names: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Inode and time of change of those of the cache's folders that are there."""
    found = {}
    with contextlib.suppress(FileNotFoundError), listings.descriptor(root) as fd:
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(name if fd is not None else f"{root}/{name}", dir_fd=fd)
                found[name] = status.st_ino, status.st_mtime_ns
    return found


def _absent(folder: str, names: set[str]) -> Collection[str]:
    """Those of the names that a folder has not."""
    with contextlib.suppress(OSError):
        # To list a folder takes half the time of asking for each, unless most in it is another's.
        if len(names) * _ENTRY > os.stat(folder).st_size:
            return names.difference(os.listdir(folder))
    return [name for name in names if not os.access(f"{folder}/{name}", os.F_OK)]


_ENTRY = 256  # bytes of a folder, far more than one name in it takes


def _batches(listing: Listing, places: list[int]) -> Iterator[list[int]]:
    """Shares of about the same work: many small files, or a large one."""
    batch: list[int] = []
    size = 0
    for at in places:
        batch.append(at)
        size += listing.size(at)
        if len(batch) >= _BATCH or size >= 8 * AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _shared_out(
    work: Callable[[int], Stored | None], batches: Iterator[list[int]], jobs: int
) -> Iterator[tuple[int, Stored | None]]:
    """Runs `work` on all cores, with only a few results waiting at a time."""

    def all_of(batch: list[int]) -> list[tuple[int, Stored | None]]:
        return [(at, work(at)) for at in batch]

    with concurrent.futures.ThreadPoolExecutor(jobs, "dvclive-cache") as pool:
        waiting: set[concurrent.futures.Future[list[tuple[int, Stored | None]]]] = set()
        if not _has_a_thread(pool):
            for batch in batches:
                yield from all_of(batch)
            return
        try:
            for batch in batches:
                waiting.add(pool.submit(all_of, batch))
                if len(waiting) > 2 * jobs:
                    done, waiting = concurrent.futures.wait(
                        waiting, return_when=concurrent.futures.FIRST_COMPLETED
                    )
                    for one in done:
                        yield from one.result()
            for one in concurrent.futures.as_completed(waiting):
                yield from one.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _has_a_thread(pool: concurrent.futures.Executor) -> bool:
    try:
        pool.submit(int)
    except RuntimeError:
        # A limit; and Python 3.12 starts none once the main program is through, as when it saves.
        return False
    return True


@contextlib.contextmanager
def _progress(total: int, label: str, *, unit: str) -> Iterator[Callable[[int], object]]:
    """A bar on stderr for what takes more than a second; none where that is no terminal."""
    if not on_terminal():
        yield lambda _: None
        return
    from tqdm import tqdm

    bar = tqdm(
        total=total, desc=f"Caching {label}", unit=unit, unit_scale=unit == "B",
        unit_divisor=1024, delay=1, leave=False,
    )  # fmt: skip
    with bar:
        yield bar.update
