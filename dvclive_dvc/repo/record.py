"""`Record`: all that is needed to save a run, by its own process or later by another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Source:
    """A file of the repository as it was when the run began.

    path: relative to the Git root, POSIX.
    blob: the hash of its content in Git's object database, filters applied.
    mode: Git's file mode (0o100644, 0o100755; 0o120000 for a link).
    """

    path: str
    blob: str
    mode: int


@dataclass(frozen=True)
class Process:
    """The process a run belongs to, told apart from a later one that got the same number.

    born: what the operating system calls the start of the process, as text (jiffies since boot
          on Linux); empty where it cannot be told.
    """

    pid: int
    host: str
    born: str = ""


@dataclass(frozen=True)
class Record:
    """One run, as `experiments.save` takes it and the journal keeps it. Paths are absolute.

    id:       unlike that of any other run, ever.
    dir:      the run's folder; everything below it that no `.dvc` file covers is saved.
    dvcyaml:  the dvc.yaml it writes, None when it writes none.
    baseline: the commit the experiment's commit will have as its parent.
    name:     the experiment's name; a suffix is added when it is taken meanwhile.
    script:   the program that runs, relative to the Git root, where it lies in there.
    include:  the user's `Live(include=...)`.
    sources:  the repository's modules that were loaded when the run began.
    inputs:   what DVC calls the parameters and dependencies of the project, where the baseline
              has it too, as it was when the run began. For recovery: the run's own process ends
              with them as they are then.
    pointers: the `.dvc` files and `.gitignore`s the run wrote for its artifacts.
    started:  ISO 8601, UTC.
    git:      the GIT_* variables that led to the repository (`git.Place.variables`).
    reflog:   how long HEAD's reflog was at the beginning; None in a former version's journal.
    merging:  the merges that were under way then (`merges.unconcluded`); None likewise.
    """

    id: str
    git_root: Path
    dvc_root: Path
    dir: Path
    dvcyaml: Path | None
    baseline: str
    name: str
    message: str | None
    script: str | None
    include: tuple[Path, ...]
    commit_data: bool
    sources: tuple[Source, ...]
    pointers: tuple[Path, ...]
    process: Process
    started: str
    git: Mapping[str, str] = field(default_factory=dict)
    reflog: int | None = None
    merging: tuple[str, ...] | None = None
    inputs: tuple[Source, ...] = ()


def own_folder(dvc_root: Path) -> Path:
    """Where this package keeps what it knows of a project's runs: DVC's tmp directory.

    Git ignores it, and no clone has it.
    """
    return dvc_root / ".dvc" / "tmp" / "dvclive"


def reference(baseline: str, name: str) -> str:
    """The reference DVC finds the experiment by (dvc/repo/experiments/refs.py)."""
    return f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}"
