"""Environment and working directory -> one frozen `Context`; detected once, when a run begins.

What DVC gives to a stage's command (dvc/stage/run.py `prepare_kwargs`, dvc/repo/experiments/
queue/base.py `_stash_exp`):

    DVC_ROOT   the project; under `dvc exp run` the one it was called in, so that `--temp` and
               `--queue` name the parent of the folder that the stage runs in. A value that was
               there before is kept under `dvc repro`, so a leftover reaches the stage too.
    DVC_STAGE  the stage's address; always.
    DVC_EXP_BASELINE_REV, DVC_EXP_NAME   under `dvc exp run` alone.

Where these contradict the place, the place is believed, and the user is told.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..backend import Mode
from . import merges, reflog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .git import Place

# dvc/repo/experiments/refs.py: there while an executor is at work, in its own repository.
_EXECUTING = "refs/exps/exec/EXEC_BASELINE"
_STAGE_VARIABLES = ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_BASELINE_REV", "DVC_EXP_NAME")


@dataclass(frozen=True)
class Context:
    """Where a run is. Every path is absolute, with symlinks resolved.

    cwd:       the working directory when the run began.
    git_root:  the top of the Git working tree; None outside Git.
    git_dir:   the repository's own folder (of the worktree, where there are several).
    dvc_root:  the folder that holds `.dvc`; None where DVC is not initialised.
    watched_root: the project whose `.dvc/tmp` editors watch: `dvc_root`, or under
               `dvc exp run --temp` and `--queue` the parent project.
    mode:      which kind of run this is. NO_REPO where there is no Git, unless DVC runs us.
    baseline:  the commit the run began on, as a full hash; None while there is no commit.
    stage:     the address of the pipeline stage that runs (`DVC_STAGE`).
    exp_name:  the name DVC or the user chose by `DVC_EXP_NAME`.
    notes:     sentences about a half-set or stale environment, for the user.
    git:       the GIT_* variables that led to `git_root` (`git.Place.variables`).
    reflog:    how many bytes HEAD's reflog had when the run began.
    merging:   the merges that were under way then (`merges.unconcluded`).
    """

    cwd: Path
    git_root: Path | None = None
    git_dir: Path | None = None
    dvc_root: Path | None = None
    watched_root: Path | None = None
    mode: Mode = Mode.NO_REPO
    baseline: str | None = None
    stage: str | None = None
    exp_name: str | None = None
    notes: tuple[str, ...] = ()
    git: Mapping[str, str] = field(default_factory=dict)
    reflog: int = 0
    merging: tuple[str, ...] = ()


def find_dvc_root(start: Path, stop: Path | None) -> Path | None:
    """The nearest folder at or above `start` that holds `.dvc`, not above `stop`."""
    for folder in (start, *start.parents):
        if (folder / ".dvc").is_dir():
            return folder
        if folder == stop:
            return None
    return None


def detect(cwd: Path | None = None, environ: Mapping[str, str] = os.environ) -> Context:
    """Reads the surroundings: the place first, then what the environment says of it.

    O(1) in tracked files and in experiments; imports pygit2 only where a Git repository is,
    dvc never. Raises `RepositoryError` for a Git repository that cannot be used.
    """
    here = Path(os.path.realpath(cwd or Path.cwd()))
    place = _git_place(here, environ)
    git_root = place.root if place else None
    dvc_root = find_dvc_root(here, git_root)
    said = _Said.by(environ, here)
    mode, note = _mode(said, here, place)
    in_stage = mode in (Mode.REPRO, Mode.EXP_RUN)
    # A name that came with variables of a run elsewhere is that run's.
    stale = not in_stage and said.root is not None and said.baseline is not None
    return Context(
        cwd=here,
        git_root=git_root,
        git_dir=place.git_dir if place else None,
        dvc_root=dvc_root,
        watched_root=said.root if in_stage else dvc_root,
        mode=mode,
        baseline=said.baseline if mode is Mode.EXP_RUN else place.head if place else None,
        stage=said.stage if in_stage else None,
        exp_name=None if stale else said.name,
        notes=(note,) if note else (),
        git=place.variables if place else {},
        reflog=reflog.length(place.git_dir) if place else 0,
        merging=merges.unconcluded(place.git_dir) if place else (),
    )


def project_of(folder: Path, context: Context) -> Path | None:
    """The DVC project that a folder is in, where it is in the run's Git repository."""
    if context.git_root is not None and not folder.is_relative_to(context.git_root):
        return None
    return find_dvc_root(folder, context.git_root)


def at_home(context: Context, folder: Path) -> Context:
    """The context of a run in `folder`: one started outside any DVC project has its folder's.

    So `python models/digits/train.py` from the top of a monorepo belongs to that project when
    it logs to a folder in there, instead of making a DVC project of the whole repository.
    """
    if context.dvc_root is not None or context.git_root is None:
        return context
    root = project_of(folder, context)
    return dataclasses.replace(context, dvc_root=root, watched_root=root)


def strayed_dvcyaml(context: Context, file: Path, shown: str) -> str | None:
    """What to warn of where the dvc.yaml that was asked for is not in the run's DVC project."""
    project = context.dvc_root
    if project is None:
        return None
    theirs = project_of(file.parent, context)
    if theirs == project:
        return None
    reader = "no project" if theirs is None else f"the project '{theirs}' alone"
    return (
        f"DVC reads '{shown}' in {reader}: in '{project}', to which the run belongs, `dvc exp "
        "show` and `dvc plots` will not show its metrics and plots. Give a dvc.yaml in that "
        "project, or leave `dvcyaml` out to have one in the run's folder."
    )


