"""Custom plots: rows DVC can draw, and what is refused."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math

import numpy as np
import pandas as pd
import pytest
from dvc.render.converter.vega import VegaConverter
from hypothesis import given, settings
from hypothesis import strategies as st

from dvclive_dvc.errors import InvalidDataTypeError, InvalidNameError, InvalidPlotDataError
from dvclive_dvc.layout import Layout
from dvclive_dvc.logs import plots

DEFAULTS = {"template": "linear", "title": None, "x_label": None, "y_label": None}


@pytest.fixture
def layout(tmp_path):
    return Layout.at(tmp_path / "dvclive")


@pytest.fixture
def check(layout):
    def call(datapoints, name="p", x="x", y="y", **more):
        return plots.checked(layout, name, datapoints, x, y, **{**DEFAULTS, **more})

    return call


def rows_of(data: plots.PlotData):
    return json.loads(data.content, parse_constant=lambda word: pytest.fail(f"bare {word}"))


def drawn_by_dvc(data: plots.PlotData) -> list[dict]:
    """The points DVC hands to Vega."""
    points, _ = VegaConverter(
        "plot.json", {"plot.json": rows_of(data)}, dict(data.plot.config)
    ).flat_datapoints("workspace")
    return points


ROWS = [{"x": 0, "y": 1.5}, {"x": 1, "y": 2.5}]


@pytest.mark.parametrize(
    "datapoints",
    [
        ROWS,
        tuple(ROWS),
        pd.DataFrame(ROWS),
        np.array([(0, 1.5), (1, 2.5)], dtype=[("x", "i4"), ("y", "f8")]),
        [{"x": np.int64(0), "y": np.float32(1.5)}, {"x": np.uint8(1), "y": np.array(2.5)}],
    ],
    ids=["dicts", "tuple", "frame", "structured", "scalars"],
)
def test_rows_come_in_many_dresses(check, datapoints):
    data = check(datapoints)
    assert rows_of(data) == ROWS
    assert [(point["x"], point["y"]) for point in drawn_by_dvc(data)] == [(0, 1.5), (1, 2.5)]


def test_the_columns_of_a_plain_array_are_numbered(check):
    data = check(np.array([[0, 1.5], [1, 2.5]]), x="0", y="1")
    assert rows_of(data) == [{"0": 0, "1": 1.5}, {"0": 1, "1": 2.5}]
    assert len(drawn_by_dvc(data)) == 2


def test_the_entry_holds_what_was_given_and_nothing_else(check, layout):
    data = check(ROWS, name="a/b.json", y=["y", "x"], title="T", x_label="X", y_label="Y")
    assert data.plot.path == layout.custom_dir / "a" / "b.json"
    assert data.plot.config == {
        "template": "linear", "x": "x", "y": ["y", "x"], "title": "T", "x_label": "X",
        "y_label": "Y",
    }  # fmt: skip
    assert check(ROWS, template="").plot.config == {"x": "x", "y": "y"}
    assert check(ROWS, template=None).plot.config == {"x": "x", "y": "y"}


def test_nothing_is_written_by_checking_and_writing_replaces(check, layout):
    data = check(ROWS)
    assert not layout.root.exists()
    plots.write(data)
    plots.write(check(ROWS[:1]))
    assert json.loads((layout.custom_dir / "p.json").read_text()) == ROWS[:1]


def test_values_json_has_no_word_for_are_left_out_by_vega_and_kept_in_the_file(check):
    data = check([{"x": i, "y": y} for i, y in enumerate([math.nan, math.inf, -math.inf, 1.0])])
    assert [row["y"] for row in rows_of(data)] == ["nan", "inf", "-inf", 1.0]
    assert len(drawn_by_dvc(data)) == 4


def test_what_is_missing_is_null(check):
    frame = pd.DataFrame({"x": [1, 2, 3], "y": [1.0, None, 3.0], "t": [pd.NaT, pd.NaT, None]})
    assert [row["t"] for row in rows_of(check(frame))] == [None, None, None]
    assert rows_of(check([{"x": 1, "y": None}])) == [{"x": 1, "y": None}]


def test_dates_and_decimals_are_kept_as_text_and_numbers(check):
    day = dt.date(2026, 1, 2)
    assert rows_of(check([{"x": day, "y": decimal.Decimal("0.5")}])) == [
        {"x": "2026-01-02", "y": 0.5}
    ]
    frame = pd.DataFrame({"x": [pd.Timestamp("2026-01-02")], "y": [1]})
    assert rows_of(check(frame))[0]["x"].startswith("2026-01-02")


def test_rows_of_unlike_columns_are_evened_since_dvc_would_drop_them_all(check):
    data = check([{"x": 0, "y": 1}, {"x": 1, "y": 2, "note": "late"}])
    assert rows_of(data) == [{"x": 0, "y": 1, "note": None}, {"x": 1, "y": 2, "note": "late"}]
    assert len(drawn_by_dvc(data)) == 2


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"x": st.integers() | st.floats(), "y": st.floats() | st.text() | st.none()},
            optional={"z": st.booleans(), "w": st.lists(st.floats(), max_size=2)},
        ),
        min_size=1,
        max_size=6,
    )
)
def test_dvc_draws_every_row_that_is_taken(tmp_path_factory, rows):
    layout = Layout.at(tmp_path_factory.mktemp("run"))
    data = plots.checked(layout, "p", rows, "x", "y", **DEFAULTS)
    assert len(rows_of(data)) == len(rows)
    assert len(drawn_by_dvc(data)) == len(rows)


@pytest.mark.parametrize(
    ("rows", "column", "row"),
    [
        ([{"x": 1}], "y", 0),
        ([{"y": 1}], "x", 0),
        ([{"x": 1, "y": 1}, {"x": 1}], "y", 1),
        ([{}], "x", 0),
    ],
)
def test_a_row_without_x_or_y_is_refused_by_its_number(check, rows, column, row):
    with pytest.raises(InvalidPlotDataError, match=f"'{column}' is not in row {row}"):
        check(rows)


def test_no_rows_are_refused_because_dvc_plots_would_fail_on_them(check):
    with pytest.raises(InvalidPlotDataError, match="no datapoints"):
        check([])
    with pytest.raises(InvalidPlotDataError, match="no `y`"):
        check(ROWS, y=[])
    with pytest.raises(AttributeError):  # the reason: if DVC draws nothing one day, it may go
        VegaConverter("p", {"p": []}, {"x": "x", "y": "y"}).flat_datapoints("workspace")


@pytest.mark.parametrize(
    "datapoints",
    [None, 1, "x", b"x", {"x": [1], "y": [1]}, [1, 2], [[1, 2]], np.array([1, 2]),
     np.zeros((2, 2, 2)), object(), (row for row in ROWS)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_has_no_rows_is_refused(check, datapoints):
    with pytest.raises(InvalidDataTypeError, match="list of dicts"):
        check(datapoints, x="0", y="1")


@pytest.mark.parametrize("value", [{1}, b"x", object(), 1j, {("a",): 1}])
def test_a_value_json_cannot_hold_is_refused(check, value):
    with pytest.raises(InvalidDataTypeError):
        check([{"x": 0, "y": value}])


@pytest.mark.parametrize(
    "more",
    [{"x": None}, {"x": 1.5}, {"x": ["x"]}, {"y": None}, {"y": [1.5]}, {"y": {"y": "x"}},
     {"template": 1}, {"title": 1}, {"x_label": ["X"]}, {"y_label": b"Y"}],
    ids=str,
)  # fmt: skip
def test_an_argument_of_another_type_is_refused(check, more):
    with pytest.raises(InvalidDataTypeError):
        check(ROWS, **more)


@pytest.mark.parametrize("name", ["", ".json", "a/.json", "../x", "/x", "a\nb", "a//b"])
def test_a_name_that_cannot_be_a_file_is_refused(check, name):
    with pytest.raises(InvalidNameError):
        check(ROWS, name=name)
