"""Metrics: what is a value, what is a name, and what stands in the `.tsv`."""

from __future__ import annotations

import csv
import decimal
import io
import json
import math
import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from situations import without_address

from dvclive_dvc.errors import InvalidDataTypeError, InvalidNameError
from dvclive_dvc.layout import Layout
from dvclive_dvc.logs import metrics, summary
from dvclive_dvc.losses import Losses


class Tensor:
    """What torch's and jax's arrays look like from outside."""

    def __init__(self, *elements):
        self.elements = elements

    def item(self):
        if len(self.elements) != 1:
            msg = "a Tensor with 2 elements cannot be converted to Scalar"
            raise RuntimeError(msg)
        return self.elements[0]


class Eager:
    """What tensorflow's look like."""

    def numpy(self):
        return np.float32(0.5)


@pytest.mark.parametrize(
    ("value", "kept", "cell"),
    [
        (1, 1, "1"),
        (0.1, 0.1, "0.1"),
        (1e-20, 1e-20, "1e-20"),
        (True, True, "True"),
        ("text", "text", "text"),
        (math.nan, "nan", "nan"),
        (math.inf, "inf", "inf"),
        (-math.inf, "-inf", "-inf"),
        (np.float32(0.1), 0.10000000149011612, "0.1"),
        (np.float16("nan"), "nan", "nan"),
        (np.float64("-inf"), "-inf", "-inf"),
        (np.longdouble("0.5"), 0.5, "0.5"),
        (np.bool_(1), True, "True"),
        (np.str_("a"), "a", "a"),
        (np.array(2.5), 2.5, "2.5"),
        (np.array([7]), 7, "7"),
        (decimal.Decimal("0.25"), 0.25, "0.25"),
        (decimal.Decimal("NaN"), "nan", "nan"),
        (decimal.Decimal("sNaN"), "nan", "nan"),
        (Tensor(0.5), 0.5, "0.5"),
        (Tensor(3), 3, "3"),
        (Tensor(math.inf), "inf", "inf"),
        (Eager(), 0.5, "0.5"),
        ("two\tcells\nand lines\r\u2028", "two\tcells\nand lines\r\u2028", "two cells and lines  "),
        ('"quoted', '"quoted', '"""quoted"'),
        ("lone \ud800", "lone \\ud800", "lone \\ud800"),
    ],
    ids=without_address,
)
def test_a_value_is_kept_for_the_summary_and_shown_in_a_cell(value, kept, cell):
    found, shown = metrics.to_scalar("m", value)
    assert (found, shown) == (kept, cell)
    assert type(found) is type(kept), "NumPy's types do not reach the summary"


@pytest.mark.parametrize(
    "kind",
    ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "intc", "intp"],
)
def test_every_numpy_integer_is_an_integer(kind):
    assert metrics.to_scalar("m", getattr(np, kind)(5)) == (5, "5")
    assert type(metrics.to_scalar("m", getattr(np, kind)(5))[0]) is int


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "longdouble"])
def test_every_numpy_float_is_a_float(kind):
    assert metrics.to_scalar("m", getattr(np, kind)(0.5)) == (0.5, "0.5")


@pytest.mark.parametrize(
    "value",
    [
        None, [1], (1,), {"a": 1}, {1}, b"1", 1j, object(), np.array([1, 2]), np.complex64(1),
        np.datetime64("2026-01-01"), Tensor(1.0, 2.0), Tensor([1]), Tensor(), len, 10**5000, Tensor,
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_is_no_single_value_is_refused(value):
    with pytest.raises(InvalidDataTypeError) as caught:
        metrics.to_scalar("train/loss", value)
    assert str(caught.value).startswith(
        f"Data 'train/loss' has not supported type {type(value)}"
    ), "scripts look for this text"
    assert isinstance(caught.value, TypeError)


# -- names ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["loss", "train/loss", "acc.top5", "f1 (macro)", "précision", "a" * 200, "a-b_c", "..a", "%"],
)
def test_a_name_a_person_would_give_is_taken(name):
    assert metrics.Names().checked(name) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("../x", "may leave"),
        ("a/../../x", "may leave"),
        ("/abs", "is absolute"),
        ("a//b", "empty part"),
        ("a/", "empty part"),
        ("./a", "'.'"),
        ("a\tb", "control character"),
        ("a\nb", "control character"),
        ("a\0b", "control character"),
        ("a\u2028b", "control character"),
        ("\ud800", "no Unicode"),
        ("x" * 201, "longer than file systems take"),
        ("step", "keeps the run's step"),
        ("step/x", "keeps the run's step"),
    ],
)
def test_a_name_that_cannot_be_a_file_is_refused_with_the_reason(name, why):
    with pytest.raises(InvalidNameError, match=why):
        metrics.Names().checked(name)


