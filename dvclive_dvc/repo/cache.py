"""An artifact's path -> objects in DVC's cache, its pointer file, and its `.gitignore` line.

Does what `dvc add` does to this one path, and nothing of what `dvc add` does to the whole
repository (it reads every `.dvc` file and dvc.yaml).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import ArtifactConflictError, ArtifactError, ArtifactNotFoundError
from ..layout import DVCYAML_NAME
from . import content, listing
from . import pointer as pointers
from .gitignore import NAME as GITIGNORE
from .gitignore import GitView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .content import Hashed
    from .gitignore import Edit
    from .listing import Listing

_NAMES_OF_DVC = (".dvc", DVCYAML_NAME)
_RESERVED = frozenset({"dvc.yaml", "dvc.lock", GITIGNORE, ".dvcignore", ".gitattributes"})

# What DVC has a class for that still opens such a name as a file.
_LOCAL_SCHEMES = frozenset({"local", "git", "dvc"})


@dataclass(frozen=True)
class Added:
    """An artifact that is cached, pointed to, and ignored by Git.

    pointer:   its `.dvc` file.
    gitignore: the `.gitignore` beside it, where there is one.
    changed:   whether the pointer says something new.
    """

    path: Path
    pointer: Path
    gitignore: Path | None
    changed: bool
    hashed: Hashed


@dataclass(frozen=True)
class Seen:
    """What is at a path that may be an artifact, as it was looked at.

    status:  of the path, links followed.
    listing: the files of a folder; None for a file.
    """

    path: Path
    status: os.stat_result
    listing: Listing | None

    def pointers(self) -> list[Path]:
        """The dvc.yaml and `.dvc` files in a folder, those aside that DVC does not look at."""
        names = [] if self.listing is None else self.listing.names
        # Of thousands of files mostly none, which one look at all of the names tells.
        text = "\0".join(names) + "\0"
        if not any(f"{end}\0" in text for end in _NAMES_OF_DVC):
            return []
        found = [self.path / name for name in names if name.endswith(_NAMES_OF_DVC)]
        return [path for path in found if path.suffix == ".dvc" or path.name == DVCYAML_NAME]


class ArtifactCache:
    """Puts artifacts of one DVC repository into its cache.

    Nothing is opened before the first call. `scratch` is a folder, on the file system of the
    repository, for half-written pointer files. Safe to use from several threads.
    """

    def __init__(self, dvc_root: Path, git_root: Path, scratch: Path | None = None) -> None:
        self._root = dvc_root
        self._scratch = scratch
        self._git = GitView(git_root, scratch)
        self._opened: content.Dvc | None = None
        self._lock = threading.RLock()

    def look(self, path: Path) -> Seen:
        """What `add` would cache. Writes nothing.

        Raises `errors.ArtifactError` for a path that cannot be an artifact, OSError or
        `errors.RepositoryError` for trouble of the place.
        """
        with self._lock:
            dvc = self._dvc()
            place, status = self._checked(path, dvc)
            listing = None
            if stat.S_ISDIR(status.st_mode):
                with _translated(place):
                    listing = content.listed(place, dvc)
            return Seen(place, status, listing)

    def add(self, artifact: Path | Seen) -> Added:
        """Caches the file or folder, writes its pointer, makes Git ignore it: all or nothing.

        Raises `errors.ArtifactError` for a path that cannot be an artifact, before anything is
        written; OSError (a full disk) or `errors.RepositoryError` for trouble of the place, with
        the pointer and `.gitignore` as they were.
        """
        with self._lock:
            dvc = self._dvc()
            seen = artifact if isinstance(artifact, Seen) else self.look(artifact)
            path = seen.path
            isdir = seen.listing is not None
            pointer = path.with_name(f"{path.name}.dvc")
            if dvc.uses_git:
                self._git.check(path, pointer, isdir=isdir)
            before = _pointer_text(pointer, path.name)
            with _translated(path):
                hashed, relink = content.cache(path, seen.status, dvc, seen.listing, keep=False)
            if before is None:
                text = pointers.fresh(path.name, hashed)
            else:
                text = pointers.updated(before, path.name, hashed)
            edit = self._git.hide(path, isdir=isdir) if dvc.uses_git else None
            self._point(pointer, before, text, edit)
            relink()
            gitignore = path.parent / GITIGNORE if dvc.uses_git else None
            if gitignore is not None and not gitignore.exists():
                gitignore = None
            if dvc.autostage and dvc.uses_git:
                # As DVC: a `.gitignore` with no new line in it is the user's own matter.
                self._git.stage([pointer, *([edit.path] if edit is not None else [])])
            return Added(path, pointer, gitignore, text != before, hashed)

    def hash_into_cache(self, path: Path) -> Hashed:
        """Puts the content at `path` into the cache; pointer, `.gitignore` and `path` stay.

        For data that changed under a pointer it has already. Raises as `add` does.
        """
        with self._lock:
            dvc = self._dvc()
            status = _status(path)
            with _translated(path):
                listing = content.listed(path, dvc) if stat.S_ISDIR(status.st_mode) else None
                return content.cache(path, status, dvc, listing, keep=True)[0]

    def close(self) -> None:
        """Lets go of DVC's databases and of Git's repository; the next call opens them again."""
        with self._lock:
            opened, self._opened = self._opened, None
            if opened is not None:
                opened.repo.close()
            self._git.close()

    # -- opening -------------------------------------------------------------------------------

    def _dvc(self) -> content.Dvc:
        if self._opened is None:
            self._opened = content.open_dvc(self._root)
            self._opened.objects.sweep()
        return self._opened

    # -- which paths ---------------------------------------------------------------------------

    def _checked(self, path: Path, dvc: content.Dvc) -> tuple[Path, os.stat_result]:
        """The path below the DVC root, symbolic links above that root resolved, and its stat."""
        status = _status(path)
        parent = Path(os.path.realpath(path.parent))
        place = parent / path.name
        if not place.is_relative_to(self._root) or place == self._root:
            raise ArtifactError(
                f"Artifact '{path}' is outside of the repository '{self._root}'. Log it with "
                "copy=True to put a copy of it into the run's folder."
            )
        inside = place.relative_to(self._root)
        _refuse_inner(path, inside)
        links = path.parts[-len(inside.parts) :] != inside.parts
        if links or (path.is_symlink() and stat.S_ISDIR(status.st_mode)):
            real = os.path.realpath(path)
            raise ArtifactError(
                f"Artifact '{path}' is reached through a symbolic link, where DVC cannot track "
                f"it. Log the real path, '{real}', or use copy=True."
            )
        self._check_name(place)
        self._check_dvcignore(place, dvc)
        if os.path.lexists(place / ".dvc"):
            raise ArtifactError(
                f"Artifact '{path}' is a DVC repository of its own. Log the files of it that you "
                "want, or use copy=True."
            )
        objects = Path(dvc.objects.root)
        if objects.is_relative_to(place) or place.is_relative_to(objects):
            raise ArtifactError(f"Artifact '{path}' holds DVC's cache, or is inside it.")
        return place, status

    def _check_name(self, path: Path) -> None:
        name = path.name
        if name.endswith(".dvc") or name in _RESERVED:
            raise ArtifactError(
                f"'{path}' has a name that Git or DVC read themselves, so it cannot be an "
                "artifact. Rename it."
            )
        if ":" in name and _is_url(name):
            raise ArtifactError(
                f"Artifact name '{name}' reads as the URL of a remote storage to DVC, which none "
                "of its commands would survive. Rename it."
            )
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise ArtifactError(
                f"Artifact name {name!r} is not UTF-8, as .dvc files have to be. Rename it."
            ) from error
        pointers.check_name(name)

    def _check_dvcignore(self, path: Path, dvc: content.Dvc) -> None:
        rule = dvc.ignore.rule(path)
        if rule is not None:
            raise ArtifactError(
                f"Artifact '{path}' is ignored by DVC ({rule}). Change that rule, or log the "
                "artifact with copy=True."
            )

    # -- pointer -------------------------------------------------------------------------------

    def _point(self, pointer: Path, before: str | None, text: str, edit: Edit | None) -> None:
        try:
            if text != before:
                files.replace(pointer, text.encode(), scratch=self._scratch)
        except BaseException:
            if edit is not None:
                edit.undo(self._scratch)
            raise


def _is_url(name: str) -> bool:
    """Whether DVC would look for an output of this name elsewhere (dvc.fs, `get_cloud_fs`)."""
    from urllib.parse import urlparse

    from dvc.fs import registry

    scheme = urlparse(name).scheme
    return scheme == "remote" or scheme in set(registry) - _LOCAL_SCHEMES


def check_described(path: Path, root: Path) -> None:
    """Raises ArtifactError for what cannot be an artifact even when it is not cached."""
    _status(path)
    _refuse_inner(path, (Path(os.path.realpath(path.parent)) / path.name).relative_to(root))


def _refuse_inner(path: Path, inside: Path) -> None:
    if ".git" in inside.parts or ".dvc" in inside.parts:
        raise ArtifactError(
            f"Artifact '{path}' is inside a folder of Git's or DVC's own. Log it with "
            "copy=True, or write it elsewhere."
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
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ArtifactError(
                f"Artifact '{path}' is a symbolic link that leads to itself. Remove it."
            ) from error
        raise ArtifactError(f"Cannot look at artifact '{path}': {error.strerror}.") from error
    if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
        raise ArtifactError(
            f"Artifact '{path}' is {listing.kind_of(status.st_mode)}. Only files and folders "
            "can be cached."
        )
    return status


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """A file of the user's that cannot be read is the caller's matter; a full disk is not."""
    try:
        yield
    except PermissionError as error:
        name = os.fspath(error.filename or "")
        if name and Path(name).is_relative_to(path):
            raise ArtifactError(
                f"Cannot read '{name}' of artifact '{path}': {error.strerror}. Give yourself the "
                "right to."
            ) from error
        raise


def _pointer_text(pointer: Path, name: str) -> str | None:
    try:
        text = pointer.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (IsADirectoryError, UnicodeDecodeError) as error:
        raise ArtifactConflictError(
            f"'{pointer}' exists and is not a .dvc file. Rename it before the artifact is logged."
        ) from error
    pointers.check(text, name)
    return text