def strayed(context: Context, folder: Path) -> str | None:
    """What to warn of where the run's folder is in Git, but not in the run's DVC project."""
    project = context.dvc_root
    if project is None or context.git_root is None or not folder.is_relative_to(context.git_root):
        return None
    theirs = project_of(folder, context)
    if theirs == project:
        return None
    if theirs is not None:
        return (
            f"The run's folder '{folder}' lies in another DVC project than the working directory "
            f"('{project}'): `dvc exp show` has the run's metrics and plots in '{theirs}' alone. "
            "Start the run there, or give it a folder in this project."
        )
    return (
        f"The run's folder '{folder}' lies outside the DVC project '{project}', and DVC reads no "
        "dvc.yaml there: it will not show the run's metrics and plots. Give the run a folder in "
        "the project."
    )


def outside_of_git(context: Context, folder: Path, shown: str) -> str | None:
    """What to warn of where the folder of a run that is saved is none that Git could keep."""
    if context.git_root is None or folder.is_relative_to(context.git_root):
        return None
    there = f"'{shown}'" if shown == str(folder) else f"'{shown}' leads to '{folder}', which"
    return (
        f"The run's folder {there} is outside of the Git repository '{context.git_root}', so the "
        "experiment will be without the run's metrics, parameters and plots. Give the run a folder "
        "in the repository, and none that is a link out of it."
    )


def _git_place(here: Path, environ: Mapping[str, str]) -> Place | None:
    if not environ.get("GIT_DIR") and not any(
        os.path.lexists(folder / ".git") for folder in (here, *here.parents)
    ):
        return None
    from . import git

    return git.locate(here, environ)


@dataclass(frozen=True)
class _Said:
    """What the environment says; an empty variable says nothing."""

    root: Path | None
    stage: str | None
    baseline: str | None
    name: str | None
    given: tuple[str, ...]

    @classmethod
    def by(cls, environ: Mapping[str, str], here: Path) -> _Said:
        root = environ.get("DVC_ROOT")
        return cls(
            root=Path(os.path.realpath(here / root)) if root else None,
            stage=environ.get("DVC_STAGE") or None,
            baseline=environ.get("DVC_EXP_BASELINE_REV") or None,
            name=environ.get("DVC_EXP_NAME") or None,
            given=tuple(name for name in _STAGE_VARIABLES if environ.get(name)),
        )

    @property
    def unset(self) -> str:
        return f"`unset {' '.join(self.given)}`"


def _mode(said: _Said, here: Path, place: Place | None) -> tuple[Mode, str | None]:
    """The kind of run, and what is odd about the variables that should tell it."""
    alone = Mode.STANDALONE if place else Mode.NO_REPO
    if said.root is None:
        return alone, _leavings(said, place)
    if not _is_of(said.root, here, place.root if place else None):
        return alone, (
            f"DVC_ROOT is '{said.root}', but '{here}' is not in that project: it is left over "
            "from another shell or stage. The run is taken for one outside of any pipeline; "
            f"{said.unset} ends this message."
        )
    if said.baseline is None:
        note = (
            "DVC_ROOT is set but DVC_STAGE is not, though DVC sets both: the run is taken for "
            f"a stage of '{said.root}'. If no pipeline is running, {said.unset}."
        )
        return Mode.REPRO, None if said.stage is not None else note
    if place is None or _executing(place) != said.baseline:
        # DVC_ROOT speaks for a stage, so no commit of our own; but the index is not touched for
        # a commit that nobody is about to make.
        return Mode.REPRO, (
            f"DVC_EXP_BASELINE_REV is '{said.baseline}', but no `dvc exp run` on that commit is "
            f"going on in '{place.root if place else here}': the run is taken for a stage of "
            f"`dvc repro`. If no pipeline is running, {said.unset} to have it saved."
        )
    return Mode.EXP_RUN, None


def _leavings(said: _Said, place: Place | None) -> str | None:
    # DVC_EXP_NAME alone is the user's own wish, and outside Git the two DVC_EXP_* tell a run
    # in a container what it belongs to.
    if said.stage is not None:
        return (
            "DVC_STAGE is set but DVC_ROOT is not, though DVC sets both: the run is taken for "
            f"one outside of any pipeline; {said.unset} ends this message."
        )
    if said.baseline is not None and place is not None and said.baseline != place.head:
        return (
            f"DVC_EXP_BASELINE_REV is '{said.baseline}' but DVC_ROOT is not set: no stage is "
            f"running, and the run's baseline is HEAD; {said.unset} ends this message."
        )
    return None


def _is_of(root: Path, here: Path, git_root: Path | None) -> bool:
    """Whether a run in `here` can be a stage of the project at `root`."""
    if not (root / ".dvc").is_dir() or not here.is_relative_to(root):
        return False
    if git_root is None or root.is_relative_to(git_root):
        return True
    # Another Git repository inside the project: a temporary executor's, or a stranger to it.
    return git_root.is_relative_to(root / ".dvc" / "tmp" / "exps")


def _executing(place: Place) -> str | None:
    """The baseline of the `dvc exp run` that is at work in this repository."""
    from . import git

    return git.read_ref(place.common_dir, _EXECUTING)