@pytest.mark.parametrize("name", [None, 1, b"loss", ["loss"], ("a",), 1.5])
def test_a_name_that_is_no_string_is_refused(name):
    with pytest.raises(InvalidDataTypeError):
        metrics.Names().checked(name)


def test_names_that_dvc_would_show_as_one_are_refused():
    names = metrics.Names()
    names.add(names.checked("train/loss"))
    with pytest.raises(InvalidNameError, match="train/loss"):
        names.checked("train.loss")
    assert "train/loss" in names
    assert names.checked("train/acc")


def test_names_of_an_earlier_run_are_reserved():
    names = metrics.Names()
    names.reserve({"a": {"b": {"c": 1}}, "step": 3})
    assert names.checked("a/b/c") == "a/b/c"
    with pytest.raises(InvalidNameError):
        names.checked("a.b/c")


# -- rows ----------------------------------------------------------------------------------


@pytest.fixture
def layout(tmp_path):
    return Layout.at(tmp_path / "dvclive")


@pytest.fixture
def losses():
    return Losses()


@pytest.fixture
def writer(layout, losses):
    made = metrics.MetricWriter(layout, losses)
    yield made
    made.close()


def rows_of(path) -> list[dict[str, str]]:
    """The rows as DVC reads them (dvc.repo.plots)."""
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8")), delimiter="\t"))


def test_a_row_is_in_the_file_when_the_call_returns(layout, writer):
    writer.append("train/loss", 0, "0.5", timestamp=False)
    path = layout.metrics_dir / "train" / "loss.tsv"
    assert path.read_bytes() == b"step\tloss\n0\t0.5\n"
    writer.append("train/loss", 1, "0.25", timestamp=False)
    assert path.read_bytes() == b"step\tloss\n0\t0.5\n1\t0.25\n"


def test_a_timestamp_is_milliseconds_since_the_epoch(layout, writer):
    import time

    before = time.time() * 1000
    writer.append("loss", 3, "0.5", timestamp=True)
    (row,) = rows_of(layout.metrics_dir / "loss.tsv")
    assert list(row) == ["timestamp", "step", "loss"]
    assert before - 1 <= int(row["timestamp"]) <= time.time() * 1000 + 1


@pytest.mark.parametrize("first", [True, False])
def test_all_rows_of_a_file_have_the_columns_of_its_header(layout, writer, first):
    writer.append("loss", 0, "1", timestamp=first)
    writer.append("loss", 1, "2", timestamp=not first)
    lines = (layout.metrics_dir / "loss.tsv").read_text().splitlines()
    assert {line.count("\t") for line in lines} == {2 if first else 1}


@pytest.mark.parametrize("first", [True, False])
def test_a_resumed_metric_goes_on_with_its_own_columns(layout, losses, first):
    for step in (0, 1):
        writer = metrics.MetricWriter(layout, losses)
        writer.append("loss", step, str(step), timestamp=first if step == 0 else not first)
        writer.close()
    rows = rows_of(layout.metrics_dir / "loss.tsv")
    assert [row["step"] for row in rows] == ["0", "1"]
    assert [row["loss"] for row in rows] == ["0", "1"]
    assert ("timestamp" in rows[0]) is first


def test_a_metric_called_like_a_column_does_not_shadow_it(layout, writer):
    writer.append("a/step", 4, "9", timestamp=False)
    writer.append("a/timestamp", 4, "9", timestamp=True)
    assert rows_of(layout.metrics_dir / "a" / "step.tsv") == [{"step": "4", "value": "9"}]
    assert list(rows_of(layout.metrics_dir / "a" / "timestamp.tsv")[0]) == [
        "timestamp", "step", "value",
    ]  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text() | st.floats() | st.integers(), min_size=1, max_size=5))
def test_every_cell_is_one_field_to_dvc(tmp_path_factory, values):
    layout = Layout.at(tmp_path_factory.mktemp("run"))
    writer = metrics.MetricWriter(layout, Losses())
    for step, value in enumerate(values):
        writer.append("m", step, metrics.to_scalar("m", value)[1], timestamp=False)
    writer.close()
    rows = rows_of(layout.metrics_dir / "m.tsv")
    assert [row["step"] for row in rows] == [str(i) for i in range(len(values))]
    for row, value in zip(rows, values, strict=True):
        assert set(row) == {"step", "m"}
        if isinstance(value, float) and math.isfinite(value):
            assert float(row["m"]) == value


