"""Images: what is taken, as what it is stored, and what is refused before anything is written."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from situations import without_address

from dvclive_dvc.errors import (
    InvalidDataTypeError,
    InvalidImageDataError,
    InvalidImageNameError,
    InvalidNameError,
)
from dvclive_dvc.layout import Layout
from dvclive_dvc.logs import images


@pytest.fixture
def layout(tmp_path):
    return Layout.at(tmp_path / "dvclive")


def seen(picture: images.Picture) -> np.ndarray:
    with Image.open(io.BytesIO(picture.content)) as image:
        return np.asarray(image)


SHAPES = [(4, 5), (4, 5, 1), (4, 5, 2), (4, 5, 3), (4, 5, 4)]


@pytest.mark.parametrize("shape", SHAPES)
def test_bytes_are_read_back_equal(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    back = seen(images.checked("a.png", array))
    assert (back == array.reshape(back.shape)).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("ending", ["png", "jpg", "jpeg", "gif"])
@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float16", "float64"])
def test_every_shape_and_type_makes_a_picture_of_its_size(shape, ending, dtype):
    array = (np.arange(np.prod(shape)).reshape(shape) % 256).astype(dtype)
    assert seen(images.checked(f"a.{ending}", array)).shape[:2] == (4, 5)


GREY = np.array([[0.0, 0.5], [0.25, 1.0]])


@pytest.mark.parametrize(
    ("array", "pixels"),
    [
        (GREY, [[0, 128], [64, 255]]),
        (GREY.astype(np.float32), [[0, 128], [64, 255]]),
        (GREY * (1 + 1e-6), [[0, 128], [64, 255]]),
        (GREY * 255, [[0, 128], [64, 255]]),
        (GREY * 2 - 1, [[0, 128], [64, 255]]),
        (GREY * 10 - 3, [[0, 128], [64, 255]]),
        (np.array([[np.nan, 1.0], [0.5, 0.0]]), [[0, 255], [128, 0]]),
        (np.array([[np.inf, 1.0], [-np.inf, 0.0]]), [[255, 255], [0, 0]]),
        (np.array([[False, True]]), [[0, 255]]),
        (np.array([[0, 1]]), [[0, 255]]),
        (np.array([[0, 7, 255]]), [[0, 7, 255]]),
        (np.array([[0, 65535, 32896]], np.uint16), [[0, 255, 128]]),
        (np.array([[0, 7, 255]], np.uint16), [[0, 7, 255]]),
        (np.array([[-100, 0, 100]], np.int8), [[0, 128, 255]]),
        (np.array([[0, 10**6]]), [[0, 255]]),
        (np.zeros((2, 2)), [[0, 0], [0, 0]]),
        (np.full((1, 2), -7.0), [[0, 0]]),
    ],
    ids=range(17),
)
def test_the_range_of_the_values_tells_what_is_black_and_white(array, pixels):
    assert np.abs(seen(images.checked("a.png", array)).astype(int) - pixels).max() <= 1


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["uint8", "int32", "float32", "float64"]),
    st.sampled_from([1, 255, 65535, 1e9]),
    st.integers(0, 2**32 - 1),
)
def test_a_brighter_value_is_never_darker(dtype, top, seed):
    array = (
        np.random.default_rng(seed).random((6, 6)) * min(top, 255 if dtype == "uint8" else top)
    ).astype(dtype)
    pixels = seen(images.checked("a.png", array)).astype(int)
    order = np.argsort(array, axis=None)
    assert (np.diff(pixels.ravel()[order]) >= 0).all()


def test_an_array_that_is_a_view_is_drawn_as_it_looks():
    array = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    assert (seen(images.checked("a.png", array[::-1, ::2])) == array[::-1, ::2]).all()


class Wrapper(Image.Image):
    """The way people extend PIL's images: a subclass that hands everything on."""

    def __init__(self, image):
        self._image = image

    def __getattr__(self, name):
        return getattr(self._image, name)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I", "F", "I;16", "HSV"]
)
@pytest.mark.parametrize("ending", ["png", "jpg", "gif"])
@pytest.mark.parametrize("wrap", [lambda image: image, Wrapper], ids=["plain", "wrapped"])
def test_a_pil_image_of_any_mode_is_stored(mode, ending, wrap):
    assert seen(images.checked(f"a.{ending}", wrap(Image.new(mode, (5, 4))))).shape[:2] == (4, 5)


def test_what_is_transparent_is_white_in_a_jpeg():
    picture = images.checked("a.jpg", Image.new("RGBA", (8, 8), (0, 0, 0, 0)))
    assert (seen(picture) > 250).all()


@pytest.mark.parametrize("ending", ["png", "jpg", "gif"])
def test_a_figure_is_drawn_and_closed_once_it_is_written(layout, ending):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    picture = images.checked(f"plot.{ending}", figure)
    assert plt.fignum_exists(figure.number), "nothing is done to it while it is only looked at"
    images.write(layout, picture)
    assert not plt.fignum_exists(figure.number), "open figures pile up in memory"
    with Image.open(layout.images_dir / f"plot.{ending}") as image:
        assert image.size == (640, 480)


# -- files ---------------------------------------------------------------------------------


