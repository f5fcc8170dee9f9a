"""What is dear to make and the same for every run, kept in the user's cache folder."""

from __future__ import annotations

import contextlib
import os
import sys
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_OUT_OF_USE = 60 * 24 * 3600


def folder() -> Path:
    """Where it is kept: `DVCLIVE_DVC_CACHE`, else `dvclive_dvc` in the system's cache folder."""
    environ = os.environ
    if given := environ.get("DVCLIVE_DVC_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        base = environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "dvclive_dvc")


def kept(name: str, made_from: Sequence[Path], make: Callable[[], bytes]) -> bytes:
    """The bytes that `make` gives, made once for each state of the files `made_from`.

    A cache that cannot be read or written costs time alone.
    """
    stats = [path.stat() for path in made_from]
    stamp = repr([(stat.st_size, stat.st_mtime_ns) for stat in stats])
    stem, _, ending = name.rpartition(".")
    try:
        path = folder() / f"{stem}-{zlib.crc32(stamp.encode()):08x}.{ending}"
    except RuntimeError:  # a user without a home folder, as in a container
        return make()
    with contextlib.suppress(OSError):
        return path.read_bytes()
    data = make()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        files.replace(path, data)
        # Another environment's may be of other versions, so only what is long out of use goes.
        for old in path.parent.glob(f"{stem}-*.{ending}"):
            if old != path and time.time() - old.stat().st_mtime > _OUT_OF_USE:
                old.unlink()
    return data
