"""A saved experiment and its artifacts sent to the remotes, where DVC is told to do so."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ..notices import logger
from . import dvcconfig
from .git import Git, read_ref
from .record import reference

if TYPE_CHECKING:
    from .record import Record


def push(record: Record, commit: str) -> None:
    """Pushes as `dvc exp save` would, when `exp.auto_push` or DVC_EXP_AUTO_PUSH is on.

    A remote that does not answer is one warning with the command that pushes later; the
    experiment itself is saved. Where pushing is off DVC is not imported.
    """
    if not dvcconfig.auto_push(record.dvc_root, os.environ):
        return
    remote = dvcconfig.git_remote(record.dvc_root, os.environ)
    name = _name_of(record, commit)
    try:
        _push(record, remote, reference(record.baseline, name))
    except Exception as error:  # noqa: BLE001 - a remote must not cost the run
        logger.warning(
            "The experiment '%s' is saved but could not be pushed to '%s': %s. "
            "Push it later: dvc exp push %s %s",
            name,
            remote,
            _first_line(error),
            remote,
            name,
        )
        logger.debug("pushing failed", exc_info=True)


def _name_of(record: Record, commit: str) -> str:
    """The name the experiment got: the record's, or that with a suffix."""
    git = Git(record.git_root, record.git)
    folder = git.common_dir / reference(record.baseline, record.name)
    names = [record.name]
    with contextlib.suppress(OSError):
        names += sorted(os.listdir(folder.parent))  # noqa: PTH208 - names are wanted
    for name in names:
        if read_ref(git.common_dir, reference(record.baseline, name)) == commit:
            return name
    return record.name


def _push(record: Record, remote: str, ref: str) -> None:
    from dvc.repo import Repo

    with contextlib.closing(Repo(str(record.dvc_root))) as repo:
        # As dvc/repo/experiments/executor/base.py does: both remotes are looked at first, and
        # the cache goes along.
        repo.scm.validate_git_remote(remote)
        repo.cloud.get_remote_odb()
        logger.info("Pushing the experiment to '%s'.", remote)
        repo.experiments.push(remote, ref, push_cache=True, run_cache=True)


def _first_line(error: Exception) -> str:
    text = str(error.__cause__ or error) or type(error).__name__
    return " ".join(text.split())[:300]
