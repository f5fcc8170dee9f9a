"""Which pointer files the run in a folder wrote, kept beyond its end for one that goes on.

A dvc.yaml that several runs share does not tell whose its artifacts are, and no dvc.yaml names
an artifact without a description. The note is of this machine alone: in a fresh clone
`{dir}/dvc.yaml` is what there is to go by.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from typing import TYPE_CHECKING

from .. import files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def _note(dvc_root: Path, directory: Path) -> Path:
    # By its place in the project, which may be moved as a whole.
    name = hashlib.sha256(os.fsencode(os.path.relpath(directory, dvc_root))).hexdigest()[:32]
    return dvc_root / ".dvc" / "tmp" / "dvclive" / "pointers" / f"{name}.json"


def keep(dvc_root: Path, directory: Path, pointers: Iterable[Path]) -> None:
    """Notes the pointer files of the run in `directory`.

    Trouble is not told: it costs a resumed run at most what its dvc.yaml does not name.
    """
    path = _note(dvc_root, directory)
    names = [os.path.relpath(pointer, dvc_root) for pointer in pointers]
    with contextlib.suppress(OSError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, files.dump_json(names))


def forget(dvc_root: Path, directory: Path) -> None:
    """Removes the note: a new run begins in `directory`."""
    with contextlib.suppress(OSError):
        _note(dvc_root, directory).unlink()


def kept(dvc_root: Path, directory: Path) -> tuple[Path, ...]:
    """What `keep` noted last, as far as it is still there."""
    try:
        names = json.loads(_note(dvc_root, directory).read_bytes())
        paths = [dvc_root / name for name in names]
        return tuple(path for path in paths if path.is_file())
    except (OSError, ValueError, TypeError):
        return ()
