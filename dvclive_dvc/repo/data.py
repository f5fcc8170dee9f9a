"""DVC-tracked data that changed in the workspace: found by a stat each, then put into the cache."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DvcLiveError, SaveError
from ..notices import logger, on_terminal
from . import belongings, dvcconfig, former, gitignore, pointer, trees
from .kept import Output, hash_of, outputs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

    from .git import Git
    from .pointer import Content
    from .record import Record

# dvc_data/hashfile/state.py, State.HASH_VERSION: later entries may mean something else.
_STATE_VERSION = 1
# dvc_data/hashfile/cache.py, HashesCache: SQLite takes no more variables in one query.
_BATCH = 999
# dvc/ignore.py, DvcIgnoreFilter: the folders that DVC never looks into.
_NEVER_DATA = {".git", ".hg", ".dvc"}


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

    So is data that is as its pointer says and in no cache. What `others` write, runs that are not
    saved yet, is theirs to cache. An artifact whose pointer another run has written since is as
    this run `logged` it. Of a run that did not end well the artifacts stay as they were logged,
    for what came after may be half a checkpoint; what is in its folder it wrote itself, and
    whole. The user's own pointer files stay as they are; their new texts are returned. With
    `record.commit_data` off nothing is cached. What cannot be read is passed over with a warning.
    Costs two stats and a parse an output where nothing changed; DVC is not imported for that.
    """
    outputs = list(outputs_of(git, record))
    covered = frozenset(output.path for output in outputs)
    is_theirs = belongings.of_others(record, others)
    ours = [
        output
        for output in outputs
        if not is_theirs(f"{record.git_root}/{output.pointer}") and not is_theirs(output.path)
        if not (others and _may_be_theirs(record, output))
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
                _target(output),
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
                _target(output),
            )
            continue
        if hashed.md5 != output.md5:
            new.setdefault(output.pointer, []).append((output, hashed))
    _cache_again(looked.uncached, store)
    overrides = dict(_locks_of_their_own(git, record, ours))
    overrides.update(_overrides(record, new, taken))
    for output, _ in (one for changes in new.values() for one in changes):
        if output.command is not None and output.pointer in overrides:
            overrides.update(_hidden(git, record, output, overrides))
    return Committed(overrides, covered)


def _may_be_theirs(record: Record, output: Output) -> bool:
    """Whether nobody knows which of several runs wrote an output of a stage DVC never ran."""
    if output.command is None or Path(output.path).is_relative_to(record.dir):
        return False
    logger.warning(
        "'%s', an output of the stage '%s', may be another run's that goes on, so the experiment "
        "is without it. Run `dvc commit %s` to give it to DVC.",
        output.path,
        output.where[1],
        _target(output),
    )
    return True


def _hidden(
    git: Git, record: Record, output: Output, overrides: Mapping[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """The `.gitignore` beside a new output of DVC's, with the line that DVC would add."""
    path = Path(output.path)
    if not path.is_relative_to(record.git_root):
        return
    with contextlib.suppress(DvcLiveError):
        if not git.ignores(os.fsencode(path.relative_to(record.git_root))):
            file = path.parent / gitignore.NAME
            name = os.path.relpath(file, record.git_root)
            before = overrides.get(name)
            if before is None:
                before = _text_of(file).encode("utf-8")
            yield name, gitignore.with_line(before, gitignore.line_for(path.name))


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
                _target(output),
            )


def _locks_of_their_own(
    git: Git, record: Record, outputs: Iterable[Output]
) -> Iterator[tuple[str, bytes]]:
    """The dvc.lock files that DVC wrote and nobody gave to Git yet; `dvc exp save` takes them."""
    locks = (one for one in outputs if one.where[0] == "stages" and one.command is None)
    for name in dict.fromkeys(one.pointer for one in locks if not one.tracked):
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
                "Data is not as DVC had it last; the experiment has it as it is, and the '%s' of "
                "your workspace after `dvc commit %s`: %s.",
                name,
                " ".join(dict.fromkeys(_target(output) for output, _ in changes)),
                ", ".join(anew),
            )
    return overrides


def _target(output: Output) -> str:
    """What `dvc commit` takes for an output, seen from the Git root."""
    if output.where[0] != "stages":
        return output.pointer
    file = output.pointer.removesuffix("dvc.lock") + "dvc.yaml"
    return str(output.where[1]) if file == "dvc.yaml" else f"{file}:{output.where[1]}"


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


def _for_want_of_room(error: BaseException | None) -> bool:
    import sqlite3

    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if isinstance(error, sqlite3.Error) and "disk is full" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


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
    return hash_of(entries)


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
            if document and "schema" not in document:
                raise ValueError("a former version of DVC wrote it")
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
    stages = document["stages"] = document.get("stages") or {}
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
