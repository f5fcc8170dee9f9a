"""The repository's files that a run is made of, kept as they are when it begins."""

from __future__ import annotations

import itertools
import os
import stat
import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import RepositoryError
from ..notices import logger
from . import trees
from .git import Git
from .record import Source
from .snapshot import Blobs, in_index

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from .context import Context

# A run begins within milliseconds; what is not read by then is not worth a user's time.
_BUDGET = 0.25
_INSTALLED = (b"/site-packages/", b"/dist-packages/")
# Parameters and settings are small; of data there may be any amount.
_SMALL = 1 << 20
# A dvc.yaml of this size takes a twentieth of a second to parse, and so many files take as much.
# No clock decides here: on a busy machine a run would be without its parameters, unseen.
_PARSED = 1 << 16
_MOST_INPUTS = 500
# How what ran was kept, for the later runs of the process: a module is loaded once, and its file
# may be edited at any time after. By the repository and the path; `_load_of` tells a reload.
_kept: dict[tuple[bytes, bytes], tuple[object, trees.Entry]] = {}


def script(context: Context, include: Collection[Path] = ()) -> str | None:
    """The program that runs, relative to the Git root; None where it is no source of its own.

    That is a program elsewhere, one of an environment inside the repository (`.venv/bin/pytest`),
    and one of another repository inside this one.

    Warns when Git does not track it, for then the experiment will not contain it.
    """
    if context.git_root is None:
        return None
    root = os.fsencode(context.git_root)
    path = _program(root)
    if path is None or not _Folders(root).is_ours(path.rpartition(b"/")[0]):
        return None
    name = os.fsdecode(path)
    if _is_in(include, context, path):
        return name
    git = Git(context.git_root, context.git)
    for one in _and_what_it_leads_to(path, root):
        if _in_head(git, context, one) or in_index(git, [one]):
            continue
        shown = os.path.relpath(context.git_root / os.fsdecode(one), context.cwd)
        logger.warning(
            "The script '%s' is not tracked by Git, so the experiment will not contain it. "
            "Run `git add %s`, or pass Live(include=['%s']).",
            shown,
            shown,
            shown,
        )
    return name


def loaded(context: Context, include: Collection[Path] = ()) -> tuple[Source, ...]:
    """The loaded sources that lie in the repository, their content kept in its objects.

    Those that Git tracks, and those that are the user's `include` or in there.

    Warns of a module that Git does not track and does not ignore, for the experiment will be
    without it; of the program itself `script` tells.

    Those of an environment inside the repository (`.venv`, site-packages) are no source of the
    user's. The index is asked once, for all that are not committed. What an earlier run of this
    process kept is the version that was loaded, whatever the file has become since.
    """
    if context.git_root is None or context.baseline is None:
        return ()
    import pygit2

    root = os.fsencode(context.git_root)
    git = Git(context.git_root, context.git)
    folders = _Folders(root)
    now = _Now(git, context.baseline)
    known: dict[bytes, trees.Entry] = {}
    loads = {
        path: load
        for path, load in _files(sys.modules, root)
        if folders.is_ours(path.rpartition(b"/")[0])
    }
    others: list[bytes] = []
    staged: set[bytes] = set()
    path = b""
    end = time.monotonic() + _BUDGET
    try:
        for number, (path, load) in enumerate(loads.items()):
            kept = _kept.get((root, path))
            if kept is not None and kept[0] is load:
                known[path] = kept[1]
                continue
            if time.monotonic() > end:
                logger.warning(
                    "%d of the repository's %d loaded source files are not kept as they are now, "
                    "because reading them takes too long: should one change while the run is "
                    "going, the experiment has the later version. Edit them when the run has "
                    "ended.",
                    len(loads) - number,
                    len(loads),
                )
                break
            if now.keep_committed(path):
                continue
            if _is_in(include, context, path):
                now.keep(path)
            else:
                others.append(path)
        staged = in_index(git, others)
        for path in staged:
            now.keep(path)
    except (OSError, pygit2.GitError) as error:
        # A read-only or full `.git`: the run may well outlive that.
        logger.warning(
            "'%s' differs from its commit and cannot be kept as it is now (%s): should it "
            "change while the run is going, the experiment has the later version.",
            os.fsdecode(path),
            error,
        )
    untracked = [path for path in others if path not in staged]
    _tell_of_untracked(git, context, untracked)
    known.update(now.result())
    _kept.update({(root, path): (loads[path], entry) for path, entry in known.items()})
    return _as_sources(known)


def _program(root: bytes) -> bytes | None:
    main = sys.modules.get("__main__")
    return _file_of(main, root) if main is not None else None


