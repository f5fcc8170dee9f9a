"""The seam between the logger and the place it runs in: the `Backend` protocol and its values.

`Live` knows no Git and no DVC; it asks a `Backend`. What differs between "no repository", "a
script of one's own" and "a stage of a pipeline" is which object stands behind this seam and
what it answers, never an `if` in the logger. Every value that crosses it is frozen.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .errors import InvalidDataTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .layout import Layout


class Mode(enum.Enum):
    """Where a run finds itself."""

    NO_REPO = "no repository"
    STANDALONE = "standalone"
    REPRO = "dvc repro"
    EXP_RUN = "dvc exp run"


@dataclass(frozen=True)
class Run:
    """What identifies a run; fixed when it begins.

    name:     the experiment's name, or the wished one where nothing is saved.
    baseline: the full hash of the commit the run began on; None where there is none.
    mode:     where it runs.
    saves:    whether `save` will make an experiment.
    """

    name: str | None = None
    baseline: str | None = None
    mode: Mode = Mode.NO_REPO
    saves: bool = False


@dataclass(frozen=True)
class Request:
    """What the user asked of the run's repository half, in the words of `Live()`.

    include: files and folders (absolute) that enter the experiment though Git does not track them.
    commit_data: whether changed DVC-tracked data enters the cache and the experiment.
    resume:  whether the run goes on with what an earlier one left in `dir`.
    """

    save: bool = True
    name: str | None = None
    message: str | None = None
    include: tuple[Path, ...] = ()
    commit_data: bool = True
    resume: bool = False

    @classmethod
    def of(
        cls,
        *,
        save: bool,
        name: Any,
        message: Any,
        include: Any,
        commit_data: bool,
        resume: bool,
    ) -> Request:
        """The request for the arguments of `Live()`, seen from the present working directory.

        Raises InvalidDataTypeError: it would fail when the run is saved, hours later.
        """
        for argument, value in (("exp_name", name), ("exp_message", message)):
            if value is not None and not isinstance(value, str):
                raise InvalidDataTypeError(argument, type(value), "a string, or None")
        allowed = "a list of paths, such as ['config.local.yaml']"
        if isinstance(include, (str, bytes)) or not isinstance(include, Iterable):
            raise InvalidDataTypeError("include", type(include), allowed)
        paths = []
        for path in include:
            if not isinstance(path, (str, os.PathLike)):
                raise InvalidDataTypeError("include", type(path), allowed)
            paths.append(Path(os.path.abspath(path)))  # noqa: PTH100 - keeps links
        return cls(save, name, message, tuple(paths), commit_data, resume)


@dataclass(frozen=True)
class Artifact:
    """One entry of the `artifacts` section of a dvc.yaml, named by its key there.

    `path` is absolute here; the writer makes it relative to the dvc.yaml. The fields are those
    of DVC's schema (dvc.schema.ARTIFACT_SCHEMA).
    """

    path: Path
    type: str | None = None
    desc: str | None = None
    labels: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plot:
    """One entry of the `plots` section: a file or folder and how DVC shall draw it.

    An empty `config` makes the bare-string form, which is how DVC takes a folder of images.
    """

    path: Path
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entries:
    """All that a run wants said of it in a dvc.yaml; paths are absolute.

    The order of `plots` is the order they stand in the file.
    """

    params: tuple[Path, ...] = ()
    metrics: tuple[Path, ...] = ()
    plots: tuple[Plot, ...] = ()
    artifacts: Mapping[str, Artifact] = field(default_factory=dict)


class Status(enum.Enum):
    """How a run ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True)
class Outcome:
    """How a run ended, in what may be published: no message, argument or environment.

    exception: the qualified name of the exception's type (`builtins.ValueError`).
    raised_at: where it was raised, `path:line`, the path relative to the repository or a bare
               file name.
    exit_code: the process's exit code where it ended by `sys.exit`.
    signal:    the signal's name (`SIGTERM`).
    step:      the last complete step; None where there was none, or nobody noted it.
    """

    status: Status = Status.COMPLETED
    exception: str | None = None
    raised_at: str | None = None
    exit_code: int | None = None
    signal: str | None = None
    step: int | None = None


@dataclass(frozen=True)
class Tracked:
    """What became of an artifact.

    path:    where it lies, for a dvc.yaml to name it: as given, the symlinks of the folders over
             it resolved. Through one a path may lead out of the repository, or where DVC follows
             none. A path that is a symlink itself stays one.
    pointer: its `.dvc` file; None where nothing was cached.
    owner:   what else answers for the path (a stage's address), where something does.
    """

    path: Path
    pointer: Path | None = None
    owner: str | None = None


@runtime_checkable
class Backend(Protocol):
    """What a run needs of the place it runs in. Seven members; `begin` comes first.

    After `begin` returned, no call raises for trouble of the repository: it is logged as one
    warning that names the command which repairs it, because a training must not die of its
    logger. A mistake of the caller (`errors.CallerError`) raises from every call. Paths are
    absolute. All calls come from the process that called `begin`; `step` may come from any
    thread.
    """

    @property
    def run(self) -> Run:
        """Name, baseline and mode; fixed once `begin` returned."""

    def begin(self, layout: Layout, request: Request) -> None:
        """Prepares the place for a run and refuses what would fail at its end.

        Writes nothing below `layout.root`. Raises `errors.RepositoryError` where the run must
        not start (another live run in the same folder, a dvc.yaml that cannot be read).
        """

    def track(self, path: Path, *, cache: bool = True) -> Tracked:
        """Caches the file or folder at `path`, writes its `.dvc` file, makes Git ignore it.

        It is described by the path that is returned, also where it could not be cached.

        With `cache=False` it only checks that the path may be described. Raises
        `errors.ArtifactError` for a path that cannot be tracked, with nothing written.
        """

    def describe(self, entries: Entries) -> None:
        """Merges the run's entries into its dvc.yaml, replacing those it put there before."""

    def step(self, step: int) -> None:
        """Tells those who watch the run that `step` is complete."""

    def save(self, outcome: Outcome) -> str | None:
        """Saves the run as an experiment and returns its commit's full hash.

        None where none is due (no repository, a pipeline, not asked for) or possible (warned).
        """

    def close(self, outcome: Outcome | None = None) -> None:
        """Lets go of everything held. May be called again; never raises.

        `outcome` is how the run ended, for a backend that can save it later, where `save` was
        not reached or did not return. None says that it never began: nothing is left of it.
        """
