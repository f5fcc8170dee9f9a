"""The Git repository around a folder: found, opened and asked the way `git` itself would.

Two readers stand side by side. libgit2 (pygit2) opens objects, references and configuration in
this process within a millisecond; the `git` program reads what libgit2 cannot (split and sparse
indexes, external filters, configuration given by the environment) and compares 50,000 files in a
third of libgit2's time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import RepositoryError, RepositoryFormatError
from ..notices import logger
from .programs import Program, finish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pygit2

# What makes Git look elsewhere than the files say (`git rev-parse --local-env-vars`).
LOCAL_VARIABLES = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
# A user's own way of giving paths to `git` is not ours (git(1)).
PLAIN_PATHSPECS = {f"GIT_{kind}_PATHSPECS": "0" for kind in ("LITERAL", "GLOB", "NOGLOB", "ICASE")}
_NOT_OWNED = "not owned by current user"
# The numbers Git gives to the kinds of objects (gitformat-pack(5)).
_KINDS = {"commit": 1, "tree": 2, "blob": 3}
# Of a tree: mode, name, twenty bytes of hash. Entries follow each other without a gap.
_ENTRY = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)
_REMEMBERED = 100_000  # of them, some 20 MB; more only where single folders have thousands
_DEPTH = 16  # folders
# Whoever writes an index, be it one of its own, calls the hook `post-index-change`.
_SETTINGS = (
    *("-c", "core.fsmonitor=false"),
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.safecrlf=false"),
)
_PATHS = ("GIT_COMMON_DIR", "GIT_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_WORK_TREE")


@dataclass(frozen=True)
class Place:
    """A Git working tree: its top folder, its repository folder, and the commit at HEAD.

    common_dir: the folder that all worktrees share (objects, refs); `git_dir` where there is one.
    variables:  the GIT_* variables that led here, with absolute paths, so that a later
                `os.chdir` or another process finds the same place. Empty in the usual case.
    """

    root: Path
    git_dir: Path
    head: str | None
    common_dir: Path = Path()
    variables: Mapping[str, str] = field(default_factory=dict)


def locate(start: Path, environ: Mapping[str, str]) -> Place | None:
    """The working tree that holds `start`; None where there is none (or a bare repository).

    Obeys GIT_DIR and its like. Raises `RepositoryError` for a repository that is there but
    cannot be used (an owner Git does not trust, a format that DVC cannot read); its text is
    for the user and says what to do. Takes well below 3 ms, however many files are tracked.
    """
    variables = _pinned(start, environ)
    if "GIT_DIR" not in variables and not _is_inside(start, environ):
        return None
    # Opened from inside the working tree, not by what was discovered: a repository that lies
    # elsewhere (`--separate-git-dir`) does not know its working tree.
    repo = _open(start, variables)
    git_dir = Path(os.path.realpath(repo.path))
    root = _work_tree(repo, start, variables)
    if root is None:
        return None
    if variables:
        variables |= {"GIT_DIR": str(git_dir), "GIT_WORK_TREE": str(root)}
    common = Path(variables.get("GIT_COMMON_DIR") or common_dir(git_dir))
    return Place(root, git_dir, read_head(git_dir, common), common, variables)


def _is_inside(start: Path, environ: Mapping[str, str]) -> bool:
    import pygit2

    ceilings = environ.get("GIT_CEILING_DIRECTORIES", "")
    across = bool(environ.get("GIT_DISCOVERY_ACROSS_FILESYSTEM"))
    return pygit2.discover_repository(str(start), across, ceilings) is not None


def _pinned(start: Path, environ: Mapping[str, str]) -> dict[str, str]:
    pinned = {name: environ[name] for name in LOCAL_VARIABLES if environ.get(name)}
    for name in _PATHS:
        if name in pinned:
            pinned[name] = os.path.normpath(start / pinned[name])
    others = pinned.get("GIT_ALTERNATE_OBJECT_DIRECTORIES", "")
    if others and '"' not in others:  # quoted as C has it, which is left as it was given
        pinned["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = os.pathsep.join(
            os.path.normpath(start / one) for one in others.split(os.pathsep) if one
        )
    # Without these two the others name no repository of their own; Git sets GIT_PREFIX for
    # every alias and hook, which is no reason to leave the usual path.
    pinned.pop("GIT_PREFIX", None)
    return pinned


def _work_tree(repo: pygit2.Repository, start: Path, variables: Mapping[str, str]) -> Path | None:
    if "GIT_WORK_TREE" in variables:
        return Path(os.path.realpath(variables["GIT_WORK_TREE"]))
    if "GIT_DIR" in variables and "core.worktree" not in repo.config:
        # git(1): "If GIT_DIR is set but no work tree is, the current directory is its top."
        return None if repo.is_bare else Path(os.path.realpath(start))
    return Path(os.path.realpath(repo.workdir)) if repo.workdir else None


def _open(start: Path, variables: Mapping[str, str]) -> pygit2.Repository:
    import pygit2

    path = variables.get("GIT_DIR") or str(start)
    try:
        return pygit2.Repository(path)
    except pygit2.GitError as error:
        text = str(error)
        folder = _named_in(text) or path
        if _NOT_OWNED in text and _is_trusted(start, variables):
            # For good, because DVC opens the repository by libgit2 as well.
            pygit2.settings.owner_validation = False
            return _open(start, variables)
        if _NOT_OWNED in text:
            raise RepositoryError(
                f"Git does not trust the repository at '{folder}', because it belongs to "
                "another user (usual in containers). To use it: "
                f"git config --global --add safe.directory '{folder}'"
            ) from error
        if "unsupported extension" in text or "object format" in text:
            raise RepositoryFormatError(
                f"The Git repository at '{folder}' is of a kind that DVC cannot read ({text}). "
                "Use one with SHA-1 hashes and ordinary reference files "
                "(`git init --object-format=sha1 --ref-format=files`)."
            ) from error
        raise RepositoryError(
            f"The Git repository at '{folder}' cannot be opened ({text}). `git status` there "
            "tells more."
        ) from error


def _is_trusted(folder: Path, variables: Mapping[str, str]) -> bool:
    """Whether Git itself works in a repository that libgit2 does not trust.

    Git reads `safe.directory` from more places, and has patterns in it.
    """
    try:
        return bool(Git(folder, variables).ask("rev-parse", "--git-dir"))
    except RepositoryError:
        return False


def _named_in(complaint: str) -> str | None:
    # libgit2 names the working tree that it does not trust, which may be far above `path`.
    match = re.search(r"repository path '(.*)' is not owned", complaint)
    return match[1].rstrip("/") if match else None


def common_dir(git_dir: Path) -> Path:
    """The folder that the worktrees of one repository share."""
    try:
        text = os.fsdecode((git_dir / "commondir").read_bytes().rstrip(b"\n"))
    except FileNotFoundError:
        return git_dir
    return Path(os.path.realpath(git_dir / text))


def read_head(git_dir: Path, common: Path) -> str | None:
    """The commit at HEAD; None while there is none.

    Read from the files themselves: libgit2 parses all of packed-refs to answer this, which
    grows with the experiments in it.
    """
    folder, name = git_dir, "HEAD"
    for _ in range(6):  # refs.c: MAXDEPTH is 5
        value = read_ref(folder, name) or read_ref(common, name)
        if value is None or not value.startswith("ref: "):
            return value
        folder, name = common, value[5:].strip()
        if name.startswith(("refs/bisect/", "refs/worktree/", "refs/rewritten/")):
            folder = git_dir
    return None


def read_ref(folder: Path, name: str) -> str | None:
    """What the reference `name` below a repository folder holds, loose or packed.

    The name of a branch is bytes to Git, as that of a file is to the system.
    """
    try:
        return os.fsdecode((folder / name).read_bytes().strip())
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return packed_ref(folder, name)


def packed_ref(folder: Path, name: str) -> str | None:
    """The hash that `packed-refs` gives for `name`. One pass of `find`, nothing is parsed."""
    try:
        data = (folder / "packed-refs").read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    at = data.find(b" " + os.fsencode(name) + b"\n")
    return data[data.rfind(b"\n", 0, at) + 1 : at].decode("ascii") if at >= 0 else None


class Git:
    """One repository, as this package uses it: libgit2 in here, `git` where it must be."""

    def __init__(
        self, root: Path, variables: Mapping[str, str] | Iterable[tuple[str, str]] = ()
    ) -> None:
        self.root = root
        self._variables: dict[str, str] = dict(variables)
        self._trees: dict[bytes, Mapping[bytes, tuple[int, bytes]]] = {}
        self._remembered = 0

    @cached_property
    def repo(self) -> pygit2.Repository:
        """libgit2's view. Raises `RepositoryError` where it cannot be opened."""
        import pygit2

        repo = _open(self.root, self._variables)
        objects = self._variables.get("GIT_OBJECT_DIRECTORY")
        others = self._variables.get("GIT_ALTERNATE_OBJECT_DIRECTORIES")
        if objects or others:
            odb = pygit2.Odb(objects or str(self._common_dir(repo) / "objects"))
            for path in filter(None, (others or "").split(os.pathsep)):
                odb.add_disk_alternate(path)
            repo.set_odb(odb)
        return repo

    @cached_property
    def common_dir(self) -> Path:
        """Where the references are."""
        return self._common_dir(self.repo)

    def _common_dir(self, repo: pygit2.Repository) -> Path:
        given = self._variables.get("GIT_COMMON_DIR")
        return Path(given) if given else common_dir(Path(os.path.realpath(repo.path)))

    @property
    def head(self) -> str | None:
        """The commit at HEAD now."""
        return read_head(Path(self.repo.path), self.common_dir)

    @property
    def index_file(self) -> Path:
        """The index in use."""
        return Path(self._variables.get("GIT_INDEX_FILE") or Path(self.repo.path, "index"))

    def setting(self, name: str) -> str | None:
        """What Git's configuration has under a name in lower case, the last value of several.

        Any bytes are a value to Git; they are told as `os.fsdecode` tells those of a path.
        """
        return self._settings.get(name) if self._settings is not None else _value(self.repo, name)

    @cached_property
    def _settings(self) -> Mapping[str, str] | None:
        """Git's own reading of its configuration; None where libgit2 comes to the same."""
        if self.program is None or not _is_beyond_libgit2(self.repo, os.environ):
            return None
        try:
            listing = os.fsdecode(self.ask("config", "--list", "-z"))
        except RepositoryError as error:
            logger.debug("`git config` failed, libgit2 is asked: %s", error)
            return None
        pairs = (line.partition("\n") for line in listing.split("\0"))
        return {name: value if has_value else "true" for name, has_value, value in pairs if name}

    @cached_property
    def program(self) -> str | None:
        """The `git` program; None where the PATH has none."""
        return shutil.which("git")

    def ignores(self, path: bytes, *, tracked: bool = False) -> bool:
        """Whether Git ignores a path (relative to the working tree), be it there or not.

        With `tracked` the rules alone decide, else nothing that Git tracks is ignored. libgit2
        reads less than Git: no configuration of the environment, no `.gitignore` that a sparse
        checkout leaves to the index.
        """
        if self.program is not None:
            rules = ("--no-index",) if tracked else ()
            program = self.start("check-ignore", "-q", *rules, "--", f"./{os.fsdecode(path)}")
            try:
                answer(program)
            except RepositoryError as error:
                if program.code == 1:  # git-check-ignore(1): no path is ignored
                    return False
                logger.debug("`git check-ignore` failed, libgit2 is asked: %s", error)
            else:
                return True
        return self._ignores_by_libgit2(path)

    def ignores_below(self, folder: bytes) -> Callable[[bytes], bool]:
        """Tells of the paths that are in a folder now whether Git ignores them; see `ignores`.

        One `git` process answers for the whole folder. Of what is below an ignored folder only
        that folder is known.
        """
        if self.program is not None:
            try:
                listed = self.ask(
                    *("ls-files", "-z", "--others", "--ignored", "--exclude-standard"),
                    *("--directory", "--", f":(top,literal){os.fsdecode(folder)}"),
                )
            except RepositoryError as error:
                logger.debug("`git ls-files` failed, libgit2 is asked: %s", error)
            else:
                return {path.rstrip(b"/") for path in listed.split(b"\0")}.__contains__
        return self._ignores_by_libgit2

    def _ignores_by_libgit2(self, path: bytes) -> bool:
        try:
            return bool(self.repo.path_is_ignored(os.fsdecode(path)))
        except UnicodeEncodeError:
            return False  # libgit2 is given names in UTF-8 alone

    def read(self, sha: bytes) -> bytes:
        """The content of the object with this raw hash. Raises KeyError where it is not there."""
        import pygit2

        return self.repo.odb.read(pygit2.Oid(raw=sha))[1]

    def tree(self, sha: bytes) -> Mapping[bytes, tuple[int, bytes]]:
        """What the folder with this raw hash has: modes and raw hashes by name.

        Names are bytes, as they are on disk. Those asked for last are remembered, for a tree never
        changes and a save asks for many paths of few folders, which may be large. Raises KeyError
        where it is not there.
        """
        found = self._trees.pop(sha, None)
        if found is None:
            entries = _ENTRY.findall(self.read(sha))
            found = {name: (int(mode, 8), entry) for mode, name, entry in entries}
            self._remembered += len(found)
            # Never so few that the folders over a large one would have to be read for each path.
            while self._remembered > _REMEMBERED and len(self._trees) >= _DEPTH:
                self._remembered -= len(self._trees.pop(next(iter(self._trees))))
        self._trees[sha] = found
        return found

    def write(self, kind: str, data: bytes) -> bytes:
        """Puts a "blob", "tree" or "commit" among the objects and returns its raw hash.

        libgit2 and Git write an object under a temporary name first, which stays behind when
        the process is killed at that moment. Here a finished file without a name is linked to
        its name, so a kill leaves nothing; where the file system has no such files, libgit2
        does it.
        """
        import pygit2

        whole = b"%s %d\0%s" % (kind.encode("ascii"), len(data), data)
        sha = hashlib.sha1(whole, usedforsecurity=False).digest()
        oid = pygit2.Oid(raw=sha)
        objects = self._variables.get("GIT_OBJECT_DIRECTORY") or self.common_dir / "objects"
        name = sha.hex()
        path = Path(objects, name[:2], name[2:])
        if oid in self.repo.odb:
            # An old object that nothing refers to is made young again, so that a `git gc` beside
            # us does not remove it (object-file.c, freshen_loose_object).
            with contextlib.suppress(OSError):
                os.utime(path)
            return sha
        make_folder(path.parent)
        try:
            if files.link_new_file(path, zlib.compress(whole, 1), mode=0o444):
                return sha
        except FileExistsError:
            return sha  # another run was first
        except FileNotFoundError:
            pass  # `git gc` removed the empty folder
        self.repo.odb.write(_KINDS[kind], data)
        return sha

    def start(
        self, *args: str, given: bytes = b"", variables: Mapping[str, str] | None = None
    ) -> Program:
        """Starts a `git` command at the top of the working tree, with `given` to read.

        It takes no optional lock, runs no hook and no file system monitor, asks nobody for a
        password, fetches nothing, and takes files whose line endings `core.safecrlf` would refuse.
        """
        if self.program is None:
            raise RepositoryError("There is no `git` program on the PATH.")
        kept = {name: value for name, value in os.environ.items() if name not in LOCAL_VARIABLES}
        fixed = {
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_NO_LAZY_FETCH": "1",
            # libgit2 knows of none (git-replace(1)), and each has to see what the other does.
            "GIT_NO_REPLACE_OBJECTS": "1",
            "LC_ALL": "C",
            **PLAIN_PATHSPECS,
        }
        return Program(
            [self.program, "-C", self.root, *_SETTINGS, *args],
            env={**kept, **self._variables, **fixed, **(variables or {})},
            given=given,
        )

    def ask(
        self, *args: str, given: bytes = b"", variables: Mapping[str, str] | None = None
    ) -> bytes:
        """Runs a `git` command to its end and returns what it wrote; see `answer`."""
        return answer(self.start(*args, given=given, variables=variables))


