"""`report.md`: the run as GitHub and CML show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import files

if TYPE_CHECKING:
    from ..layout import Layout
    from .page import Page


def write(layout: Layout, page: Page) -> None:
    """Replaces the file."""
    rows = "".join(f"| {a} | {b} |\n" for a, b in page.metrics + page.params)
    text = f"# {page.name}\n\n| | |\n|---|---|\n{rows}"
    files.replace(layout.report_file("md"), text.encode("utf-8", "surrogatepass"))
