"""Copies an artifact into the run's own folder, for paths that DVC cannot track where they are."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import ArtifactConflictError, ArtifactError, ArtifactNotFoundError
from ..notices import logger

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

    from ..layout import Layout

# Names that Git and DVC read themselves in the folder of the copies.
_RESERVED = frozenset({".gitignore", ".dvcignore", ".gitattributes", "dvc.yaml", "dvc.lock"})
_TEMP = re.compile(r"^\..+\.(?P<pid>\d+)-\d+\.dvclive-tmp$")
# A source that changed less than this before its copy was made may have changed again within
# the same tick of the file system's clock (2 s on FAT).
_TICK = 2_000_000_000
_PIECE = 1 << 30


def copy_into(layout: Layout, path: Path, taken: MutableMapping[str, Path]) -> Path:
    """Copies the file or folder at `path` into `{dir}/artifacts/` and returns the copy's path.

    An older copy is replaced completely. Symbolic links are followed. Files that did not change
    since they were copied cost a stat. `taken` is the run's own account of which path each copy
    came from; the new one is added.

    Raises:
        ArtifactNotFoundError: there is nothing at `path`.
        ArtifactConflictError: this run copied another path of the same name.
        ArtifactError: what is at `path` cannot be copied; an older copy stays.
        OSError: the copy could not be written; an older copy stays.
    """
    status = _status(path)
    target = layout.artifacts_dir / path.name
    if path == target:
        return target
    _check(layout, path, taken)
    layout.artifacts_dir.mkdir(parents=True, exist_ok=True)
    _sweep(layout.artifacts_dir)
    temp = layout.artifacts_dir / files.temp_name(path.name)
    try:
        if stat.S_ISDIR(status.st_mode):
            if not _is_copy_of_folder(target, path):
                _copy_folder(path, temp, target if _is_folder(target) else None)
                _swap_in(temp, target)
        elif not _is_copy_of(target, status):
            _copy_file(path, temp)
            _remove_if_folder(target)
            temp.replace(target)
    finally:
        _remove(temp)
    taken[path.name] = path
    return target


def is_new(layout: Layout, path: Path) -> bool:
    """Whether `copy_into` would make a copy where there is none yet."""
    return not os.path.lexists(layout.artifacts_dir / path.name)


def discard(target: Path, taken: MutableMapping[str, Path]) -> None:
    """Takes back a copy that could not be tracked, and its folder where that is empty then."""
    _remove(target)
    taken.pop(target.name, None)
    with contextlib.suppress(OSError):
        target.parent.rmdir()


def _check(layout: Layout, path: Path, taken: MutableMapping[str, Path]) -> None:
    name = path.name
    if not name or name in _RESERVED or name.endswith(".dvc"):
        raise ArtifactError(
            f"'{path}' has no name that an artifact may have in '{layout.artifacts_dir}', where "
            "Git and DVC keep files of such names. Rename it."
        )
    real = Path(os.path.realpath(path))
    if layout.artifacts_dir.is_relative_to(real):
        raise ArtifactError(
            f"Artifact '{path}' is, or holds, '{layout.artifacts_dir}' in the run's own folder, so "
            "it cannot be copied into it. Log what is to be kept of it."
        )
    other = taken.get(name)
    if other is not None and other != path:
        raise ArtifactConflictError(
            f"This run already copied '{other}' to '{layout.artifacts_dir / name}'; a copy of "
            f"'{path}' would replace it. Rename one of the two, or log one without copy=True."
        )


def _status(path: Path) -> os.stat_result:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise ArtifactError(
                f"Artifact '{path}' is a symbolic link that leads nowhere. Make what it names."
            ) from error
        raise ArtifactNotFoundError(
            f"Artifact '{path}' does not exist. Write it before it is logged."
        ) from error
    except ValueError as error:
        raise ArtifactError(
            f"{str(path)!r} is no path that a file system takes ({error}). Name a file or folder."
        ) from error
    except OSError as error:
        raise ArtifactError(f"Cannot read artifact '{path}': {error.strerror}.") from error
    if not stat.S_ISREG(status.st_mode) and not stat.S_ISDIR(status.st_mode):
        raise ArtifactError(f"Artifact '{path}' is neither a file nor a folder.")
    return status


# -- copying -------------------------------------------------------------------------------------


def _copy_folder(source: Path, temp: Path, older: Path | None) -> None:
    """Fills `temp` with the files of `source`, taking unchanged ones from an older copy."""
    inside: list[str] = []

    def copy(here: Path, there: Path, before: Path | None) -> None:
        real = os.path.realpath(here)
        if real in inside:
            raise ArtifactError(
                f"'{here}' is a symbolic link to a folder that it is itself in. Remove it."
            )
        inside.append(real)
        there.mkdir()
        with _caller_can_read(here), os.scandir(here) as entries:
            found = list(entries)
        for entry in found:
            earlier = before / entry.name if before is not None else None
            _copy_entry(entry, there / entry.name, earlier)
        inside.pop()

    def _copy_entry(entry: os.DirEntry[str], there: Path, earlier: Path | None) -> None:
        here = Path(entry.path)
        status = _status(here)
        if stat.S_ISDIR(status.st_mode):
            copy(here, there, earlier if earlier is not None and _is_folder(earlier) else None)
        elif earlier is not None and _is_copy_of(earlier, status):
            # The older copy stays whole until the new one takes its place.
            _link_or_copy(earlier, there)
        else:
            _copy_file(here, there)

    copy(source, temp, older)


def _copy_file(source: Path, target: Path) -> None:
    with _caller_can_read(source):
        reading = source.open("rb")
    with reading:
        before = os.fstat(reading.fileno())
        with target.open("xb") as writing:
            _copy_bytes(reading.fileno(), writing.fileno(), before.st_size)
        after = os.fstat(reading.fileno())
        if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            logger.warning(
                "'%s' changed while it was being copied: the copy may be a state between two. "
                "Log the artifact when nothing writes to it.",
                source,
            )
            return
    # The time tells a later call that this is the copy of the same content.
    os.utime(target, ns=(before.st_atime_ns, before.st_mtime_ns))
    target.chmod(stat.S_IMODE(before.st_mode) | stat.S_IWUSR)


def _copy_bytes(source: int, target: int, size: int) -> None:
    """Lets the kernel clone the bytes where the file system can, else copy them itself."""
    done = 0
    with contextlib.suppress(AttributeError, OSError):
        while count := os.copy_file_range(source, target, _PIECE):
            done += count
    if done < size:
        # Another file system, or none that can: what is there so far is written again.
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(target, 0, os.SEEK_SET)
        os.truncate(target, 0)
        with open(source, "rb", closefd=False) as src, open(target, "wb", closefd=False) as out:
            shutil.copyfileobj(src, out, 1 << 20)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        _copy_file(source, target)


def _is_copy_of(copy: Path, source: os.stat_result) -> bool:
    """Whether the file at `copy` was made of what `source` is the status of, and both stand."""
    try:
        mine = copy.lstat()
    except OSError:
        return False
    return (
        stat.S_ISREG(mine.st_mode)
        and mine.st_size == source.st_size
        and mine.st_mtime_ns == source.st_mtime_ns
        and source.st_ctime_ns + _TICK < mine.st_ctime_ns
    )


def _is_copy_of_folder(copy: Path, source: Path) -> bool:
    """As `_is_copy_of`, for every file below, with none too many and none too few."""
    if not _is_folder(copy):
        return False
    with _caller_can_read(source), os.scandir(source) as entries:
        theirs = {entry.name: entry for entry in entries}
    with os.scandir(copy) as entries:
        if {entry.name for entry in entries} != theirs.keys():
            return False
    for name, entry in theirs.items():
        try:
            status = entry.stat()
        except OSError:
            return False
        if not stat.S_ISDIR(status.st_mode):
            if not _is_copy_of(copy / name, status):
                return False
        elif entry.is_symlink() or not _is_copy_of_folder(copy / name, Path(entry.path)):
            # A link to a folder may lead in a circle; copying notices that.
            return False
    return True


@contextlib.contextmanager
def _caller_can_read(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise ArtifactError(
            f"Cannot read '{path}': {error.strerror}. Give yourself the right to."
        ) from error


# -- replacing -----------------------------------------------------------------------------------


def _swap_in(temp: Path, target: Path) -> None:
    old = temp.with_name(temp.name.removesuffix(".dvclive-tmp") + "0.dvclive-tmp")
    try:
        with contextlib.suppress(FileNotFoundError):
            target.replace(old)
        try:
            temp.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                old.replace(target)
            raise
    finally:
        _remove(old)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove_if_folder(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)


def _remove(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _sweep(folder: Path) -> None:
    """Removes half-made copies of processes that are dead."""
    with os.scandir(folder) as entries:
        dead = [
            Path(entry.path)
            for entry in entries
            if (match := _TEMP.match(entry.name)) and not files.process_alive(int(match["pid"]))
        ]
    for path in dead:
        _remove(path)
