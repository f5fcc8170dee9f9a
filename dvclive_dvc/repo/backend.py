"""`DvcBackend`: composes the modules beside it and turns their trouble into warnings."""

from __future__ import annotations

import dataclasses
import datetime
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from ..backend import Entries, Mode, Outcome, Request, Run, Tracked
from ..dvcyaml import Writer, mend, read_entries
from ..errors import (
    ArtifactError,
    ArtifactNotFoundError,
    CallerError,
    InvalidDirError,
    RepositoryError,
    RepositoryFormatError,
    RunInProgressError,
)
from ..layout import resolved
from ..notices import logger
from . import autopush, former, initialise, join, journal, recovery, saving, sources
from . import context as surroundings
from .cache import ArtifactCache, check_described
from .git import Git
from .gitignore import line_for
from .include import included
from .naming import choose_name
from .outputs import Logged, Outputs
from .record import Record
from .snapshot import submodule_around
from .templates import Templates
from .watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..layout import Layout
    from .cache import Added
    from .context import Context
    from .pointer import Content
    from .recovery import Redraw

_NO_GIT = (
    "No Git repository here: the run is logged, but it cannot be saved as an experiment. "
    "Run `git init && dvc init` and commit once to have that."
)
_NO_COMMIT = (
    "This Git repository has no commit yet: the run is logged, but an experiment hangs on a "
    "commit, so it cannot be saved. Run `git commit` once to have that."
)
_IN_STAGE = {
    Mode.EXP_RUN: "Inside `dvc exp run`: DVC saves the experiment; the run joins it.",
    Mode.REPRO: "Inside `dvc repro`: the run is not saved as an experiment. Use `dvc exp run` "
    "instead to have that, or Live(save_dvc_exp=False) to say that it is not wanted.",
}


def find(
    cwd: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    *,
    redraw: Redraw | None = None,
) -> DvcBackend | str:
    """The backend for a folder, or the sentence that says why there is none.

    `redraw` draws the report of a dead run that is saved before a new one begins.
    """
    try:
        context = surroundings.detect(cwd, environ)
    except RepositoryFormatError as error:
        # Nothing that the user could mend for this run, so it goes on like one outside Git.
        return f"{error} The run is logged, but it cannot be saved as an experiment."
    if context.git_root is None and context.dvc_root is None:
        return " ".join((*context.notes, _NO_GIT))
    return DvcBackend(context, redraw)


