"""What is said of an artifact, as its entry in a dvc.yaml."""

from __future__ import annotations

from pathlib import Path

import pytest

from dvclive_dvc.backend import Artifact
from dvclive_dvc.errors import CallerError, InvalidDataTypeError, InvalidParameterTypeError
from dvclive_dvc.logs import descriptions

MODEL = Path("/repo/models/digits.v2.pt")


def described(**said):
    nothing = dict.fromkeys(("type", "name", "desc", "labels", "meta"))
    return descriptions.described(MODEL, **{**nothing, **said})


def test_the_key_is_the_name_else_the_files_without_its_last_ending():
    assert described(type="model", name="mine") == ("mine", Artifact(MODEL, type="model"))
    key, _ = descriptions.described(
        Path("/repo/model.pt"), type="model", name=None, desc=None, labels=None, meta=None
    )
    assert key == "model"


def test_where_nothing_is_said_there_is_no_entry():
    assert described() is None
    assert described(name="", desc="", labels=[], meta={}) is None


def test_what_is_said_is_kept_in_plain_values():
    _, artifact = described(
        name="m", desc="best", labels=("a", "b"), meta={"at": Path("x"), "n": {"k": None}}
    )
    assert artifact == Artifact(
        MODEL, desc="best", labels=("a", "b"), meta={"at": "x", "n": {"k": None}}
    )


@pytest.mark.parametrize("name", ["bad name", "-m", "../m", "a\tb", "ü"])
def test_a_name_that_gto_does_not_take_is_said_and_left_out(name, caplog):
    assert described(name=name) is None
    assert "is not written to dvc.yaml" in caplog.text


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"type": 3}, InvalidDataTypeError),
        ({"name": 3}, InvalidDataTypeError),
        ({"desc": b"d"}, InvalidDataTypeError),
        ({"labels": "vision"}, InvalidDataTypeError),
        ({"labels": b"vision"}, InvalidDataTypeError),
        ({"labels": {"vision": 1}}, InvalidDataTypeError),
        ({"labels": 3}, InvalidDataTypeError),
        ({"labels": ["a", 3]}, InvalidDataTypeError),
        ({"meta": [1]}, InvalidDataTypeError),
        ({"meta": "abc"}, InvalidDataTypeError),
        ({"meta": 0}, InvalidDataTypeError),
        ({"meta": {"a": {1, 2}}}, InvalidParameterTypeError),
        ({"meta": {(1, 2): 3}}, InvalidParameterTypeError),
        ({"meta": {"a": b"x"}}, InvalidParameterTypeError),
    ],
)
def test_what_yaml_cannot_hold_is_refused(said, error):
    with pytest.raises(error) as caught:
        described(**said)
    assert isinstance(caught.value, CallerError)
    assert next(iter(said)) in str(caught.value), "the text names the argument"
    assert "llowed" in str(caught.value), "the text says what is allowed"
