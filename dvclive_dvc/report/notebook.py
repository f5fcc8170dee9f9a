"""The report inside a notebook: one output, updated in place, as plain drawings."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING

from .notes import of_chart
from .svg import line_chart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .page import Page

# An output is kept in the notebook's file: it has to stay small.
_MOST_CHARTS = 60
_MOST_BYTES = 1_500_000
_STYLE = """\
.dvclive-run{font:13px/1.45 system-ui,sans-serif;max-width:1100px}
.dvclive-run h3{margin:0 0 4px;font-size:16px}.dvclive-run p{margin:0 0 12px;opacity:.75}
.dvclive-run .tables,.dvclive-run .plots{display:grid;gap:12px 18px;margin-bottom:14px;\
grid-template-columns:repeat(auto-fill,minmax(290px,1fr));align-items:start}
.dvclive-run table{border-collapse:collapse;width:100%;margin:0;font-variant-numeric:tabular-nums}
.dvclive-run th,.dvclive-run td{text-align:left!important;padding:3px 8px;font-weight:400;\
overflow-wrap:anywhere;border-bottom:1px solid #8883}.dvclive-run td{font-weight:600;\
min-width:8em}.dvclive-run th{min-width:6em}
.dvclive-run figure{margin:0;min-width:0}.dvclive-run figcaption{font-weight:600;\
overflow-wrap:anywhere}.dvclive-run small{opacity:.7}.dvclive-run svg{max-width:100%;height:auto}
.dvclive-run img{max-width:100%;max-height:240px}
"""


class Display:
    """The output of the cell that began the run."""

    def __init__(self) -> None:
        from IPython.display import HTML, display

        self._html = HTML
        self._handle = display(HTML(""), display_id=True)

    def update(self, page: Page) -> None:
        """Shows the page in place of the one before."""
        if self._handle is not None:
            self._handle.update(self._html(fragment(page)))


def fragment(page: Page) -> str:
    """The page as HTML that stands inside another document: no script, its own style."""
    return "".join(_parts(page)).encode("utf-8", "replace").decode("utf-8")


def _parts(page: Page) -> Iterator[str]:
    yield f'<div class="dvclive-run"><style>{_STYLE}</style><h3>{escape(page.name)}</h3><p>'
    told = [f"{page.status} {page.status_text}".strip()]
    told += [f"{label.lower()} {text}" for label, text in page.facts]
    yield escape(" \u00b7 ".join(told))
    yield "</p><div class=tables>"
    for rows in (page.metrics, page.params):
        if rows:
            yield "<table><tbody>"
            for name, value in rows:
                yield f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
            yield "</tbody></table>"
    yield "</div><div class=plots>"
    for chart in page.charts[:_MOST_CHARTS]:
        notes = escape(" ".join(of_chart(chart)))
        yield (
            f"<figure><figcaption>{escape(chart.title)}</figcaption>{line_chart(chart)}"
            f"<small>{notes}</small></figure>"
        )
    room = _MOST_BYTES
    left_out = page.images_total
    for gallery in page.galleries:
        picture = gallery.pictures[-1]
        if len(picture.data) <= room:
            room -= len(picture.data)
            left_out -= 1
            source = base64.b64encode(picture.data).decode()
            yield (
                f"<figure><figcaption>{escape(picture.name)}</figcaption>"
                f'<img alt="" src="data:image/{picture.kind};base64,{source}"></figure>'
            )
    yield "</div>"
    if left_out:
        yield f"<p>{left_out:,} more images are in the run's folder.</p>"
    if len(page.charts) > _MOST_CHARTS:
        yield f"<p>{len(page.charts) - _MOST_CHARTS:,} more plots are not shown here.</p>"
    yield "</div>"
