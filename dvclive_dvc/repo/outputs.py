"""Which paths the repository's stages and `.dvc` files own, and what follows for an artifact.

Looked up from the path outwards, never by reading the whole repository:

- dvc.yaml files: the one at the DVC root, those in the folders over the path and over the
  working directory, those inside it, and those that Git's index knows. DVC itself would walk
  the tree, so that it alone sees one in some other folder before it is added to Git. One whose
  text has no `stages`, or spells no part of the path, costs a read; any other is parsed by DVC.
- `.dvc` files: `<name>.dvc` beside the path and beside each folder over it, and those lying in
  the folders over it whose own name is not what they track (`wdir`, or a `path` changed by
  hand). Inside the path only when it is a folder.

One that a `.dvcignore` rule leaves out owns nothing: DVC does not look at it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backend import Mode
from ..errors import ArtifactConflictError, RepositoryError
from ..layout import DVCYAML_NAME
from ..notices import logger
from ..yamltext import YamlProblem, load
from . import dvcignore
from .git import Git
from .snapshot import named_like

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from ..layout import Layout
    from .context import Context


@dataclass(frozen=True)
class Verdict:
    """Whether an artifact is to be cached, and what to tell about it.

    owner: the address of the stage that has the path as its output, or as part of one.
    """

    cache: bool
    owner: str | None = None
    warning: str | None = None


@dataclass(frozen=True)
class _Claim:
    """A path that a stage has as its output, how the stage spells it, and what DVC does to it."""

    path: Path
    file: Path
    stage: str
    spelt: str
    removed: bool = True
    cached: bool = True


# -- pure: paths by components -------------------------------------------------------------


def relation(path: Path, other: Path) -> str | None:
    """How `path` lies to `other`: "equal", "inside", "contains"; None when they are apart."""
    if path == other:
        return "equal"
    if other in path.parents:
        return "inside"
    return "contains" if path in other.parents else None


def _up_to(path: Path, top: Path) -> Iterator[Path]:
    """`path` and the folders over it, down from nothing above `top`."""
    if path.is_relative_to(top):
        for folder in (path, *path.parents):
            yield folder
            if folder == top:
                return


def outputs_of(stage: dict[str, Any], folder: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """A resolved stage's outputs as it spells them, their paths, and what it says of them.

    `folder` is that of its dvc.yaml.
    """
    wdir = os.path.join(folder, stage.get("wdir") or "")  # noqa: PTH118 - normalised below
    for section in ("outs", "metrics", "plots"):
        for entry in stage.get(section) or ():
            ((name, says),) = entry.items() if isinstance(entry, dict) else ((entry, {}),)
            if "://" not in name:
                path = Path(os.path.normpath(os.path.join(wdir, name)))  # noqa: PTH118
                yield name, path, says or {}


# -- which dvc.yaml files there are --------------------------------------------------------


def tracked_dvcyamls(git: Git) -> list[Path]:
    """The dvc.yaml files in Git's index; none where it cannot be read."""
    try:
        names = named_like(git, "", DVCYAML_NAME)
    except RepositoryError as error:
        logger.debug("the index cannot be read for dvc.yaml files: %s", error)
        return []
    found = (git.root / name for name in names)
    return [path for path in found if path.name == DVCYAML_NAME]


def _with_stages(file: Path) -> bytes:
    """The text of a dvc.yaml that may have stages; empty for one that surely has none."""
    try:
        data = file.read_bytes()
    except OSError:
        return b""
    return data if re.search(rb"stages[\"']?\s*:", data) else b""


def may_concern(text: bytes, file: Path, path: Path, root: Path) -> bool:
    """Whether a dvc.yaml of this text can have an output that is, holds or lies in `path`.

    An output is spelt out unless it is a template, and DVC takes none that holds its own
    dvc.yaml; so whatever has to do with `path` spells a part of it. Only then is DVC loaded.
    """
    if b"${" in text or b"\\" in text or path in file.parents or path == root:
        return True
    if not path.is_relative_to(root):
        return True
    parts = path.relative_to(root).parts
    # A name of anything but these may stand folded, quoted or escaped.
    return any(not _SPELT_AS_IS.fullmatch(part) or part.encode() in text for part in parts)


_SPELT_AS_IS = re.compile(r"[A-Za-z0-9_.-]+")


