"""Recovery: runs whose process is gone are saved from their journals, each once."""

from __future__ import annotations

import contextlib
import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .. import files, occupied
from ..backend import Mode, Outcome, Run, Status
from ..errors import RepositoryError, RunInProgressError
from ..notices import logger
from . import autopush, catchup, dvcconfig, edits, journal, objects, saving, watchers
from .git import Git
from .record import reference

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from ..layout import Layout
    from .context import Context
    from .journal import Entry
    from .record import Record

    Redraw = Callable[[Layout, Run, datetime.datetime, Outcome], None]


# A run that is not saved itself has no journal: only its folder tells of it.
_OCCUPIED = "another process is logging to its folder"


@dataclass(frozen=True)
class Recovered:
    """What became of a run that was found dead.

    commit: the experiment's full hash; None where it could not be saved.
    error:  why not.
    edited: files (relative to the Git root) that were written after the run's last sign of life,
            and that the experiment has in that later version, for want of the one that ran.
    """

    record: Record
    outcome: Outcome
    commit: str | None = None
    error: str | None = None
    edited: tuple[str, ...] = ()


@dataclass(frozen=True)
class Found:
    """The journals of a project, by what is to be done about them.

    running:    runs whose process is alive.
    dead:       runs to be saved: killed, or ended without being saved.
    elsewhere:  runs of another host, of which nothing is known here.
    unreadable: files that are no journals of this version.
    """

    running: tuple[Entry, ...] = ()
    dead: tuple[Entry, ...] = ()
    elsewhere: tuple[Entry, ...] = ()
    unreadable: tuple[Path, ...] = ()


def look(dvc_root: Path) -> Found:
    """Reads the journals of a project and looks for their processes. Saves nothing."""
    entries, unreadable = journal.read_all(dvc_root)
    fates = [(entry, entry.outcome is None and journal.alive(entry)) for entry in entries]
    return Found(
        running=tuple(entry for entry, alive in fates if alive),
        dead=tuple(entry for entry, alive in fates if alive is False),
        elsewhere=tuple(entry for entry, alive in fates if alive is None),
        unreadable=tuple(unreadable),
    )


def recover(
    dvc_root: Path,
    *,
    names: Collection[str] | None = None,
    other_hosts: bool = False,
    redraw: Redraw | None = None,
) -> list[Recovered]:
    """Saves each dead run as an experiment and removes its journal.

    Of recoveries that happen together one does the work and the others wait for it. A run that
    cannot be saved keeps its journal. `names` keeps to these runs; `other_hosts` takes those of
    other hosts for dead, which only the user can know. `redraw` draws a run's report, which says
    that the run goes on, with how it ended.
    """
    # A run killed while it began may have left half a file and no run.
    for folder in (journal.folder(dvc_root), dvc_root / watchers.FOLDER):
        files.sweep(folder)
    journal.retry()
    found = look(dvc_root)
    if not found.dead and not (other_hosts and found.elsewhere):
        return []
    with journal.held(dvc_root):
        found = look(dvc_root)  # what another has recovered meanwhile is gone
        _sweep_cache(dvc_root)
        wanted = [
            entry
            for entry in (*found.dead, *(found.elsewhere if other_hosts else ()))
            if names is None or entry.record.name in names
        ]
        # A run around another's folder first: once that one is saved its files are the folder's.
        wanted.sort(key=lambda entry: len(entry.record.dir.parts))
        recovered = [done for entry in wanted if (done := _recover(entry, redraw)) is not None]
    for one in recovered:
        if one.commit is not None:
            autopush.push(one.record, one.commit)
    return recovered


def _sweep_cache(dvc_root: Path) -> None:
    """Removes objects that dead processes left half-written in DVC's cache."""
    cache = dvcconfig.value(dvc_root, "cache", "dir") or "cache"
    objects.sweep(str(dvc_root / ".dvc" / cache / "files" / "md5"))


def _recover(entry: Entry, redraw: Redraw | None) -> Recovered | None:
    """Saves one run; None where it had been saved, and only its journal cannot be removed."""
    record = entry.record
    outcome = entry.outcome or Outcome(Status.INTERRUPTED)
    edited: tuple[str, ...] = ()
    try:
        commit = next(_experiments_of(record), None)
        if commit is not None:
            if not journal.remove(record):
                logger.warning("%s", _stays(record, f"is the experiment {commit[:7]}"))
                return None
        else:
            commit, edited = _save(entry, outcome, redraw)
    except Exception as error:  # noqa: BLE001 - one run's trouble must not keep another's
        logger.debug("recovering '%s' failed", record.name, exc_info=True)
        return Recovered(record, outcome, error=saving.cause_of(error, record))
    return Recovered(record, outcome, commit, edited=edited)