def _value(repo: pygit2.Repository, name: str) -> str | None:
    if name not in repo.config:
        return None
    value: str | None
    try:
        value = repo.config[name]
    except UnicodeDecodeError:
        # Only the entries tell bytes; the file that has the last word comes last.
        values = [entry.raw_value for entry in _entries(repo) if entry.raw_name == name.encode()]
        return os.fsdecode(values[-1] or b"")
    if value is None:
        return "true"  # a name alone, without "=", says yes
    return os.fsdecode(value.encode())


def _entries(repo: pygit2.Repository) -> Iterator[pygit2.config.ConfigEntry]:
    """All that is configured, but for sections whose names pygit2 cannot tell (no UTF-8)."""
    entries = iter(repo.config)
    while True:
        with contextlib.suppress(UnicodeDecodeError):
            entry = next(entries, None)
            if entry is None:
                return
            yield entry


def is_true(value: str) -> bool:
    """Whether Git takes a setting's value for yes."""
    return value.lower() not in ("false", "no", "off", "0", "")


def _is_beyond_libgit2(repo: pygit2.Repository, environ: Mapping[str, str]) -> bool:
    """Whether Git reads configuration that libgit2 does not, or none that libgit2 does.

    libgit2 knows no variable that names or holds configuration (git-config(1), "Environment"),
    looks for HOME once, when it is loaded, and passes by `[includeIf "hasconfig:..."]`.
    """
    if environ.get("GIT_CONFIG_PARAMETERS") or environ.get("GIT_CONFIG_COUNT", "0") != "0":
        return True
    if any(theirs is not None and theirs != ours for theirs, ours in _configuration(environ)):
        return True
    return any(entry.raw_name.startswith(b"includeif.hasconfig:") for entry in _entries(repo))


