"""Saving a run from its record: data first, then the commit.

The one way a run is saved, by its own process at the end as by a later one that finds its
journal.
"""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING

from ..backend import Status
from ..errors import RepositoryError
from ..notices import logger
from . import data, experiments, journal
from .cache import ArtifactCache

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from ..backend import Outcome
    from .git import Git
    from .pointer import Content
    from .record import Record

_FULL = 1 << 20  # bytes; less than a commit and its journal may take


def save(record: Record, outcome: Outcome, logged: Mapping[str, Content] | None = None) -> str:
    """Makes the experiment's commit and removes the journal.

    `logged` is what the run itself put into its `.dvc` files last, by their paths (absolute);
    where it is saved later, what stands in them is all that is known.

    To push is the caller's part (`autopush`): it may take long, and the run is saved by then.
    Raises SaveError, with the journal left in place.
    """
    with experiments.looking(record) as status:  # while DVC's data is looked at
        others = tuple(journal.others(record))
        kept = _committed_data(status.git, record, outcome, others, logged or {})
        commit = experiments.save(
            record, outcome, kept.overrides, kept.covered, others, status=status
        )
    journal.remove(record)
    return commit


def save_or_keep(
    record: Record, outcome: Outcome, logged: Mapping[str, Content] | None = None
) -> str | None:
    """As `save`; when it fails, one message that tells the cause and the way back."""
    try:
        return save(record, outcome, logged)
    except Exception as error:  # noqa: BLE001 - a training must not die of its logger
        kept = journal.keep(record, outcome)
        logger.warning(
            "The run '%s' could not be saved as an experiment: %s. Its files are in '%s'%s.",
            record.name,
            cause_of(error, record),
            record.dir,
            "; when the cause is gone, run `dvclive-dvc recover`" if kept else "",
        )
        logger.debug("saving failed", exc_info=True)
        return None
    except BaseException:
        # A second Ctrl-C stops at once; the next run, or `recover`, saves this one as it ended.
        journal.keep(record, outcome)
        raise


def cause_of(error: Exception, record: Record) -> str:
    """Why saving failed, for the user."""
    known = isinstance(error, RepositoryError)
    # The caller's sentence goes on.
    text = (str(error) if known else f"{type(error).__name__}: {error}").rstrip(".")
    # libgit2 does not tell that a write failed for want of room.
    for place in (record.git_root, record.dvc_root):
        with contextlib.suppress(OSError):
            if shutil.disk_usage(place).free < _FULL and "No space" not in text:
                return f"{text} (the disk of '{place}' is full)"
    return text


def _committed_data(
    git: Git,
    record: Record,
    outcome: Outcome,
    others: Collection[Record],
    logged: Mapping[str, Content],
) -> data.Committed:
    cache: ArtifactCache | None = None

    def store(path: Path) -> Content:
        nonlocal cache
        if cache is None:
            cache = ArtifactCache(
                record.dvc_root, record.git_root, scratch=journal.folder(record.dvc_root)
            )
        return cache.hash_into_cache(path)

    try:
        ended_well = outcome.status is Status.COMPLETED
        return data.committed(git, record, store, others, logged, ended_well=ended_well)
    finally:
        if cache is not None:
            cache.close()
