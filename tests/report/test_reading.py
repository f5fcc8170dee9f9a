"""What the report reads off the run's files before it draws them."""

from __future__ import annotations

import pytest
from report import runs

from dvclive_dvc.backend import Entries
from dvclive_dvc.layout import Layout
from dvclive_dvc.report.reading import Reader


@pytest.fixture
def layout(tmp_path):
    return Layout.at(tmp_path / "dvclive")


def columns(layout, rows, **config):
    plot = runs.put_plot(layout, "curve", rows, **config)
    (chart,) = Reader(layout).read(runs.facts(layout, entries=Entries(plots=(plot,)))).charts
    return {name: list(column) for name, column in chart.columns.items()}


def test_a_curve_that_was_computed_from_right_to_left_keeps_its_upright_parts(layout):
    falling = [(1.0, 0.5), (1.0, 0.7), (0.5, 0.6), (0.5, 0.9), (0.0, 1.0)]
    rows = [{"recall": x, "precision": y} for x, y in falling]
    assert columns(layout, rows, template="simple", x="recall", y="precision") == {
        "recall": [0.0, 0.5, 0.5, 1.0, 1.0],
        "precision": [1.0, 0.9, 0.6, 0.7, 0.5],
    }


@pytest.mark.parametrize(
    ("xs", "template"),
    [([1, 2, 2], "linear"), ([3, 1, 2], "linear"), ([2, 2], "linear"), ([], "linear"),
     (["c", "b"], "linear"), ([None, 2, 1], "linear"), ([3, 2], "bar_horizontal")],
)  # fmt: skip
def test_other_rows_stay_in_the_order_they_were_given(layout, xs, template):
    rows = [{"x": x, "y": i} for i, x in enumerate(xs)] or [{"x": 1, "y": 0}]
    read = columns(layout, rows, template=template, x="x", y="y")
    assert read["y"] == list(range(len(rows)))
