"""`report.html`: one file that opens from disk, asks for nothing, and draws the whole run."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .page import Page


def drawn(page: Page) -> bytes:
    """The file's bytes."""
    rows = "".join(f"<tr><th>{escape(a)}<td>{escape(b)}" for a, b in page.metrics + page.params)
    return f"<!doctype html><title>{escape(page.name)}</title><table>{rows}</table>".encode()
