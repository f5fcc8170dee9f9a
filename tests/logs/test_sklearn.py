"""scikit-learn's plots: computed by scikit-learn, once, and drawn by DVC."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest
from dvc.render.converter.vega import VegaConverter

from dvclive_dvc.errors import (
    InvalidDataTypeError,
    InvalidNameError,
    InvalidPlotDataError,
    InvalidPlotTypeError,
    MissingExtraError,
)
from dvclive_dvc.layout import Layout
from dvclive_dvc.logs import plots, sklearn

LABELS = [0, 0, 1, 1]
SCORES = [0.1, 0.4, 0.35, 0.8]
CURVES = ["calibration", "det", "precision_recall", "roc"]


@pytest.fixture
def layout(tmp_path):
    return Layout.at(tmp_path / "dvclive")


@pytest.fixture
def compute(layout):
    def call(kind, labels=LABELS, predictions=SCORES, name=None, **more):
        looks = {field: more.pop(field, None) for field in ("title", "x_label", "y_label")}
        return sklearn.computed(layout, kind, labels, predictions, name, **looks, **more)

    return call


def document_of(data: plots.PlotData):
    return json.loads(data.content, parse_constant=lambda word: pytest.fail(f"bare {word}"))


@pytest.mark.parametrize(
    ("kind", "module", "function", "columns"),
    [
        ("calibration", importlib.import_module("sklearn.calibration"),
         "calibration_curve", ["prob_true", "prob_pred"]),
        ("det", importlib.import_module("sklearn.metrics"),
         "det_curve", ["fpr", "fnr", "threshold"]),
        ("precision_recall", importlib.import_module("sklearn.metrics"),
         "precision_recall_curve", ["precision", "recall", "threshold"]),
        ("roc", importlib.import_module("sklearn.metrics"),
         "roc_curve", ["fpr", "tpr", "threshold"]),
    ],
)  # fmt: skip
def test_a_curve_is_what_scikit_learn_says_asked_once(
    compute, monkeypatch, kind, module, function, columns
):
    asked = []
    real = getattr(module, function)

    def counted(*args, **more):
        asked.append((args, more))
        return real(*args, **more)

    monkeypatch.setattr(module, function, counted)
    rows = document_of(compute(kind))[kind]
    assert asked == [((LABELS, SCORES), {})]
    expected = real(LABELS, SCORES)
    assert list(rows[0]) == columns
    for column, values in zip(columns, expected, strict=True):
        for row, value in zip(rows, values, strict=False):
            assert row[column] == (value if np.isfinite(value) else "inf")


def test_arguments_for_scikit_learn_are_handed_on(compute, monkeypatch):
    asked = []
    real = importlib.import_module("sklearn.metrics").roc_curve
    monkeypatch.setattr(
        "sklearn.metrics.roc_curve", lambda *args, **more: asked.append(more) or real(*args, **more)
    )
    compute("roc", drop_intermediate=True)
    assert asked == [{"drop_intermediate": True}]


def test_the_first_threshold_of_a_roc_curve_is_infinite_and_strict_json_all_the_same(compute):
    assert document_of(compute("roc"))["roc"][0]["threshold"] == "inf"


@pytest.mark.parametrize("kind", CURVES)
def test_dvc_draws_every_point_of_a_curve(compute, kind):
    data = compute(kind)
    points, _ = VegaConverter(
        "p.json", {"p.json": document_of(data)}, dict(data.plot.config)
    ).flat_datapoints("workspace")
    assert len(points) == len(document_of(data)[kind])


@pytest.mark.parametrize(
    ("labels", "predictions", "pairs"),
    [
        ([0, 1], [1, 1], [("0", "1"), ("1", "1")]),
        (["a"], ["b"], [("a", "b")]),
        (np.array([0, 1]), np.array([1.5, 2]), [("0", "1.5"), ("1", "2.0")]),
        ((True,), [False], [("True", "False")]),
    ],
)
def test_a_confusion_matrix_is_pairs_of_words_in_their_order(compute, labels, predictions, pairs):
    data = compute("confusion_matrix", labels, predictions)
    assert document_of(data) == [{"actual": a, "predicted": p} for a, p in pairs]


def test_a_tensors_labels_are_its_numbers(compute):
    class Tensor(list):
        def tolist(self):
            return [0, 1]

    assert document_of(compute("confusion_matrix", Tensor("??"), [0, 0]))[1]["actual"] == "1"


@pytest.mark.parametrize(
    ("kind", "more", "config"),
    [
        ("confusion_matrix", {}, {
            "template": "confusion", "x": "actual", "y": "predicted", "title": "Confusion Matrix",
            "x_label": "True Label", "y_label": "Predicted Label"}),
        ("confusion_matrix", {"normalized": True}, {
            "template": "confusion_normalized", "x": "actual", "y": "predicted",
            "title": "Confusion Matrix", "x_label": "True Label", "y_label": "Predicted Label"}),
        ("roc", {}, {
            "template": "simple", "x": "fpr", "y": "tpr",
            "title": "Receiver operating characteristic (ROC)",
            "x_label": "False Positive Rate", "y_label": "True Positive Rate"}),
        ("roc", {"title": "T", "x_label": "X", "y_label": "Y"}, {
            "template": "simple", "x": "fpr", "y": "tpr", "title": "T", "x_label": "X",
            "y_label": "Y"}),
    ],
)  # fmt: skip
def test_how_a_plot_is_drawn(compute, kind, more, config):
    assert compute(kind, LABELS, LABELS, **more).plot.config == config


@pytest.mark.parametrize(
    ("name", "file"),
    [
        (None, "roc.json"),
        ("mine", "mine.json"),
        ("a/b.json", "a/b.json"),
        ("x.json.json", "x.json.json"),
    ],
)
def test_a_plot_is_kept_under_its_name(compute, layout, name, file):
    assert compute("roc", name=name).plot.path == layout.sklearn_dir / file


@pytest.mark.parametrize("kind", ["ROC", "", None, 1, ["roc"]])
def test_another_kind_is_refused_with_those_there_are(compute, kind):
    with pytest.raises(InvalidPlotTypeError, match="calibration, confusion_matrix, det"):
        compute(kind)


@pytest.mark.parametrize(
    ("kind", "labels", "predictions"),
    [
        ("roc", [0, 1], [0.5]),
        ("roc", [0, 1], ["a", "b"]),
        ("roc", [], []),
        ("roc", None, None),
        ("det", [0, 1, 2], [0.1, 0.2, 0.3]),
        ("confusion_matrix", [0, 1], [0]),
        ("confusion_matrix", [], []),
    ],
)
def test_data_that_make_no_plot_are_refused(compute, layout, kind, labels, predictions):
    with pytest.raises(InvalidPlotDataError):
        compute(kind, labels, predictions)
    assert not layout.root.exists()


def test_an_argument_scikit_learn_does_not_know_is_refused(compute):
    with pytest.raises(InvalidPlotDataError, match="roc_curve"):
        compute("roc", no_such_argument=1)


def test_labels_that_are_no_list_are_refused(compute):
    with pytest.raises(InvalidDataTypeError):
        compute("confusion_matrix", 1, 2)


@pytest.mark.parametrize("name", ["", "../x", ".json"])
def test_a_name_that_cannot_be_a_file_is_refused(compute, name):
    with pytest.raises(InvalidNameError):
        compute("roc", name=name)


def test_without_scikit_learn_the_text_says_how_to_get_it(compute, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(MissingExtraError, match=r"dvclive_dvc\[sklearn\]"):
        compute("roc")
