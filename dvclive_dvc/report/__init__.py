"""The report: when it is drawn, in which form, and that drawing it never ends a training."""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
import sys
import time
from typing import TYPE_CHECKING

from .. import dvcyaml, files
from ..backend import Entries, Plot
from ..errors import InvalidReportModeError
from ..layout import DRAWN_BY
from ..notices import logger
from .facts import Facts
from .reading import Reader, last_step

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..backend import Outcome, Run
    from ..layout import Layout
    from .markdown import Document
    from .notebook import Display

__all__ = ["Facts", "Reporter", "last_step", "redraw", "resolve_mode"]

# A build may take this share of the run at most: one part in twenty of the time between builds.
_PAUSE = 20
# A loop that is over before anybody could open its report is drawn once, at its end.
_AT_FIRST = 0.5  # seconds
_opened: set[str] = set()


def resolve_mode(report: object) -> str | None:
    """The form of the report: "html", "md", "notebook", or None for none.

    "auto" is the notebook's own display inside a notebook and HTML everywhere else. "notebook"
    where there is none is warned about and off.

    Raises InvalidReportModeError for anything else.
    """
    if report is None or report is False:
        return None
    if report == "auto":
        return "notebook" if _inside_notebook() else "html"
    if not isinstance(report, str) or report not in {"html", "md", "notebook"}:
        raise InvalidReportModeError(report)
    if report == "notebook" and not _inside_notebook():
        logger.warning(
            "report='notebook' has nothing to draw in outside a notebook, so there is no report. "
            "Use report='html', or 'auto' for whichever fits."
        )
        return None
    return report


def _inside_notebook() -> bool:
    # Where IPython is not loaded nobody is in a notebook; a terminal's IPython has no kernel.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


class Reporter:
    """Draws one run's report, seldom enough that the run does not feel it.

    `opens` shows an HTML report in the user's browser once it is drawn.
    """

    def __init__(self, layout: Layout, mode: str | None, *, opens: bool = False) -> None:
        self.mode = mode
        self._opens = opens
        self._layout = layout
        self._pid = os.getpid()
        self._reader = Reader(layout)
        self._warned = False
        self._display: Display | None = None
        self._document: Document | None = None
        self._next = time.monotonic() + _AT_FIRST if mode else math.inf
        if mode == "notebook":
            from .notebook import Display

            self._display = Display()
            self._next = -math.inf  # there somebody looks on

    def due(self) -> bool:
        """Whether it is time for a build: 20 times as long ago as the last one took."""
        return time.monotonic() >= self._next

    def build(self, facts: Facts) -> None:
        """Draws the report of what is on disk now; trouble of any kind is one warning."""
        # A forked child has inherited this object, but the report is its parent's.
        if self.mode is None or os.getpid() != self._pid:
            return
        begun = time.monotonic()
        try:
            self.draw(facts)
        except Exception as error:  # noqa: BLE001 - a training must not die of its report
            if not self._warned:
                logger.warning(
                    "Cannot draw the report: %s: %s. The training goes on; all that was logged is "
                    "in '%s'.",
                    type(error).__name__,
                    error,
                    self._layout.given,
                )
            self._warned = True
        took = time.monotonic() - begun
        self._next = time.monotonic() + _PAUSE * took

    def draw(self, facts: Facts) -> None:
        """Draws the report of what is on disk now; raises what keeps it from that."""
        page = self._reader.read(facts)
        if self._display is not None:
            self._display.update(page)
            return
        if self.mode == "md":
            if self._document is None:
                from .markdown import Document

                self._document = Document(self._layout)
            self._document.write(page)
            return
        from . import html

        path = self._layout.report_file("html")
        files.replace(path, html.drawn(page))
        if self._opens and str(path) not in _opened:
            import webbrowser

            _opened.add(str(path))
            webbrowser.open(path.as_uri())


def redraw(layout: Layout, run: Run, started: datetime.datetime, outcome: Outcome) -> None:
    """Draws the report that a dead run left once more, with how the run ended; never raises.

    What it left says that it goes on. Left alone is a file that is no report of ours. A plot of
    which no dvc.yaml says how to draw it is drawn as DVC draws such: a line over its rows.
    """
    try:
        modes = [mode for mode in ("html", "md") if _is_ours(layout.report_file(mode))]
        if not modes:
            return
        last = max(path.stat().st_mtime for path in _written(layout, modes))
        ended = datetime.datetime.fromtimestamp(last, datetime.timezone.utc)
        facts = Facts(run, _entries(layout), started, last_step(layout), outcome, ended)
        for mode in modes:
            Reporter(layout, mode).draw(facts)
            # Should saving fail, the next recovery must see when the run ended, not this one.
            os.utime(layout.report_file(mode), (last, last))
    except Exception as error:  # noqa: BLE001 - the run is saved all the same
        logger.warning(
            "The report in '%s' still says that the run goes on: it cannot be drawn anew (%s: %s).",
            layout.given,
            type(error).__name__,
            error,
        )


def _entries(layout: Layout) -> Entries:
    described = dvcyaml.read_entries(layout) if layout.dvcyaml_on else Entries()
    known = {plot.path for plot in described.plots}
    others = (Plot(path) for path in sorted(_plots(layout)) if path not in known)
    return dataclasses.replace(described, plots=(*described.plots, *others))


def _is_ours(report: Path) -> bool:
    return report.is_file() and DRAWN_BY.encode() in report.read_bytes()


def _plots(layout: Layout) -> Iterator[Path]:
    for folder in (layout.custom_dir, layout.sklearn_dir):
        yield from folder.rglob("*.json")


def _written(layout: Layout, modes: list[str]) -> Iterator[Path]:
    """What a run writes all the time it goes on."""
    yield from map(layout.report_file, modes)
    yield from layout.metrics_dir.rglob("*.tsv")