class DvcBackend:
    """Fulfils the `Backend` protocol in a Git repository, with DVC in it or to be put in it.

    In a DVC project without Git (`dvc init --no-scm`) artifacts are cached and nothing is saved.

    What differs between a script of one's own and a stage of a pipeline is decided in `begin`:
    a run that saves has a `Record`, any other has none.
    """

    def __init__(self, context: Context, redraw: Redraw | None = None) -> None:
        self.run = Run(context.exp_name, context.baseline, context.mode)
        self._context = context
        self._redraw = redraw
        self._layout: Layout | None = None
        self._writer: Writer | None = None
        self._record: Record | None = None
        self._cache: ArtifactCache | None = None
        self._watchers = Watchers(None)
        self._outputs = Outputs(context)
        self._templates = Templates()
        self._artifacts = Logged()
        self._pointers: dict[Path, None] = {}
        self._logged: dict[str, Content] = {}
        self._own_folders: set[Path] = set()  # that lie in no submodule
        self._unsaved = False

    def begin(self, layout: Layout, request: Request) -> None:
        """Checks what would fail at the end, names the run, and keeps its journal from here on."""
        for note in self._context.notes:
            logger.warning("%s", note)
        self._context = surroundings.at_home(self._context, layout.root)
        self._outputs = Outputs(self._context)
        self._writer = Writer(layout, resume=request.resume)
        self._writer.check()
        saves = self._decide_saving(request, layout)
        if saves or self._context.mode is Mode.EXP_RUN:
            self._refuse_in_submodule(layout.root)
        if saves and self._context.git_root is not None:
            include = included(request.include, self._context.git_root)
            request = dataclasses.replace(request, include=include)
        if saves and self._context.dvc_root is None:
            self._initialise()
        self._warn_of_lost_settings(layout)
        left: tuple[Path, ...] = ()
        if self._context.dvc_root is not None:
            # In a stage of a pipeline too: its run would overwrite a dead one's files.
            left = recovery.recover_before(self._context, layout.root, self._redraw)
            _refuse_second_run(layout, journal.holder_of(layout.root, self._context.dvc_root))
        self._layout = layout
        for warning in (*self._strayed(layout, saves=saves), *self._outputs.judge_run(layout)):
            logger.warning("%s", warning)
        if saves:
            self._record = self._new_record(layout, request)
            _refuse_second_run(layout, journal.enter(self._record))
            self._unsaved = True
        before: tuple[Path, ...] = ()
        if request.resume:
            mend(layout, unread=False)
            before = tuple(self._logged_before(layout, left))
        if self._context.dvc_root is not None:
            former.forget(self._context.dvc_root, layout.root)
        self._note(*before)
        self.run = Run(
            self._name(request),
            self._context.baseline,
            self._context.mode,
            saves=saves,
        )
        self._watchers = Watchers(self._context.watched_root)
        self._watchers.begin(self.run.name, saves=saves)

    def _strayed(self, layout: Layout, *, saves: bool) -> Iterator[str]:
        folder = surroundings.strayed(self._context, layout.root)
        if folder is not None:
            yield folder
        outside = surroundings.outside_of_git(self._context, layout.root, layout.given)
        if saves and outside is not None:
            yield outside
        if layout.given_dvcyaml is not None and layout.dvcyaml.parent != layout.root:
            file = surroundings.strayed_dvcyaml(self._context, layout.dvcyaml, layout.shown_dvcyaml)
            if file is not None:
                yield file

    def _logged_before(self, layout: Layout, left: tuple[Path, ...]) -> Iterator[Path]:
        """The pointer files of the run that is gone on with: its artifacts belong here too."""
        yield from left
        if self._context.dvc_root is not None:
            yield from former.noted(self._context.dvc_root, layout.root)
        yield from _pointers_of_former(layout)

    def _name(self, request: Request) -> str | None:
        if self._record is not None:
            return self._record.name
        if self._context.mode is Mode.EXP_RUN:
            return self._context.exp_name  # DVC names what DVC saves
        return request.name or self._context.exp_name

    def _decide_saving(self, request: Request, layout: Layout) -> bool:
        if not request.save:
            return False
        if self._context.mode is Mode.EXP_RUN:
            logger.info("%s", _IN_STAGE[Mode.EXP_RUN])
            return False
        if self._context.mode is Mode.REPRO:
            logger.warning("%s", _IN_STAGE[Mode.REPRO])
            return False
        if self._context.baseline is None:
            logger.warning("%s", _NO_COMMIT if self._context.git_root else _NO_GIT)
            return False
        if self._context.dvc_root is None:
            missing = initialise.not_checked_out(self._context, layout.root)
            if missing is not None:
                logger.warning("%s Until then the run is logged, but not saved.", missing)
                return False
        return True

    def _refuse_in_submodule(self, folder: Path) -> None:
        submodule = self._submodule_around(folder)
        if submodule is not None:
            raise InvalidDirError(
                f"The run's folder '{folder}' lies in the Git submodule '{submodule}', of which an "
                f"experiment of '{self._context.git_root}' has the recorded commit alone. Give the "
                "run a folder outside of the submodule, start it in there, or pass "
                "save_dvc_exp=False."
            )

    def _submodule_around(self, path: Path) -> Path | None:
        """The submodule of the run's Git repository that a path is or lies in."""
        root = self._context.git_root
        if root is None or path == root or not path.is_relative_to(root):
            return None
        name = os.fsencode(path.relative_to(root))
        found = submodule_around(Git(root, self._context.git), self._context.baseline, name)
        return root / os.fsdecode(found) if found is not None else None

    def _warn_of_lost_settings(self, layout: Layout) -> None:
        # What Git ignores (`.dvc/tmp`, `.dvc/cache`) stays where a checkout becomes a sparse one.
        root = self._context.dvc_root
        if root is None or (root / ".dvc" / "config").exists():
            return
        missing = initialise.not_checked_out(self._context, layout.root)
        if missing is not None:
            logger.warning(
                "%s Until then DVC's cache and remotes are not those set there.", missing
            )

    def _initialise(self) -> None:
        assert self._context.git_root is not None  # noqa: S101 - for the type checker
        root = self._context.git_root
        initialise.initialise(Git(root, self._context.git))
        self._context = dataclasses.replace(self._context, dvc_root=root, watched_root=root)
        self._outputs = Outputs(self._context)

    def _new_record(self, layout: Layout, request: Request) -> Record:
        context = self._context
        assert context.git_root is not None  # noqa: S101 - for the type checker
        assert context.dvc_root is not None  # noqa: S101 - for the type checker
        assert context.baseline is not None  # noqa: S101 - for the type checker
        script = sources.script(context, include=request.include)
        return Record(
            id=uuid.uuid4().hex,
            git_root=context.git_root,
            dvc_root=context.dvc_root,
            dir=layout.root,
            dvcyaml=layout.dvcyaml if layout.dvcyaml_on else None,
            baseline=context.baseline,
            name=choose_name(context, request.name),
            message=request.message,
            script=script,
            include=request.include,
            commit_data=request.commit_data,
            sources=sources.loaded(context, include=request.include),
            inputs=sources.inputs(context, layout.root),
            pointers=initialise.own_files(context),
            process=journal.this_process(),
            started=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
            git=context.git,
            reflog=context.reflog,
            merging=context.merging,
        )

    def track(self, path: Path, *, cache: bool = True) -> Tracked:
        """Caches an artifact unless a stage answers for it, and notes its pointer file."""
        if not os.path.lexists(path):
            raise ArtifactNotFoundError(
                f"Artifact '{path}' does not exist. Write it before it is logged."
            )
        place = resolved(path)
        try:
            return self._track(path, place, cache=cache)
        except CallerError:
            raise
        except Exception as error:  # noqa: BLE001 - a training must not die of its logger
            logger.warning(
                "Artifact '%s' could not be cached: %s. Run `dvc add %s` when that is mended.",
                path,
                error,
                path,
            )
            logger.debug("caching failed", exc_info=True)
            return Tracked(place)

    def _track(self, path: Path, place: Path, *, cache: bool) -> Tracked:
        real = Path(os.path.realpath(place)) if place.is_symlink() else place
        _refuse_outside(path, place.parent, real, self._context)
        self._refuse_artifact_in_submodule(path, place.parent)
        if not cache:
            root = self._context.dvc_root or self._context.git_root
            assert root is not None  # noqa: S101 - for the type checker
            check_described(path, root)
            return Tracked(place, owner=self._outputs.covers(place))
        verdict = self._outputs.judge(place, self._artifacts)
        if not verdict.cache:
            self._outputs.tell(verdict)
            return Tracked(place, owner=verdict.owner)
        _refuse_around(path, real, self._layout)
        objects = self._artifact_cache(path)
        seen = objects.look(path)
        self._outputs.refuse_conflicts(place, seen.pointers())
        added = objects.add(seen)
        self._artifacts.add(place)
        self._note(added.pointer, added.gitignore)
        self._note_content(added)
        self._outputs.tell(verdict)
        return Tracked(place, pointer=added.pointer)

    def _artifact_cache(self, path: Path) -> ArtifactCache:
        if self._cache is None:
            if self._context.dvc_root is None:
                missing = initialise.not_checked_out(self._context, path.parent)
                if missing is not None:
                    raise RepositoryError(missing.removesuffix("."))
                self._initialise()
            root = self._context.dvc_root
            assert root is not None  # noqa: S101 - for the type checker
            self._cache = ArtifactCache(
                root, self._context.git_root or root, scratch=journal.folder(root)
            )
        return self._cache

    def _refuse_artifact_in_submodule(self, path: Path, folder: Path) -> None:
        if folder in self._own_folders:
            return
        submodule = self._submodule_around(folder)
        if submodule is not None:
            raise ArtifactError(
                f"Artifact '{path}' lies in the Git submodule '{submodule}', of which an "
                f"experiment of '{self._context.git_root}' has the recorded commit alone. Pass "
                "copy=True to have it copied into the run's folder and tracked there, or write it "
                "to a folder outside of the submodule."
            )
        self._own_folders.add(folder)

    def _note(self, *paths: Path | None) -> None:
        """Keeps files that the experiment takes along, in the journal as well."""
        wanted = dict.fromkeys(path for path in paths if path is not None)
        fresh = [path for path in wanted if path not in self._pointers]
        if not fresh:
            return
        self._pointers.update(dict.fromkeys(fresh))
        if self._layout is not None and self._context.dvc_root is not None:
            former.note(self._context.dvc_root, self._layout.root, fresh)
        if self._record is not None:
            self._record = dataclasses.replace(
                self._record, pointers=(*self._record.pointers, *fresh)
            )
            journal.write(self._record)

    def _note_content(self, added: Added) -> None:
        """Keeps what was logged under a pointer last, which another run may write to as well."""
        before = self._logged.get(str(added.pointer))
        if before is not None and before.md5 == added.hashed.md5:
            return
        self._logged[str(added.pointer)] = added.hashed
        if self._layout is not None and self._context.dvc_root is not None:
            former.note_content(
                self._context.dvc_root, self._layout.root, added.pointer, added.hashed.md5
            )

    def describe(self, entries: Entries) -> None:
        """Merges the run's entries into its dvc.yaml, and says what DVC could not draw."""
        if self._context.dvc_root is not None:
            self._templates.check(entries.plots, self._context.dvc_root)
        if self._writer is not None:
            self._writer.write(entries)

    def step(self, step: int) -> None:
        """Writes the signal file that the VS Code extension watches."""
        journal.retry()  # where the disk was full when the run began
        self._watchers.step(step)

    def save(self, outcome: Outcome) -> str | None:
        """Makes the experiment's commit, or joins the one that DVC is about to make."""
        if self._layout is None:
            return None
        if self._context.mode is Mode.EXP_RUN:
            kept = self._outputs.kept_around(self._layout.root)
            join.into_dvc_commit(self._context, self._layout, tuple(self._pointers), kept)
        if self._record is None:
            return None
        commit = saving.save_or_keep(self._record, outcome, self._logged)
        self._unsaved = False
        if commit is not None:
            autopush.push(self._record, commit)
        return commit

    def close(self, outcome: Outcome | None = None) -> None:
        """Removes the signal files, closes DVC's databases, and notes a run that is not saved."""
        self._watchers.close()
        if self._cache is not None:
            self._cache.close()
            self._cache = None
        if self._record is not None and self._unsaved:
            # Never saved, or cut short at it: the next run here, or `recover`, saves it. Where
            # the project itself is gone there is nothing to save into.
            if outcome is not None and (self._record.dvc_root / ".dvc").is_dir():
                journal.keep(self._record, outcome)
            else:
                journal.remove(self._record)
            self._unsaved = False


