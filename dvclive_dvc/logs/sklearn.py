"""scikit-learn's curves, computed by scikit-learn and kept as files DVC draws."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..backend import Plot
from ..errors import (
    InvalidDataTypeError,
    InvalidPlotDataError,
    InvalidPlotTypeError,
    MissingExtraError,
)
from ..notices import logger
from .plots import PlotData, cell, placed, table_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..layout import Layout


@dataclass(frozen=True)
class _Curve:
    """How one kind is computed (module, function, its results' names in order) and drawn."""

    module: str
    function: str
    columns: tuple[str, ...]
    x: str
    y: str
    title: str
    x_label: str
    y_label: str


_CURVES = {
    "calibration": _Curve(
        "sklearn.calibration", "calibration_curve", ("prob_true", "prob_pred"),
        "prob_pred", "prob_true",
        "Calibration Curve", "Mean Predicted Probability", "Fraction of Positives",
    ),
    "det": _Curve(
        "sklearn.metrics", "det_curve", ("fpr", "fnr", "threshold"),
        "fpr", "fnr",
        "Detection error tradeoff (DET)", "False Positive Rate", "False Negative Rate",
    ),
    "precision_recall": _Curve(
        "sklearn.metrics", "precision_recall_curve", ("precision", "recall", "threshold"),
        "recall", "precision",
        "Precision-Recall Curve", "Recall", "Precision",
    ),
    "roc": _Curve(
        "sklearn.metrics", "roc_curve", ("fpr", "tpr", "threshold"),
        "fpr", "tpr",
        "Receiver operating characteristic (ROC)", "False Positive Rate", "True Positive Rate",
    ),
}  # fmt: skip


def computed(
    layout: Layout,
    kind: str,
    labels: Any,
    predictions: Any,
    name: str | None,
    title: str | None,
    x_label: str | None,
    y_label: str | None,
    *,
    normalized: bool | None = None,
    **kwargs: Any,
) -> PlotData:
    """The plot of this kind, computed and not yet written; `kwargs` go to scikit-learn.

    Raises:
        InvalidPlotTypeError: `kind` is none of the five.
        InvalidPlotDataError: labels and predictions do not belong together.
        MissingExtraError: scikit-learn is not installed.
    """
    if not isinstance(kind, str) or (kind not in _CURVES and kind != "confusion_matrix"):
        raise InvalidPlotTypeError(kind)
    for field, value in (("title", title), ("x_label", x_label), ("y_label", y_label)):
        if value is not None and not isinstance(value, str):
            raise InvalidDataTypeError(field, type(value), "a string, or None")
    path = placed(layout.sklearn_dir, kind if name is None else name)
    if kind == "confusion_matrix":
        if kwargs:
            logger.warning(
                "log_sklearn_plot('confusion_matrix') makes no use of %s.", ", ".join(kwargs)
            )
        content = table_json(_pairs(labels, predictions))
        config = {
            "template": "confusion_normalized" if normalized else "confusion",
            "x": "actual",
            "y": "predicted",
            "title": title or "Confusion Matrix",
            "x_label": x_label or "True Label",
            "y_label": y_label or "Predicted Label",
        }
    else:
        curve = _CURVES[kind]
        content = table_json(_points(kind, curve, labels, predictions, kwargs), group=kind)
        config = {
            "template": "simple",
            "x": curve.x,
            "y": curve.y,
            "title": title or curve.title,
            "x_label": x_label or curve.x_label,
            "y_label": y_label or curve.y_label,
        }
    return PlotData(Plot(path, config), content)


def _pairs(labels: Any, predictions: Any) -> list[dict[str, str]]:
    actual, predicted = _listed("labels", labels), _listed("predictions", predictions)
    if len(actual) != len(predicted) or not actual:
        raise InvalidPlotDataError(
            f"A confusion matrix needs as many labels as predictions, and at least one; got "
            f"{len(actual)} labels and {len(predicted)} predictions."
        )
    return [
        {"actual": str(one), "predicted": str(other)}
        for one, other in zip(actual, predicted, strict=True)
    ]


def _listed(which: str, values: Any) -> list[Any]:
    # A tensor's elements print as `tensor(1)`; its list has the numbers.
    if not type(values).__module__.startswith(("numpy", "pandas")) and hasattr(values, "tolist"):
        values = values.tolist()
    try:
        return list(values)
    except TypeError as error:
        raise InvalidDataTypeError(which, type(values), "a list or array of labels") from error


def _points(
    kind: str, curve: _Curve, labels: Any, predictions: Any, kwargs: dict[str, Any]
) -> list[dict[str, Any]]:
    try:
        module = importlib.import_module(curve.module)
    except ImportError as error:
        raise MissingExtraError(f"log_sklearn_plot({kind!r})", "scikit-learn", "sklearn") from error
    # Looked up now, so that a patched or wrapped function is the one that is called.
    function = getattr(module, curve.function)
    try:
        found: Iterable[Any] = function(labels, predictions, **kwargs)
    except (TypeError, ValueError) as error:
        raise InvalidPlotDataError(
            f"scikit-learn's {curve.function} refused the data of {kind!r}: {error}"
        ) from error
    # precision_recall has one point more than thresholds; the last, (1, 0), belongs to none.
    rows = [
        {column: cell(kind, value) for column, value in zip(curve.columns, values, strict=True)}
        for values in zip(*found, strict=False)
    ]
    if not rows:
        raise InvalidPlotDataError(f"scikit-learn's {curve.function} returned no points.")
    return rows