def _tell_of_untracked(git: Git, context: Context, paths: Collection[bytes]) -> None:
    program = _program(os.fsencode(git.root))
    told = set(_and_what_it_leads_to(program, os.fsencode(git.root))) if program else set()
    specs = [f":(top,literal){os.fsdecode(path)}" for path in paths if path not in told]
    if not specs or git.program is None:
        return
    try:
        # What Git ignores was left out on purpose: generated, or of a build.
        listed = git.ask("ls-files", "-z", "--others", "--exclude-standard", "--", *specs)
    except (OSError, RepositoryError) as error:  # more names than a command line has room for
        logger.debug("what of the loaded modules is untracked cannot be told: %s", error)
        return
    names = sorted(os.fsdecode(name) for name in listed.split(b"\0") if name)
    if names:
        shown = os.path.relpath(git.root / names[0], context.cwd)
        logger.warning(
            "The run has loaded '%s'%s, not tracked by Git, so the experiment will not contain "
            "%s. Run `git add`, or pass Live(include=['%s'%s]).",
            shown,
            f" and {len(names) - 1} more" if len(names) > 1 else "",
            "them" if len(names) > 1 else "it",
            shown,
            ", ..." if len(names) > 1 else "",
        )


def inputs(context: Context, own: Path) -> tuple[Source, ...]:
    """DVC's parameters and dependencies of the project, kept in the repository's objects.

    That is params.yaml and what the dvc.yaml beside it names in a stage's `params` and `deps`, of
    which the small files that are committed, and that are not in the run's `own` folder. Data of
    DVC's is named there as well, and to tell it from what is only staged would take the index.
    What cannot be kept is left out in silence: it is of use only where the run is killed and the
    file edited before it is saved, and a warning tells of that then.
    """
    if context.git_root is None or context.baseline is None or context.dvc_root is None:
        return ()
    import pygit2

    root = os.fsencode(context.git_root)
    folders = _Folders(root)
    now = _Now(Git(context.git_root, context.git), context.baseline)
    named = (_within(os.fsencode(path), root) for path in _named_by_dvc(context.dvc_root))
    around = os.fsencode(own) + b"/"
    try:
        for path in itertools.islice(dict.fromkeys(filter(None, named)), _MOST_INPUTS):
            for one in _and_what_it_leads_to(path, root):
                full = os.path.join(root, one)  # noqa: PTH118 - bytes
                is_ours = folders.is_ours(one.rpartition(b"/")[0])
                if is_ours and not full.startswith(around) and _is_small(full):
                    now.keep_committed(one, filtered=False)
        return _as_sources(now.result())
    except (OSError, ValueError, RepositoryError, pygit2.GitError) as error:
        logger.debug("the project's parameters cannot be kept as they are: %s", error)
        return ()


def _is_small(path: bytes) -> bool:
    try:
        info = os.lstat(path)
    except OSError:
        return False
    if stat.S_ISLNK(info.st_mode):
        return True
    return stat.S_ISREG(info.st_mode) and info.st_size <= _SMALL and os.access(path, os.R_OK)


def _named_by_dvc(dvc_root: Path) -> Iterator[str]:
    """The paths (absolute) of params.yaml and of the stages' parameters and dependencies."""
    yield f"{dvc_root}/params.yaml"
    try:
        with (dvc_root / "dvc.yaml").open("rb") as file:
            text = file.read(_PARSED + 1)
    except OSError:
        return
    if len(text) > _PARSED or b"stages" not in text:
        return  # one with nothing but plots is no reason to load a parser
    import yaml

    try:
        document = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except Exception:  # noqa: BLE001 - `!!bool maybe` is a KeyError; DVC's parser tells the user
        return
    for stage in _values(_mapping(document).get("stages")):
        # `foreach` has the stage below `do`.
        definition = _mapping(_mapping(stage).get("do", stage))
        folder = os.path.join(dvc_root, str(definition.get("wdir", ".")))  # noqa: PTH118 - text
        for one in (*_listed(definition.get("deps")), *_listed(definition.get("params"))):
            # A parameter is a key of params.yaml, or a file with its keys: `- conf.yaml: [lr]`.
            for name in [one] if isinstance(one, str) else _mapping(one):
                if isinstance(name, str) and "${" not in name:
                    yield os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 - text


def _mapping(value: Any) -> Mapping[Any, Any]:
    return value if isinstance(value, dict) else {}


def _values(value: Any) -> Iterable[Any]:
    return _mapping(value).values()


