"""The backend of a run outside any repository: nothing is cached, nothing is saved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import dvcyaml
from .backend import Entries, Outcome, Request, Run, Tracked
from .errors import ArtifactNotFoundError
from .layout import resolved
from .notices import logger

if TYPE_CHECKING:
    from pathlib import Path

    from .layout import Layout


class NullBackend:
    """Fulfils the `Backend` protocol where there is no Git repository.

    `why` is the sentence that tells the user what is missing and how to change it; it is said
    once, when the run begins and experiments were asked for.
    """

    def __init__(self, why: str = "") -> None:
        self.run = Run()
        self._why = why
        self._writer: dvcyaml.Writer | None = None

    def begin(self, layout: Layout, request: Request) -> None:
        """Takes the wished name as it is and says that nothing will be saved."""
        self._writer = dvcyaml.Writer(layout, resume=request.resume)
        self._writer.check()
        self.run = Run(name=request.name)
        if request.save and self._why:
            logger.warning("%s", self._why)

    def track(self, path: Path, *, cache: bool = True) -> Tracked:
        """Checks that `path` exists; nothing can be cached."""
        if not path.exists():
            raise ArtifactNotFoundError(
                f"Artifact '{path}' does not exist. Write it before it is logged."
            )
        if cache:
            logger.warning(
                "Artifact '%s' is not cached: there is no DVC repository here. "
                "Run `git init && dvc init` to have one.",
                path,
            )
        return Tracked(resolved(path))

    def describe(self, entries: Entries) -> None:
        """Merges the entries into the run's dvc.yaml, as every backend does."""
        if self._writer is not None:
            self._writer.write(entries)

    def step(self, step: int) -> None:
        """Nobody watches."""

    def save(self, outcome: Outcome) -> str | None:  # noqa: ARG002 - the protocol's argument
        """Nothing to save into."""
        return None

    def close(self, outcome: Outcome | None = None) -> None:
        """Nothing is held."""
