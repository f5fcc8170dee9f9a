"""What the report is told of a run, beside what it reads from the run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from ..backend import Entries, Outcome, Run


@dataclass(frozen=True)
class Facts:
    """What a run is and how far it came.

    run:     its name, baseline and mode.
    entries: what it logged; the plots carry how they are to be drawn.
    started: when it began (UTC).
    step:    the present step; None before the first.
    outcome: how it ended; None while it goes on.
    ended:   when; None where that is now.
    """

    run: Run
    entries: Entries
    started: datetime
    step: int | None
    outcome: Outcome | None
    ended: datetime | None = None
