"""Whether DVC finds the template that a plot is to be drawn with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..notices import logger

if TYPE_CHECKING:
    from ..backend import Plot

# The common ones of dvc_render.TEMPLATES, so that it is imported for none of them.
_COMMON = frozenset({"linear", "simple", "scatter", "smooth", "confusion", "confusion_normalized"})


class Templates:
    """Says, once for each, which templates `dvc plots show` would fail on."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def check(self, plots: tuple[Plot, ...], dvc_root: Path) -> None:
        """Warns of a template that is neither one of DVC's nor the repository's own.

        A warning only: the file may be put there until the plots are looked at.
        """
        for plot in plots:
            name = str(plot.config.get("template", "linear"))
            if name in _COMMON or name in self._seen:
                continue
            self._seen.add(name)
            if not _is_found(name, dvc_root):
                logger.warning(
                    "DVC has no template '%s', and `dvc plots show` will fail on the plot '%s' "
                    "and all others. Put it into '%s' as '%s.json', or log the plot with "
                    "template='linear'. `dvc plots templates` lists what there is.",
                    name, plot.path.stem, dvc_root / ".dvc" / "plots", name,
                )  # fmt: skip


def _is_found(name: str, dvc_root: Path) -> bool:
    # The places where dvc_render.vega_templates looks.
    folder = dvc_root / ".dvc" / "plots"
    if any(place.is_file() for place in (folder / name, folder / f"{name}.json", Path(name))):
        return True
    from dvc_render import TEMPLATES

    return any(name == template.DEFAULT_NAME for template in TEMPLATES)
