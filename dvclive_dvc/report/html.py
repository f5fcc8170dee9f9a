"""`report.html`: one file that opens from disk, asks for nothing, and draws the whole run."""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import json
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..layout import DRAWN_BY
from . import templates, vega
from .notes import of_chart
from .page import group_of
from .svg import COLORS, line_chart
from .wording import short

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .page import Chart, Gallery, Page, Picture

_ASSETS = Path(__file__).with_name("assets")
_LONGEST_NUMBER = 13  # characters that a phone has room for on one line
_ROW = 3  # plots that stand side by side on a usual screen
_SMALL = 64  # pixels: smaller pictures are shown with their pixels as squares


def drawn(page: Page) -> bytes:
    """The file's bytes."""
    script = vega.script() if page.charts else None
    charts, specs, notes = _described(page)
    scripts = [part for part in (script, _asset("report.js")) if part]
    data = {
        "charts": charts,
        "specs": specs,
        "series": templates.SERIES,
        "several": templates.SEVERAL,
        "colors": COLORS,
    }
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(scripts)}">\n',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
        '<meta name="color-scheme" content="light dark">\n',
        f"<title>{escape(page.name)} \u00b7 {escape(page.status)}</title>\n<style>\n",
        _asset("report.css").decode("utf-8"),
        "</style>\n</head>\n<body>\n",
        *_bar(page),
        "<main>\n",
        *_overview(page, with_plots=script is not None),
        *_plots(page, with_plots=script is not None),
        *_images(page),
        *_artifacts(page),
        "</main>\n",
        *_footer(page, notes),
        '<div id="tip" role="status" hidden></div>\n',
        '<dialog id="large"><img alt=""><p></p></dialog>\n',
        f'<script type="application/json" id="page-data">{_embedded(data)}</script>\n',
    ]
    body = "".join(parts).encode("utf-8", "replace")
    ends = [part for text in scripts for part in (b"<script>", text, b"</script>\n")]
    return b"".join([body, *ends, b"</body>\n</html>\n"])


@functools.cache
def _asset(name: str) -> bytes:
    return (_ASSETS / name).read_bytes()


@functools.cache
def _hash(script: bytes) -> str:
    digest = hashlib.sha256(script).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _policy(scripts: list[bytes]) -> str:
    """What the page may do: run these scripts and show what it holds; nothing is loaded.

    Vega makes functions of its expressions, hence 'unsafe-eval'; no script but ours can start.
    """
    hashes = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _embedded(data: Any) -> str:
    """JSON that cannot end the element it stands in, in ASCII alone."""
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# -- data of the plots -------------------------------------------------------------------------


def _described(page: Page) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """The charts as report.js reads them, the specs they share, and what did not work out."""
    specs: list[dict[str, Any]] = []
    numbers: dict[int, int] = {}
    charts, notes = [], []
    for chart in page.charts:
        ys = tuple(templates.field_name(y) for y in chart.ys)
        try:
            spec = templates.spec(chart.template, ys, page.templates)
        except (ValueError, OSError) as error:
            notes.append(
                f"{chart.title} is drawn with the template 'linear', since "
                f"'{chart.template}' cannot be used: {str(error).rstrip('.')}."
            )
            spec = templates.spec("linear", ys, None)
        if id(spec) not in numbers:
            numbers[id(spec)] = len(specs)
            specs.append(spec)
        charts.append(
            {
                "s": numbers[id(spec)],
                "t": chart.title,
                "x": templates.field_name(chart.x),
                "y": ys,
                "xl": templates.label(chart.x_label),
                "yl": templates.label(chart.y_label),
                "c": [_column(chart.columns[name]) for name in (chart.x, *chart.ys)],
                "n": chart.counts,
                "gaps": chart.counts is None,
                "holes": chart.holes[:500],
                "h": _height(chart),
                "ticks": chart.ticks,
            }
        )
    return charts, specs, notes


def _column(values: Sequence[Any]) -> Any:
    """A column for report.js: steps one after another are told by the first and their number."""
    return [values.start, len(values)] if isinstance(values, range) else {"v": values}


def _height(chart: Chart) -> int:
    if chart.template.startswith("bar_horizontal"):
        return min(900, max(290, 24 * len(set(chart.columns[chart.ys[0]])) + 60))
    return 230 if chart.is_metric else 290


# -- the parts of the page ---------------------------------------------------------------------