def test_a_name_that_starts_with_a_quote_is_one_column(layout, writer):
    writer.append('"q', 0, "1", timestamp=False)
    assert rows_of(layout.metrics_dir / '"q.tsv') == [{"step": "0", '"q': "1"}]


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files by /proc")
def test_thousands_of_metrics_do_not_use_up_open_files(layout, writer):
    before = open_files()
    for step in range(2):
        for i in range(1000):
            writer.append(f"group{i % 10}/m{i}", step, str(i), timestamp=False)
        assert open_files() - before < 300
    assert (layout.metrics_dir / "group7" / "m997.tsv").read_text() == (
        "step\tm997\n0\t997\n1\t997\n"
    )
    writer.close()
    assert open_files() == before


def test_a_closed_writer_opens_its_files_again(layout, writer):
    writer.append("m", 0, "0", timestamp=False)
    writer.close()
    writer.append("m", 1, "1", timestamp=False)
    assert (layout.metrics_dir / "m.tsv").read_text() == "step\tm\n0\t0\n1\t1\n"


@pytest.mark.parametrize("gone", ["replaced", "removed", "folder removed"])
def test_rows_are_kept_though_their_file_loses_its_place(layout, writer, caplog, gone):
    path = layout.metrics_dir / "val" / "m.tsv"
    writer.append("val/m", 0, "0", timestamp=False)
    writer.keep_in_place()
    shutil.rmtree(path.parent)
    if gone != "folder removed":
        path.parent.mkdir()
    if gone == "replaced":
        path.write_text("step\tm\n0\t9\n")
    writer.append("val/m", 1, "1", timestamp=False)
    writer.keep_in_place()
    assert path.exists() is (gone == "replaced"), "whoever took it away may be about to put it back"
    writer.keep_in_place(at_last=True)
    writer.append("val/m", 2, "2", timestamp=False)
    assert path.read_text() == "step\tm\n0\t0\n1\t1\n2\t2\n", "rows are lost"
    assert "it is put back with the run's rows" in caplog.text


def test_a_file_that_lost_its_place_for_good_is_put_back_before_the_end(
    layout, writer, monkeypatch
):
    path = layout.metrics_dir / "m.tsv"
    writer.append("m", 0, "0", timestamp=False)
    writer.keep_in_place()
    path.unlink()
    writer.keep_in_place()
    monkeypatch.setattr(metrics, "_SETTLED", -1.0)
    writer.keep_in_place()
    assert path.read_text() == "step\tm\n0\t0\n", "a kill would lose the rows"


def test_rows_that_another_program_took_out_of_the_file_are_told_once(
    layout, writer, caplog, monkeypatch
):
    path = layout.metrics_dir / "m.tsv"
    for step in range(3):
        writer.append("m", step, "0", timestamp=False)
    writer.keep_in_place()
    os.truncate(path, 7)
    writer.keep_in_place()
    assert caplog.messages == [], "whoever took them out may be about to put them back"
    monkeypatch.setattr(metrics, "_SETTLED", -1.0)
    for _ in range(2):
        writer.keep_in_place()
    (message,) = caplog.messages
    assert f"'{path}' was written to by another program" in message


def test_rows_of_files_closed_for_others_are_told_when_they_are_gone(
    layout, writer, caplog, monkeypatch
):
    monkeypatch.setattr(metrics, "_MAX_OPEN", 1)
    for name in ("a", "b"):
        writer.append(name, 0, "0", timestamp=False)
    (layout.metrics_dir / "a.tsv").unlink()
    for name in ("a", "b"):
        writer.append(name, 1, "1", timestamp=False)
    assert (layout.metrics_dir / "a.tsv").read_text() == "step\ta\n1\t1\n", "no row can be read"
    (message,) = caplog.messages
    assert "a.tsv' was written to by another program" in message


def test_a_file_that_cannot_be_put_back_is_not_called_put_back(layout, writer, caplog):
    path = layout.metrics_dir / "m.tsv"
    writer.append("m", 0, "0", timestamp=False)
    shutil.rmtree(path.parent)
    path.parent.write_text("in the way")
    writer.keep_in_place(at_last=True)
    (message,) = caplog.messages
    assert message.startswith("Cannot write"), message


def test_a_folder_that_was_removed_as_a_whole_stays_away(layout, writer, caplog):
    writer.append("m", 0, "0", timestamp=False)
    shutil.rmtree(layout.root)
    writer.keep_in_place(at_last=True)
    assert not layout.root.exists()
    assert caplog.messages == []