def _dvcyamls_over(path: Path, root: Path) -> list[Path]:
    return [folder / DVCYAML_NAME for folder in _up_to(path, root)]


def _in_this_project(file: Path, dvc_root: Path) -> bool:
    """Whether no other DVC project lies between: DVC does not look into one inside another."""
    return all(
        folder == dvc_root or not (folder / ".dvc").is_dir()
        for folder in _up_to(file.parent, dvc_root)
    )


# -- which paths .dvc files track ----------------------------------------------------------


def _tracked_by(pointer: Path, data: bytes) -> list[Path]:
    """The paths a `.dvc` file of this content tracks; empty when it cannot be read as one."""
    try:
        document = load(data.decode("utf-8"))
    except (UnicodeDecodeError, YamlProblem):
        return []
    if not isinstance(document, dict) or not isinstance(document.get("outs"), list):
        return []
    names = [out.get("path") for out in document["outs"] if isinstance(out, dict)]
    wdir = str(document.get("wdir") or "")
    return [
        Path(os.path.normpath(os.path.join(pointer.parent, wdir, name)))  # noqa: PTH118
        for name in names
        if isinstance(name, str) and "://" not in name
    ]


def _read(pointer: Path) -> bytes:
    try:
        return pointer.read_bytes()
    except OSError:
        return b""


