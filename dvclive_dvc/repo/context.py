"""Environment and working directory -> one frozen `Context`; detected once, when a run begins."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..backend import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Context:
    """Where a run is. Every path is absolute, with symlinks resolved.

    cwd:       the working directory when the run began.
    git_root:  the top of the Git working tree; None outside Git.
    git_dir:   the repository's own folder (of the worktree, where there are several).
    dvc_root:  the folder that holds `.dvc`; None where DVC is not initialised.
    mode:      which kind of run this is.
    baseline:  the commit the run began on, as a full hash; None while there is no commit.
    stage:     the address of the pipeline stage that runs (`DVC_STAGE`).
    exp_name:  the name DVC or the user chose by `DVC_EXP_NAME`.
    notes:     sentences about a half-set or stale environment, for the user.
    """

    cwd: Path
    git_root: Path | None = None
    git_dir: Path | None = None
    dvc_root: Path | None = None
    mode: Mode = Mode.NO_REPO
    baseline: str | None = None
    stage: str | None = None
    exp_name: str | None = None
    notes: tuple[str, ...] = ()


def find_dvc_root(start: Path, stop: Path | None) -> Path | None:
    """The nearest folder at or above `start` that holds `.dvc`, not above `stop`."""
    for folder in (start, *start.parents):
        if (folder / ".dvc").is_dir():
            return folder
        if folder == stop:
            return None
    return None


def mode_of(environ: Mapping[str, str]) -> Mode:
    """The mode the variables DVC sets for a stage's command stand for."""
    if "DVC_ROOT" not in environ:
        return Mode.STANDALONE
    return Mode.EXP_RUN if "DVC_EXP_BASELINE_REV" in environ else Mode.REPRO


def detect(cwd: Path | None = None, environ: Mapping[str, str] = os.environ) -> Context:
    """Reads the surroundings. O(1) in tracked files; imports pygit2, never dvc."""
    from . import git

    here = Path(os.path.realpath(cwd or Path.cwd()))
    place = git.locate(here, environ)
    if place is None:
        return Context(here, dvc_root=find_dvc_root(here, None))
    dvc_root = find_dvc_root(here, place.root)
    return Context(
        cwd=here,
        git_root=place.root,
        git_dir=place.git_dir,
        dvc_root=dvc_root,
        mode=mode_of(environ),
        baseline=place.head,
        stage=environ.get("DVC_STAGE"),
        exp_name=environ.get("DVC_EXP_NAME"),
    )