@pytest.mark.parametrize(("first", "second"), [("Loss", "loss"), ("Val/loss", "val/loss")])
def test_names_that_a_case_blind_file_system_takes_for_one_are_refused(
    layout, writer, monkeypatch, first, second
):
    # No such file system can be had in every test's machine: its answers are put in by hand.
    writer.append(first, 0, "1", timestamp=False)
    real = {"open": os.open, "lexists": os.path.lexists}

    def spelt(path):
        return str(path).replace(f"{second}.tsv", f"{first}.tsv")

    monkeypatch.setattr(os, "open", lambda path, *args: real["open"](spelt(path), *args))
    monkeypatch.setattr(os.path, "lexists", lambda path: real["lexists"](spelt(path)))
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    with pytest.raises(InvalidNameError, match="upper and lower case") as caught:
        writer.prepare(second, timestamp=False)
    assert f"'{first}.tsv'" in str(caught.value)
    writer.append(first, 1, "2", timestamp=False)
    text = (layout.metrics_dir / f"{first}.tsv").read_text()
    assert text.splitlines()[1:] == ["0\t1", "1\t2"]


# -- the summary ---------------------------------------------------------------------------


def test_the_parts_of_a_name_nest():
    table: dict = {}
    summary.put(table, "val/val_1/m1", 1)
    summary.put(table, "val/val_1/m2", 2)
    summary.put(table, "loss", 3)
    assert table == {"val": {"val_1": {"m1": 1, "m2": 2}}, "loss": 3}
    assert summary.get(table, "val/val_1/m1") == 1
    assert summary.get(table, "val/val_1/m3") is None
    assert summary.get(table, "loss/x") is None


@pytest.mark.parametrize(
    ("first", "second"), [("a", "a/b"), ("a/b", "a"), ("a/b", "a/b/c"), ("a/b/c", "a/b")]
)
def test_a_value_and_a_group_of_one_name_are_refused(first, second):
    table: dict = {}
    summary.put(table, first, 1)
    before = json.dumps(table)
    for refusing in (lambda: summary.put(table, second, 2), lambda: summary.check(table, second)):
        with pytest.raises(InvalidNameError, match="cannot stand beside") as caught:
            refusing()
        advised = re.search(r"to '(.+)' or '(.+)'", str(caught.value)).groups()
        for other in advised:
            renamed: dict = {}
            for name in (first, second):
                summary.put(renamed, other if name == min(first, second, key=len) else name, 1)
    assert json.dumps(table) == before


def test_what_a_user_puts_into_the_summary_is_made_plain(tmp_path):
    path = tmp_path / "metrics.json"
    given = {
        "nan": math.nan, "inf": np.float32("inf"), "n": np.int64(3), "l": (1, math.nan),
        "d": {2: "x", ("t",): 1}, "none": None, "path": tmp_path,
    }  # fmt: skip
    summary.write(path, given)
    read = json.loads(path.read_text(), parse_constant=lambda word: pytest.fail(f"bare {word}"))
    assert read == {
        "nan": "nan", "inf": "inf", "n": 3, "l": [1, "nan"], "d": {"2": "x", "('t',)": 1},
        "none": None, "path": str(tmp_path),
    }  # fmt: skip
    assert path.read_text().endswith("}\n")
    assert summary.read(path) == read


def test_a_summary_that_contains_itself_is_refused_and_the_file_stays(tmp_path):
    path = tmp_path / "metrics.json"
    summary.write(path, {"a": 1})
    loop: dict = {}
    loop["again"] = loop
    with pytest.raises(InvalidDataTypeError):
        summary.write(path, loop)
    assert summary.read(path) == {"a": 1}


def test_a_number_of_too_many_digits_in_the_summary_is_a_callers_mistake(tmp_path):
    path = tmp_path / "metrics.json"
    summary.write(path, {"a": 1})
    with pytest.raises(InvalidDataTypeError, match="4,300 digits"):
        summary.write(path, {"a": 10**5000})
    assert summary.read(path) == {"a": 1}, "the file is not as it was"


def test_text_in_the_summary_that_is_no_unicode_is_written_as_unicode(tmp_path):
    path = tmp_path / "metrics.json"
    summary.write(path, {"a": "\ud800", "\udfff": ["ü\udfff"]})
    found = json.loads(path.read_bytes().decode("utf-8"))
    assert found == {"a": "\\ud800", "\\udfff": ["ü\\udfff"]}


@pytest.mark.parametrize("clash", [{"a.b": 1, "a": {"b": 2}}, {"x": {"a.b": 1, "a": {"b": 2}}}])
def test_a_summary_that_dvc_would_fail_to_show_is_refused_and_the_file_stays(tmp_path, clash):
    path = tmp_path / "metrics.json"
    summary.write(path, {"a.b": 1, "a": {"c": 2}})
    before = path.read_bytes()
    with pytest.raises(InvalidNameError, match=r"shown as '(x\.)?a\.b'"):
        summary.write(path, clash)
    assert path.read_bytes() == before


def test_no_file_is_an_empty_summary(tmp_path):
    assert summary.read(tmp_path / "metrics.json") == {}
