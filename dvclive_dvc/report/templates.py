"""DVC's plot templates as Vega-Lite specs with blanks, so that plots look as in `dvc plots`.

A blank is a string of its own (`X`, `Y`, ...): the report ships each template once and fills
the blanks where a chart is drawn. Field names in the data are replaced by look-alikes without
the characters that Vega reads as paths or code.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from .keep import kept

X, Y, X_LABEL, Y_LABEL, TITLE = "@x@", "@y@", "@x_label@", "@y_label@", "@title@"
SERIES = "workspace"
# What dvc/render/converter/vega.py calls the values of several columns drawn in one plot.
SEVERAL = "dvc_inferred_y_value"
OWN_FIELDS = frozenset({"rev", "filename", "field", SEVERAL})
# What every object of JavaScript has: Vega looks columns up in objects of its own.
_INHERITED = frozenset(
    {"constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString",
     "toString", "valueOf"}
)  # fmt: skip

# `dvc-render` writes specs for this major version (their `$schema`).
VEGA_LITE = 5

_LOOKALIKES = str.maketrans(
    {
        ".": "\u2024", "[": "\uff3b", "]": "\uff3d", "\\": "\uff3c", '"': "\u2033", "'": "\u2032",
        "<": "\uff1c", ">": "\uff1e", "@": "\uff20", "`": "\u2035", "$": "\uff04",
    }
)  # fmt: skip
_filled: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
_built_in: dict[str, dict[str, Any]] = {}


def field_name(name: str) -> str:
    """A name for a column that Vega takes as nothing but a name."""
    plain = label(name.translate(_LOOKALIKES)) or "\u00a0"
    return f"{plain}\u00a0" if plain in OWN_FIELDS else plain


def label(text: str) -> str:
    """Text for a title or an axis, which Vega also makes code and the keys of tooltips of."""
    if not text.isprintable():  # line separators would end the code
        text = "".join(c if c.isprintable() else " " for c in text)
    if text.startswith("__"):  # as JavaScript's `__proto__`, and what report.js adds to a row
        return f"\u00a0{text}"
    return f"{text}\u00a0" if text in _INHERITED else text


def spec(template: str, ys: tuple[str, ...], folder: Path | None) -> dict[str, Any]:
    """The template with its blanks, for one `y` column or several.

    `folder` is where the repository keeps templates of its own. Raises ValueError or OSError
    for a template that there is none of, or that cannot be read.
    """
    own = _own_file(template, folder)
    if own is None and len(ys) == 1:
        if not _built_in:
            _built_in.update(
                json.loads(kept("templates.json", (_source(), Path(__file__)), _all_built_in))
            )
        if template in _built_in:
            return _built_in[template]
    key = (str(own or template), ys)
    if key not in _filled:
        _filled[key] = _fill(template, own, ys)
    return _filled[key]


def fill(document: Any, blanks: dict[str, Any]) -> Any:
    """A copy of the document with each string that is a blank replaced by what belongs there."""
    if isinstance(document, dict):
        return {key: fill(value, blanks) for key, value in document.items()}
    if isinstance(document, list):
        return [fill(value, blanks) for value in document]
    return blanks.get(document, document) if isinstance(document, str) else document


def _own_file(template: str, folder: Path | None) -> Path | None:
    # The order in which dvc_render.vega_templates looks, but that a folder is no template.
    places = [folder / template, folder / f"{template}.json"] if folder else []
    if "/" in template or template.endswith(".json"):
        places.append(Path(template))
    return next((place for place in places if place.is_file()), None)


def _source() -> Path:
    found = importlib.util.find_spec("dvc_render")
    if found is None or found.origin is None:
        raise ValueError("dvc-render is not installed")
    return Path(found.origin).with_name("vega_templates.py")


def _all_built_in() -> bytes:
    from dvc_render import TEMPLATES

    names = [template.DEFAULT_NAME for template in TEMPLATES]
    return json.dumps({name: _fill(name, None, ("y",)) for name in names}).encode()


def _fill(template: str, own: Path | None, ys: tuple[str, ...]) -> dict[str, Any]:
    from dvc_render import VegaRenderer
    from dvc_render.exceptions import DvcRenderError
    from dvc_render.vega_templates import Template

    chosen: Any = template
    if own is not None:
        content = json.loads(own.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"'{own.name}' holds no JSON object")
        chosen = Template(content, name=own.name)
    sources = [{"filename": "data", "field": y} for y in ys]
    rows = [{X: 0, Y: 0, "rev": SERIES, **source} for source in sources]
    try:
        renderer = VegaRenderer(
            rows, "plot", template=chosen, x=X, y=Y, title=TITLE, x_label=X_LABEL,
            y_label=Y_LABEL, revs_with_datapoints=[SERIES], anchors_y_definitions=sources,
        )  # fmt: skip
        document = renderer.get_filled_template()
    except DvcRenderError as error:
        raise ValueError(str(error) or f"template '{template}' is not one") from error
    document.pop("data", None)
    tamed: dict[str, Any] = _tamed(document)
    return tamed


def _tamed(document: Any) -> Any:
    """The spec made fit for a page of many plots, its looks as they were.

    A line breaks where a value is missing: the templates' smoothing would bridge the gap. One
    slider on the page stands for the templates' own. A wheel scrolls the page, and zooms with
    Ctrl, Alt or Command held; a finger scrolls as well.
    """
    if isinstance(document, list):
        return [_tamed(item) for item in document]
    if not isinstance(document, dict):
        return document
    out = {key: _tamed(value) for key, value in document.items()}
    if isinstance(out.get("encoding"), dict):
        out["encoding"] = _completed(out["encoding"], out.get("mark"))
    if "loess" in out and isinstance(out.get("groupby"), list):
        out["groupby"] = [*out["groupby"], "__part"]
    transforms = out.get("transform")
    if isinstance(transforms, list) and any("loess" in one for one in transforms):
        out.setdefault("encoding", {})["detail"] = {"field": "__part"}
    if out.get("op") == "count" and "as" in out:
        # Equal rows are put together beforehand; each says how many it stands for.
        out.update(op="sum", field="__count")
    if out.get("name") in {"smooth", "showValues"} and "bind" in out:
        del out["bind"]
    if out.get("bind") == "scales":
        held = "event.ctrlKey||event.altKey||event.metaKey"
        out["select"] = {
            "type": "interval",
            "zoom": f"wheel![{held}]",
            "translate": "[mousedown, window:mouseup] > window:mousemove!",
        }
    return out


def _completed(encoding: dict[str, Any], mark: Any) -> dict[str, Any]:
    # What dvc-render left empty: an empty `column` would still split the plot.
    full = {key: value for key, value in encoding.items() if value != {}}
    # Its normalized confusion matrix chooses an ink for the shares, and never writes them.
    if mark == "text" and "text" not in full and "datum.percent_of_y" in json.dumps(full):
        full["text"] = {"field": "percent_of_y", "type": "quantitative", "format": ".2f"}
    return full
