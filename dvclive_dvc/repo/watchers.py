"""The signal files by which editors (DVC's VS Code extension) follow a run.

Both lie in `.dvc/tmp/exps/run/` of the project that is watched, as JSON with sorted keys:

    DVCLIVE_ONLY            {"exp_name": ..., "pid": ...} while a run outside a pipeline goes on
    DVCLIVE_STEP_COMPLETED  {"pid": ..., "step": ...} with the step just completed
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..notices import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(".dvc", "tmp", "exps", "run")


class Watchers:
    """Tells those who watch the project at `root`; nobody where it is None. Never raises."""

    def __init__(self, root: Path | None) -> None:
        folder = root / FOLDER if root is not None else None
        self._pid = os.getpid()
        self._only = _Signal(folder / "DVCLIVE_ONLY") if folder else None
        self._step = _Signal(folder / "DVCLIVE_STEP_COMPLETED") if folder else None
        self._only_text: bytes | None = None

    def begin(self, exp_name: str | None, *, saves: bool) -> None:
        """Removes what a dead process left; says that a run goes on, where it will be saved."""
        with _forgiven():
            for signal in (self._only, self._step):
                if signal is not None:
                    signal.remove_if_stale()
            if saves and self._only is not None:
                self._only_text = _text({"exp_name": exp_name, "pid": self._pid})
                self._only.write(self._only_text)

    def step(self, step: int) -> None:
        """Says that `step` is complete."""
        if self._step is None:
            return
        with _forgiven():
            self._step.write(_text({"pid": self._pid, "step": step}))
            if self._only is not None and self._only_text is not None and self._only.is_gone():
                # Another run's signal took the place of ours, and that run has ended.
                self._only.write(self._only_text)

    def close(self) -> None:
        """Removes the signals that are still this run's."""
        for signal in (self._only, self._step):
            if signal is not None:
                with _forgiven():
                    signal.close()


@contextlib.contextmanager
def _forgiven() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Only an editor's display suffers; the user need not hear of it.
        logger.debug("signal file: %s", error)


def _text(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")


class _Signal:
    """One small file that several runs may write, each removing no more than its own word."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._last: bytes | None = None

    def write(self, text: bytes) -> None:
        """Puts `text` into the file; a reader sees JSON at any moment.

        Replacing a file costs 100 us and more on ext4, as much as writing the summary does.
        One write over as many bytes costs 2 us, and what it changes is digits; so that is
        done wherever the length is the same, and a replacement only where it is not.
        """
        if not (self._overwrite(text) or (self._open() and self._overwrite(text))):
            with contextlib.suppress(FileNotFoundError):
                self._replace(text)
                self._last = text
                return
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(text)
        self._last = text

    def _overwrite(self, text: bytes) -> bool:
        if self._fd is None:
            return False
        there = os.fstat(self._fd)
        if there.st_nlink == 0 or there.st_size != len(text):
            return False
        return os.pwrite(self._fd, text, 0) == len(text)

    def _open(self) -> bool:
        self._let_go()
        # Windows has no pwrite, and lets nobody replace or remove a file that is open.
        if not hasattr(os, "pwrite") or self._last is None:
            return False
        with contextlib.suppress(OSError):
            self._fd = os.open(self._path, os.O_WRONLY)
        return self._fd is not None

    def _replace(self, text: bytes) -> None:
        self._let_go()
        files.replace(self._path, text)

    def _let_go(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def is_gone(self) -> bool:
        return not self._path.exists()

    def remove_if_stale(self) -> None:
        """Removes the file of a process that is dead, or that is no signal at all."""
        try:
            content = json.loads(self._path.read_bytes())
            stale = not files.process_alive(int(content["pid"]))
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            stale = True
        if stale:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Removes the file if it says what was written here last."""
        self._let_go()
        with contextlib.suppress(FileNotFoundError):
            if self._last is not None and self._path.read_bytes() == self._last:
                self._path.unlink()
        self._last = None
