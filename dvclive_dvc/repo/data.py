"""DVC-tracked data that changed in the workspace: found by a stat each, then put into the cache."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DvcLiveError, SaveError
from ..notices import logger, on_terminal
from . import belongings, dvcconfig, former, include, pointer, trees
from .snapshot import in_index, named_like

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from .git import Git
    from .pointer import Content
    from .record import Record

# dvc_data/hashfile/state.py, State.HASH_VERSION: later entries may mean something else.
_STATE_VERSION = 1
# dvc_data/hashfile/cache.py, HashesCache: SQLite takes no more variables in one query.
_BATCH = 999
_PIPELINE = ("dvc.yaml", "dvc.lock")
# dvc/ignore.py, DvcIgnoreFilter: the folders that DVC never looks into.
_NEVER_DATA = {".git", ".hg", ".dvc"}
# A `.dvc` file as DVC writes it for one path with a plain name. Thousands of them are read at
# the end of a run, and this takes a fraction of what a parser does; all others are parsed.
_USUAL = re.compile(
    rb"outs:\n- md5: (?P<md5>[0-9a-f]{32}(?:\.dir)?)\n  size: \d+\n(?:  nfiles: \d+\n)?"
    rb"(?:  isexec: true\n)?  hash: md5\n  path: (?P<path>[A-Za-z_][\w-]*(?:\.[\w-]+)*)\n",
    re.ASCII,
)
# `${...}` of a dvc.yaml, as `re.escape` writes it.
_TEMPLATE = re.compile(r"\\\$\\\{.*?\\\}")


@dataclass(frozen=True)
class Output:
    """One path that DVC keeps.

    path:    absolute.
    pointer: the `.dvc` file or dvc.lock that says its hash, relative to the Git root.
    where:   the way to its entry in there (keys and positions).
    md5:     the hash it has there; None where it was never cached.
    algorithm: "md5", or "md5-dos2unix" for what DVC 2 hashed.
    versioned: whether the pointer lists the files of a folder, each with its version in a remote
               that keeps versions (`version_aware`), instead of a hash of its own.
    command: what makes it, where dvc.lock does not have the stage yet; each line of several.
    spelt:   how such a stage spells the path.
    """

    path: str
    pointer: str
    where: tuple[str | int, ...]
    md5: str | None
    algorithm: str
    versioned: bool = False
    command: str | tuple[str, ...] | None = None
    spelt: str = ""


@dataclass(frozen=True)
class Committed:
    """What saving must know of the data.

    overrides: the pointers' new texts, by their paths relative to the Git root.
    covered:   every path (absolute) that DVC keeps, whose bytes Git must not get.
    """

    overrides: Mapping[str, bytes] = field(default_factory=dict)
    covered: frozenset[str] = frozenset()


def committed(
    git: Git,
    record: Record,
    store: Callable[[Path], Content],
    others: Collection[Record] = (),
    logged: Mapping[str, Content] | None = None,
    *,
    ended_well: bool = True,
) -> Committed:
    """Puts the changed data of the run's DVC project into the cache, by `store`.

    What `others` write, runs that are not saved yet, is theirs to cache. An artifact whose pointer
    another run has written since is as this run `logged` it. Of a run that did not end well the
    artifacts stay as they were logged, for what came after may be half a checkpoint; what is in
    its folder it wrote itself, and whole. The user's own pointer files stay as they are; their new
    texts are returned. With `record.commit_data` off nothing is cached. What cannot be read is
    passed over with a warning. Costs a stat and a parse an output where nothing changed; DVC is
    not imported for that.
    """
    outputs = list(outputs_of(git, record))
    covered = frozenset(output.path for output in outputs)
    is_theirs = belongings.of_others(record, others)
    ours = [
        output
        for output in outputs
        if not is_theirs(f"{record.git_root}/{output.pointer}") and not is_theirs(output.path)
    ]
    stays = _as_logged(git, record) if not ended_well else lambda _: False
    new: dict[str, list[tuple[Output, Content]]] = {}
    taken = dict(_logged_by_others_since(record, ours, logged or {}))
    for output, content in taken.items():
        new.setdefault(output.pointer, []).append((output, content))
    rest = [output for output in ours if output not in taken] if record.commit_data else []
    looked = look(rest, record.dvc_root)
    for output in _with_progress(looked.changed, "Caching changed data"):
        if stays(output):
            logger.info(
                "The artifact '%s' changed after it was logged; the experiment has it as it was.",
                output.path,
            )
            continue
        if output.versioned:
            logger.warning(
                "The changed data '%s' has its versions in the cloud, which DVC alone can add to, "
                "so the experiment has its old pointer. Run `dvc commit %s` and `dvc push` to "
                "keep it as it is.",
                output.path,
                output.pointer,
            )
            continue
        try:
            hashed = store(Path(output.path))
        except Exception as error:
            # One unreadable output must not cost the run; but one that only lacks room for now
            # is saved whole later.
            if _for_want_of_room(error):
                raise SaveError(
                    f"the changed data '{output.path}' does not fit into DVC's cache: {error}"
                ) from error
            logger.warning(
                "The changed data '%s' could not be cached, so the experiment has its old "
                "pointer: %s. Run `dvc commit %s` when that is mended.",
                output.path,
                str(error).rstrip("."),
                output.pointer,
            )
            continue
        if hashed.md5 != output.md5:
            new.setdefault(output.pointer, []).append((output, hashed))
    _cache_again(looked.uncached, store)
    overrides = dict(_locks_of_their_own(git, record, ours))
    overrides.update(_overrides(record, new, taken))
    return Committed(overrides, covered)


def _cache_again(outputs: list[Output], store: Callable[[Path], Content]) -> None:
    """Puts data into the cache that is as its pointer says, and was never cached or is no more."""
    for output in _with_progress(outputs, "Caching data"):
        try:
            store(Path(output.path))
        except Exception as error:  # noqa: BLE001, PERF203 - the run has lost nothing by it
            logger.warning(
                "The data '%s' is not in DVC's cache, though '%s' points to it, and could not be "
                "put there: %s. Run `dvc commit %s` when that is mended.",
                output.path,
                output.pointer,
                str(error).rstrip("."),
                output.pointer,
            )


def _locks_of_their_own(
    git: Git, record: Record, outputs: Iterable[Output]
) -> Iterator[tuple[str, bytes]]:
    """The dvc.lock files that DVC wrote and nobody gave to Git yet; `dvc exp save` takes them."""
    names = {one.pointer for one in outputs if one.pointer.endswith("dvc.lock") and not one.command}
    for name in names - set(map(os.fsdecode, in_index(git, list(map(os.fsencode, names))))):
        with contextlib.suppress(OSError):
            if not git.ignores(os.fsencode(name)):
                yield name, (record.git_root / name).read_bytes()


def _overrides(
    record: Record,
    new: Mapping[str, list[tuple[Output, Content]]],
    taken: Collection[Output],
) -> dict[str, bytes]:
    """The texts of the pointers with the new contents; of what is `taken` it was told already."""
    overrides = {}
    for name, changes in new.items():
        try:
            text = _text_of(record.git_root / name)
            overrides[name] = _updated(text, name, changes).encode("utf-8")
        except Exception as error:  # noqa: BLE001 - a parser's errors are of all kinds
            # PyYAML takes the last of a key's values, ruamel.yaml refuses two.
            logger.warning(
                "'%s' cannot be updated, so the experiment has the old pointers of changed data: "
                "%s. Mend the file and run `dvc commit`.",
                name,
                " ".join(str(error).split())[:200],
            )
            continue
        anew = [output.path for output, _ in changes if output not in taken]
        if anew:
            logger.info(
                "Data changed since it was added to DVC; the experiment has its new content, your "
                "own '%s' has it after `dvc commit`: %s.",
                name,
                ", ".join(anew),
            )
    return overrides


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:  # a dvc.lock that DVC has not written yet
        return ""


def _logged_by_others_since(
    record: Record, outputs: Collection[Output], logged: Mapping[str, Content]
) -> Iterator[tuple[Output, Content]]:
    """The run's artifacts whose pointers another run has written since, as this one logged them."""
    for output in outputs if logged else ():
        file = record.git_root / output.pointer
        content = logged.get(str(file))
        if content is None or content.md5 == output.md5:
            continue
        there = output.md5 or ""
        if former.wrote_beside(record.dvc_root, record.dir, file, there):
            logger.warning(
                "Another run has logged the artifact '%s' since this one did; the experiment "
                "points to what this run logged. Give each run a path of its own.",
                output.path,
            )
            yield output, content