def _listed(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else ()


def _as_sources(entries: Mapping[bytes, trees.Entry]) -> tuple[Source, ...]:
    return tuple(
        Source(os.fsdecode(path), sha.hex(), mode) for path, (mode, sha) in sorted(entries.items())
    )


def _is_in(include: Collection[Path], context: Context, path: bytes) -> bool:
    assert context.git_root is not None  # noqa: S101 - for the type checker
    return any((context.git_root / os.fsdecode(path)).is_relative_to(one) for one in include)


def _in_head(git: Git, context: Context, path: bytes) -> bool:
    if context.baseline is None:
        return False
    return trees.find(git, trees.of_commit(git.repo, context.baseline), path) is not None


def _files(modules: Mapping[str, object], root: bytes) -> Iterator[tuple[bytes, object]]:
    """The modules' source files, links and what they lead to, each with its `_load_of`."""
    seen: set[bytes] = set()
    for module in list(modules.values()):
        path = _file_of(module, root)
        if path is None or path in seen:
            continue
        for one in _and_what_it_leads_to(path, root):
            if one not in seen:
                seen.add(one)
                yield one, _load_of(module)


def _load_of(module: object) -> object:
    """What is another object after the module was loaded anew (importlib.reload)."""
    return getattr(module, "__dict__", {}).get("__spec__") or module


def _and_what_it_leads_to(path: bytes, root: bytes) -> Iterator[bytes]:
    """The path and, where it is a link, those it leads to within the repository."""
    led: bytes | None = path
    for _ in range(40):  # as many as Linux follows (path_resolution(7))
        if led is None:
            return
        yield led
        full = os.path.join(root, led)  # noqa: PTH118 - bytes
        try:
            target = os.readlink(full)  # noqa: PTH115 - bytes
        except OSError:
            return
        led = _within(os.path.join(os.path.dirname(full), target), root)  # noqa: PTH118, PTH120


def _file_of(module: object, root: bytes) -> bytes | None:
    """A module's source file, relative to `root`; None for one from elsewhere or without one."""
    # Not getattr: a module may be lazy, and asking it for anything would load it.
    facts = getattr(module, "__dict__", {})
    file = facts.get("__file__")
    if not isinstance(file, str) or not file:
        return None
    path = os.fsencode(file)
    if path.endswith((b".pyc", b".pyo")):
        return None
    if path.startswith(b"<") and path.endswith(b">"):
        # `python < train.py` calls its main program "<stdin>".
        return None
    if file == "frozen" and getattr(facts.get("__spec__"), "origin", None) == file:
        # `python -m runpy`: a module that is part of the interpreter has no file.
        return None
    if not os.path.isabs(path):  # noqa: PTH117 - bytes
        path = os.path.abspath(path)  # noqa: PTH100 - bytes
    return _within(path, root)


def _within(path: bytes, root: bytes) -> bytes | None:
    """An absolute path as Git names it, relative to `root`; None for one that is not the user's."""
    if _is_installed(path):
        return None
    folder, name = os.path.split(path)
    # `python ../train.py` and entries like it in `sys.path` leave their spelling in `__file__`, and
    # Git knows no file through a link to its folder.
    path = os.path.join(_real(folder), name)  # noqa: PTH118 - bytes
    if not path.startswith(root + b"/") or _is_installed(path):
        return None
    return path[len(root) + 1 :]


def _is_installed(path: bytes) -> bool:
    return any(part in path for part in _INSTALLED)


_REAL: dict[bytes, bytes] = {}


def _real(folder: bytes) -> bytes:
    # Thousands of modules lie in a few hundred folders.
    if folder not in _REAL:
        _REAL[folder] = os.path.realpath(folder)
    return _REAL[folder]


class _Folders:
    """Which folders are the repository's own, each looked at once."""

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._ours: dict[bytes, bool] = {b"": True}

    def is_ours(self, folder: bytes) -> bool:
        """Whether the folder is no part of an environment or of another repository."""
        if folder not in self._ours:
            full = os.path.join(self._root, folder)  # noqa: PTH118 - bytes
            self._ours[folder] = self.is_ours(folder.rpartition(b"/")[0]) and not any(
                os.path.lexists(os.path.join(full, mark))  # noqa: PTH118 - bytes
                for mark in (b"pyvenv.cfg", b"conda-meta", b".git")
            )
        return self._ours[folder]


class _Now:
    """Files as they are now, in the repository's objects; most are there already."""

    def __init__(self, git: Git, commit: str) -> None:
        self._git = git
        self._commit = commit
        self._blobs = Blobs(git)
        self._known: dict[bytes, trees.Entry] = {}

    @cached_property
    def _tree(self) -> bytes:
        return trees.of_commit(self._git.repo, self._commit)

    def keep_committed(self, path: bytes, *, filtered: bool = True) -> bool:
        """Takes a file that the commit has, too; False where it has none.

        With `filtered` off not one that a filter has to make anew, which may fail and say so.
        """
        entry = trees.find(self._git, self._tree, path)
        if entry is None:
            return False
        if _is(os.fsencode(self._git.root), path, entry):
            self._known[path] = entry
        elif filtered or self._blobs.is_unfiltered(path):
            self._blobs.add(path, entry)
        return True

    def keep(self, path: bytes) -> None:
        """Takes a file that the commit has not."""
        self._blobs.add(path)

    def result(self) -> dict[bytes, trees.Entry]:
        """What was kept."""
        return {**self._known, **self._blobs.result()}


def _is(root: bytes, path: bytes, entry: trees.Entry) -> bool:
    """Whether the file on disk is the committed one, byte for byte."""
    import pygit2

    full = os.path.join(root, path)  # noqa: PTH118 - bytes
    try:
        info = os.lstat(full)
        if stat.S_ISLNK(info.st_mode):
            link = pygit2.hash(os.readlink(full))  # noqa: PTH115 - bytes
            return entry == (trees.LINK, link.raw)
        if not stat.S_ISREG(info.st_mode):
            return True
        oid = pygit2.hashfile(os.fsdecode(full))
    except (OSError, pygit2.GitError):
        return True
    return bool(oid.raw == entry[1])
