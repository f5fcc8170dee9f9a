from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dvclive_dvc.layout import Layout
from dvclive_dvc.logs import metrics, summary
from dvclive_dvc.losses import Losses
from dvclive_dvc.repo.catchup import brought_up, cut_torn_row, last_row


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("step\tloss\n0\t0.5\n1\t0.25\n", (1, "0.25")),
        ("timestamp\tstep\tloss\n1700000000000\t7\tnan\n", (7, "nan")),
        ("step\tloss\n-3\t1e-05\n", (-3, "1e-05")),
        ("step\tloss\n0\ta text with \u2028 in it\n", (0, "a text with \u2028 in it")),
        ("step\tloss\n", None),
        ("", None),
        ("step\tloss\n0\t0.5\n1\t0.2", (0, "0.5")),  # cut by a crash of the machine
        ("step\tlo", None),
        ("step\tloss\n0\t1\t2\n", None),
        ("step\tloss\nzero\t1\n", None),
        ("step\tloss\n" + "0\t0.5\n" * 30_000 + "9\t0.125\n", (9, "0.125")),
    ],
)
def test_the_last_whole_row_counts(tmp_path, text, row):
    path = tmp_path / "loss.tsv"
    path.write_bytes(text.encode())
    assert last_row(path) == row


@pytest.mark.parametrize(
    ("before", "rows", "after"),
    [
        ({}, {"loss": (0, "0.5")}, {"loss": 0.5}),
        ({}, {"a/b/c": (0, "1")}, {"a": {"b": {"c": 1}}}),
        ({"loss": 1.0, "step": 3}, {"loss": (4, "0.5")}, {"loss": 0.5, "step": 3}),
        ({"loss": 1.0}, {"loss": (4, "0.5")}, {"loss": 0.5, "step": 4}),
        ({"only here": 1}, {"loss": (0, "2")}, {"only here": 1, "loss": 2}),
        ({"version": "5"}, {"version": (0, "5")}, {"version": "5"}),
        ({}, {"x": (0, "nan"), "y": (0, "-inf")}, {"x": "nan", "y": "-inf"}),
        ({}, {"x": (0, "True"), "y": (0, "a text")}, {"x": True, "y": "a text"}),
        ({"a": {"b": 1}}, {"a": (0, "2")}, {"a": {"b": 1}}),
        ({"a": 1}, {"a/b": (0, "2")}, {"a": 1}),
    ],
)
def test_the_summary_takes_the_last_row_of_each_metric(before, rows, after):
    assert brought_up(before, rows) == after
    assert list(brought_up(before, rows))[: len(before)] == list(before), "the order stays"


VALUES = st.one_of(
    st.integers(-(10**12), 10**12),
    st.floats(),
    st.booleans(),
    st.text(st.characters(codec="utf-8"), max_size=20),
)


@settings(max_examples=60, deadline=None)
@given(values=st.dictionaries(st.sampled_from(["a", "b/c", "b/d", "e f"]), VALUES))
def test_a_summary_that_is_up_to_date_stays_as_it_is(tmp_path_factory, values):
    layout = Layout.at(tmp_path_factory.mktemp("run"))
    writer = metrics.MetricWriter(layout, Losses())
    expected: dict = {}
    for name, value in values.items():
        kept, cell = metrics.to_scalar(name, value)
        summary.put(expected, name, kept)
        writer.append(name, 0, cell, timestamp=False)
    writer.close()
    paths = {name: layout.metrics_dir / f"{name}.tsv" for name in values}
    rows = {name: row for name, path in paths.items() if (row := last_row(path)) is not None}
    assert rows.keys() == values.keys()
    numbers = {k: v for k, v in values.items() if not isinstance(v, str)}
    from_nothing = brought_up({}, {name: rows[name] for name in numbers})
    of_numbers: dict = {}
    for name, value in numbers.items():
        summary.put(of_numbers, name, metrics.to_scalar(name, value)[0])
    assert json.dumps(from_nothing) == json.dumps(of_numbers), "as the run would have written it"
    texts = [n for n, v in values.items() if isinstance(v, str) and v != rows[n][1]]
    if not texts:  # a row has no line ends or tabs, the summary has
        assert brought_up(expected, rows) == expected


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("step\ta\n0\t1.0\n1\t0.3", "step\ta\n0\t1.0\n"),
        ("step\ta\n0\t1.0\n", "step\ta\n0\t1.0\n"),
        ("step\ta", "step\ta"),
        ("", ""),
    ],
)
def test_a_row_that_a_kill_cut_in_two_is_taken_away(tmp_path, text, left):
    path = tmp_path / "a.tsv"
    path.write_text(text)
    cut_torn_row(path)
    assert path.read_text() == left
