"""The tracked files as they are in the working tree, as changes to the tree of a commit."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import RepositoryError
from ..notices import logger
from . import trees
from .git import Git, answer, is_true

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from typing import BinaryIO

    from .programs import Program

_STATUS = (
    "status",
    "--porcelain=v2",
    "--branch",
    "--no-ahead-behind",
    "-z",
    "--untracked-files=no",
    "--no-renames",
    "--ignore-submodules=dirty",
)
# Adds to an index of our own: a split one would put its other half into the repository's folder.
_PRIVATE = ("-c", "core.splitIndex=false", "update-index")
_CONVERTED = (b"filter", b"working-tree-encoding")
# gitformat-index(5), the extended flags.
_SKIP_WORKTREE = 0x4000
_INDEX_HEADER = 12
_INDEX_MODES = (trees.FILE, trees.EXECUTABLE, trees.LINK, trees.SUBMODULE)
# Git streams a large file; reading it in here would hold all of it in memory.
_LARGE = 32 * 2**20


@dataclass
class Tracked:
    """What Git tracks, against the tree of a commit.

    commit:   that commit; HEAD when the look began.
    base:     the raw hash of its tree.
    staged:   what the index has otherwise than `base`, where the file on disk is the index's.
    on_disk:  files whose content on disk is not the index's, with the mode they have there;
              the entry is what the index has (None where it has nothing yet).
    conflict: what is in conflict; files are among `on_disk`, too, and submodules stay as `base`
              has them, which is "ours".
    index:    what the index has of all these.
    """

    commit: str
    base: bytes
    staged: dict[bytes, trees.Entry | None] = field(default_factory=dict)
    on_disk: dict[bytes, trees.Entry | None] = field(default_factory=dict)
    conflict: list[bytes] = field(default_factory=list)
    index: dict[bytes, trees.Entry | None] = field(default_factory=dict)

    def seen_from(self, commit: str, base: bytes, kept: Callable[[bytes], bool]) -> Tracked:
        """The changes of the paths that `kept` is true of, against another commit's tree."""
        return Tracked(
            commit,
            base,
            {path: entry for path, entry in self.staged.items() if kept(path)},
            {path: entry for path, entry in self.on_disk.items() if kept(path)},
            list(filter(kept, self.conflict)),
            {path: entry for path, entry in self.index.items() if kept(path)},
        )


class Status:
    """A look at the tracked files that goes on while the caller does something else.

    Costs one `git status` without untracked files, in a process of its own; where there is no
    `git`, or it fails, libgit2 does the same more slowly. `git` is the repository it looks at.
    """

    def __init__(self, git: Git, baseline: str) -> None:
        self.git = git
        self._baseline = baseline
        self._program: Program | None = None
        self._found: Tracked | None = None
        if git.program is not None:
            self._program = git.start(*_STATUS)

    def stop(self) -> None:
        """Ends the look where nobody waits for its answer any more."""
        if self._program is not None:
            self._program.kill()

    def result(self) -> Tracked:
        """Waits for the answer. Raises `RepositoryError` where neither reader can give one."""
        if self._found is None:
            self._found = self._look()
        return self._found

    def _look(self) -> Tracked:
        if self._program is None:
            return _by_libgit2(self.git, self._baseline)
        try:
            return self._parse(answer(self._program))
        except RepositoryError:
            try:
                return _by_libgit2(self.git, self._baseline)
            except Exception as error:  # noqa: BLE001 - Git's own words are the better ones
                logger.debug("libgit2 could not read the index either: %s", error)
            raise

    def _parse(self, output: bytes) -> Tracked:
        head = self._baseline
        lines = iter(output.split(b"\0"))
        found = []
        for line in lines:
            if line.startswith(b"# branch.oid ") and not line.endswith(b"(initial)"):
                head = line[13:].decode("ascii")
            elif line[:1] in b"1u" and line:
                found.append(line)
        tracked = Tracked(head, trees.of_commit(self.git.repo, head))
        for line in found:
            _take(line, tracked)
        return tracked