def _bar(page: Page) -> Iterator[str]:
    links = [("overview", "Overview")]
    if any(chart.is_metric for chart in page.charts):
        links.append(("metrics", "Metrics"))
    if any(not chart.is_metric for chart in page.charts):
        links.append(("plots", "Plots"))
    if page.galleries:
        links.append(("images", "Images"))
    if page.artifacts:
        links.append(("artifacts", "Artifacts"))
    nav = "".join(f'<a href="#{target}">{text}</a>' for target, text in links)
    yield (
        f'<header class="bar"><div><h1>{escape(page.name)}</h1>'
        f'<span class="status {page.status}">{escape(page.status)}</span>'
        f"<nav>{nav if len(links) > 1 else ''}</nav></div></header>\n"
    )


def _overview(page: Page, *, with_plots: bool) -> Iterator[str]:
    yield '<section id="overview">\n<dl class="facts">'
    for label, text in page.facts:
        kind = ' class="code"' if label in {"Baseline", "Folder"} else ""
        yield f"<div><dt>{escape(label)}</dt><dd{kind}>{escape(text)}</dd></div>"
    yield "</dl>\n"
    if page.status_text:
        told = f"{page.status.capitalize()}: {page.status_text}"
        yield f'<p class="ended {page.status}">{escape(told)}</p>\n'
    if page.charts and not with_plots:
        yield (
            '<p class="hint">Plain drawings stand in for the interactive plots. For DVC\u2019s '
            "plots, which need no network either: "
            "<code>pip install 'dvclive_dvc[report]'</code> and run again.</p>\n"
        )
    if page.metrics or page.params:
        yield '<div class="tables">\n'
        if page.metrics:
            yield from _metrics_table(page)
        if page.params:
            yield '<div class="card table"><h3>Parameters</h3><div class="scroll">'
            yield '<table class="pairs"><tbody>'
            for name, value in page.params:
                yield f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
            yield "</tbody></table></div></div>\n"
        yield "</div>\n"
    yield "</section>\n"


def _metrics_table(page: Page) -> Iterator[str]:
    extremes = {chart.title: chart.extremes() for chart in page.charts if chart.is_metric}
    yield (
        '<div class="card table"><h3>Summary</h3><div class="scroll">'
        '<table class="values"><thead><tr>'
        '<th>Metric</th><th class="number">Last</th><th class="number wide">Lowest</th>'
        '<th class="number wide">Highest</th></tr></thead><tbody>'
    )
    for name, value in page.metrics:
        low, high = extremes.get(name) or (None, None)
        kind = "number" if len(value) <= _LONGEST_NUMBER else "number long"
        yield f'<tr><th>{escape(name)}</th><td class="{kind}">{escape(value)}</td>'
        for found in (low, high):
            text = ""
            if found is not None:
                step, number = found
                text = f"{escape(short(number))}<small>step {step:,}</small>"
            yield f'<td class="number wide">{text}</td>'
        yield "</tr>"
    yield "</tbody></table></div></div>\n"


def _plots(page: Page, *, with_plots: bool) -> Iterator[str]:
    metrics = [(i, chart) for i, chart in enumerate(page.charts) if chart.is_metric]
    others = [(i, chart) for i, chart in enumerate(page.charts) if not chart.is_metric]
    if metrics:
        yield (
            '<section id="metrics">\n<div class="head">'
            f"<h2>Metrics <small>{len(metrics):,}</small></h2>"
        )
        if with_plots:
            yield '<div class="tools">'
            if len(metrics) > 6:  # noqa: PLR2004 - fewer are seen at a glance
                yield (
                    '<input id="filter" type="search" placeholder="Filter metrics" '
                    'aria-label="Filter metrics">'
                )
            yield (
                '<label id="smooth">Smoothing'
                '<input type="range" min="0" max="100" value="0"></label></div>'
            )
        yield "</div>\n"
        groups = [("", metrics)]
        named = groupby(metrics, lambda pair: group_of(pair[1].title))
        by_name = [(name, list(found)) for name, found in named]
        # Headings over one or two plots each would tear the page apart.
        if 1 < len(by_name) <= len(metrics) / _ROW:
            groups = by_name
        for name, found in groups:
            yield '<div class="group">'
            if name:
                yield f"<h3>{escape(name)}</h3>"
            yield '<div class="grid">\n'
            for i, chart in found:
                yield from _figure(i, chart, with_plots=with_plots)
            yield "</div></div>\n"
        yield "</section>\n"
    if others:
        yield (
            '<section id="plots">\n<div class="head">'
            f'<h2>Plots <small>{len(others):,}</small></h2></div>\n<div class="grid">\n'
        )
        for i, chart in others:
            yield from _figure(i, chart, with_plots=with_plots)
        yield "</div>\n</section>\n"


