"""Which pointer files the run in a folder wrote, and with what content, kept beyond its end.

For a run that goes on there, and for one beside it that logs the same path.

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

from . import record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def _notes(dvc_root: Path) -> Path:
    return record.own_folder(dvc_root) / "pointers"


def _note(dvc_root: Path, directory: Path) -> Path:
    # By its place in the project, which may be moved as a whole.
    name = hashlib.sha256(os.fsencode(os.path.relpath(directory, dvc_root))).hexdigest()[:32]
    return _notes(dvc_root) / name


def _line(dvc_root: Path, pointer: Path, md5: str | None = None) -> str:
    path = os.path.relpath(pointer, dvc_root)
    return json.dumps(path if md5 is None else [path, md5]) + "\n"


def _add(note: Path, lines: list[str]) -> None:
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        with note.open("a", encoding="ascii") as file:
            file.write("".join(lines))


def note(dvc_root: Path, directory: Path, pointers: Iterable[Path]) -> None:
    """Adds to the note the pointer files that the run in `directory` wrote.

    Trouble is not told: it costs a resumed run at most what its dvc.yaml does not name.
    """
    _add(_note(dvc_root, directory), [_line(dvc_root, pointer) for pointer in pointers])


def note_content(dvc_root: Path, directory: Path, pointer: Path, md5: str) -> None:
    """Adds what the run in `directory` put into the pointer file, for `wrote_beside`."""
    _add(_note(dvc_root, directory), [_line(dvc_root, pointer, md5)])


def wrote_beside(dvc_root: Path, directory: Path, pointer: Path, md5: str) -> bool:
    """Whether a run in another folder than `directory` put this content into the pointer file."""
    own, line = _note(dvc_root, directory), _line(dvc_root, pointer, md5).encode("ascii")
    with contextlib.suppress(OSError):
        return any(
            path != own and line in path.read_bytes().splitlines(keepends=True)
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
            entry = json.loads(line)
            if isinstance(entry, str) and (dvc_root / entry).is_file():
                yield dvc_root / entry