def _take(line: bytes, tracked: Tracked) -> None:
    # git-status(1), "Changed Tracked Entries" and "Unmerged Entries" of porcelain format 2.
    if line[:1] == b"u":
        _, _, submodule, *_, on_disk, _, ours, _, path = line.split(b" ", 10)
        tracked.conflict.append(path)
        if submodule.startswith(b"N"):
            entry = (int(on_disk, 8) or trees.FILE, bytes.fromhex(ours.decode("ascii")))
            tracked.on_disk[path] = tracked.index[path] = entry if any(entry[1]) else None
        return
    _, states, submodule, _, index_mode, disk_mode, _, sha, path = line.split(b" ", 8)
    in_index = (int(index_mode, 8), bytes.fromhex(sha.decode("ascii")))
    tracked.index[path] = in_index if any(in_index[1]) else None
    if in_index[0] == trees.SUBMODULE and states[1:2] == b"T":
        tracked.on_disk[path] = None  # a file or link is in its place
    elif not submodule.startswith(b"N"):
        # What a submodule has checked out is its own affair; the recorded commit enters.
        tracked.staged[path] = in_index if in_index[0] else None
    elif states[1:2] == b".":
        tracked.staged[path] = in_index if in_index[0] else None
    elif states[1:2] == b"D":
        tracked.staged[path] = None
    else:
        mode = int(disk_mode, 8) or trees.FILE
        tracked.on_disk[path] = (mode, in_index[1]) if any(in_index[1]) else None


def _by_libgit2(git: Git, baseline: str) -> Tracked:
    import pygit2

    if git.index_file != Path(git.repo.path, "index"):
        raise RepositoryError("GIT_INDEX_FILE is obeyed only where the `git` program is there.")
    head = git.head or baseline
    tracked = Tracked(head, trees.of_commit(git.repo, head))
    index = git.repo.index
    states = pygit2.enums.DeltaStatus
    options = pygit2.enums.DiffOption.INCLUDE_TYPECHANGE
    tree = git.repo[head].peel(pygit2.Tree)
    for delta in tree.diff_to_index(index, options).deltas:
        new = delta.new_file
        if delta.status == states.CONFLICTED:
            continue
        gone = delta.status == states.DELETED
        tracked.staged[new.raw_path] = None if gone else (int(new.mode), new.id.raw)
        tracked.index[new.raw_path] = tracked.staged[new.raw_path]
    for delta in index.diff_to_workdir(options).deltas:
        old, path = delta.old_file, delta.old_file.raw_path or delta.new_file.raw_path
        if delta.status == states.CONFLICTED:
            tracked.conflict.append(path)
        if delta.status == states.UNTRACKED or int(old.mode) == trees.SUBMODULE:
            continue
        tracked.index[path] = (int(old.mode), old.id.raw) if any(old.id.raw) else None
        if delta.status == states.DELETED:
            # libgit2 does not tell a file that sparse checkout left out from a deleted one.
            flags = _entry_flags(git.index_file.read_bytes(), path) or (0, 0)
            if not flags[1] & _SKIP_WORKTREE:
                tracked.staged[path] = None
            continue
        mode = int(delta.new_file.mode) or trees.FILE
        tracked.on_disk[path] = (mode, old.id.raw) if any(old.id.raw) else None
    return tracked


