"""What could not be written: one warning a file when it begins, one count when the run ends."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING

from .notices import logger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Losses:
    """Swallows failed writes (disk full, permission) so that the training goes on."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @contextlib.contextmanager
    def forgiven(self, path: Path) -> Iterator[None]:
        """Turns an OSError of the block into a warning about `path`, the first time."""
        try:
            yield
        except OSError as error:
            self.note(path, error)

    def note(self, path: Path, error: OSError) -> None:
        """Counts one write to `path` that failed."""
        if not self._counts[str(path)]:
            logger.warning(
                "Cannot write '%s': %s. The training goes on; what was written before is "
                "still there.",
                path,
                error.strerror or error,
            )
        self._counts[str(path)] += 1

    def tell(self) -> None:
        """Says how much was lost, when anything was."""
        if self._counts:
            logger.warning(
                "%d writes failed during this run, in %d files: %s. Make room or mend the "
                "permissions before the next run.",
                self._counts.total(),
                len(self._counts),
                ", ".join(sorted(self._counts)[:5]),
            )
            self._counts.clear()
