"""Metrics' files as the report reads them: growing, long, torn, with holes."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dvclive_dvc.report.series import Series


def write(path, rows, *, header="step\tloss\n"):
    path.write_text(header + "".join(f"{x}\t{y}\n" for x, y in rows), encoding="utf-8")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "loss.tsv"


def test_a_short_series_is_kept_whole(path):
    rows = [(i, i * 0.5) for i in range(300)]
    write(path, rows)
    series = Series(path)
    series.read()
    xs, ys = series.outline(1_000)
    assert list(zip(xs, ys, strict=True)) == rows
    assert series.total == 300


def test_only_what_was_added_is_read_again(path):
    write(path, [(0, 1.0)])
    series = Series(path)
    series.read()
    with path.open("r+b") as file:  # what was read before is no longer looked at
        file.seek(len("step\tloss\n0\t"))
        file.write(b"9.0")
        file.seek(0, 2)
        file.write(b"1\t2.0\n")
    series.read()
    assert series.outline(10) == ([0.0, 1.0], [1.0, 2.0])


def test_a_torn_last_line_waits_for_its_end(path):
    path.write_text("step\tloss\n0\t1.0\n1\t2.")
    series = Series(path)
    series.read()
    assert series.total == 1
    with path.open("a") as file:
        file.write("5\n")
    series.read()
    assert series.outline(10) == ([0.0, 1.0], [1.0, 2.5])


def test_a_file_that_began_anew_is_read_anew(path):
    write(path, [(i, i) for i in range(50)])
    series = Series(path)
    series.read()
    write(path, [(0, 7.0)])
    series.read()
    assert series.outline(10) == ([0.0], [7.0])


def test_timestamps_words_and_odd_rows_are_told_apart(path):
    path.write_text("timestamp\tstep\tloss\n1700\t0\t1.5\n1701\t1\tTrue\n1702\t2\twarm up\n3\n")
    series = Series(path)
    series.read()
    xs, ys = series.outline(10)
    assert xs == [0.0, 1.0, 2.0]
    assert ys[:2] == [1.5, 1.0]
    assert math.isnan(ys[2]), "a word is a hole in a line of numbers"


numbers = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=32), st.integers(-5, 5).map(float)
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    values=st.lists(numbers, min_size=1, max_size=400), budget=st.integers(12, 80), data=st.data()
)
def test_an_outline_keeps_ends_peaks_and_holes(path, values, budget, data):
    cut = data.draw(st.integers(0, len(values)))
    write(path, enumerate(values[:cut]))
    series = Series(path)
    series.read()
    write(path, enumerate(values))
    series.read()
    xs, ys = series.outline(budget)
    drawn = list(zip(xs, ys, strict=True))

    def same(a, b):
        return a == b or (math.isnan(a) and math.isnan(b))

    assert xs == sorted(xs), "in the order of the rows"
    assert all(same(values[int(x)], y) for x, y in drawn), "each point is a row of the file"
    assert int(xs[0]) == 0 or not math.isfinite(values[0]) or same(ys[0], values[0])
    assert int(xs[-1]) == len(values) - 1, "the last row is there"
    good = [y for y in values if math.isfinite(y)]
    kept = [y for y in ys if math.isfinite(y)]
    if good:
        assert (min(kept), max(kept)) == (min(good), max(good)), "no peak is lost"
        first = next(i for i, y in enumerate(values) if math.isfinite(y))
        assert first in [int(x) for x in xs], "the first number is there"
    assert (len(good) < len(values)) == (len(kept) < len(ys)), "a hole stays one"
    assert len(xs) <= max(budget, 6 * math.ceil(budget / 5) + 6)


def test_a_long_series_costs_bounded_memory_and_is_read_once(path):
    series = Series(path)
    with path.open("w") as file:
        file.write("step\tloss\n")
        for part in range(10):
            file.writelines(f"{i}\t{i % 977}\n" for i in range(part * 10_000, (part + 1) * 10_000))
            file.flush()
            series.read()
            assert len(series._rows) <= 4_096
    begun = time.process_time()
    series.read()
    assert time.process_time() - begun < 0.01, "nothing new, nothing read"
    xs, ys = series.outline(1_000)
    assert (xs[0], xs[-1], series.total) == (0, 99_999, 100_000)
    assert (min(ys), max(ys)) == (0, 976)
    assert 300 < len(xs) <= 1_000
