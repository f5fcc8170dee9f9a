"""Parameters: what is taken, what is refused, and that every reader reads the same."""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime as dt
import decimal
import enum
import math
import types
import uuid
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
import omegaconf
import pytest
import yaml
from dvc.utils.serialize import load_yaml, loads_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from dvclive_dvc.errors import InvalidNameError, InvalidParameterTypeError
from dvclive_dvc.logs import names, params


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


class Level(enum.IntEnum):
    LOW = 1


@dataclasses.dataclass
class Optimizer:
    name: str
    betas: tuple[float, float] = (0.9, 0.999)


class Point(NamedTuple):
    x: int
    y: int


class Scalar:
    """What torch's and jax's scalars look like from outside."""

    def __init__(self, value):
        self.value = value

    def tolist(self):
        return self.value


CONVERTED = [
    (np.float32(0.5), 0.5),
    (np.int64(3), 3),
    (np.bool_(1), True),
    (np.str_("adam"), "adam"),
    (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
    (np.array(2.5), 2.5),
    (Path("data") / "raw", str(Path("data") / "raw")),
    (PurePosixPath("/data"), "/data"),
    (Colour.RED, "red"),
    (Colour.TWO, 2),
    (Level.LOW, 1),
    (dt.date(2026, 1, 2), "2026-01-02"),
    (dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc), "2026-01-02T03:04:05+00:00"),
    (dt.time(3, 4), "03:04:00"),
    (dt.timedelta(seconds=90), "0:01:30"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (decimal.Decimal("0.25"), 0.25),
    (Optimizer("adam"), {"name": "adam", "betas": [0.9, 0.999]}),
    (Point(1, 2), {"x": 1, "y": 2}),
    ((1, (2, 3)), [1, [2, 3]]),
    (range(3), [0, 1, 2]),
    (collections.deque([1]), [1]),
    (argparse.Namespace(lr=0.1), {"lr": 0.1}),
    (types.SimpleNamespace(lr=0.1), {"lr": 0.1}),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    (omegaconf.OmegaConf.create({"a": {"b": [1]}, "c": "${a.b}"}), {"a": {"b": [1]}, "c": [1]}),
    (Scalar(1.5), 1.5),
    ({Colour.RED: 1, Path("x"): 2}, {"red": 1, "x": 2}),
    ({0: "cat", True: "yes"} | {None: 1}, {0: "cat", True: "yes", None: 1}),
    ([], []),
    ({}, {}),
    (None, None),
    (10**30, 10**30),
]  # fmt: skip


@pytest.mark.parametrize(("given", "kept"), CONVERTED, ids=lambda value: type(value).__name__)
def test_a_value_is_made_plain_and_read_back_by_every_reader(given, kept, tmp_path):
    plain = params.converted_all({"p": given})
    assert plain == {"p": kept}
    path = tmp_path / "params.yaml"
    params.write(path, plain)
    assert load_yaml(str(path)) == {"p": kept}, "DVC reads something else"
    assert yaml.safe_load(path.read_text("utf-8")) == {"p": kept}, "PyYAML reads something else"
    assert params.read(path) == {"p": kept}


def itself():
    loop: dict = {}
    loop["again"] = [loop]
    return loop


def deep():
    value: list = []
    for _ in range(500):
        value = [value]
    return value


@pytest.mark.parametrize(
    "bad",
    [
        {1, 2}, frozenset(), b"bytes", bytearray(b"x"), memoryview(b"x"), object(), object, len,
        1 + 2j, (n for n in ()), iter([]), np.array([1 + 2j]), {("a", "b"): 1}, {b"k": 1},
        {"k": {1}}, [{"k": b""}], itself(), deep(), "\ud800", {"\ud800": 1}, 10**5000,
        omegaconf.OmegaConf.create({"a": "???"}), {"1": 1, np.str_("1"): 2, Path("1"): 3},
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_no_reader_could_read_back_is_refused_by_name(bad):
    with pytest.raises(InvalidParameterTypeError, match="Parameter 'p") as caught:
        params.converted("p", bad)
    assert "Allowed: dicts, lists, numbers" in str(caught.value)
    with pytest.raises(InvalidParameterTypeError):
        params.converted_all({"p": bad})


def test_one_value_in_two_places_is_not_taken_for_one_that_contains_itself():
    shared = [1]
    assert params.converted("p", {"a": shared, "b": [shared, shared]}) == {
        "a": [1],
        "b": [[1], [1]],
    }


@pytest.mark.parametrize("bad", [None, 1, "lr", ["lr"], [("lr", 1)], {1, 2}])
def test_parameters_that_are_no_table_are_refused(bad):
    with pytest.raises(InvalidParameterTypeError):
        params.converted_all(bad)


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_refused(name):
    with pytest.raises(InvalidNameError, match="empty"):
        params.converted_all({name: 1})


@pytest.mark.parametrize("name", ["a\tb", "a\nb", "a\0b", "a\u2028b"])
def test_a_name_of_several_lines_or_with_control_characters_is_refused(name):
    with pytest.raises(InvalidNameError, match="control character"):
        params.converted_all({name: 1})
    assert params.converted_all({"p": {name: 1}}) == {"p": {name: 1}}, "a key inside is data"


@pytest.mark.parametrize("name", [None, True, (1,), b"x"])
def test_a_name_that_is_no_string_is_refused(name):
    with pytest.raises(InvalidParameterTypeError):
        params.converted_all({name: 1})


def test_a_number_as_a_parameters_own_name_becomes_text_because_dvc_sorts_names():
    assert params.converted_all({1: "a", "x": 2}) == {"1": "a", "x": 2}
    with pytest.raises(InvalidParameterTypeError, match="two keys"):
        params.converted_all({1: "a", "1": "b"})


@pytest.mark.parametrize(
    ("former", "fresh", "shown"),
    [
        ({"a.b": 1}, {"a": {"b": 2}}, "a.b"),
        ({"a": {"b.c": 1}}, {"a.b": {"c": 2}}, "a.b.c"),
        ({}, {"a": {1: "x", "1": "y"}}, "a.1"),
    ],
)
def test_two_parameters_that_dvc_would_show_under_one_name_are_refused(former, fresh, shown):
    with pytest.raises(InvalidNameError, match=shown.replace(".", r"\.")):
        params.merged(former, fresh)


def test_dvc_really_fails_on_two_parameters_of_one_shown_name(repos):
    # The reason for the refusal: if DVC takes them one day, it may go.
    from situations import run

    made = repos.make("git_and_dvc")
    made.write("params.yaml", "a.b: 1\na:\n  b: 2\n")
    made.commit()
    done = run("dvc", "exp", "show", check=False)
    assert done.returncode, "DVC shows both now"
    assert "a.b" in done.stderr


def test_merging_keeps_the_order_and_replaces_what_is_logged_again():
    assert list(params.merged({"b": 1, "a": 2}, {"c": 3, "b": 4}).items()) == [
        ("b", 4), ("a", 2), ("c", 3),
    ]  # fmt: skip


# -- the file ------------------------------------------------------------------------------

TRICKY = [
    "", " ", "yes", "No", "on", "y", "null", "~", "true", "1", "-1", "1.5", "1e5", "1e-5", "0x1F",
    "0o17", "017", "0b1", "1_000", "12:30:45", ".inf", "-.inf", ".nan", "2026-01-01", "a: b",
    "a #b", "#c", "- a", "?", "[x]", "{x}", "*x", "&x", "!x", "%x", "@x", "`x`", "'x'", '"x"',
    "a\tb", "a\nb", "a\r\nb", " lead", "trail ", "...", "---", "<<", "=", "é", "😀", "\x00", "\x07",
    "\x85", "\u2028", "\ufeff", "\ufffe", "\x7f", "\xa0", "x" * 3000, "C:\\new", "a/b.c",
    "a-b (c)",
]  # fmt: skip


@pytest.mark.parametrize("text", TRICKY, ids=repr)
def test_text_that_looks_like_something_else_stays_text(text):
    document = {"v": text, "l": [text], "n": {text or "e": text}}
    shown = params.dumped(document).decode()
    assert loads_yaml(shown) == document, f"DVC reads something else from {shown!r}"
    assert yaml.safe_load(shown) == document, f"PyYAML reads something else from {shown!r}"


SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(TRICKY)
)
KEYS = st.text() | st.integers() | st.booleans() | st.none() | st.sampled_from(TRICKY)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)
NAMES = st.text(min_size=1).filter(lambda n: n.strip() and names.FORBIDDEN.isdisjoint(n))


def same(one, other) -> bool:
    """Equality that tells 1 from 1.0 and True, and knows NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return repr(one) == repr(other)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) and same(one[a], other[b]) for a, b in zip(one, other, strict=True)
        )
    return one == other


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_whatever_is_taken_is_read_back_exactly(table):
    try:
        plain = params.converted_all(table)
    except InvalidParameterTypeError:
        return
    shown = params.dumped(plain).decode()
    assert same(loads_yaml(shown) or {}, plain), shown
    assert same(yaml.safe_load(shown) or {}, plain), shown


def test_the_file_is_written_only_where_a_parameter_changed(tmp_path):
    path = tmp_path / "params.yaml"
    table = {"lr": 0.1, "on": 1, "nan": math.nan}
    params.write(path, table)
    before = path.stat().st_ino, path.stat().st_mtime_ns
    params.write(path, dict(table))
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before, (
        "the file was replaced by the same"
    )
    params.write(path, {**table, "on": True})
    assert load_yaml(str(path))["on"] is True, "1 and True are two values"
    path.unlink()
    params.write(path, table)
    assert path.exists(), "a file that is gone was not written again"


@pytest.mark.parametrize("text", ["NaN", "sNaN", "-sNaN"])
def test_a_decimal_that_is_no_number_is_nan(text):
    assert math.isnan(params.converted("p", decimal.Decimal(text)))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e-5, 1e20, 5e-324, -0.0])
def test_floats_are_floats_to_every_reader(value):
    shown = params.dumped({"v": value}).decode()
    for read in (loads_yaml(shown)["v"], yaml.safe_load(shown)["v"]):
        assert isinstance(read, float), shown
        assert repr(read) == repr(value)


def test_the_file_is_written_for_people(tmp_path):
    path = tmp_path / "params.yaml"
    params.write(path, {"lr": 0.1, "layers": [64, 32], "opt": {"name": "adam", "extra": []}})
    assert path.read_text() == (
        "lr: 0.1\nlayers:\n  - 64\n  - 32\nopt:\n  name: adam\n  extra: []\n"
    )


def test_no_parameters_are_an_empty_mapping(tmp_path):
    path = tmp_path / "params.yaml"
    params.write(path, {})
    assert params.read(path) == {}
    assert params.read(tmp_path / "nothing.yaml") == {}


@pytest.mark.parametrize("text", ["a: [1", "- 1\n", "just text", "a: 1\nb"])
def test_a_file_that_is_no_table_is_said_to_be_none(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"params\.yaml"):
        params.read(path)