def _as_logged(git: Git, record: Record) -> Callable[[Output], bool]:
    """Whether data that changed is an artifact of the run's whose pointer has it as it was logged.

    Not where it changed before the run began, which ran with it; nor where the pointer is the
    committed one, for `git stash` or a checkout took the run's own away.
    """
    base = trees.of_commit(git.repo, record.baseline)

    def stays(output: Output) -> bool:
        file = record.git_root / output.pointer
        if file not in record.pointers or file.is_relative_to(record.dir):
            return False
        committed = trees.find(git, base, os.fsencode(output.pointer))
        with contextlib.suppress(OSError):
            if committed is not None and git.read(committed[1]) == file.read_bytes():
                return False
        return belongings.written_since(output.path, record.started)

    return stays


# -- which outputs there are -----------------------------------------------------------------


def outputs_of(git: Git, record: Record) -> Iterator[Output]:
    """Every cached output that the pointers of the run's DVC project name.

    Those that Git tracks, and those that the run takes along.
    """
    foreign: dict[str, bool] = {}
    for name in _pointers(git, record):
        folder = name.rpartition("/")[0]
        if folder not in foreign:
            foreign[folder] = _in_nested_project(record, record.git_root / folder)
        if foreign[folder]:
            continue
        try:
            yield from _outputs_in(record, name)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
            logger.warning(
                "'%s' cannot be read, so changes of the data it points to are not in the "
                "experiment: %s",
                name,
                " ".join(str(error).split())[:200],
            )


