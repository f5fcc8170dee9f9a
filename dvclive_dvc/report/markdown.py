"""`report.md`: the run as GitHub and CML show it, its plots as pictures beside it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .. import files
from ..layout import DRAWN_BY
from ..notices import logger
from . import templates, vega
from .notes import of_chart
from .svg import line_chart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from ..layout import Layout
    from .page import Chart, Page

# How the pictures are called: what matches may be removed.
_OURS = re.compile(r"[\w.-]{1,60}-[0-9a-f]{8}\.(png|svg)")
# A picture takes some 50 ms; more of them than this nobody scrolls through.
_MOST_CHARTS = 80
_MOST_IMAGES = 60
_READABLE_CLASSES = 15
# Of a plot alone; with its labels it is as wide as half of a page, where two stand in a row.
_WIDTH, _HEIGHT = 340, 210
_SPECIAL = re.compile(r"([\\`*_\[\]<>~$&#])")
# A mention or an address, an issue (`#1`, `GH-1`), a link, an emoji (`:tada:`).
_LINKED = re.compile(r"@|#\d|\bgh-\d|\w://|\bwww\.|:[\w+-]+:", re.IGNORECASE)
_LOOK: dict[str, Any] = {
    "background": "white",
    "axis": {
        "gridColor": "#e8eaee", "domainColor": "#c8ccd4", "tickColor": "#c8ccd4",
        "labelColor": "#5b6472", "titleColor": "#5b6472", "titleFontWeight": 500,
        "titlePadding": 8, "labelPadding": 5,
    },
    "range": {"heatmap": {"scheme": "purples"}, "ramp": {"scheme": "purples"}},
    "view": {"stroke": None},
    "axisX": {"grid": False, "labelOverlap": True},
    "axisY": {"domain": False, "ticks": False, "tickCount": 5},
}  # fmt: skip


class Document:
    """One run's report.md; a picture is drawn again only when its data has changed."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.report_file("md")
        self._root = layout.root
        self._folder = layout.report_pictures_dir
        self._drawn: dict[str, str] = {}

    def write(self, page: Page) -> None:
        """Replaces report.md and the pictures of its plots."""
        pictures = [(chart, self._picture(page, chart)) for chart in page.charts[:_MOST_CHARTS]]
        text = "\n".join(self._lines(page, pictures)) + "\n"
        files.replace(self._path, text.encode("utf-8", "replace"))
        self._clean({name for _, name in pictures if name})

    def _picture(self, page: Page, chart: Chart) -> str | None:
        """The file name of the chart's picture, made or still good; None without one."""
        if not vega.available():
            return self._plain_picture(chart)
        spec = spec_of(chart, page.templates)
        name = _file_name(chart.source, "png")
        try:
            return self._kept(name, json.dumps(spec), lambda: vega.picture(spec))
        except ValueError as error:
            logger.debug("'%s' is drawn plainly: %s", chart.source, error)
            return self._plain_picture(chart)

    def _plain_picture(self, chart: Chart) -> str | None:
        drawing = line_chart(chart, alone=True)
        name = _file_name(chart.source, "svg")
        return self._kept(name, drawing, drawing.encode) if drawing else None

    def _kept(self, name: str, made_from: str, make: Callable[[], bytes]) -> str:
        """Writes what `make` gives, unless the file was made from the same before."""
        digest = hashlib.sha256(made_from.encode("utf-8", "replace")).hexdigest()
        path = self._folder / name
        if self._drawn.get(name) != digest or not path.is_file():
            data = make()
            path.parent.mkdir(exist_ok=True)
            files.replace(path, data)
            self._drawn[name] = digest
        return name

    def _clean(self, wanted: set[str]) -> None:
        """Removes pictures of plots that are no more; only files that this module names so."""
        for path in self._folder.glob("*"):
            if path.name not in wanted and _OURS.fullmatch(path.name):
                path.unlink()

    def _lines(self, page: Page, pictures: list[tuple[Chart, str | None]]) -> Iterator[str]:
        yield f"# {_text(page.name)}"
        yield ""
        told = (
            f"{page.status.capitalize()}: {page.status_text}" if page.status_text else page.status
        )
        facts = [f"**{_text(told)}**"]
        facts += [f"{label} {_text(text)}" for label, text in page.facts]
        yield " \u00b7 ".join(facts)
        yield ""
        yield from _table("Metrics", ("metric", "value"), page.metrics)
        yield from _table("Parameters", ("parameter", "value"), page.params)
        yield from _table("Artifacts", ("artifact", "type", "path", "description"), page.artifacts)
        if pictures:
            yield "## Plots"
            yield ""
            yield from _side_by_side(
                [
                    (
                        chart.title,
                        f"{quote(self._folder.name)}/{quote(name)}" if name else None,
                        " ".join(of_chart(chart)),
                    )
                    for chart, name in pictures
                ]
            )
            if len(page.charts) > len(pictures):
                left = len(page.charts) - len(pictures)
                yield f"{left:,} more plots are left out here; `report='html'` has them all.\n"
            if not vega.available():
                yield "For DVC's own plots here: `pip install 'dvclive_dvc[report]'`.\n"
        yield from self._pictures(page)
        for note in page.notes:
            yield f"{_text(note)}\n"
        yield f"<!-- {DRAWN_BY} -->"

    def _pictures(self, page: Page) -> Iterator[str]:
        if page.galleries:
            yield "## Images"
            yield ""
        yield from _side_by_side(
            [
                (
                    # Of a series the last one.
                    gallery.pictures[-1].name,
                    # The file's own place is where GitHub and CML find it.
                    quote(gallery.pictures[-1].path.relative_to(self._root).as_posix()),
                    f"The last of {gallery.total:,}." if gallery.total > 1 else "",
                )
                for gallery in page.galleries[:_MOST_IMAGES]
            ]
        )
        left = page.images_total - sum(gallery.total for gallery in page.galleries[:_MOST_IMAGES])
        if left:
            yield f"{left:,} more are left out here.\n"