class Blobs:
    """Turns files into blobs exactly as `git add` would, filters and line endings included.

    Most files pass as they are, which is decided here from the attribute files that could say
    otherwise; only the others are given to `git`, all at once, on an index of its own in the
    temporary folder.
    """

    def __init__(self, git: Git) -> None:
        self._git = git
        self._attributes: dict[bytes, bytes] = {}
        self._from_index: dict[bytes, trees.Entry] = {}
        self._waiting: dict[bytes, trees.Entry | None] = {}
        self._done: dict[bytes, trees.Entry] = {}
        self._failed: dict[bytes, tuple[trees.Entry | None, Exception]] = {}
        self._unchanged: set[bytes] = set()
        self._file_modes: bool | None = None

    def add(self, path: bytes, before: trees.Entry | None = None) -> None:
        """Takes the file at `path` (relative to the working tree) as it is on disk now.

        `before` is what the index has there: its mode counts where the disk cannot tell modes,
        its line endings where `text=auto` keeps what is committed. A path that is no file or
        link (any more) is passed over.
        """
        full = os.path.join(os.fsencode(self._git.root), path)  # noqa: PTH118 - bytes
        try:
            info = os.lstat(full)
            if stat.S_ISLNK(info.st_mode):
                self._done[path] = (trees.LINK, self._blob(os.readlink(full)))  # noqa: PTH115 - bytes
                return
            if not stat.S_ISREG(info.st_mode):
                return
            rules = self._rules(path)
            if info.st_size > _LARGE or _is_converted(rules):
                self._waiting[path] = before
                return
            with open(full, "rb") as file:  # noqa: PTH123 - bytes
                data = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._failed[path] = (before, error)
            return
        if _could_change(data, rules):
            self._waiting[path] = before
        else:
            self._done[path] = (self._mode(info.st_mode, before), self._blob(data))

    def amend(self, path: bytes, before: trees.Entry) -> None:
        """Tells of a file added already what the index has there; see `add`."""
        if path in self._waiting:
            self._waiting[path] = before
        elif path in self._failed:
            self._failed[path] = (before, self._failed[path][1])
        elif path in self._done and self._done[path][0] != trees.LINK:
            mode, blob = self._done[path]
            self._done[path] = (self._mode(mode, before), blob)

    def unchanged(self, path: bytes, before: trees.Entry) -> None:
        """Tells of a file added already that Git sees no change of it; see `amend`.

        There may be one all the same: Git is told to overlook some files, and others are written
        while it looks. So what is on disk counts where it can be had, else `before` is no loss.
        """
        self._unchanged.add(path)
        if path in self._waiting and self._is_stored(path, before):
            del self._waiting[path]
            self._done[path] = before
        else:
            self.amend(path, before)

    def _is_stored(self, path: bytes, entry: trees.Entry) -> bool:
        """Whether a file's bytes are those that Git has: a pointer of Git LFS, old CRLF."""
        import pygit2

        full = os.path.join(os.fsencode(self._git.root), path)  # noqa: PTH118 - bytes
        try:
            if os.stat(full).st_size > _LARGE:  # noqa: PTH116 - bytes
                return False
            with open(full, "rb") as file:  # noqa: PTH123 - bytes
                return pygit2.hash(file.read()).raw == entry[1]
        except OSError:
            return False

    def of_content(self, path: bytes, data: bytes) -> bytes:
        """The blob of the file at `path` if it had this content instead of its own.

        Raises RepositoryError where a filter makes none of it.
        """
        rules = self._rules(path)
        if self._git.program is None:
            if self._is_converted_by_libgit2(path):
                raise RepositoryError("its filter needs the `git` program on the PATH")
        elif _is_converted(rules) or _could_change(data, rules):
            name = f"--path={os.fsdecode(path)}"
            said = self._git.ask("hash-object", "-w", "--stdin", name, given=data)
            return bytes.fromhex(said.decode("ascii"))
        return self._blob(data)

    def is_unfiltered(self, path: bytes) -> bool:
        """Whether no program of the user's has a hand in what Git keeps of `path`."""
        if b"filter" not in self._rules(path):
            return True
        try:
            return not self._git.repo.get_attr(os.fsdecode(path), "filter")
        except UnicodeEncodeError:
            return False  # libgit2 is given names in UTF-8 alone

    def result(self) -> dict[bytes, trees.Entry]:
        """The entries of all files that were added and are there."""
        if self._waiting:
            if self._git.program is not None:
                self._clean_by_git()
            else:
                self._clean_by_libgit2()
            self._waiting = {}
        self._keep_staged()
        return self._done

    def _blob(self, data: bytes) -> bytes:
        return self._git.write("blob", data)

    def _mode(self, mode: int, before: trees.Entry | None) -> int:
        if before and before[0] == trees.LINK:
            return trees.LINK  # core.symlinks=false: a plain file stands for the link
        if self._file_modes is None:
            self._file_modes = is_true(self._git.setting("core.filemode") or "true")
        if self._file_modes:
            return trees.EXECUTABLE if mode & stat.S_IXUSR else trees.FILE
        return before[0] if before else trees.FILE

    def _rules(self, path: bytes) -> bytes:
        """All attribute lines that could speak about `path`, as one text."""
        folder = path.rpartition(b"/")[0]
        known = self._attributes.get(folder)
        if known is None:
            above = self._rules(folder) if folder else self._rules_of_all()
            name = os.path.join(folder, b".gitattributes")  # noqa: PTH118 - bytes
            own = _read(os.path.join(os.fsencode(self._git.root), name))  # noqa: PTH118
            entry = self._absent.get(name)
            if entry is not None:
                with contextlib.suppress(KeyError):  # a partial clone may lack it
                    own = self._git.read(entry[1]) + b"\n"
                    self._from_index[name] = entry
            known = self._attributes[folder] = above + own
        return known

    @cached_property
    def _absent(self) -> dict[bytes, trees.Entry]:
        """The attribute files that Git takes from the index, because they are not on disk.

        A sparse checkout leaves them out, or they were deleted (attr.c, read_attr).
        """
        try:
            names = [
                name
                for name in named_like(self._git, "", ".gitattributes")
                if f"/{name}".endswith("/.gitattributes")
                and not os.path.lexists(self._git.root / name)
            ]
            return _in_index(self._git, names) if names else {}
        except RepositoryError as error:
            logger.debug("the index cannot be read for attributes: %s", error)
            return {}

    def _rules_of_all(self) -> bytes:
        home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111
        own = self._git.setting("core.attributesfile") or ""
        files = (
            "/etc/gitattributes",
            os.path.expanduser(own) or f"{home}/git/attributes",  # noqa: PTH111
            self._git.common_dir / "info" / "attributes",
        )
        crlf = self._git.setting("core.autocrlf") or ""
        rules = b"* text=auto\n" if is_true(crlf) else b""
        return rules + b"\n".join(_read(os.fsencode(file)) for file in files)

    def _clean_by_git(self) -> None:
        self._pass_over_lfs()
        if not self._waiting:
            return
        try:
            self._done.update(self._added(self._waiting))
        except RepositoryError:
            # One file's filter fails (Git LFS is not installed, say): the others still go.
            for path, before in self._waiting.items():
                self._clean_alone(path, before)

    def without_lfs(self, paths: Iterable[bytes]) -> list[bytes]:
        """Those of the paths that Git LFS tracks, where Git LFS is not set up.

        Git takes the raw bytes then, which nobody gets out of a history again.
        """
        git = self._git
        if git.setting("filter.lfs.clean") or git.setting("filter.lfs.process"):
            return []
        possible = [path for path in paths if b"filter=lfs" in self._rules(path)]
        if not possible:
            return []
        names = b"".join(path + b"\0" for path in possible)
        told = iter(git.ask("check-attr", "-z", "--stdin", "filter", given=names).split(b"\0"))
        return [path for path, _, value in zip(told, told, told, strict=False) if value == b"lfs"]

    def _pass_over_lfs(self) -> None:
        """Keeps what Git LFS tracks as it is staged, where Git LFS is not set up.

        There may be hundreds of such files, in a container that lacks the user's own
        configuration, say.
        """
        found = self.without_lfs(self._waiting)
        kept = {path: self._waiting.pop(path) for path in found}
        changed = [path for path in found if path not in self._unchanged]
        for lost, paths in (
            ("has what is staged instead of", [path for path in changed if kept[path]]),
            ("is without", [path for path in changed if not kept[path]]),
        ):
            if paths:
                logger.warning(
                    "Git LFS tracks '%s'%s and is not set up here, so the experiment %s what is on "
                    "disk. Run `git lfs install` to have it in the next one.",
                    os.fsdecode(paths[0]),
                    f" and {len(paths) - 1} more" if len(paths) > 1 else "",
                    lost,
                )
        self._done.update((path, before) for path, before in kept.items() if before)

    def _clean_alone(self, path: bytes, before: trees.Entry | None) -> None:
        try:
            self._done.update(self._added({path: before}))
        except RepositoryError as error:
            self._failed[path] = (before, error)

    def _keep_staged(self) -> None:
        """What cannot be read or filtered does not cost the run; each reason is told once."""
        told: dict[tuple[bool, str], list[str]] = {}
        for path, (before, error) in sorted(self._failed.items(), key=itemgetter(0)):
            name = os.fsdecode(path)
            if before:
                self._done[path] = before
            if path in self._unchanged:
                logger.debug("'%s' is taken as it is staged: %s", name, error)
                continue
            reason = str(error).replace(name, "...")
            told.setdefault((bool(before), reason), []).append(name)
        for (is_staged, _), names in told.items():
            logger.warning(
                "'%s'%s could not be taken as it is on disk, so the experiment %s: %s",
                names[0],
                f" and {len(names) - 1} more" if len(names) > 1 else "",
                "has it as it is staged" if is_staged else "is without it",
                self._failed[os.fsencode(names[0])][1],
            )
        self._failed = {}

    def _added(self, files: Mapping[bytes, trees.Entry | None]) -> dict[bytes, trees.Entry]:
        """What `git add` makes of the files, on an index of their own."""
        # What is staged comes first: `text=auto` leaves CRLF alone where it was committed.
        staged = b"".join(
            b"%o %s\t%s\0" % (entry[0], entry[1].hex().encode("ascii"), path)
            for path, entry in (*self._from_index.items(), *files.items())
            if entry
        )
        names = b"".join(path + b"\0" for path in files)
        with tempfile.TemporaryDirectory(prefix="dvclive-") as folder:
            index = {"GIT_INDEX_FILE": f"{folder}/index"}
            if staged:
                self._git.ask(*_PRIVATE, "-z", "--index-info", given=staged, variables=index)
            self._git.ask(
                *_PRIVATE, "--add", "--remove", "-z", "--stdin", given=names, variables=index
            )
            listing = self._git.ask("ls-files", "-s", "-z", variables=index)
        return {path: entry for path, entry in _listed(listing).items() if path in files}

    def _clean_by_libgit2(self) -> None:
        for path, before in self._waiting.items():
            name = os.fsdecode(path)
            if self._is_converted_by_libgit2(path):
                if path not in self._unchanged:
                    logger.warning(
                        "'%s' goes through a filter of Git's, which needs the `git` program on "
                        "the PATH; the experiment has it as it is staged.",
                        name,
                    )
                if before:
                    self._done[path] = before
                continue
            info = (self._git.root / name).stat()
            blob = self._git.repo.create_blob_fromworkdir(name)
            self._done[path] = (self._mode(info.st_mode, before), blob.raw)

    def _is_converted_by_libgit2(self, path: bytes) -> bool:
        if not _is_converted(self._rules(path)):
            return False
        name = os.fsdecode(path)
        try:
            return any(self._git.repo.get_attr(name, one.decode("ascii")) for one in _CONVERTED)
        except UnicodeEncodeError:
            return True  # libgit2 is given names in UTF-8 alone