def _pointers_of_former(layout: Layout) -> Iterator[Path]:
    """The pointer files, and the `.gitignore`s with them, of what the dvc.yaml names already."""
    if not layout.dvcyaml_on:
        return
    for artifact in read_entries(layout).artifacts.values():
        path = artifact.path
        pointer = path.with_name(f"{path.name}.dvc")
        if not pointer.is_file():
            continue
        yield pointer
        rules = path.with_name(".gitignore")
        if rules.is_file() and line_for(path.name) in rules.read_bytes().splitlines():
            yield rules


def _refuse_second_run(layout: Layout, holder: Record | None) -> None:
    if holder is None:
        return
    other = "" if holder.process.host == journal.this_host() else f" on {holder.process.host}"
    raise RunInProgressError(
        f"The run '{holder.name}' (process {holder.process.pid}{other}, since {holder.started}) "
        f"is writing to '{layout.root}'. Give this one its own folder: "
        f"Live(dir='{layout.given}-2')."
        + (other and " If that one is dead, run `dvclive-dvc recover --other-hosts` first.")
    )


def _refuse_around(path: Path, real: Path, layout: Layout | None) -> None:
    """Refuses what the run itself goes on writing to; its images are written whole."""
    if layout is None:
        return
    # Git would ignore the run's own files then, and the experiment be without them.
    if layout.root.is_relative_to(real):
        raise ArtifactError(
            f"Artifact '{path}' holds the run's own folder '{layout.root}', which goes on changing "
            "and is in the experiment anyway. Log what is to be cached of it."
        )
    if not real.is_relative_to(layout.root):
        return
    for own in layout.written_on:
        # A line appended to what has become a link into the cache would change the object.
        if real.is_relative_to(own) or own.is_relative_to(real):
            raise ArtifactError(
                f"Artifact '{path}' is, or holds, '{own}', which the run itself goes on writing "
                "to; it is in the experiment anyway. Use copy=True to cache it as it is now."
            )


def _refuse_outside(path: Path, folder: Path, real: Path, context: Context) -> None:
    root = context.dvc_root or context.git_root
    if root is not None and root.is_relative_to(real):
        raise ArtifactError(
            f"Artifact '{path}' holds the whole project '{root}', which DVC cannot track within "
            "itself. Log the files and folders of it that are to be kept."
        )
    theirs = surroundings.project_of(folder, context)
    elsewhere = theirs is not None and theirs != context.dvc_root
    if root is not None and folder.is_relative_to(root) and not elsewhere:
        return
    place = f"in another DVC project, '{theirs}'" if elsewhere else "outside of its DVC project"
    raise ArtifactError(
        f"Artifact '{path}' lies {place}: the run belongs to '{root}', and DVC keeps track of "
        "nothing beyond that. Pass copy=True to have it copied into the run's folder and tracked "
        "there" + (f", or start the run in '{theirs}'." if elsewhere else ".")
    )