def _configuration(environ: Mapping[str, str]) -> Iterator[tuple[set[str] | None, set[str]]]:
    """The files of the user's and the system's configuration: those of Git's and of libgit2's.

    None where Git alone knows its own, which lie where it was built for.
    """
    import pygit2

    def known(level: pygit2.enums.ConfigLevel, name: str) -> Iterator[str]:
        for folder in pygit2.settings.search_path[level].split(os.pathsep):
            yield f"{folder}/{name}"

    levels = pygit2.enums.ConfigLevel
    # Git takes the home folder from this variable alone (path.c, interpolate_path).
    home = environ.get("HOME")
    xdg = environ.get("XDG_CONFIG_HOME") or (home and f"{home}/.config")
    own = [*([f"{xdg}/git/config"] if xdg else []), *([f"{home}/.gitconfig"] if home else [])]
    users = [environ["GIT_CONFIG_GLOBAL"]] if "GIT_CONFIG_GLOBAL" in environ else own
    yield (
        _filled(users),
        _filled((*known(levels.GLOBAL, ".gitconfig"), *known(levels.XDG, "config"))),
    )
    if is_true(environ.get("GIT_CONFIG_NOSYSTEM", "")):
        system: set[str] | None = set()
    elif "GIT_CONFIG_SYSTEM" in environ:
        system = _filled([environ["GIT_CONFIG_SYSTEM"]])
    else:
        system = None
    yield system, _filled(known(levels.SYSTEM, "gitconfig"))


def _filled(paths: Iterable[str]) -> set[str]:
    """Those of the files that hold anything, by their real names."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError):
            if os.stat(path).st_size:  # noqa: PTH116 - of many, most are not there
                found.add(os.path.realpath(path))
    return found


def answer(program: Program) -> bytes:
    """The output of a command begun by `Git.start`.

    Raises `RepositoryError` with Git's own words when it failed. Whatever ends the waiting
    (a second Ctrl-C) ends the command.
    """
    code = finish(program)
    if code:
        raise RepositoryError(f"`git` failed with {code}: {program.complaint()}")
    return program.written


def make_folder(folder: Path) -> None:
    """Makes a folder of the repository's that whoever may write to the one above may write to.

    In a repository shared by a group (`core.sharedRepository`) the umask must not decide that.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        with contextlib.suppress(OSError):
            folder.chmod(stat.S_IMODE(folder.parent.stat().st_mode))