def _in_index(git: Git, names: list[str]) -> dict[bytes, trees.Entry]:
    """What the index has under names that it is known to have."""
    if git.program is not None:
        exact = (f":(top,literal){name}" for name in names)
        return _listed(git.ask("ls-files", "-s", "-z", "--", *exact))
    index = git.repo.index
    return {os.fsencode(one): (int(index[one].mode), index[one].id.raw) for one in names}


def _listed(listing: bytes) -> dict[bytes, trees.Entry]:
    """The entries that `git ls-files -s -z` tells."""
    found = {}
    for line in filter(None, listing.split(b"\0")):
        facts, path = line.split(b"\t", 1)
        mode, sha, _ = facts.split(b" ")
        found[path] = (int(mode, 8), bytes.fromhex(sha.decode("ascii")))
    return found


def _is_converted(rules: bytes) -> bool:
    return any(word in rules for word in _CONVERTED)


def _could_change(data: bytes, rules: bytes) -> bool:
    # Without CR there is no line ending to convert (convert.c, crlf_to_git), without `$Id` no
    # keyword to take back (ident_to_git).
    return bool(rules.strip()) and (b"\r" in data or (b"ident" in rules and b"$Id" in data))


def _read(path: bytes) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - bytes
            return file.read() + b"\n"
    except OSError:
        return b""


