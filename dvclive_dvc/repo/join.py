"""Making a run's files part of the commit that `dvc exp run` is about to make.

DVC commits its index (dvc/repo/experiments/executor/base.py `commit`): what is tracked, what it
added itself (`dvc.yaml`, `dvc.lock`, the files of the stage, top-level metrics, params and
plots). A dvc.yaml that came into being while the stage ran, the report, the `.dvc` files of
artifacts: it does not know of them. So they are added to the index, which is DVC's own way and
DVC's own index here: HEAD is detached in its executor, and when that ends, `git reset` makes
the user's index anew from HEAD.
"""

from __future__ import annotations

import os
import time
from functools import partial
from typing import TYPE_CHECKING

from ..errors import RepositoryError
from ..notices import logger
from . import belongings
from .git import Git
from .snapshot import Blobs, is_no_submodule, submodule_around

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from ..layout import Layout
    from .context import Context

_PATIENCE = 10.0  # seconds


def into_dvc_commit(
    context: Context,
    layout: Layout,
    pointers: Iterable[Path],
    kept_by_dvc: Collection[Path] = (),
) -> None:
    """Adds the run's files to Git's index, though Git may ignore them; warns where it cannot.

    `pointers` are the `.dvc` and `.gitignore` files of its artifacts; `kept_by_dvc` the outputs
    (absolute) whose bytes are in DVC's cache and must not be in Git as well.
    """
    if context.git_root is None:
        return
    root = os.fsencode(context.git_root)
    kept = {os.fsencode(path) for path in kept_by_dvc}
    given = [layout.root, *([layout.dvcyaml] if layout.dvcyaml_on else []), *pointers]
    git = Git(context.git_root, context.git)
    takes = partial(is_no_submodule, git)
    try:
        paths = sorted(
            {
                file[len(root) + 1 :]
                for path in map(os.fsencode, given)
                if path.startswith(root + b"/")
                and not _is_within(path, kept)
                and os.path.lexists(path)
                and not _is_in_submodule(git, path[len(root) + 1 :])
                for file in belongings.below(path, kept, takes_repository=takes)
            }
        )
        raw = set(Blobs(git).without_lfs(paths))
        if raw:
            logger.warning(
                "Git LFS tracks '%s'%s and is not set up here, so what is on disk there is left to "
                "DVC: of it, only what a dvc.yaml names as metrics, params or plots enters the "
                "experiment. Run `git lfs install` to have all of it in the next one.",
                os.fsdecode(min(raw)),
                f" and {len(raw) - 1} more" if len(raw) > 1 else "",
            )
            paths = [path for path in paths if path not in raw]
        if paths:
            _add(git, b"\0".join(paths) + b"\0")
    except (RepositoryError, OSError) as error:
        logger.warning(
            "The run's files could not be made part of the experiment of `dvc exp run` (%s). "
            "They are in '%s'; `dvc exp save -I %s` saves them.",
            error, layout.root, layout.given,
        )  # fmt: skip


def _add(git: Git, paths: bytes) -> None:
    """As `git add --force`: what a run wrote belongs to its experiment, ignored or not."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            # The paths are single files, so no name can act as a pattern.
            git.ask("update-index", "--add", "--remove", "--replace", "-z", "--stdin", given=paths)
        except RepositoryError as error:  # noqa: PERF203 - the loop is there to wait
            # An editor's `git status` holds the lock for a moment; Git itself waits for none.
            if "index.lock" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _is_in_submodule(git: Git, path: bytes) -> bool:
    """Whether Git has a submodule there, whose entry a file below it would take the place of."""
    submodule = submodule_around(git, git.head, path)
    if submodule is not None:
        logger.warning(
            "'%s' lies in the submodule '%s', of which the experiment has the recorded commit "
            "alone: it is without that file.",
            os.fsdecode(path),
            os.fsdecode(submodule),
        )
    return submodule is not None


def _is_within(path: bytes, kept: Collection[bytes]) -> bool:
    return any(path == one or path.startswith(one + b"/") for one in kept)
