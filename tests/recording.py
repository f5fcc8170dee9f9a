"""A backend that lives in memory: artifacts, steps and experiments are kept in lists and dicts.

It keeps the whole contract of `dvclive_dvc.backend.Backend`, so that the logger can be tested
against a repository half without Git, and so that the contract is shown to ask for neither Git
nor DVC. Only the run's dvc.yaml is a file, since that is the logger's own output.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from dvclive_dvc import dvcyaml
from dvclive_dvc.backend import Entries, Mode, Outcome, Request, Run, Tracked
from dvclive_dvc.errors import ArtifactNotFoundError
from dvclive_dvc.layout import resolved

if TYPE_CHECKING:
    from pathlib import Path

    from dvclive_dvc.layout import Layout


class RecordingBackend:
    """Fulfils the `Backend` protocol in memory and remembers what it was told.

    objects:     path -> md5 of the content of every artifact that was cached.
    described:   the entries of each `describe`, in order.
    steps:       each step that was told, in order.
    experiments: hash -> outcome of each saved run.
    """

    def __init__(self, mode: Mode = Mode.STANDALONE) -> None:
        self.run = Run(mode=mode)
        self.objects: dict[Path, str] = {}
        self.described: list[Entries] = []
        self.steps: list[int] = []
        self.experiments: dict[str, Outcome] = {}
        self.closed = False
        self._lock = threading.Lock()
        self._writer: dvcyaml.Writer | None = None

    def begin(self, layout: Layout, request: Request) -> None:
        self._writer = dvcyaml.Writer(layout, resume=request.resume)
        self._writer.check()
        self.run = Run(
            name=request.name or "in-memory",
            baseline="0" * 40,
            mode=self.run.mode,
            saves=request.save and self.run.mode is Mode.STANDALONE,
        )

    def track(self, path: Path, *, cache: bool = True) -> Tracked:
        if not path.exists():
            raise ArtifactNotFoundError(f"'{path}' does not exist. Write it before it is logged.")
        if cache:
            files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
            digest = hashlib.md5()
            for file in files:
                digest.update(file.read_bytes())
            self.objects[path] = digest.hexdigest()
        return Tracked(resolved(path))

    def describe(self, entries: Entries) -> None:
        self.described.append(entries)
        if self._writer is not None:
            self._writer.write(entries)

    def step(self, step: int) -> None:
        with self._lock:
            self.steps.append(step)

    def save(self, outcome: Outcome) -> str | None:
        if not self.run.saves:
            return None
        seed = f"{self.run.name} {len(self.experiments)}".encode()
        commit = hashlib.sha1(seed).hexdigest()
        self.experiments[commit] = outcome
        return commit

    def close(self, outcome: Outcome | None = None) -> None:
        self.closed = True