def named_like(git: Git, prefix: str, *endings: str) -> list[str]:
    """The tracked files below `prefix` ("" or "a/folder/") with one of the endings.

    Read from the index's bytes where they stand there in full, which takes a tenth of asking
    `git`, and an experiment is saved by many who have no such file at all.
    """
    start = os.fsencode(prefix)
    with contextlib.suppress(OSError), git.index_file.open("rb") as file:
        if _is_plain(git, file.read(_INDEX_HEADER)):
            return sorted({
                os.fsdecode(name)
                for part in _parts(file)
                for one in endings
                for name in _names_ending(part, os.fsencode(one))
                if name.startswith(start)
            })  # fmt: skip
    if git.program is not None:
        above = re.sub(r"[\\*?\[]", r"\\\g<0>", prefix)
        patterns = [f":(top){above}*{one}" for one in endings]
        try:
            listing = git.ask("ls-files", "-z", "--cached", "--", *patterns)
            return sorted({os.fsdecode(name) for name in listing.split(b"\0") if name})
        except RepositoryError as error:
            logger.debug("`git ls-files` failed, libgit2 is asked: %s", error)
            try:
                return _named_by_libgit2(git, start, *map(os.fsencode, endings))
            except Exception:  # noqa: BLE001 - Git's own words are the better ones
                raise error from None
    return _named_by_libgit2(git, start, *map(os.fsencode, endings))