def test_the_file_of_an_image_is_taken_byte_for_byte(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.new("RGB", (9, 9), "red").save(path, quality=33)
    for value in (path, str(path)):
        assert images.checked("a.jpg", value).content == path.read_bytes()


@pytest.mark.parametrize(
    ("file", "name"), [("p.png", "a/p.png"), ("p.PNG", "a/p.png"), ("p.jpeg", "a/p.jpeg")]
)
def test_a_name_without_ending_takes_that_of_the_path(tmp_path, file, name):
    Image.new("RGB", (9, 9)).save(tmp_path / file)
    assert images.checked("a/p", tmp_path / file).name == name


@pytest.mark.parametrize("file", ["p.png", "p.webp", "p.bmp", "p.gif"])
def test_the_content_is_what_the_names_ending_says(tmp_path, file):
    Image.new("RGB", (9, 9)).save(tmp_path / file)
    with Image.open(io.BytesIO(images.checked("a.jpg", tmp_path / file).content)) as image:
        assert image.format == "JPEG"


def test_a_file_can_be_logged_where_pillow_is_not_installed(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "p.png")
    source = """
import sys
sys.modules["PIL"] = None
from dvclive_dvc.errors import CallerError
from dvclive_dvc.logs import images
print(len(images.checked("a.png", sys.argv[1]).content))
try:
    import numpy
    images.checked("a.png", numpy.zeros((2, 2)))
except (CallerError, ImportError) as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", source, str(tmp_path / "p.png")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    size, said = done.stdout.splitlines()
    assert int(size) == (tmp_path / "p.png").stat().st_size
    assert said.startswith("MissingExtraError")
    assert "pip install 'dvclive_dvc[image]'" in said


# -- what is refused -----------------------------------------------------------------------

PIXELS = np.zeros((2, 2), np.uint8)


@pytest.mark.parametrize(
    "name", ["a", "a.bmp", "a.svg", "a.PNG", ".png", "a/.png", "a.png/b", "epoch.1"]
)
def test_a_name_without_an_images_ending_is_refused(name):
    with pytest.raises(InvalidImageNameError) as caught:
        images.checked(name, PIXELS)
    assert str(caught.value).startswith(f"Cannot log image with name '{name}'"), (
        "scripts look for this text"
    )


@pytest.mark.parametrize("file", ["p.webp", "p"])
def test_a_name_without_ending_does_not_take_one_that_browsers_may_not_show(tmp_path, file):
    Image.new("RGB", (9, 9)).save(tmp_path / file, format="WEBP")
    with pytest.raises(InvalidImageNameError):
        images.checked("a", tmp_path / file)


@pytest.mark.parametrize("name", ["", "../a.png", "/a.png", "a\n.png", "a//b.png"])
def test_a_name_that_leaves_the_folder_is_refused(name):
    with pytest.raises(InvalidNameError):
        images.checked(name, PIXELS)


@pytest.mark.parametrize("value", [None, 1, [[0]], b"", {}, object()], ids=without_address)
def test_what_is_no_image_is_refused(value):
    with pytest.raises(InvalidDataTypeError, match="NumPy array"):
        images.checked("a.png", value)


@pytest.mark.parametrize(
    "array",
    [PIXELS.astype(complex), PIXELS.astype(str), PIXELS.astype(object)],
    ids=["c", "U", "O"],
)
def test_an_array_of_something_else_than_numbers_is_refused(array):
    with pytest.raises(InvalidDataTypeError, match="dtype"):
        images.checked("a.png", array)


@pytest.mark.parametrize("shape", [(), (5,), (2, 2, 5), (2, 2, 2, 2), (0, 3), (3, 0, 3), (2, 2, 0)])
def test_an_array_of_another_shape_is_refused(shape):
    with pytest.raises(InvalidImageDataError, match="shape"):
        images.checked("a.png", np.zeros(shape))


def test_channels_in_front_are_told_how_to_get_to_the_back():
    with pytest.raises(InvalidImageDataError, match="moveaxis"):
        images.checked("a.png", np.zeros((3, 28, 28)))


@pytest.mark.parametrize("content", [None, b"", b"text", b"\x89PNG\r\n\x1a", "folder"])
def test_a_path_with_no_image_behind_it_is_refused(tmp_path, content):
    path = tmp_path / "p.png"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidImageDataError, match=r"p\.png"):
        images.checked("a.png", path)


def test_an_array_with_nothing_to_see_is_refused():
    with pytest.raises(InvalidImageDataError, match="finite"):
        images.checked("a.png", np.full((2, 2), np.nan))


# -- writing -------------------------------------------------------------------------------


def test_checking_writes_nothing_and_writing_replaces(layout):
    one = images.checked("series/0.png", PIXELS)
    assert not layout.root.exists()
    images.write(layout, one)
    images.write(layout, images.checked("series/0.png", PIXELS + 9))
    images.write(layout, images.checked("series/1.png", PIXELS))
    assert sorted(p.name for p in (layout.images_dir / "series").iterdir()) == ["0.png", "1.png"]
    with Image.open(layout.images_dir / "series" / "0.png") as image:
        assert (np.asarray(image) == 9).all()


def test_a_link_into_a_cache_is_replaced_and_what_it_names_stays(layout, tmp_path):
    # DVC may leave links where it cached images: writing through one would change the cache.
    cached = tmp_path / "cached"
    cached.write_bytes(b"old")
    layout.images_dir.mkdir(parents=True)
    Path(layout.images_dir / "a.png").symlink_to(cached)
    images.write(layout, images.checked("a.png", PIXELS))
    assert cached.read_bytes() == b"old"
    with Image.open(layout.images_dir / "a.png") as image:
        assert image.size == (2, 2)