class _OddPointers:
    """The `.dvc` files of one folder whose name is not what they track.

    Each is read once, and again when it changed while it is in the way: only then is it looked
    at, so that an artifact which is logged every epoch costs no stat for each of many.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamp = 0
        self._names: list[str] = []
        self._all: set[str] = set()
        self._stats: dict[str, tuple[int, int, int] | None] = {}
        self._read: dict[str, bytes] = {}
        self._parsed: dict[str, list[Path]] = {}

    def claims(self, path: Path) -> Iterator[tuple[Path, Path]]:
        """(path, the `.dvc` file that tracks it), of those that have to do with `path`."""
        odd = self._odd()
        below = path.relative_to(self._folder).parts[0]
        # `model.dvc` may be that of `model.pt`, also where there is a `model`.
        parts = below.split(".")
        stems = {".".join(parts[:count]) + ".dvc" for count in range(1, len(parts))}
        for name in (*odd, *sorted((stems & self._all).difference(odd))):
            claimed = self._claimed(name, below, path)
            if claimed and self._forget_changed(name):
                claimed = self._claimed(name, below, path)
            for tracked in claimed:
                yield tracked, self._folder / name

    def _claimed(self, name: str, below: str, path: Path) -> list[Path]:
        """What the file tracks that is, holds or lies in `path`, which is or lies in `below`.

        Whoever claims something there spells `below`, so a file without it need not be parsed.
        """
        if name not in self._read:
            self._stats[name] = dvcignore.seen(str(self._folder / name))
            self._read[name] = _read(self._folder / name)
        data = self._read[name]
        if below.isascii() and below.encode() not in data and b".." not in data:
            return []
        if name not in self._parsed:
            self._parsed[name] = _tracked_by(self._folder / name, data)
        return [tracked for tracked in self._parsed[name] if relation(path, tracked)]

    def _forget_changed(self, name: str) -> bool:
        """Whether the file is another than the one that was read, which is forgotten then."""
        changed = self._stats[name] != dvcignore.seen(str(self._folder / name))
        if changed:
            del self._read[name]
            self._parsed.pop(name, None)
        return changed

    def _odd(self) -> list[str]:
        try:
            stamp = self._folder.stat().st_mtime_ns
            if stamp != self._stamp:
                names = os.listdir(self._folder)  # noqa: PTH208 - names, ten times faster
                self._stamp, self._names = stamp, self._find_odd(names)
        except OSError:
            return []
        return self._names

    def _find_odd(self, names: list[str]) -> list[str]:
        pointers = [name for name in names if name.endswith(".dvc") and name != ".dvc"]
        self._all = set(pointers)
        if not pointers:
            return []
        # `data.dvc` beside `data` is the rule. Where the data are not checked out, the line
        # `/data` that `dvc add` wrote into .gitignore tells as much without opening the file.
        there = set(names)
        odd = [name for name in pointers if name[:-4] not in there]
        ignored = self._ignored() if odd else set()
        return [name for name in odd if "/" + name[:-4] not in ignored]

    def _ignored(self) -> set[str]:
        try:
            return set((self._folder / ".gitignore").read_text(encoding="utf-8").splitlines())
        except (OSError, UnicodeDecodeError):
            return set()


class Logged:
    """The artifacts of one run, asked about overlap at a cost that does not grow with them."""

    def __init__(self, paths: Iterable[Path] = ()) -> None:
        self._paths: set[Path] = set()
        self._below: dict[Path, Path] = {}
        for path in paths:
            self.add(path)

    def add(self, path: Path) -> None:
        """Adds what the run tracked."""
        if path not in self._paths:
            self._paths.add(path)
            for folder in path.parents:
                self._below.setdefault(folder, path)

    def overlap(self, path: Path) -> tuple[str, Path] | None:
        """How `path` lies to an artifact that it contains or lies in, and which that is."""
        for folder in path.parents:
            if folder in self._paths:
                return "inside", folder
        return ("contains", self._below[path]) if path in self._below else None


# -- the judge -----------------------------------------------------------------------------


class Outputs:
    """What the repository around a run already owns; asked before anything is cached.

    It is asked of paths as `layout.resolved` gives them.

    Nothing is read before it is needed. A dvc.yaml is read and parsed once: its stages do not
    change under a run.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._texts: dict[Path, bytes] = {}
        self._claims: dict[Path, list[_Claim]] = {}
        self._told: set[str] = set()
        self._from_git: list[Path] | None = None
        self._pointers: dict[Path, _OddPointers] = {}
        root = context.dvc_root
        self._over_cwd = [] if root is None else _dvcyamls_over(context.cwd, root)

    def judge(self, path: Path, own: Logged) -> Verdict:
        """Whether the artifact at `path` is to be cached, when this run tracked `own` before.

        Raises errors.ArtifactConflictError where it overlaps with another artifact of the run.
        What else DVC would not bear is `refuse_conflicts`' to find, where it is to be cached.
        """
        self._refuse_overlap(path, own)
        if self._context.dvc_root is None:
            return Verdict(cache=True)
        owner = self._owner(path, self._stage_claims(path, everywhere=True))
        if owner is not None:
            return self._owned_by_stage(path, owner)
        return Verdict(cache=True, warning=self._how_to_declare(path))

    def refuse_conflicts(self, path: Path, inside: Collection[Path]) -> None:
        """Raises errors.ArtifactConflictError where DVC would not bear both.

        The path contains an output of a stage, lies in a folder that a `.dvc` file tracks, or
        contains what one tracks. `inside`: the dvc.yaml and `.dvc` files that lie in it.
        """
        if self._context.dvc_root is None:
            return
        for claim in self._stage_claims(path, everywhere=True, also=inside):
            if relation(path, claim.path) == "contains" and self._counts(claim.file):
                raise ArtifactConflictError(
                    f"Artifact '{self._shown(path)}' contains '{self._shown(claim.path)}', an "
                    f"output of {self._stage(claim)}: DVC does not track one inside the other. "
                    "Log the rest of the folder by itself, pass cache=False to describe the folder "
                    "alone, or move the output out of it."
                )
        self._refuse_pointers(path, inside)

    def tell(self, verdict: Verdict) -> None:
        """Warns of what the verdict has to say; once, though a checkpoint is logged every epoch."""
        if verdict.warning is not None and verdict.warning not in self._told:
            self._told.add(verdict.warning)
            logger.warning("%s", verdict.warning)

    def judge_run(self, layout: Layout) -> list[str]:
        """What to warn of at the start: the run's folder or dvc.yaml inside a stage's output."""
        found: dict[_Claim, list[str]] = {}
        places = [(f"the run's folder '{self._shown(layout.root)}'", layout.root)]
        if layout.dvcyaml_on:
            places.append((f"its '{self._shown(layout.dvcyaml)}'", layout.dvcyaml))
        claim: _Claim | None = None
        for name, path in places:
            claim = self._owner(path, self._stage_claims(path, everywhere=False))
            if claim is not None:
                found.setdefault(claim, []).append(name)
        unseen = claim if layout.dvcyaml_on else None
        return [
            self._inside_output(layout, claim, names, unseen=claim == unseen)
            for claim, names in found.items()
        ]

    def _inside_output(
        self, layout: Layout, claim: _Claim, names: list[str], *, unseen: bool
    ) -> str:
        assert self._context.dvc_root is not None  # noqa: S101 - there is a claim
        lie = "lies in" if len(names) == 1 else "lie in"
        if len(names) == 1 and claim.path == layout.root:
            lie = "is"
        who = " and ".join(names)
        outside = self._shown(self._context.dvc_root / DVCYAML_NAME)
        return (
            f"{who[0].upper()}{who[1:]} {lie} '{self._shown(claim.path)}', an output of "
            f"{self._stage(claim)}. {_effect(claim, unseen=unseen)} Take '{claim.spelt}' out of "
            f"the outputs of '{claim.stage}'; name there only the files that other stages depend on"
            + (f", or pass Live(dvcyaml='{outside}')." if unseen else ". Or leave it as it is.")
        )

    def covers(self, path: Path) -> str | None:
        """The address of the stage, or the `.dvc` file, that the path belongs to."""
        if self._context.dvc_root is None:
            return None
        claim = self._owner(path, self._stage_claims(path, everywhere=True))
        if claim is not None:
            return self._address(claim)
        for tracked, pointer in self._pointer_claims(path):
            if relation(path, tracked) in _PART and self._counts(pointer):
                return pointer.relative_to(self._context.dvc_root).as_posix()
        return None

    def kept_around(self, path: Path) -> frozenset[Path]:
        """The outputs of stages that lie in `path` or that it lies in: DVC sees to those."""
        claims = self._stage_claims(path, everywhere=False)
        return frozenset(
            claim.path
            for claim in claims
            if relation(path, claim.path) and self._counts(claim.file)
        )

    def _counts(self, file: Path) -> bool:
        """Whether DVC looks at a dvc.yaml or `.dvc` file: asked of one whose claim is in the way.

        Not each time a file is found: it costs a few milliseconds where there is a rule at all.
        """
        assert self._context.dvc_root is not None  # noqa: S101 - there is a claim
        return not dvcignore.leaves_out(file, self._context.dvc_root)

    # what stages own

    def _owner(self, path: Path, claims: Collection[_Claim]) -> _Claim | None:
        """The claim that `path` is, or lies in."""
        over = {path, *path.parents}
        return next((one for one in claims if one.path in over and self._counts(one.file)), None)

    def _stage_claims(
        self, path: Path, *, everywhere: bool, also: Collection[Path] = ()
    ) -> list[_Claim]:
        root = self._context.dvc_root
        if root is None:
            return []
        files = dict.fromkeys((root / DVCYAML_NAME, *_dvcyamls_over(path, root), *self._over_cwd))
        files.update((file, None) for file in also if file.name == DVCYAML_NAME)
        if everywhere:
            files.update(dict.fromkeys(self._known_to_git(root)))
        self._read_stages([file for file in files if self._concerns(file, path, root)], root)
        return [claim for file in files for claim in self._claims.get(file, ())]

    def _concerns(self, file: Path, path: Path, root: Path) -> bool:
        """Whether a dvc.yaml that was not parsed yet has to be, for the sake of `path`."""
        if file in self._claims:
            return False
        if file not in self._texts:
            self._texts[file] = _with_stages(file) if _in_this_project(file, root) else b""
        text = self._texts[file]
        return bool(text) and may_concern(text, file, path, root)

    def _known_to_git(self, root: Path) -> list[Path]:
        if self._from_git is None:
            self._from_git = []
            if self._context.git_root is not None:
                found = tracked_dvcyamls(Git(self._context.git_root, self._context.git))
                self._from_git = [file for file in found if file.is_relative_to(root)]
        return self._from_git

    def _read_stages(self, files: list[Path], root: Path) -> None:
        if not files:
            return
        for file, claims, error in _parsed_by_dvc(files, root):
            self._claims[file] = claims
            if error is not None and self._counts(file):
                logger.warning(
                    "DVC cannot read the stages of '%s' (%s): artifacts are not checked against "
                    "all of their outputs. Run `dvc status` to see what is wrong there.",
                    self._shown(file), error,
                )  # fmt: skip

    def _owned_by_stage(self, path: Path, claim: _Claim) -> Verdict:
        address = self._address(claim)
        pointer = path.with_name(path.name + ".dvc")
        name, stage = self._shown(path), self._stage(claim)
        what = (
            f"'{name}' is an output of {stage}"
            if path == claim.path
            else f"'{name}' lies in '{self._shown(claim.path)}', an output of {stage}"
        )
        warning: str | None = None
        if pointer.is_file():
            warning = (
                f"Artifact {what}, and '{self._shown(pointer)}' tracks it as well: DVC will not "
                f"run the pipeline like that. Run `dvc remove {self._shown(pointer)}`."
            )
        elif self._context.mode not in _INSIDE and not claim.cached:
            warning = (
                f"Artifact {what} with `cache: false`, so it is described, not cached: DVC leaves "
                f"it to Git. Run `git add {self._shown(claim.path)}`, or take `cache: false` out "
                "of the stage."
            )
        elif self._context.mode not in _INSIDE:
            warning = (
                f"Artifact {what}, so it is described but not cached here. The pipeline does "
                f"that when it runs the stage; `dvc commit {self._target(claim)}` does it now."
            )
        elif not self._runs(claim):
            warning = (
                f"Artifact {what}, but the stage '{self._context.stage}' is running: it is "
                f"described, not cached. Let one stage write it: take it out of the outputs of "
                f"'{claim.stage}' and name it in '{self._context.stage}', or write another path."
            )
        return Verdict(cache=False, owner=address, warning=warning)

    def _how_to_declare(self, path: Path) -> str | None:
        if self._context.mode not in _INSIDE:
            return None
        stage = f"the stage '{self._context.stage}'" if self._context.stage else "the running stage"
        return (
            f"Artifact '{self._shown(path)}' is cached by itself: {stage} does not have it as an "
            f"output. Add `- {self._shown(path)}` to its `outs` in the dvc.yaml to have the "
            f"pipeline do it, and run `dvc remove {self._shown(path)}.dvc` then."
        )

    def _runs(self, claim: _Claim) -> bool:
        """Whether the running stage is the claim's. `DVC_STAGE` is as seen from where `dvc` ran.

        So its file part is relative to a folder that is not known here (dvc.stage, `addressing`),
        and is compared from its end; without one the file is a dvc.yaml in that folder.
        """
        file, _, name = (self._context.stage or "").rpartition(":")
        if name != claim.stage:
            return False
        known = [part for part in Path(file).parts if part != ".."]
        return not known or list(claim.file.parts[-len(known) :]) == known

    # what .dvc files own

    def _pointer_claims(self, path: Path) -> Iterator[tuple[Path, Path]]:
        """(path, `.dvc` file) of what is tracked from the folders over `path`."""
        root = self._context.dvc_root
        assert root is not None  # noqa: S101 - for the type checker; the callers have asked
        for part in _up_to(path, root):
            pointer = part.with_name(part.name + ".dvc")
            if part != root and pointer.is_file():
                yield part, pointer
        for folder in _up_to(path.parent, root):
            pointers = self._pointers.setdefault(folder, _OddPointers(folder))
            yield from pointers.claims(path)

    def _refuse_pointers(self, path: Path, inside: Iterable[Path]) -> None:
        mine = path.with_name(path.name + ".dvc")
        for tracked, pointer in self._pointer_claims(path):
            if pointer != mine:
                self._refuse(path, relation(path, tracked), tracked, pointer)
        for pointer in inside:
            if pointer.suffix == ".dvc":
                for tracked in _tracked_by(pointer, _read(pointer)):
                    self._refuse(path, relation(path, tracked), tracked, pointer)

    def _refuse(self, path: Path, how: str | None, tracked: Path, pointer: Path) -> None:
        if how is None or not self._counts(pointer):
            return
        name, other, file = self._shown(path), self._shown(tracked), self._shown(pointer)
        if how == "inside":
            # By a `.dvc` file of another name it is not ours to cache either.
            alike = pointer == tracked.with_name(tracked.name + ".dvc")
            whole = f'`live.log_artifact("{other}")`' if alike else f"`dvc commit {file}`"
            raise ArtifactConflictError(
                f"Artifact '{name}' lies in '{other}', which '{file}' tracks: DVC does not track "
                f"one inside the other. {_INSTEAD.format(whole=whole)}"
            )
        if how == "equal":
            raise ArtifactConflictError(
                f"Artifact '{name}' is tracked by '{file}' already. Run `dvc commit {file}` to "
                f"cache it as it is now, or `dvc remove {file}` to have it logged here."
            )
        if how == "contains":
            raise ArtifactConflictError(
                f"Artifact '{name}' contains '{other}', which '{file}' tracks: DVC does not track "
                f"one inside the other. Run `dvc remove {file}` to log the folder as a whole, log "
                "the rest by itself, or pass cache=False to describe the folder alone."
            )

    def _refuse_overlap(self, path: Path, own: Logged) -> None:
        found = own.overlap(path)
        if found is None:
            return
        how, other = found[0], self._shown(found[1])
        instead = (
            _INSTEAD.format(whole=f'`live.log_artifact("{other}")`')
            if how == "inside"
            else f"Log the rest by itself, pass cache=False to describe the folder alone, or run "
            f"`dvc remove {other}.dvc` and log the folder instead of '{other}' next time."
        )
        raise ArtifactConflictError(
            f"Artifact '{self._shown(path)}' {_VERB[how]} '{other}', which this run logged as an "
            f"artifact: DVC does not track one inside the other. {instead}"
        )

    # for people

    def _shown(self, path: Path) -> str:
        """A path as one would type it in the working directory."""
        return Path(os.path.relpath(path, self._context.cwd)).as_posix()

    def _stage(self, claim: _Claim) -> str:
        return f"the stage '{claim.stage}' in '{self._shown(claim.file)}'"

    def _target(self, claim: _Claim) -> str:
        file = self._shown(claim.file)
        return claim.stage if file == DVCYAML_NAME else f"{file}:{claim.stage}"

    def _address(self, claim: _Claim) -> str:
        assert self._context.dvc_root is not None  # noqa: S101 - there is a claim
        file = claim.file.relative_to(self._context.dvc_root).as_posix()
        return claim.stage if file == DVCYAML_NAME else f"{file}:{claim.stage}"


