"""The images of a run: single ones and series over steps, within a budget of bytes."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .page import Gallery, Picture, natural

if TYPE_CHECKING:
    from ..layout import Layout

_KINDS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".gif": "gif"}
# More than fits a look; a series shows evenly spaced steps up to its own share.
_MOST = 240
_MOST_OF_SERIES = 120
# A picture larger than this is scaled down, where Pillow is there, to this many pixels a side.
_LARGE = 96 * 1024
_SIDE = 900
_BUDGET = 2_300_000


class Album:
    """Reads the run's images; what was read and scaled once is kept while the file is the same."""

    def __init__(self, layout: Layout) -> None:
        self._root = layout.images_dir
        self._known: dict[Path, tuple[tuple[int, int], bytes, str, bool]] = {}

    def galleries(self, most: int) -> tuple[tuple[Gallery, ...], int, int, int]:
        """The galleries to show in `most` bytes of base64.

        With them come how many images there are, how many of them are shown, and the bytes.
        """
        groups = _grouped(self._root)
        total = sum(len(group) for _, group in groups)
        room = budget = min(_BUDGET, most * 3 // 4)
        places = _MOST
        galleries = []
        left_out = dict.fromkeys(range(len(groups)), 0)
        for number, (name, group) in enumerate(groups):
            # What earlier groups did not use is there for the later ones, evenly.
            share = room // (len(groups) - number)
            wanted = _spread(group, max(1, min(_MOST_OF_SERIES, places - len(groups) + number + 1)))
            pictures = []
            for path, step in wanted if places > 0 else []:
                picture = self._picture(path, step)
                if picture is None or len(picture.data) > share:
                    left_out[number] += 1
                    continue
                share -= len(picture.data)
                room -= len(picture.data)
                places -= 1
                pictures.append(picture)
            galleries.append(Gallery(name, tuple(pictures), len(group)))
        shown = sum(len(gallery.pictures) for gallery in galleries)
        taken = (budget - room) * 4 // 3
        return tuple(gallery for gallery in galleries if gallery.pictures), total, shown, taken

    def _picture(self, path: Path, step: int | None) -> Picture | None:
        name = path.relative_to(self._root).as_posix()
        try:
            stat = path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            known = self._known.get(path)
            if known is None or known[0] != stamp:
                data, kind, scaled = _fitted(path)
                known = self._known[path] = (stamp, data, kind, scaled)
        except OSError:
            return None
        return Picture(name, path, known[1], known[2], step, known[3], _size(known[1], known[2]))


def _grouped(root: Path) -> list[tuple[str, list[tuple[Path, int | None]]]]:
    """Images below `root` in the order of their names, those of a series together."""
    groups: list[tuple[str, list[tuple[Path, int | None]]]] = []
    for folder, folders, names in os.walk(root):
        folders.sort()
        paths = [Path(folder, name) for name in sorted(names)]
        paths = [path for path in paths if path.suffix.lower() in _KINDS]
        numbered = [(path, int(path.stem)) for path in paths if path.stem.isdecimal()]
        if len(numbered) > 1:
            numbered.sort(key=lambda pair: pair[1])
            name = Path(folder).relative_to(root).as_posix()
            groups.append(("images" if name == "." else name, list(numbered)))
            paths = [path for path in paths if not path.stem.isdecimal()]
        groups.extend((path.relative_to(root).as_posix(), [(path, None)]) for path in paths)
    return sorted(groups, key=lambda group: (list(map(natural, group[0].split("/"))), group[0]))


def _spread(group: list[tuple[Path, int | None]], most: int) -> list[tuple[Path, int | None]]:
    """At most `most` of a series, evenly spaced, the first and the last among them."""
    if len(group) <= most:
        return group
    if most == 1:
        return group[-1:]
    return [group[round(i * (len(group) - 1) / (most - 1))] for i in range(most)]


def _fitted(path: Path) -> tuple[bytes, str, bool]:
    """The file's bytes, or a smaller picture of a large one where Pillow can make it."""
    data = path.read_bytes()
    kind = _KINDS[path.suffix.lower()]
    if len(data) <= _LARGE or kind == "gif":
        return data, kind, False
    try:
        from PIL import Image
    except ImportError:
        return data, kind, False
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.thumbnail((_SIDE, _SIDE))
            out = io.BytesIO()
            image.convert("RGBA" if image.mode in {"RGBA", "LA", "P"} else "RGB").save(
                out, "WEBP", quality=82, method=2
            )
    except (OSError, ValueError, Image.DecompressionBombError):
        return data, kind, False
    small = out.getvalue()
    return (small, "webp", True) if len(small) < len(data) else (data, kind, False)


def _size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Width and height, where they stand at a fixed place in the file."""
    if kind == "png" and len(data) > 24:  # noqa: PLR2004 - the header's length
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if kind == "gif" and len(data) > 10:  # noqa: PLR2004 - the header's length
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return None
