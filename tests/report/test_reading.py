"""What the report reads off the run's files before it draws them."""

from __future__ import annotations

import json

import pytest
from report import runs

from dvclive_dvc.backend import Entries, Mode, Run
from dvclive_dvc.layout import Layout
from dvclive_dvc.report.notes import of_chart
from dvclive_dvc.report.reading import Reader


@pytest.fixture
def layout(tmp_path):
    return Layout.at(tmp_path / "dvclive")


def chart_of(layout, rows, **config):
    plot = runs.put_plot(layout, "curve", rows, **config)
    (chart,) = Reader(layout).read(runs.facts(layout, entries=Entries(plots=(plot,)))).charts
    return chart


def columns(layout, rows, **config):
    chart = chart_of(layout, rows, **config)
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


@pytest.mark.parametrize("place", [0, 1], ids=["in the first column", "in the second"])
def test_a_long_plot_keeps_the_peaks_of_each_of_its_columns(layout, place):
    rows = [{"x": i, "a": 0.0, "b": 0.0} for i in range(10_000)]
    rows[4321]["ab"[place]] = 1000.0
    chart = chart_of(layout, rows, template="simple", x="x", y=["a", "b"])
    assert chart.shown <= 1_000, "it is thinned"
    assert max(chart.columns["ab"[place]]) == 1000.0
    assert " ".join(of_chart(chart)).endswith("no peak is left out.")


def test_peaks_are_looked_for_along_the_axis_not_along_the_file(layout):
    # In the file's order each of the two ends stands among the small values.
    rows = [{"x": i * 7919 % 10_000, "y": 1.0} for i in range(10_000)]
    for row in rows:
        row["y"] = 5.0 if row["x"] % 1_000 == 500 else 1.0
    drawn = columns(layout, rows, template="simple", x="x", y="y")
    assert drawn["x"] == sorted(drawn["x"])
    assert sum(y == 5.0 for y in drawn["y"]) == 10, "each of ten peaks"


@pytest.mark.parametrize("template", ["scatter", "bar_horizontal", "linear"])
def test_points_and_words_of_which_some_are_left_out_do_not_claim_to_be_whole(layout, template):
    rows = [{"x": i, "y": "abc"[i % 3]} for i in range(5_000)]
    chart = chart_of(layout, rows, template=template, x="x", y="y")
    assert list(of_chart(chart)) == ["1,000 of 5,000 rows drawn; one in every 5."]
    assert list(chart.columns["x"]) == list(range(0, 5_000, 5))


def test_metrics_stand_in_one_order_in_the_summary_and_among_the_charts(layout):
    names = ["system/cpu", "val/loss", "layer10/grad", "layer2/grad", "loss", "train/loss", "a-b/c",
             "a/b"]  # fmt: skip
    for name in names:
        runs.put_metric(layout, name, [1, 2])
    layout.metrics_file.write_text(json.dumps(dict.fromkeys(names, 2)))
    page = Reader(layout).read(runs.facts(layout))
    order = ["loss", "a/b", "a-b/c", "layer2/grad", "layer10/grad", "train/loss", "val/loss",
             "system/cpu"]  # fmt: skip
    assert [chart.title for chart in page.charts] == order, "the order of the charts"
    assert [name for name, _ in page.metrics] == order, "the order of the summary"


def test_numbers_in_metrics_names_count_as_such(layout):
    for name in ("top10", "top2", "top1/x", "train/top10", "train/top9"):
        runs.put_metric(layout, name, [1])
    titles = [chart.title for chart in Reader(layout).read(runs.facts(layout)).charts]
    assert titles == ["top2", "top10", "top1/x", "train/top9", "train/top10"], "2 is before 10"


def test_plots_of_one_title_are_told_apart_by_their_names(layout):
    titles = {"cm": "Confusion Matrix", "cm_norm": "Confusion Matrix", "roc": "ROC"}
    plots = [
        runs.put_plot(layout, name, [{"x": 0, "y": 0}], kind="sklearn", x="x", y="y", title=title)
        for name, title in titles.items()
    ]
    page = Reader(layout).read(runs.facts(layout, plots=plots))
    assert [chart.title for chart in page.charts] == [
        "Confusion Matrix \u00b7 sklearn/cm",
        "Confusion Matrix \u00b7 sklearn/cm_norm",
        "ROC",
    ], "a title that says which plot it is stays, and one that does not has the name as well"


def test_images_stand_in_the_order_of_the_numbers_in_their_names(layout):
    for name in ("w_10.png", "w_0.png", "w_2.png", "w_1.png", "layer10/a.png", "layer9/a.png"):
        runs.put_image(layout, name, runs.png(4, 4))
    names = [one.name for one in Reader(layout).read(runs.facts(layout)).galleries]
    assert names == ["layer9/a.png", "layer10/a.png", "w_0.png", "w_1.png", "w_2.png", "w_10.png"]


def test_the_runs_of_one_pipeline_are_told_apart_by_their_folders(tmp_path):
    def title(given, mode, name=None):
        run = Run(name=name, mode=mode)
        layout = Layout.at(given)
        return Reader(layout).read(runs.facts(layout, run=run)).name

    assert title("train/live", Mode.EXP_RUN, "puffy-mole") == "puffy-mole \u00b7 train/live"
    assert title("eval/live", Mode.EXP_RUN, "puffy-mole") == "puffy-mole \u00b7 eval/live"
    assert title("train/live", Mode.REPRO) == "train/live", "DVC has no name for it"
    assert title(".", Mode.REPRO) == tmp_path.name, "the working directory has a name as well"
    assert title("train/live", Mode.STANDALONE, "puffy-mole") == "puffy-mole", "a name of its own"
