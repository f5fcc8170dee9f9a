"""DVC's templates with blanks: what the report draws is what `dvc plots` would draw."""

from __future__ import annotations

import json

import pytest
from dvc_render import TEMPLATES, VegaRenderer

from dvclive_dvc.report import templates

NAMES = [template.DEFAULT_NAME for template in TEMPLATES]


def marks_and_fields(spec):
    """What makes a plot look as it does: marks, transforms and encodings, but for our settings."""
    if isinstance(spec, list):
        return [marks_and_fields(part) for part in spec]
    if not isinstance(spec, dict):
        return spec
    ours = {"data", "params", "title", "detail", "groupby", "bind", "value", "aggregate", "text"}
    return {
        key: marks_and_fields(value)
        for key, value in spec.items()
        if key not in ours and value != {}
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_filled_template_is_the_one_dvc_fills(name):
    rows = [{"a": 1, "b": 2, "rev": "workspace"}]
    theirs = VegaRenderer(
        rows, "x", template=name, x="a", y="b", revs_with_datapoints=["workspace"]
    ).get_filled_template()
    ours = templates.fill(
        templates.spec(name, ("b",), None),
        {templates.X: "a", templates.Y: "b", templates.X_LABEL: "a", templates.Y_LABEL: "b"},
    )
    assert marks_and_fields(ours) == marks_and_fields(theirs)
    assert "@" not in json.dumps({k: v for k, v in ours.items() if k != "title"}), "a blank is left"


@pytest.mark.parametrize(
    ("name", "told"), [("confusion", "xy_count"), ("confusion_normalized", "percent_of_y")]
)
def test_the_cells_of_a_confusion_matrix_hold_their_numbers(name, told):
    layers = templates.spec(name, ("b",), None)["spec"]["layer"]
    (texts,) = [layer["encoding"]["text"] for layer in layers if layer.get("mark") == "text"]
    assert told in json.dumps(texts)


def test_a_template_is_filled_once_for_all_charts():
    assert templates.spec("linear", ("loss",), None) is templates.spec("linear", ("acc",), None)


def test_a_repository_may_have_templates_of_its_own(tmp_path):
    own = {"data": {"values": "<DVC_METRIC_DATA>"}, "mark": "area", "encoding": {}}
    (tmp_path / "mine.json").write_text(json.dumps(own))
    assert templates.spec("mine", ("y",), tmp_path)["mark"] == "area"


def test_its_own_template_wins_over_dvcs_of_the_same_name(tmp_path):
    own = {"data": {"values": "<DVC_METRIC_DATA>"}, "mark": "area", "encoding": {}}
    (tmp_path / "linear.json").write_text(json.dumps(own))
    assert templates.spec("linear", ("y",), tmp_path)["mark"] == "area"
    assert "mark" not in templates.spec("linear", ("y",), None)


def test_a_folder_called_like_a_template_is_no_template(tmp_path):
    (tmp_path / "linear").mkdir()
    assert templates.spec("linear", ("y",), None)["layer"]


def test_a_template_that_there_is_none_of_is_refused():
    with pytest.raises(ValueError, match="nonsense"):
        templates.spec("nonsense", ("y",), None)


@pytest.mark.parametrize(
    "name",
    ["a.b", "a[0]", "it's", 'a"b', "a\\b", "\u2028", "</script>", "@x@", "rev", "__proto__",
     "__part", "constructor"],
)  # fmt: skip
def test_a_field_is_called_by_a_name_that_is_no_code(name):
    field = templates.field_name(name)
    assert not set(field) & set(".[]'\"\\<>@\u2028\n")
    assert field not in {*templates.OWN_FIELDS, "constructor"}
    assert not field.startswith("__"), "JavaScript's and the report's own"