def _parts(index: BinaryIO) -> Iterator[bytes]:
    """The index in parts that overlap by more than an entry, whose names may come twice.

    Read at once, that of a large repository would take more memory than all the rest.
    """
    at = 0
    while True:
        index.seek(at)
        part = index.read(_PART)
        yield part
        if len(part) < _PART:
            return
        at += _PART - _LONGEST_ENTRY


# Both are multiples of eight, by which entries are aligned.
_PART = 1 << 22
_LONGEST_ENTRY = 1 << 13


def _named_by_libgit2(git: Git, prefix: bytes, *endings: bytes) -> list[str]:
    names = (os.fsencode(entry.path) for entry in git.repo.index)
    return [os.fsdecode(one) for one in names if one.startswith(prefix) and one.endswith(endings)]


def _is_plain(git: Git, index: bytes) -> bool:
    """Whether every tracked path stands in the index in full.

    One of version 4 shortens paths; a split or a sparse one lacks some. The marks of those two
    stand behind the entries, and to search for them would take as long as asking Git.
    """
    if index[7:8] not in (b"\2", b"\3"):
        return False
    sparse = is_true(git.setting("index.sparse") or "")
    # Wherever the index is, Git keeps its other half here (read-cache.c, read_index_from).
    kept = os.listdir(git.repo.path)  # noqa: PTH208 - names, ten times faster
    return not sparse and not any(name.startswith("sharedindex.") for name in kept)


def _names_ending(index: bytes, ending: bytes) -> Iterator[bytes]:
    end = index.find(ending + b"\0")
    while end >= 0:
        end += len(ending)
        name = _name_before(index, end)
        if name is not None:
            yield name
        end = index.find(ending + b"\0", end)