def _save(entry: Entry, outcome: Outcome, redraw: Redraw | None) -> tuple[str, tuple[str, ...]]:
    """The experiment, and what it has in a version younger than the run; see `Recovered`."""
    record = entry.record
    with occupied.borrowed(record.dir) as free:
        if not free:
            raise RunInProgressError(_OCCUPIED)
        layout = catchup.layout_of(record)
        lived = edits.last_sign(layout, entry.path)
        catchup.catch_up(layout, outcome.step)
        began = _began(record)
        if redraw is not None and began is not None:
            run = Run(record.name, record.baseline, Mode.STANDALONE, saves=True)
            redraw(layout, run, began, outcome)
        record = edits.with_inputs(record, lived)
        commit = saving.save(record, outcome)
    found = edits.in_experiment(record, commit, lived)
    if found:
        logger.warning("%s", edits.told(record, found))
    return commit, found


def _began(record: Record) -> datetime.datetime | None:
    """When the run began; None where its journal has no date there, which is no harm else."""
    with contextlib.suppress(ValueError, OverflowError):
        return datetime.datetime.fromisoformat(record.started).astimezone(datetime.timezone.utc)
    return None


def _experiments_of(record: Record) -> Iterator[str]:
    """The experiment the run has already, if it was killed between that and its journal's end."""
    import pygit2

    repo = Git(record.git_root, record.git).repo
    name, number = record.name, 1
    while True:
        try:
            # `experiments.save` takes the first free one of these names.
            commit = repo.lookup_reference(reference(record.baseline, name)).peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError):
            return
        if f"\nDvclive-Run: {record.id}\n" in commit.message:
            yield str(commit.id)
        number += 1
        name = f"{record.name}-{number}"


def discard(dvc_root: Path, names: Collection[str]) -> list[Record]:
    """Gives up dead runs (and those of other hosts): their journals go, their files stay.

    Raises RepositoryError where a journal cannot be removed.
    """
    with journal.held(dvc_root):
        found = look(dvc_root)
        given_up = [
            entry.record for entry in (*found.dead, *found.elsewhere) if entry.record.name in names
        ]
        for record in given_up:
            if not journal.remove(record):
                raise RepositoryError(_stays(record, "shall be given up"))
        return given_up


def _stays(record: Record, what: str) -> str:
    return (
        f"The run '{record.name}' {what}, but its journal '{journal.path_of(record)}' cannot be "
        "removed. Remove that file."
    )


def recover_before(
    context: Context, directory: Path, redraw: Redraw | None = None
) -> tuple[Path, ...]:
    """Saves the dead runs of the project before a new run begins in `directory`.

    Gives the pointer files of those that had run there, for a run that goes on with them.

    Raises RepositoryError where that folder holds a run that cannot be saved: a new one would
    overwrite it. Costs a look into one folder when there is nothing to recover.
    """
    if context.dvc_root is None:
        return ()
    for path in journal.read_all(context.dvc_root)[1]:
        logger.warning(
            "'%s' is no journal of a run that this version can read; it is kept. Remove it when "
            "it is of no use.",
            path,
        )
    recovered = recover(context.dvc_root, redraw=redraw)
    for one in recovered:
        if one.commit is not None:
            logger.info(
                "The run '%s' had ended without being saved; it is now the experiment %s (%s).",
                one.record.name,
                one.commit[:7],
                one.outcome.status.value,
            )
        elif one.record.dir == directory:
            raise RepositoryError(
                f"The run '{one.record.name}' in '{directory}' is not saved yet, and a new run "
                f"there would overwrite it. Saving it failed: {one.error}. Mend that and run "
                "`dvclive-dvc recover`, give it up by `dvclive-dvc recover --discard "
                f"{one.record.name}`, or begin in another folder: "
                f"Live(dir='{directory.name}-2')."
            )
        else:
            logger.warning(
                "The run '%s' in '%s' is still not saved: %s. When that is mended, run "
                "`dvclive-dvc recover`.",
                one.record.name,
                one.record.dir,
                one.error,
            )
    here = (one.record for one in recovered if one.record.dir == directory)
    return tuple(path for record in here for path in record.pointers)
