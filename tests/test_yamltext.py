"""YAML as text: written alike for every parser, read without one where that is sound."""

from __future__ import annotations

import datetime as dt
import enum
import math
from pathlib import PurePosixPath

import pytest
import yaml as pyyaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from dvclive_dvc import yamltext
from dvclive_dvc.errors import InvalidDataTypeError

TEXTS = st.text(max_size=30) | st.sampled_from(
    [
        "", "y", "No", "on", "null", "~", "1", "1e3", "1e-05", "0x1F", "0b1", "1_000", "190:20:30",
        ".5", ".inf", "-.INF", ".nan", "2001-12-14", "2001-12-14t21:59:43.10-05:00", "=", "<<", "-",
        "--- a", "- a", "? a", "a: b", "a #b", "#a", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a",
        "{a}", "[a]", "a,b", "'a'", '"a"', "a ", " a", "a\tb", "a\nb", "a\r\nb", "\x85", "\u2028",
        "\ufeff", "\x00", "\x7f", "\U0001f600", "модель", "../dvclive/metrics.json", "..", "...",
        "C:\\x", "1.", "+1", "0o17", "017", "a:b", "a:", ":a", "?", "1.2.3", "12e03", "-2E+05",
    ]
)  # fmt: skip
SCALARS = TEXTS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def as_yaml_1_1(text):
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    return yaml.load(text)


READERS = {"ruamel 1.2": yamltext.load, "ruamel 1.1": as_yaml_1_1, "PyYAML": pyyaml.safe_load}


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_every_parser_reads_back_what_was_written(document):
    text = yamltext.emit(document)
    for name, read in READERS.items():
        assert read(text) == document, f"{name} reads otherwise:\n{text}"


@settings(max_examples=100, deadline=None)
@given(VALUES)
def test_every_parser_reads_back_what_was_written_on_one_line(value):
    text = f"[{yamltext.flow(value)}]\n"
    for name, read in READERS.items():
        assert read(text) == [value], f"{name} reads otherwise:\n{text}"


@pytest.mark.parametrize("value", [math.inf, -math.inf, 1e-05, 1e300, 0.1, -0.0, 5e-324])
def test_numbers_stay_numbers(value):
    for read in READERS.values():
        assert read(f"a: {yamltext.scalar(value)}") == {"a": value}


def test_nan_stays_nan():
    for read in READERS.values():
        assert math.isnan(read(f"a: {yamltext.scalar(math.nan)}")["a"])


def test_a_file_name_that_is_not_utf_8_survives():
    name = b"caf\xe9.json".decode("utf-8", "surrogateescape")
    text = yamltext.emit({"plots": [name]})
    text.encode("utf-8")
    assert yamltext.load(text) == {"plots": [name]}


def test_a_name_too_long_for_a_simple_key_is_still_read():
    document = {"a" * 3000: {"x": ["b"]}, "ж" * 1100: "c"}
    for name, read in READERS.items():
        assert read(yamltext.emit(document)) == document, name


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_recognised_is_what_a_parser_reads(document):
    text = yamltext.emit(document)
    found = yamltext.recognise(text)
    assert found is None or found == yamltext.load(text)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="ab:- \n'#{}&*1y", max_size=40))
def test_no_text_is_recognised_otherwise_than_a_parser_reads_it(text):
    found = yamltext.recognise(text)
    if found is not None:
        assert yamltext.load(text) == found


def test_a_file_of_the_loggers_own_is_recognised():
    document = {
        "params": ["params.yaml"],
        "plots": [
            {"plots/metrics": {"x": "step"}},
            "plots/images",
            {"b c.json": {"y": ["a", "b"]}},
        ],
        "artifacts": {"m": {"path": "../m.pt", "labels": ["a", "b"], "desc": "it's: big"}},
    }
    assert yamltext.recognise(yamltext.emit(document)) == document


@pytest.mark.parametrize(
    "text", ["a: 1\n", "a: b", "# c\na: b\n", "a: &x b\n", "a: b \n", "a: {}\n", ""]
)
def test_what_is_written_otherwise_is_left_to_the_parser(text):
    assert yamltext.recognise(text) is None


class Kind(str, enum.Enum):
    MODEL = "model"


class Number(enum.IntEnum):
    ONE = 1


def test_values_are_brought_to_the_types_of_yaml():
    np = pytest.importorskip("numpy")
    value = {
        "kind": Kind.MODEL, "one": Number.ONE, "path": PurePosixPath("a/b"), "tuple": (1, "a"),
        "float32": np.float32(0.5), "int64": np.int64(3), "day": dt.date(2026, 1, 2), 1: True,
    }  # fmt: skip
    plain = yamltext.plain(value)
    assert plain == {
        "kind": "model", "one": 1, "path": "a/b", "tuple": [1, "a"], "float32": 0.5, "int64": 3,
        "day": "2026-01-02", 1: True,
    }  # fmt: skip
    assert yamltext.load(yamltext.emit(plain)) == plain
    assert type(plain["kind"]) is str


def test_a_nan_that_is_written_and_read_compares_as_the_same_at_every_depth():
    np = pytest.importorskip("numpy")
    value = {"a": float("nan"), "b": [np.float32("nan"), {"c": np.float64("nan")}]}
    value[float("nan")] = -float("nan")
    plain = yamltext.plain(value)
    assert plain == yamltext.plain(value)
    assert yamltext.load(yamltext.emit(plain)) == plain
    assert yamltext.load("a: [.NaN, {b: .nan}]\n") == yamltext.load("{a: [.nan, {b: .NAN}]}\n")


@pytest.mark.parametrize("value", [object(), b"bytes", {("a", "b"): 1}, {"a": [print]}, 1j])
def test_a_value_yaml_has_no_form_for_is_refused(value):
    with pytest.raises(InvalidDataTypeError, match="meta"):
        yamltext.plain(value)


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: 1\nb: [\n", 3, 1),
        ("a: 1\na: 2\n", 2, 1),
        ("a: b: c\n", 1, 5),
        ("a: 1\nb: \x01\n", 2, 4),
    ],
)
def test_a_problem_is_placed(text, line, column):
    with pytest.raises(yamltext.YamlProblem) as caught:
        yamltext.load(text)
    assert (caught.value.line, caught.value.column) == (line, column)
