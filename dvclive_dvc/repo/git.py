"""Opening the Git repository around a folder, as `git` itself would find it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Place:
    """A Git working tree: its top folder, its repository folder, and the commit at HEAD."""

    root: Path
    git_dir: Path
    head: str | None


def locate(start: Path, environ: Mapping[str, str]) -> Place | None:
    """The working tree that holds `start`; None where there is none (or a bare repository)."""
    import pygit2

    found = environ.get("GIT_DIR") or pygit2.discover_repository(str(start))
    if not found:
        return None
    repo = pygit2.Repository(found)
    if repo.workdir is None:
        return None
    head = None if repo.head_is_unborn else str(repo.head.target)
    return Place(Path(os.path.realpath(repo.workdir)), Path(os.path.realpath(repo.path)), head)