def _pointers(git: Git, record: Record) -> Iterator[str]:
    """The `.dvc` and dvc.lock files to read, relative to the Git root.

    A dvc.yaml stands for the dvc.lock beside it, which DVC writes when it first runs a stage.
    """
    inside = os.path.relpath(record.dvc_root, record.git_root)
    prefix = "" if inside == "." else inside + "/"
    tracked = dict.fromkeys(named_like(git, prefix, ".dvc", "dvc.lock", "dvc.yaml"))
    own = {*record.pointers, *_pointers_below(record.dir)}
    names = {**tracked, **dict.fromkeys(os.path.relpath(one, record.git_root) for one in own)}
    for path in (one for place in record.include for one in _pointers_below(place)):
        name = os.path.relpath(path, record.git_root)
        if name not in names and include.is_included(os.fsencode(name), record, git):
            names[name] = None
    seen = set()
    for name in names:
        folder, slash, base = name.rpartition("/")
        if base in _PIPELINE and name in tracked:
            name = f"{folder}{slash}dvc.lock"  # noqa: PLW2901 - one for both
        elif not base.endswith(".dvc") or base == ".dvc":
            continue
        if name not in seen:
            seen.add(name)
            yield name


def _pointers_below(place: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(place):
        yield from (Path(folder, name) for name in names if name.endswith(".dvc"))


def _in_nested_project(record: Record, folder: Path) -> bool:
    while folder != record.dvc_root and folder.is_relative_to(record.dvc_root):
        if (folder / ".dvc").is_dir():
            return True
        folder = folder.parent
    return False


def _outputs_in(record: Record, name: str) -> Iterator[Output]:
    path = f"{record.git_root}/{name}"
    folder = path.rpartition("/")[0]
    if name.endswith("dvc.lock"):
        yield from _outputs_of_stages(folder, name, record)
        return
    with open(path, "rb") as file:  # noqa: PTH123 - one a pointer, thousands of them
        data = file.read()
    usual = _USUAL.fullmatch(data)
    if usual:
        md5, own = usual["md5"].decode("ascii"), usual["path"].decode("ascii")
        yield Output(f"{folder}/{own}", name, ("outs", 0), md5, "md5")
        return
    document = _load_yaml(data)
    base = os.path.join(folder, document.get("wdir") or ".")  # noqa: PTH118
    for place, out in enumerate(document.get("outs") or ()):
        made = _output(base, name, ("outs", place), out)
        if made is not None:
            yield made


def _outputs_of_stages(folder: str, name: str, record: Record) -> Iterator[Output]:
    file = Path(folder, "dvc.yaml")
    text = file.read_bytes()
    try:
        locked = _load_yaml(Path(folder, "dvc.lock").read_bytes()).get("stages") or {}
    except FileNotFoundError:
        locked = None
    try:
        definitions = (_load_yaml(text).get("stages") or {}) if b"stages" in text else {}
    except ValueError as error:
        if locked is None:
            return  # DVC has never run a stage of it
        raise ValueError(f"the dvc.yaml beside it: {error}") from error
    locked = locked or {}
    resolve = _Resolver(record.dvc_root, file)
    yield from _outputs_in_lock(folder, name, locked, definitions, resolve)
    yield from _outputs_not_in_lock(folder, name, locked, definitions, resolve, record)


def _outputs_in_lock(
    folder: str, name: str, stages: Any, definitions: Any, resolve: _Resolver
) -> Iterator[Output]:
    for stage, locked in stages.items():
        definition = definitions.get(stage) or definitions.get(stage.partition("@")[0]) or {}
        definition = definition.get("do") or definition
        if not definition:
            continue
        outs = locked.get("outs") or ()
        cached = _are_cached(outs, definition)
        if None in cached or "${" in (definition.get("wdir") or ""):
            try:
                definition = resolve(stage)
            except Exception as error:  # noqa: BLE001 - DVC and its libraries raise all kinds
                logger.warning(
                    "The stage '%s' of '%s' cannot be resolved, so changes of its outputs are not "
                    "in the experiment: %s",
                    stage,
                    resolve.file,
                    " ".join(str(error).split())[:200],
                )
                continue
            cached = _are_cached(outs, definition)
        base = os.path.join(folder, definition.get("wdir") or ".")  # noqa: PTH118
        for place, out in enumerate(outs):
            if cached[place] is not False:
                made = _output(base, name, ("stages", stage, "outs", place), out)
                if made is not None:
                    yield made


def _outputs_not_in_lock(
    folder: str, name: str, stages: Any, definitions: Any, resolve: _Resolver, record: Record
) -> Iterator[Output]:
    """What the run wrote of the outputs of stages that DVC has not run yet."""
    for key, definition in definitions.items():
        several = "foreach" in definition or "matrix" in definition
        if key in stages and not several:
            continue
        body = definition.get("do") or definition
        base = os.path.join(folder, body.get("wdir") or ".")  # noqa: PTH118
        if not any(
            cached and _is_there(os.path.join(base, spelt))  # noqa: PTH118
            for spelt, cached in _declared(body)
        ):
            continue
        try:
            resolved = resolve.stages_of(key)
        except Exception as error:  # noqa: BLE001 - DVC and its libraries raise all kinds
            logger.debug("the stage '%s' of '%s' cannot be resolved: %s", key, resolve.file, error)
            continue
        for stage, found in resolved.items():
            if stage in stages or not found.get("cmd"):
                continue
            command = found["cmd"]
            base = os.path.join(folder, found.get("wdir") or ".")  # noqa: PTH118
            if not isinstance(command, str):
                command = tuple(command)
            # As DVC sorts them in a dvc.lock.
            for spelt in sorted(spelt for spelt, cached in _declared(found) if cached):
                path = os.path.normpath(os.path.join(base, spelt))  # noqa: PTH118
                if "://" not in spelt and _is_result(path, record):
                    at = ("stages", stage)
                    yield Output(path, name, at, None, "md5", command=command, spelt=spelt)


def _is_there(pattern: str) -> bool:
    if "${" not in pattern:
        return os.path.lexists(pattern)
    import glob

    return bool(glob.glob(re.sub(r"\$\{.*?\}", "*", pattern)))  # noqa: PTH207 - text, as it is spelt


def _is_result(path: str, record: Record) -> bool:
    """Whether the run wrote what is at a path; a folder that the run itself is in is Git's."""
    if not os.path.lexists(path) or record.dir.is_relative_to(path):
        return False
    inside = Path(path).is_relative_to(record.dir)
    return inside or belongings.written_since(path, record.started)


def _are_cached(outs: Iterable[Any], definition: Mapping[str, Any]) -> list[bool | None]:
    declared = dict(_declared(definition))
    return [_is_cached(out["path"], declared) for out in outs]


def _declared(definition: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The outputs as a stage spells them, and whether DVC caches them (no `cache: false`)."""
    for section in ("outs", "metrics", "plots"):
        for out in definition.get(section) or ():
            if isinstance(out, dict):
                for path, flags in out.items():
                    yield path, (flags or {}).get("cache") is not False
            else:
                yield out, True


def _is_cached(path: str, declared: Mapping[str, bool]) -> bool | None:
    """Whether DVC caches a locked output; None where only DVC can tell, its templates filled in."""
    if path in declared:
        return declared[path]
    like = {
        cached
        for spelt, cached in declared.items()
        if "${" in spelt and re.fullmatch(_TEMPLATE.sub(".*", re.escape(spelt)), path)
    }
    # What no stage declares any more is data as dvc.lock has it.
    found = like or {True}
    return found.pop() if len(found) == 1 else None


class _Resolver:
    """DVC's own answer to what a stage's templates stand for; DVC is loaded for the first."""

    def __init__(self, dvc_root: Path, file: Path) -> None:
        self.file = file
        self._dvc_root = dvc_root

    def __call__(self, stage: str) -> Mapping[str, Any]:
        """The stage of that name, templates filled in."""
        return self._resolver.resolve_one(stage)[stage]  # type: ignore[no-any-return]

    def stages_of(self, key: str) -> dict[str, Mapping[str, Any]]:
        """The stages that an entry of the dvc.yaml stands for, by their names."""
        names = self._resolver.get_keys()
        return {name: self(name) for name in names if name.partition("@")[0] == key}

    @cached_property
    def _resolver(self) -> Any:
        from dvc.parsing import DataResolver
        from dvc.repo import Repo

        with contextlib.closing(Repo(os.fspath(self._dvc_root))) as repo:
            document = _load_yaml(self.file.read_bytes())
            return DataResolver(repo, os.fspath(self.file.parent), document)


def _output(base: str, name: str, where: tuple[str | int, ...], out: Any) -> Output | None:
    path = out["path"]
    if "://" in path or out.get("cache") is False:
        return None
    files = out.get("files") or ()
    return Output(
        os.path.normpath(os.path.join(base, path)),  # noqa: PTH118
        name,
        where,
        _listed_hash(files) if files else out.get("md5"),
        out.get("hash", "md5-dos2unix"),
        versioned=bool(files),
    )


def _listed_hash(files: Iterable[Mapping[str, Any]]) -> str | None:
    """The hash of a folder whose files a pointer lists; None where one was never hashed."""
    entries = [{"md5": one.get("md5"), "relpath": one["relpath"]} for one in files]
    return None if None in (entry["md5"] for entry in entries) else _hash_of(entries)


def _for_want_of_room(error: BaseException | None) -> bool:
    import sqlite3

    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if isinstance(error, sqlite3.Error) and "disk is full" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _load_yaml(data: bytes) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(data, loader)  # noqa: S506 - both are safe loaders
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ValueError(f"it holds a {type(document).__name__} where DVC writes keys and values")  # noqa: TRY004 - wrong content, not a wrong call
    return document


# -- which of them changed -------------------------------------------------------------------


@dataclass(frozen=True)
class Looked:
    """What a look at outputs found.

    changed:  whose content on disk is not the one their pointer names, or that have none there.
    uncached: whose content is the one that is named, and not in the cache.
    """

    changed: list[Output]
    uncached: list[Output]


def look(outputs: Iterable[Output], dvc_root: Path) -> Looked:
    """Looks at what is on disk of the outputs; those that are missing there count as neither."""
    there: list[tuple[Output, os.stat_result]] = []
    for output in outputs:
        with contextlib.suppress(OSError):
            there.append((output, os.stat(output.path)))  # noqa: PTH116 - thousands
    if not there:
        return Looked([], [])
    state = _State(dvc_root)
    files = {out.path: info for out, info in there if not stat.S_ISDIR(info.st_mode)}
    hashes = state.hashes(files)
    new: list[Output] = []
    same: list[Output] = []
    doubtful: list[Output] = []
    for output, _ in there:
        if output.md5 is None:
            new.append(output)
            continue
        if output.path in files:
            is_same = hashes.get(output.path) == (output.algorithm, output.md5)
        else:
            is_same = _folder_hash(state, output) == output.md5
        (same if is_same else doubtful).append(output)
    differing = _differing(doubtful, dvc_root) if doubtful else []
    same += set(doubtful).difference(differing)
    return Looked([*new, *differing], _uncached(same, dvc_root))


def _uncached(outputs: Iterable[Output], dvc_root: Path) -> list[Output]:
    """Those whose object DVC's cache has not: of a folder, the list of its files."""
    root = dvcconfig.cache_folder(dvc_root)
    if root is None:
        return []
    return [
        output
        for output in outputs
        if output.md5 and output.algorithm == "md5" and not output.versioned
        if not os.access(f"{root}/files/md5/{output.md5[:2]}/{output.md5[2:]}", os.F_OK)
    ]


def _folder_hash(state: _State, output: Output) -> str | None:
    """A folder's hash, from those of its files that DVC's state knows; None where one is new."""
    files: dict[str, os.stat_result] = {}
    for folder, folders, names in os.walk(output.path):
        folders[:] = [name for name in folders if name not in _NEVER_DATA]
        for name in names:
            path = os.path.join(folder, name)  # noqa: PTH118 - thousands
            try:
                files[path] = os.stat(path)  # noqa: PTH116
            except OSError:
                return None
    hashes = state.hashes(files)
    start = len(output.path) + 1
    entries = []
    for path in files:
        algorithm, md5 = hashes.get(path, ("", ""))
        if algorithm != output.algorithm:
            return None
        entries.append({"md5": md5, "relpath": path[start:].replace(os.sep, "/")})
    return _hash_of(entries)


def _hash_of(entries: Iterable[Mapping[str, str]]) -> str:
    """The hash of a folder with these files (dvc_data/hashfile/tree.py, Tree.as_bytes)."""
    ordered = sorted(entries, key=lambda entry: entry["relpath"])
    data = json.dumps(ordered, sort_keys=True).encode("utf-8")
    return hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"


def _differing(outputs: list[Output], dvc_root: Path) -> list[Output]:
    """Asks DVC itself, which hashes what its state does not know and remembers it there."""
    from dvc.repo import Repo
    from dvc_data.hashfile.build import build

    found = []
    try:
        project = Repo(str(dvc_root))
    except Exception as error:
        if _for_want_of_room(error):
            raise SaveError(f"DVC has no room to look for changed data: {error}") from error
        # A broken project must not cost the run.
        logger.warning(
            "DVC cannot open the project '%s', so changes of its data are not in the experiment: "
            "%s",
            dvc_root,
            error,
        )
        return []
    with contextlib.closing(project) as repo:
        for output in _with_progress(outputs, "Hashing data"):
            odb = repo.cache.legacy if output.algorithm == "md5-dos2unix" else repo.cache.local
            try:
                _, _, built = build(
                    odb,
                    output.path,
                    repo.fs,
                    output.algorithm,
                    dry_run=True,
                    ignore=repo.dvcignore,
                )
            except Exception as error:  # noqa: BLE001 - caching it will say what is wrong
                logger.debug("DVC could not hash '%s': %s", output.path, error)
                found.append(output)
                continue
            if built.hash_info.value != output.md5:
                found.append(output)
    return found


class _State:
    """DVC's own database of hashes, read as it is on disk.

    Opening it through DVC costs half a second of imports; its format is diskcache's, one row a
    path (dvc_data/hashfile/state.py, cache.py). Where it cannot be read nothing is known, and
    the data is hashed.
    """

    def __init__(self, dvc_root: Path) -> None:
        self._file = dvcconfig.state_folder(dvc_root) / "hashes" / "local" / "cache.db"

    def hashes(self, files: Mapping[str, os.stat_result]) -> dict[str, tuple[str, str]]:
        """Algorithm and hash of those files that are as they were when DVC hashed them."""
        if not files:
            return {}
        found = {}
        for path, raw in self._rows(list(files)):
            known = _valid(raw, files[path])
            if known is not None:
                found[path] = known
        return found

    def _rows(self, paths: list[str]) -> list[tuple[str, str]]:
        if not self._file.exists():
            return []
        import sqlite3

        rows: list[tuple[str, str]] = []
        try:
            uri = f"{self._file.as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=2)) as database:
                for start in range(0, len(paths), _BATCH):
                    batch = paths[start : start + _BATCH]
                    marks = ",".join("?" * len(batch))
                    query = f"SELECT key, value FROM Cache WHERE raw = 1 AND key IN ({marks})"  # noqa: S608 - marks only
                    rows += database.execute(query, batch)
        except (sqlite3.Error, ValueError, UnicodeEncodeError) as error:
            logger.debug("DVC's state '%s' cannot be read: %s", self._file, error)
        return rows


def _valid(raw: str, info: os.stat_result) -> tuple[str, str] | None:
    """The hash in a row of the state, where it is of the file as `info` shows it."""
    try:
        entry = json.loads(raw)
        # dvc_data/hashfile/state.py, _checksum; fsspec.utils.tokenize.
        token = str(([info.st_ino, info.st_mtime, info.st_size],)).encode()
        checksum = str(int(hashlib.md5(token, usedforsecurity=False).hexdigest(), 16))
        version = entry.get("version")
        if entry["checksum"] != checksum or (version or 0) > _STATE_VERSION:
            return None
        ((algorithm, value),) = entry["hash_info"].items()
    except (ValueError, KeyError, AttributeError, TypeError):
        return None
    if version is None and algorithm == "md5":
        algorithm = "md5-dos2unix"
    return algorithm, value


def _with_progress(outputs: list[Output], what: str) -> Iterator[Output]:
    """The outputs one by one; a bar on a terminal where hashing them takes over a second."""
    if not outputs or not on_terminal():
        yield from outputs
        return
    from tqdm import tqdm

    with tqdm(outputs, desc=what, unit="output", delay=1, leave=False) as bar:
        yield from bar


# -- the pointers' new texts -----------------------------------------------------------------


def _updated(text: str, name: str, changes: list[tuple[Output, Content]]) -> str:
    base = name.rpartition("/")[2]
    if base.endswith(".dvc") and len(changes) == 1:
        output, hashed = changes[0]
        with contextlib.suppress(DvcLiveError):
            return pointer.updated(text, Path(output.path).name, hashed)
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    document = yaml.load(text)
    for output, hashed in changes:
        if output.command is None:
            entry = document
            for step in output.where:
                entry = entry[step]
        else:
            document = document or {"schema": "2.0"}
            entry = _new_in_lock(document, output)
        _put(entry, hashed)
        if output.where[0] == "stages":
            # What it was made of this time is not known: with the old parameters beside the new
            # output DVC would restore it for those (`dvc repro`: "didn't change, skipping").
            for key in ("deps", "params"):
                document["stages"][output.where[1]].pop(key, None)
    stream = io.StringIO()
    yaml.dump(document, stream)
    return stream.getvalue() if base == "dvc.lock" else pointer.with_checksum(stream.getvalue())


def _new_in_lock(document: Any, output: Output) -> Any:
    """An entry for an output of a stage that a dvc.lock does not have yet."""
    command = output.command if isinstance(output.command, str) else list(output.command or ())
    stages = document.setdefault("stages", {})
    outs = stages.setdefault(output.where[1], {"cmd": command, "outs": []})["outs"]
    outs.append({"path": output.spelt, "hash": "md5"})
    return outs[-1]


def _put(entry: Any, hashed: Content) -> None:
    # What DVC keeps besides of the old content is stale with it (dvc/output.py, Output.add).
    for key in ("nfiles", "isexec", "cloud", "version_id", "etag", "checksum", "files"):
        entry.pop(key, None)
    entry["md5"] = hashed.md5
    entry["size"] = hashed.size
    entry["hash"] = "md5"
    if hashed.nfiles is not None:
        entry["nfiles"] = hashed.nfiles
    if hashed.isexec:
        entry["isexec"] = True
