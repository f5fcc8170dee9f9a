"""Images: arrays, PIL images, figures and files, encoded in memory and then put in place whole."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import sys
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import (
    InvalidDataTypeError,
    InvalidImageDataError,
    InvalidImageNameError,
    MissingExtraError,
)
from . import names

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..layout import Layout

# Pillow's name for what each ending promises. DVC knows images by exactly these endings, lower
# case (dvc_render.image.ImageRenderer.EXTENSIONS).
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".gif": "GIF", ".png": "PNG"}
_BEGINNINGS = {
    b"\xff\xd8\xff": "JPEG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"\x89PNG\r\n\x1a\n": "PNG",
}
# What each format stores as it is; other modes are turned into the nearest of these.
_MODES = {
    "PNG": ("1", "L", "LA", "I;16", "P", "RGB", "RGBA"),
    "JPEG": ("L", "RGB", "CMYK"),
    "GIF": ("1", "L", "LA", "P", "RGB", "RGBA"),
}
# What a little less compression saves pays for putting the file in place whole.
_OPTIONS: dict[str, dict[str, int]] = {"PNG": {"compress_level": 3}, "JPEG": {}, "GIF": {}}
_ALLOWED = (
    "a NumPy array (HxW, HxWx1, HxWx3 or HxWx4), a PIL image, a matplotlib figure, the path of "
    "an image file"
)
_DEPTHS = {1, 2, 3, 4}  # grey, grey and alpha, colour, colour and alpha
# Resizing and colour changes overshoot by a little; that is no other range.
_SLACK = 1e-3


@dataclass(frozen=True)
class Picture:
    """An image that was checked and encoded and not yet written.

    done: what is left to do once it is written (a figure is closed).
    """

    name: str
    content: bytes
    done: Callable[[], None]


def checked(name: Any, val: Any) -> Picture:
    """The image under its name below the images' folder; nothing is written.

    Raises:
        InvalidImageNameError: the name has no ending, or one that is no image's.
        InvalidNameError: the name cannot be a file's.
        InvalidDataTypeError: `val` is nothing that can be drawn.
        InvalidImageDataError: an array's shape, or a file's content, is no picture.
        MissingExtraError: Pillow is not installed.
    """
    text = _named(names.checked(name, "image"), val)
    encoding = _FORMATS[os.path.splitext(text)[1]]  # noqa: PTH122 - ten times faster, and it shows
    if isinstance(val, (str, os.PathLike)):
        return Picture(text, _from_file(text, Path(val), encoding), _nothing)
    if _is(val, "PIL.Image", "Image"):
        return Picture(text, _from_pil(text, val, encoding), _nothing)
    if _is(val, "numpy", "ndarray"):
        return Picture(text, _from_array(text, val, encoding), _nothing)
    if _is(val, "matplotlib.figure", "Figure"):
        return Picture(text, _from_figure(text, val, encoding), lambda: _close(val))
    raise InvalidDataTypeError(name, type(val), _ALLOWED)


def write(layout: Layout, picture: Picture) -> None:
    """Puts the image in place, over one of that name."""
    path = f"{layout.images_dir}/{picture.name}"
    try:
        _put(path, picture.content)
    except FileNotFoundError:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        _put(path, picture.content)
    finally:
        picture.done()


def _put(path: str, content: bytes) -> None:
    # A new name costs less without a temporary one beside it.
    if not os.path.lexists(path):
        with contextlib.suppress(FileExistsError):
            if files.link_new_file(Path(path), content):
                return
    files.put(path, content)


def _nothing() -> None:
    """Most values need nothing done after they are written."""


def _named(text: str, val: Any) -> str:
    stem, suffix = os.path.splitext(text)  # noqa: PTH122 - as above
    if not suffix and isinstance(val, (str, os.PathLike)):
        suffix = PurePath(val).suffix.lower()
        text += suffix
    if suffix not in _FORMATS or not stem.rpartition("/")[2]:
        raise InvalidImageNameError(text)
    return text


def _is(val: Any, module: str, name: str) -> bool:
    """Whether a class of this module and name is among the value's bases; imports nothing."""
    return any(
        base.__name__ == name and base.__module__.partition(".")[0] == module.partition(".")[0]
        for base in type(val).__mro__
    )


# -- encoding ------------------------------------------------------------------------------


@functools.cache
def _raise_mmap_bound() -> None:
    """Spares each image a hundred page faults.

    glibc asks the kernel for every block over 128 kB anew, and so for the 256 kB of each zlib
    stream, until one larger such block was freed (mallopt(3): M_MMAP_THRESHOLD is dynamic).
    Saving a small picture takes less than half the time after that.
    """
    block = bytearray(1 << 22)
    del block


def _pillow(name: str) -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(f"log_image({name!r})", "Pillow", "image") from error
    return Image