def _name_before(index: bytes, end: int) -> bytes | None:
    """The name of the entry that ends at `end`; None where what ends there is no name."""
    # gitformat-index(5): 40 bytes of facts, the hash, the flags with the name's length, the
    # name; entries begin at multiples of eight after the header's twelve bytes. No name holds a
    # zero byte; mostly the nearest one is the first of the flags, so that length is tried first.
    longest = end - index.rfind(b"\0", 0, end) - 1
    for size in (longest - 1, *range(1, min(longest + 1, 0xFFF))):
        for extended in (0, 2):
            entry = end - size - 62 - extended
            flags = int.from_bytes(index[entry + 60 : entry + 62], "big")
            if (
                entry >= _INDEX_HEADER
                and flags & 0xFFF == size
                and bool(flags & 0x4000) == bool(extended)
                and (entry - _INDEX_HEADER) % 8 == 0
                and int.from_bytes(index[entry + 24 : entry + 28], "big") in _INDEX_MODES
            ):
                return index[end - size : end]
    return None


def in_index(git: Git, paths: Collection[bytes]) -> set[bytes]:
    """Those of the paths that Git tracks.

    A few are searched for in the index's bytes, of which nothing is parsed. An index of version 4
    shortens its paths and a split or sparse one lacks some, so there, and for many, `git` is asked.
    """
    found: set[bytes] = set()
    if not paths:
        return found
    specs: list[str] = []  # none stands for all that Git tracks
    if len(paths) <= _FEW or git.program is None:
        try:
            data = git.index_file.read_bytes()
        except OSError:
            return found
        found = {path for path in paths if _entry_flags(data, path) is not None}
        if len(found) == len(paths) or _is_plain(git, data):
            return found
        specs = [f":(top,literal){os.fsdecode(path)}" for path in paths]
    try:
        listing = git.ask("ls-files", "-z", "--", *specs)
    except RepositoryError:
        return found
    return set(paths).intersection(listing.split(b"\0")[:-1])


_FEW = 8  # a search of the whole index each


def submodule_around(git: Git, commit: str | None, path: bytes) -> bytes | None:
    """The submodule that `path` is or lies in; None where it is this repository's own.

    The index has the last word. It is asked only of folders that are a submodule in `commit` or
    another repository on disk, so it is rarely read.
    """
    tree = trees.of_commit(git.repo, commit) if commit else None
    parts = path.split(b"/")
    for depth in range(1, len(parts) + 1):
        place = b"/".join(parts[:depth])
        entry = trees.find(git, tree, place) if tree else None
        mark = os.path.join(os.fsencode(git.root), place, b".git")  # noqa: PTH118 - bytes
        could_be = entry[0] == trees.SUBMODULE if entry else os.path.lexists(mark)
        if could_be and in_index(git, [place]):
            return place
    return None


def is_no_submodule(git: Git, folder: bytes) -> bool:
    """Whether a folder (absolute, in the working tree) neither is a submodule nor lies in one."""
    return submodule_around(git, git.head, folder[len(os.fsencode(git.root)) + 1 :]) is None


def _entry_flags(index: bytes, path: bytes) -> tuple[int, int] | None:
    """The flags and extended flags of an entry; None where there is none of that name."""
    # gitformat-index(5): the name's length stands in the low twelve bits of the two bytes before
    # it, or of those before the two of a version 3 entry's extended flags.
    size = min(len(path), 0xFFF)
    at = index.find(path + b"\0")
    while at >= 0:
        for extended in (False, True):
            start = at - (4 if extended else 2)
            flags = int.from_bytes(index[start : start + 2], "big")
            if flags & 0xFFF == size and bool(flags & 0x4000) == extended:
                more = int.from_bytes(index[at - 2 : at], "big") if extended else 0
                return flags, more
        at = index.find(path + b"\0", at + 1)
    return None