def spec_of(chart: Chart, folder: Path | None) -> dict[str, Any]:
    """The chart as a Vega-Lite spec that holds its data, drawn as `dvc plots` would."""
    ys = tuple(templates.field_name(y) for y in chart.ys)
    try:
        spec = templates.spec(chart.template, ys, folder)
    except (ValueError, OSError):
        spec = templates.spec("linear", ys, None)
    x = templates.field_name(chart.x)
    filled: dict[str, Any] = templates.fill(
        spec,
        {
            templates.X: x,
            templates.Y: ys[0] if len(ys) == 1 else templates.SEVERAL,
            templates.X_LABEL: templates.label(chart.x_label),
            templates.Y_LABEL: templates.label(chart.y_label),
        },
    )
    filled.pop("title", None)  # it stands over the picture
    if isinstance(filled.get("layer"), list):
        # What answers to a mouse takes most of the time and leaves nothing in a picture.
        filled["layer"] = [
            layer for layer in filled["layer"] if "hover" not in json.dumps(layer.get("params", ""))
        ]
        for layer in filled["layer"]:
            for part in (layer, *layer.get("layer", ())):
                part.pop("params", None)
            if "layer" in layer:
                layer["layer"] = [p for p in layer["layer"] if "hover" not in json.dumps(p)]
    if isinstance(filled.get("facet"), dict):
        _of_one_run(filled, few=len(set(chart.columns[chart.x])) <= _READABLE_CLASSES)
    filled["data"] = {"values": list(_rows(chart, x, ys))}
    filled["config"] = {**_LOOK, "axisX": {**_LOOK["axisX"], "tickCount": chart.ticks}}
    if "width" in filled:
        names = len(set(chart.columns[chart.ys[0]])) if chart.template.startswith("bar") else 0
        filled.update(width=_WIDTH, height=min(900, max(_HEIGHT, 16 * names)))
    if len(ys) == 1 and "facet" not in filled:
        filled["config"]["legend"] = {"disable": True}
    return filled


def _of_one_run(facet: dict[str, Any], *, few: bool) -> None:
    """Makes of a plot that has a matrix for each of several runs one of a single run."""
    if isinstance(facet["facet"].get("column"), dict):
        facet["facet"]["column"]["header"] = {"labels": False, "title": None}
    for param in facet.get("params", ()):
        if param.get("name") == "showValues":
            param["value"] = few


def _rows(chart: Chart, x: str, ys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    xs = chart.columns[chart.x]
    for field, column in zip(ys, chart.ys, strict=True):
        part = 0
        for i, value in enumerate(chart.columns[column]):
            if value is None and chart.counts is None:
                part += 1
                continue
            row = {"rev": templates.SERIES, "__part": part, x: xs[i]}
            row[field if len(ys) == 1 else templates.SEVERAL] = value
            if len(ys) > 1:
                row["field"] = field
            if chart.counts is not None:
                row["__count"] = chart.counts[i]
            yield row


def _file_name(source: str, ending: str) -> str:
    stem = source.rpartition(".")[0].removeprefix("plots/").removeprefix("metrics/")
    slug = re.sub(r"[^\w.-]+", "-", stem, flags=re.ASCII).strip("-.")[:50] or "plot"
    digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{slug}-{digest}.{ending}"


def _table(title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    rows = list(rows)
    if not rows:
        return
    yield f"## {title}"
    yield ""
    yield _row(heads)
    yield _row(["---"] * len(heads))
    for row in rows:
        yield _row(map(_text, row))
    yield ""


def _side_by_side(pictures: Sequence[tuple[str, str | None, str]]) -> Iterator[str]:
    """A table with two pictures a row: the name of each, its link, and what is to be said of it."""
    across = min(2, len(pictures)) or 1
    for first in range(0, len(pictures), across):
        row = [*pictures[first : first + across], ("", None, "")][:across]
        names = [_text(name) for name, _, _ in row]
        if first == 0:
            yield _row(names)
            yield _row([":---"] * across)
        else:
            yield _row([f"**{name}**" if name else "" for name in names])
        links = [link for _, link, _ in row]
        shown = zip(names, links, strict=True)
        yield _row([f"![{name}]({link})" if link else "" for name, link in shown])
        notes = [_text(note) for _, _, note in row]
        if any(notes):
            yield _row(notes)
    if pictures:
        yield ""


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(text: str) -> str:
    """Text that Markdown and HTML take as nothing but text, on one line."""
    # A bar ends a table's cell even inside code, so words end there as well.
    return " ".join("\\|".join(map(_word, word.split("|"))) for word in text.split())


def _word(word: str) -> str:
    """A word as it is; as code where GitHub would make a link or a mention of it.

    It looks for those in the text that it shows, after all escapes: code alone is left as it is,
    and can be copied.
    """
    if not _LINKED.search(word):
        return _SPECIAL.sub(r"\\\1", word)
    fence = "`" * (max(map(len, re.findall("`+", word)), default=0) + 1)
    room = " " if "`" in (word[0], word[-1]) else ""
    return f"{fence}{room}{word}{room}{fence}"
