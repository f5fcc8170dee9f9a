"""The report inside a notebook: one output, updated in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import html

if TYPE_CHECKING:
    from .page import Page


class Display:
    """The output of the cell that began the run."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html = HTML
        self._handle = display(HTML(""), display_id=True)

    def update(self, page: Page) -> None:
        """Shows the page in place of the one before."""
        if self._handle is not None:
            self._handle.update(self._html(html.drawn(page).decode()))