def _from_file(name: str, path: Path, encoding: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidImageDataError(
            f"Image '{name}' cannot be read from '{path}': {error.strerror or error}. "
            "Give the path of an image file that exists."
        ) from error
    if any(content.startswith(mark) and kind == encoding for mark, kind in _BEGINNINGS.items()):
        return content
    library = _pillow(name)
    try:
        with library.open(io.BytesIO(content)) as image:
            image.load()
            return _from_pil(name, image, encoding)
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidImageDataError(
            f"Image '{name}': the file '{path}' is no image that Pillow can read."
        ) from error


def _from_pil(name: str, image: Any, encoding: str) -> bytes:
    if 0 in image.size:
        raise InvalidImageDataError(f"Image '{name}' has no pixels: its size is {image.size}.")
    if image.mode not in _MODES[encoding]:
        try:
            image = _in_mode_for(name, image, encoding)
        except ValueError as error:
            raise InvalidImageDataError(
                f"Image '{name}' has the mode {image.mode}, which Pillow cannot turn into one that "
                f"{encoding} stores. Log image.convert('RGB')."
            ) from error
    _raise_mmap_bound()
    buffer = io.BytesIO()
    image.save(buffer, format=encoding, **_OPTIONS[encoding])
    return buffer.getvalue()


def _in_mode_for(name: str, image: Any, encoding: str) -> Any:
    if image.mode in {"I", "F", "I;16", "I;16B", "I;16L", "I;16N"}:
        import numpy as np

        return _pillow(name).fromarray(_eight_bits(name, np.asarray(image)))
    if image.mode == "1":
        return image.convert("L")
    if image.mode == "La":  # multiplied by its alpha, which converts to LA alone
        image = image.convert("LA")
    if image.mode in {"LA", "RGBA", "RGBa", "PA"} or "transparency" in image.info:
        if encoding != "JPEG":
            return image.convert("RGBA")
        # JPEG has no transparency; what is behind a picture on a page is white.
        seen = image.convert("RGBA")
        ground = _pillow(name).new("RGBA", seen.size, "white")
        ground.alpha_composite(seen)
        return ground.convert("RGB")
    return image.convert("RGB")


def _from_array(name: str, array: Any, encoding: str) -> bytes:
    import numpy as np

    if array.dtype.kind not in "buif":
        raise InvalidDataTypeError(
            f"{name}: array of dtype {array.dtype}", type(array), "booleans, integers or floats"
        )
    flat = array.ndim == 2  # noqa: PLR2004 - height and width
    deep = array.ndim == 3 and array.shape[2] in _DEPTHS  # noqa: PLR2004 - and channels
    if not (flat or deep) or 0 in array.shape:
        hint = ""
        if array.ndim == 3 and array.shape[0] in _DEPTHS:  # noqa: PLR2004 - channels in front
            hint = " If its first axis is the channels, log np.moveaxis(array, 0, -1)."
        raise InvalidImageDataError(
            f"Image '{name}' is an array of shape {array.shape}. "
            f"Use height x width, or height x width x 1, 3 or 4, none of them 0.{hint}"
        )
    if deep and array.shape[2] == 1:
        array = array[:, :, 0]
    pixels = array if array.dtype == np.uint8 else _eight_bits(name, array)
    return _from_pil(name, _pillow(name).fromarray(np.ascontiguousarray(pixels)), encoding)


def _eight_bits(name: str, array: Any) -> Any:
    """The array's values as 0 to 255, by the range they are in.

    0 to 1 (also True and False) and -1 to 1 are stretched to it, 0 to 255 is taken as it is, 16
    bits are cut to 8, and anything else is stretched from its lowest to its highest value.
    """
    import numpy as np

    values = array.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        raise InvalidImageDataError(f"Image '{name}' holds no finite value.")
    low, high = float(values[finite].min()), float(values[finite].max())
    below, above = _range_of(low, high, whole=array.dtype.kind in "iu")
    with np.errstate(invalid="ignore"):
        scaled = (values - below) * (255 / (above - below))
        clipped = np.clip(np.rint(scaled), 0, 255)
    return np.nan_to_num(clipped, nan=0).astype(np.uint8)


def _range_of(low: float, high: float, *, whole: bool) -> tuple[float, float]:
    if low >= -_SLACK:
        for top in (1, 255, 65535) if whole else (1, 255):
            if high <= top * (1 + _SLACK):
                return 0.0, float(top)
    if low >= -1 - _SLACK and high <= 1 + _SLACK:
        return -1.0, 1.0
    return low, high if high > low else low + 1


def _from_figure(name: str, figure: Any, encoding: str) -> bytes:
    buffer = io.BytesIO()
    if encoding == "PNG":
        figure.savefig(buffer, format="png")
        return buffer.getvalue()
    # matplotlib writes no GIF, and its JPEG goes through Pillow as well.
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    with _pillow(name).open(buffer) as image:
        return _from_pil(name, image, encoding)


def _close(figure: Any) -> None:
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        with contextlib.suppress(Exception):
            pyplot.close(figure)
