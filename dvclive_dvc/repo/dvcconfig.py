"""DVC's own settings, read from its files and variables without importing DVC."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_TRUE = {"true", "yes", "y", "1", "on"}


def value(dvc_root: Path, section: str, option: str) -> str | None:
    """What DVC's configuration says: the last of system, global, project and local file."""
    return _said(dvc_root, section, option)[0]


def cache_folder(dvc_root: Path) -> str | None:
    """Where DVC's cache is; None where that is a place of the user's that is not there now."""
    found, file = _said(dvc_root, "cache", "dir")
    if not found:
        return str(dvc_root / ".dvc" / "cache")
    # dvc/config.py, Config._load_paths: relative to the file that says it.
    path = os.path.join(file.parent, os.path.expanduser(found))  # noqa: PTH111, PTH118
    return path if os.path.isdir(path) else None  # noqa: PTH112


def _said(dvc_root: Path, section: str, option: str) -> tuple[str | None, Path]:
    """A value, and the file that has it."""
    found, by = None, Path()
    for file in _files(dvc_root):
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        if option not in text.lower():
            continue  # mostly so, and the parser's import takes as long as writing the commit
        import configparser

        parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
        try:
            parser.read_string(text)
        except (ValueError, configparser.Error):
            continue
        if parser.has_option(section, option):
            found, by = parser.get(section, option), file
    return (_unquoted(found) if found else found), by


def _unquoted(text: str) -> str:
    """A value as DVC's parser (configobj) reads it: a comment ends it, quotes protect a `#`."""
    quoted = re.match(r"""(["'])(.*?)\1\s*(#|$)""", text)
    return quoted[2] if quoted else text.partition("#")[0].strip()


def _files(dvc_root: Path) -> Iterator[Path]:
    # dvc/config.py, Config.LEVELS and dvc/dirs.py; platformdirs' folders on Linux.
    # Path.home() raises for a user without one, as in a container.
    home = Path(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"))  # noqa: PTH111
    system = os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep)[0]
    yield Path(os.environ.get("DVC_SYSTEM_CONFIG_DIR") or Path(system, "dvc")) / "config"
    yield Path(os.environ.get("DVC_GLOBAL_CONFIG_DIR") or home / "dvc") / "config"
    yield dvc_root / ".dvc" / "config"
    yield dvc_root / ".dvc" / "config.local"


def is_on(text: str | None) -> bool:
    """How DVC reads a switch (dvc/utils/__init__.py, env2bool; its config's own booleans)."""
    return bool(text) and str(text).lower() in _TRUE


def auto_push(dvc_root: Path, environ: Mapping[str, str]) -> bool:
    """Whether experiments are to be pushed as soon as they are saved."""
    given = environ.get("DVC_EXP_AUTO_PUSH")
    if given is not None:
        # dvc/utils/__init__.py, env2bool.
        return bool(re.search("1|y|yes|true", given, re.IGNORECASE))
    return is_on(value(dvc_root, "exp", "auto_push"))


def git_remote(dvc_root: Path, environ: Mapping[str, str]) -> str:
    """The Git remote that experiments are pushed to."""
    return environ.get("DVC_EXP_GIT_REMOTE") or value(dvc_root, "exp", "git_remote") or "origin"


def state_folder(dvc_root: Path) -> Path:
    """Where DVC keeps its databases about the project (dvc/repo/__init__.py, site_cache_dir)."""
    import getpass
    import hashlib

    base = os.environ.get("DVC_SITE_CACHE_DIR") or value(dvc_root, "core", "site_cache_dir")
    root = str(dvc_root)
    try:
        born: float | None = (dvc_root / ".dvc" / "tmp" / "btime").stat().st_mtime
    except OSError:
        born = None
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = ""
    facts = (root, None, born, user, _dvc_major(), 0)
    token = hashlib.md5(str(facts).encode(), usedforsecurity=False).hexdigest()
    return Path(base or "/var/tmp/dvc") / "repo" / token  # noqa: S108 - DVC's own place


def _dvc_major() -> int:
    import importlib.util

    spec = importlib.util.find_spec("dvc")
    folder = (spec.submodule_search_locations or [""])[0] if spec else ""
    try:
        match = re.search(r"version = ['\"](\d+)", Path(folder, "_version.py").read_text("utf-8"))
    except OSError:
        match = None
    return int(match[1]) if match else 3
