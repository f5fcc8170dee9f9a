"""Vega from `vl-convert-python` (the extra `report`): its scripts, and pictures by it."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

from ..notices import logger
from .keep import kept
from .templates import VEGA_LITE

# `javascript_bundle()` gives vega-embed without a snippet, and the names it offers a snippet are
# null for libraries without a default export. The report needs the libraries themselves: it
# draws without vega-embed, which puts text into the page as HTML. So the snippet imports them by
# the addresses under which vl-convert carries them; nothing is fetched.
_CARRIED = re.compile(rb"/npm/(vega|vega-lite)@(\d+)\.(\d+)\.(\d+)/\+esm")
_SNIPPET = """\
import * as carriedVega from "https://cdn.jsdelivr.net{vega}";
import * as carriedVegaLite from "https://cdn.jsdelivr.net{vega_lite}";
window.vega = carriedVega;
window.vegaLite = carriedVegaLite;
"""
_script: dict[Path, bytes] = {}


def script() -> bytes | None:
    """Vega and Vega-Lite as one script for a page, or None without the extra.

    Making it takes a second or two, so it is kept in the user's cache.
    """
    library = _library()
    if library is None:
        return None
    if library not in _script:
        try:
            made_from = (library, Path(__file__))
            _script[library] = kept("vega.js", made_from, lambda: _bundled(library))
        except ValueError as error:
            logger.warning("The report has plain drawings alone: %s", error)
            _script[library] = b""
    return _script[library] or None


def picture(spec: dict[str, Any], scale: float = 2.0) -> bytes:
    """The PNG of a Vega-Lite spec that holds its data; nothing is fetched for it."""
    import vl_convert

    versions = [v.split(".") for v in vl_convert.get_vegalite_versions()]
    newest = max((v for v in versions if v[0] == str(VEGA_LITE)), key=lambda v: int(v[1]))
    return vl_convert.vegalite_to_png(
        json.dumps(spec), vl_version=".".join(newest), scale=scale, allowed_base_urls=[]
    )


def available() -> bool:
    """Whether the extra is installed; imports nothing."""
    return _library() is not None


def _library() -> Path | None:
    found = importlib.util.find_spec("vl_convert")
    if found is None or found.origin is None:
        return None
    beside = Path(found.origin).parent
    return next((path for path in sorted(beside.glob("vl_convert*.*")) if path.is_file()), None)


def _bundled(library: Path) -> bytes:
    import vl_convert

    found: dict[str, tuple[list[int], str]] = {}
    for match in _CARRIED.finditer(library.read_bytes()):
        name = match[1].decode()
        version = [int(part) for part in match.groups()[1:]]
        if name == "vega-lite" and version[0] != VEGA_LITE:
            continue
        if name not in found or version > found[name][0]:
            found[name] = (version, match[0].decode())
    if len(found) < 2:  # noqa: PLR2004 - Vega and Vega-Lite
        raise ValueError(
            "this version of vl-convert-python carries its scripts in a way that is not known. "
            "pip install 'dvclive_dvc[report]' brings one that works."
        )
    snippet = _SNIPPET.format(vega=found["vega"][1], vega_lite=found["vega-lite"][1])
    text = vl_convert.javascript_bundle(snippet)
    # Inside a page's <script> these would end it or hide what follows; in a script they can stand
    # in strings alone, where the backslash changes nothing.
    return re.sub(r"<(?=/script|script|!--)", r"\\x3c", text, flags=re.IGNORECASE).encode("utf-8")
