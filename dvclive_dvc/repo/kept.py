"""What DVC keeps of a project: the outputs that its `.dvc` files and pipelines name."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..layout import DVCYAML_NAME, Layout
from ..notices import logger
from . import belongings, include
from .snapshot import named_like

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .git import Git
    from .record import Record

_PIPELINE = ("dvc.yaml", "dvc.lock")
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
    tracked: whether Git tracks the pointer.
    """

    path: str
    pointer: str
    where: tuple[str | int, ...]
    md5: str | None
    algorithm: str
    versioned: bool = False
    command: str | tuple[str, ...] | None = None
    spelt: str = ""
    tracked: bool = True


def outputs_of(git: Git, record: Record) -> Iterator[Output]:
    """Every cached output that the pointers of the run's DVC project name.

    Those that Git tracks, and those that the run takes along.
    """
    foreign: dict[str, bool] = {}
    for name, tracked in _pointers(git, record).items():
        folder = name.rpartition("/")[0]
        if folder not in foreign:
            foreign[folder] = _in_nested_project(record, record.git_root / folder)
        if foreign[folder]:
            continue
        try:
            for output in _outputs_in(record, name):
                yield output if tracked else replace(output, tracked=False)
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AttributeError, TypeError, KeyError) as error:
            logger.warning(
                "'%s' cannot be read, so changes of the data it points to are not in the "
                "experiment: %s",
                name,
                " ".join(str(error).split())[:200],
            )


def _pointers(git: Git, record: Record) -> dict[str, bool]:
    """The `.dvc` and dvc.lock files to read, relative to the Git root, and whether Git has them.

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
    found = {}
    for name in names:
        folder, slash, base = name.rpartition("/")
        if base in _PIPELINE and name in tracked:
            name = f"{folder}{slash}dvc.lock"  # noqa: PLW2901 - one for both
        elif not base.endswith(".dvc") or base == ".dvc":
            continue
        found[name] = name in tracked
    return found


def _pointers_below(place: Path) -> Iterator[Path]:
    if place.suffix == ".dvc" and place.is_file():
        yield place
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
        outs = [os.path.join(base, spelt) for spelt, cached in _declared(body) if cached]  # noqa: PTH118
        if not any(_may_be_result(out, record) for out in outs):
            continue  # DVC is not loaded for nothing
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


def _may_be_result(spelt: str, record: Record) -> bool:
    if "${" not in spelt:
        return _is_result(os.path.normpath(spelt), record)
    import glob

    return bool(glob.glob(re.sub(r"\$\{.*?\}", "*", spelt)))  # noqa: PTH207 - text, as it is spelt


def _is_result(path: str, record: Record) -> bool:
    """Whether the run wrote what is at a path, other than what the logger writes: that is Git's."""
    place = Path(path)
    if not os.path.lexists(path) or record.dir.is_relative_to(place):
        return False
    if not place.is_relative_to(record.dir):
        return belongings.written_since(path, record.started)
    own = Layout(str(record.dir), record.dir, record.dir / DVCYAML_NAME).written_on
    return not any(place.is_relative_to(one) or one.is_relative_to(place) for one in own)


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
    return None if None in (entry["md5"] for entry in entries) else hash_of(entries)


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


def hash_of(entries: Iterable[Mapping[str, str]]) -> str:
    """The hash of a folder with these files (dvc_data/hashfile/tree.py, Tree.as_bytes)."""
    ordered = sorted(entries, key=lambda entry: entry["relpath"])
    data = json.dumps(ordered, sort_keys=True).encode("utf-8")
    return hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
