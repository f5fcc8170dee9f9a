"""Copies of artifacts in the run's own folder, for paths that DVC cannot track where they are."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from ..errors import ArtifactConflictError, ArtifactNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from ..layout import Layout


def copy_into(layout: Layout, path: Path, taken: dict[str, Path]) -> Path:
    """Copies the file or folder at `path` to `{dir}/artifacts/` and returns the copy's path.

    An earlier copy of the same path is replaced whole. `taken` maps the names copied by this run
    to where they came from, and gains this one.

    Raises:
        ArtifactNotFoundError: there is nothing at `path`.
        ArtifactConflictError: another path of the same name was copied by this run.
    """
    if not path.exists():
        raise ArtifactNotFoundError(
            f"Artifact '{path}' does not exist. Write it before it is logged."
        )
    if taken.setdefault(path.name, path) != path:
        raise ArtifactConflictError(
            f"'{taken[path.name]}' was copied to '{layout.artifacts_dir}' under the name "
            f"'{path.name}' already, so '{path}' would replace it. Rename one of the two."
        )
    target = layout.artifacts_dir / path.name
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    elif os.path.lexists(target):
        target.unlink()
    if path.is_dir():
        shutil.copytree(path, target)
    else:
        shutil.copy2(path, target)
    return target
