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
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def _notes(dvc_root: Path) -> Path:
    return dvc_root / ".dvc" / "tmp" / "dvclive" / "pointers"


def _note(dvc_root: Path, directory: Path) -> Path:
    # By its place in the project, which may be moved as a whole.
    name = hashlib.sha256(os.fsencode(os.path.relpath(directory, dvc_root))).hexdigest()[:32]
    return _notes(dvc_root) / name


def _line(dvc_root: Path, pointer: Path) -> str:
    return json.dumps(os.path.relpath(pointer, dvc_root)) + "\n"


def note(dvc_root: Path, directory: Path, pointers: Iterable[Path]) -> None:
    """Adds to the note the pointer files that the run in `directory` wrote.

    Trouble is not told: it costs a resumed run at most what its dvc.yaml does not name.
    """
    path = _note(dvc_root, directory)
    lines = [_line(dvc_root, pointer) for pointer in pointers]
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="ascii") as file:
            file.write("".join(lines))


def noted_beside(dvc_root: Path, directory: Path, pointer: Path, since: str) -> bool:
    """Whether a run in another folder than `directory` wrote the pointer file, too.

    One that noted something since a moment (ISO 8601), and so went on then.
    """
    own, line = _note(dvc_root, directory), _line(dvc_root, pointer).encode("ascii")
    moment = datetime.fromisoformat(since).timestamp()
    with contextlib.suppress(OSError):
        return any(
            path != own
            and path.stat().st_mtime >= moment
            and line in path.read_bytes().splitlines(keepends=True)
            for path in _notes(dvc_root).iterdir()
        )
    return False


def forget(dvc_root: Path, directory: Path) -> None:
    """Removes the note: a new run begins in `directory`."""
    with contextlib.suppress(OSError):
        _note(dvc_root, directory).unlink()


def noted(dvc_root: Path, directory: Path) -> Iterator[Path]:
    """What the note holds, as far as it is still there."""
    try:
        lines = _note(dvc_root, directory).read_bytes().splitlines()
    except OSError:
        return
    for line in lines:
        with contextlib.suppress(ValueError):  # a kill may have cut the last one short
            path = dvc_root / json.loads(line)
            if path.is_file():
                yield path