_INSTEAD = (
    "Instead of this call, {whole} caches the folder with all that is in it. Or pass cache=False "
    "to describe this path alone, or write it elsewhere."
)
_PART = ("equal", "inside")
_VERB = {"inside": "lies in", "contains": "contains"}
_INSIDE = (Mode.REPRO, Mode.EXP_RUN)


def _effect(claim: _Claim, *, unseen: bool) -> str:
    """What DVC does to a run in this output; `unseen`: its dvc.yaml is in there too."""
    if unseen:
        removes = "removes an output before the stage runs and " if claim.removed else ""
        return (
            f"DVC {removes}reads no dvc.yaml inside one, so the run's metrics and plots would not "
            "be found."
        )
    effects = []
    if claim.removed:
        effects.append("removes it before the stage runs (there is nothing to resume from then)")
    if claim.cached:
        effects.append("keeps its files in its cache instead of Git")
    return f"DVC {' and '.join(effects) or 'takes every change in it for one of the stage'}."


def _parsed_by_dvc(
    files: list[Path], root: Path
) -> Iterator[tuple[Path, list[_Claim], Exception | None]]:
    """The outputs of every stage of each file, and what one of its stages stumbled over.

    Templates, `foreach` and `matrix` are resolved by DVC's resolver rather than through its
    stages: those also read dvc.lock, which takes seconds in a large pipeline and says nothing
    about paths.
    """
    from dvc.repo import Repo

    repo = Repo(os.fspath(root))
    try:
        for file in files:
            claims: list[_Claim] = []
            error = _resolve(repo, file, claims)
            yield file, claims, error
    finally:
        repo.close()


def _resolve(repo: Any, file: Path, claims: list[_Claim]) -> Exception | None:
    from dvc.parsing import DataResolver
    from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA
    from dvc.utils.strictyaml import load as load_strictly

    failure: Exception | None = None
    try:
        document, _ = load_strictly(os.fspath(file), COMPILED_MULTI_STAGE_SCHEMA, repo.fs)
        resolver = DataResolver(repo, os.fspath(file.parent), document)
        names = list(resolver.get_keys())
    except Exception as error:  # noqa: BLE001 - DVC and its libraries raise all kinds
        return error
    for name in names:
        try:
            stage = resolver.resolve_one(name)[name]
        except Exception as error:  # noqa: BLE001, PERF203 - the other stages still count
            failure = error
        else:
            for spelt, path, says in outputs_of(stage, file.parent):
                removed, cached = not says.get("persist"), bool(says.get("cache", True))
                claims.append(_Claim(path, file, name, spelt, removed, cached))
    return failure
