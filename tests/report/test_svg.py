"""The plain drawings: files that any program for SVG can read, with marks where they belong."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from report import runs

from dvclive_dvc.backend import Entries
from dvclive_dvc.layout import Layout
from dvclive_dvc.report.reading import Reader
from dvclive_dvc.report.svg import line_chart

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def layout(tmp_path):
    return Layout.at(tmp_path / "dvclive")


def drawn(layout, plot=None):
    entries = Entries(plots=(plot,) if plot else ())
    (chart,) = Reader(layout).read(runs.facts(layout, entries=entries)).charts
    return ElementTree.fromstring(line_chart(chart, alone=True))


def places(picture):
    """Every number that says where a mark stands or how large it is."""
    for mark in picture.iter():
        for name in ("x", "y", "width", "height", "cx", "cy"):
            if name in mark.attrib:
                yield float(mark.attrib[name])
        path = mark.attrib.get("d", "")
        yield from map(float, re.split(r"[MLHV ]+", path.strip("MLHV ")) if path else ())


def words(picture):
    return [text.text for text in picture.iter(f"{SVG}text")]


@pytest.mark.parametrize(
    "values",
    [
        [1e308, -1e308, 1.7e308],
        [1.79e308] * 2,
        [-1.79e308] * 2,
        [5e-324, 1e-323, 0.0],
        [0.0, 3e-323],
        [0.0, 0.0],
    ],
    ids=["of both ends", "the highest", "the lowest", "the smallest", "small ones", "nothing"],
)
def test_a_line_of_any_values_stays_inside_its_drawing(layout, values):
    runs.put_metric(layout, "loss", values)
    found = list(places(drawn(layout)))
    assert all(map(math.isfinite, found)), "a place is no finite number"
    assert min(found) >= 0, "a mark stands outside of the drawing"
    assert max(found) <= 420, "a mark stands outside of the drawing"


@pytest.mark.parametrize(
    "values", [[1e308, -1e308], [-3, -3], [0, 0], [2, 10**400]],
    ids=["of both ends", "below nothing", "nothing", "more than a float holds"],
)  # fmt: skip
def test_bars_of_any_values_stay_inside_their_drawing(layout, values):
    rows = [{"name": f"bar {i}", "gain": value} for i, value in enumerate(values)]
    plot = runs.put_plot(layout, "bars", rows, template="bar_horizontal", x="gain", y="name")
    found = list(places(drawn(layout, plot)))
    assert all(map(math.isfinite, found)), "a place is no finite number"
    assert min(found) >= 0, "a bar has a negative length or starts outside"
    assert max(found) <= 420, "a bar ends outside of the drawing"


def test_a_short_run_has_no_ticks_between_its_steps(layout):
    runs.put_metric(layout, "loss", [0, 10, 20])
    assert words(drawn(layout)) == ["0", "5", "10", "15", "20", "0", "1", "2", "step"], (
        "first the values' labels, then one label a step"
    )


@pytest.mark.parametrize("step", [0, 1, 9, 13, 64, 199])
def test_a_run_of_one_step_has_a_tick_at_that_step(layout, step):
    runs.put_metric(layout, "loss", [0.5], start=step)
    assert words(drawn(layout))[-2:] == [str(step), "step"], "the only step is not told"


def test_counts_that_are_wider_than_their_cells_are_left_out(layout):
    def numbers(count):
        rows = [{"a": f"c{i}", "b": f"c{j}"} for i in range(10) for j in range(10)]
        rows += [{"a": "c0", "b": "c0"}] * (count - 1)
        plot = runs.put_plot(layout, "cm", rows, template="confusion", x="a", y="b")
        return [word for word in words(drawn(layout, plot)) if word.isdecimal()]

    assert "20" in numbers(20), "a count that fits its cell is left out"
    assert numbers(1234) == [], "counts run into each other"


def test_times_that_are_no_whole_numbers_have_ticks_between_those(layout):
    rows = [{"t": t, "v": 0} for t in (0, 0.5, 1)]
    plot = runs.put_plot(layout, "p", rows, template="linear", x="t", y="v")
    assert "0.5" in words(drawn(layout, plot)), "only whole numbers are kept free of halves"


def test_the_smallest_values_have_labels_that_differ(layout):
    runs.put_metric(layout, "lr", [1e-13, 2e-13, 3e-13])
    labels = words(drawn(layout))[:5]
    assert len(set(labels)) == 5, f"labels of the values: {labels}"


@pytest.mark.parametrize("far", [12_345, 1_234_567, -98_765_432])
def test_labels_far_from_nothing_have_the_digits_that_tell_them_apart(layout, far):
    runs.put_metric(layout, "throughput", [far, far + 1.0])
    labels = words(drawn(layout))[:6]
    assert len(set(labels)) == 6, f"labels of the values: {labels}"