def _figure(number: int, chart: Chart, *, with_plots: bool) -> Iterator[str]:
    last = ""
    if chart.is_metric:
        values = [y for y in chart.columns[chart.ys[0]] if y is not None]
        last = short(values[-1]) if values else ""
    label = f"{chart.title}: {chart.y_label} over {chart.x_label}"
    static = "" if with_plots else line_chart(chart)
    # The room is kept from the beginning, so that nothing jumps when plots are drawn.
    room = f' style="--h:{_height(chart)}px"' if with_plots else ""
    yield (
        f'<figure class="card chart" data-chart="{number}">'
        f'<figcaption><h4>{escape(chart.title)}</h4><span class="last">{escape(last)}</span>'
        f'</figcaption><div class="plot" role="img" aria-label="{escape(label)}" '
        f"{room}>{static}</div>"
    )
    notes = list(of_chart(chart))
    if notes:
        yield f'<p class="note">{escape(" ".join(notes))}</p>'
    yield "</figure>\n"


def _images(page: Page) -> Iterator[str]:
    if not page.galleries:
        return
    left = page.images_total - page.images_shown
    note = f" {left:,} of them are left out to keep this file small." if left else ""
    scaled = any(picture.scaled for gallery in page.galleries for picture in gallery.pictures)
    note += " Large ones are scaled down." if scaled else ""
    yield (
        '<section id="images">\n<div class="head">'
        f"<h2>Images <small>{page.images_total:,}</small></h2>"
        f'<span class="note">{note.strip()}</span></div>\n<div class="pictures">\n'
    )
    for gallery in page.galleries:
        if len(gallery.pictures) > 1:
            yield from _series(gallery)
        else:
            yield f'<figure class="card">{_img(gallery.pictures[0])}<figcaption>'
            yield f"{escape(gallery.pictures[0].name)}</figcaption></figure>\n"
    yield "</div>\n</section>\n"


def _series(gallery: Gallery) -> Iterator[str]:
    pictures = gallery.pictures
    shown = "" if len(pictures) == gallery.total else f"{len(pictures):,} of "
    yield (
        f'<div class="card series"><figcaption><h4>{escape(gallery.name)}</h4>'
        f'<span class="note">{shown}{gallery.total:,}</span></figcaption>'
        '<div class="frames">'
    )
    for picture in pictures:
        yield f'<figure data-step="{picture.step}">{_img(picture)}'
        yield f"<figcaption>{picture.step}</figcaption></figure>"
    yield (
        '</div><div class="steps"><span>Step</span><input type="range" min="0" '
        f'max="{len(pictures) - 1}" value="{len(pictures) - 1}" '
        f'aria-label="Step of {escape(gallery.name)}"><output></output></div></div>\n'
    )


def _img(picture: Picture) -> str:
    source = f"data:image/{picture.kind};base64,{base64.b64encode(picture.data).decode()}"
    small = ' class="small"' if max(picture.size or (_SMALL,)) < _SMALL else ""
    size = f' width="{picture.size[0]}" height="{picture.size[1]}"' if picture.size else ""
    return (
        f'<img src="{source}" alt="{escape(picture.name)}"{size}{small} '
        'loading="lazy" decoding="async">'
    )


def _artifacts(page: Page) -> Iterator[str]:
    if not page.artifacts:
        return
    yield (
        '<section id="artifacts">\n<div class="head"><h2>Artifacts</h2></div>\n'
        '<div class="card table artifacts"><table><thead><tr><th>Name</th><th>Type</th>'
        '<th>Path</th><th class="wide">Description</th></tr></thead><tbody>'
    )
    for name, kind, path, desc in page.artifacts:
        yield (
            f"<tr><th>{escape(name)}</th><td>{escape(kind)}</td>"
            f'<td><code>{escape(path)}</code></td><td class="wide">{escape(desc)}</td></tr>'
        )
    yield "</tbody></table></div>\n</section>\n"


def _footer(page: Page, notes: list[str]) -> Iterator[str]:
    now = datetime.datetime.now(datetime.timezone.utc)
    yield "<footer>"
    for note in (*page.notes, *notes):
        yield f"<p>{escape(note)}</p>"
    yield f"<p>{DRAWN_BY} on {now:%Y-%m-%d at %H:%M} UTC. This file loads nothing.</p>"
    yield "</footer>\n"
