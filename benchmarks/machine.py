"""The machine a table was made on, in words that anyone may read: no names of hosts or people."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

_PUBLIC = ("dvclive", "dvc", "mlflow", "wandb", "trackio", "tensorboard")
_OURS = ("dvc", "dvc-data", "pygit2", "pillow")
_ASK = """
import sys
from importlib.metadata import version, PackageNotFoundError
for name in sys.argv[1:]:
    try: print(name, version(name))
    except PackageNotFoundError: pass
"""


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    for line in text.splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return ""
    return f", {size / 2**30:.0f} GB of memory"


def _system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    return f"{name}, kernel {platform.release().partition('-')[0]}"


def _versions(python: Path, names: tuple[str, ...]) -> str:
    done = subprocess.run([python, "-c", _ASK, *names], text=True, capture_output=True, check=True)
    return ", ".join(done.stdout.split("\n")).rstrip(", ")


def described(ours: Path, public: Path) -> str:
    """One paragraph of Markdown."""
    git = subprocess.run(["git", "--version"], text=True, capture_output=True, check=True).stdout
    return (
        f"{_cpu()}, {os.cpu_count()} cores{_memory()}; {_system()}; "
        f"Python {platform.python_version()}, {git.strip()}, {_versions(ours, _OURS)}. "
        f"Compared with: {_versions(public, _PUBLIC)}."
    )
