"""Random sequences of calls, kills and resumes, compared with a model of what must be on disk.

The model is a few dicts. A segment of calls runs in this process, or in a fork of it that kills
itself with SIGKILL after its last call; the next segment resumes or starts anew.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from dvc.utils.serialize import load_yaml
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from dvclive_dvc import Live
from dvclive_dvc.errors import CallerError
from dvclive_dvc.null import NullBackend

METRICS = st.sampled_from(["loss", "acc", "val/loss", "val/deep/er", "f1 (macro)", "ünï"])
ONLY_SUMMARY = st.sampled_from(["best", "final/score"])
VALUES = (
    st.integers(-(10**9), 10**9)
    | st.floats(width=32)
    | st.booleans()
    | st.sampled_from(["done", "two words", math.nan, math.inf])
)
PARAMS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner),
    max_leaves=5,
)


MISTAKES = [
    (None, lambda live: live.log_metric("loss", None)),
    (None, lambda live: live.log_metric("../x", 1)),
    ("loss", lambda live: live.log_metric("loss/part", 1)),
    ("val/loss", lambda live: live.log_metric("val", 1)),
    ("val/loss", lambda live: live.log_metric("val.loss", 1)),
    (None, lambda live: live.log_param("lr", {1})),
    (None, lambda live: live.log_image("a.txt", np.zeros((2, 2)))),
    (None, lambda live: live.log_image("a.png", "nowhere.png")),
    (None, lambda live: live.log_plot("p", [{"x": 1}], "x", "y")),
    (None, lambda live: setattr(live, "step", "1")),
]


def kept(value):
    """The value as JSON holds it."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


class Model:
    """What a run must have on disk."""

    def __init__(self):
        self.step: int | None = None
        self.rows: dict[str, list[tuple[int, str]]] = {}
        self.timed: dict[str, bool] = {}
        self.summary: dict[str, object] = {}
        self.params: dict[str, object] = {}
        self.images: set[str] = set()
        self.plots: dict[str, list] = {}
        # What metrics.json says: the summary when it was written last.
        self.written: dict[str, object] = {}
        self.written_step: int | None = None

    def write_summary(self):
        self.written = dict(self.summary)


def nested(flat: dict[str, object], step: int | None) -> dict:
    table: dict = {}
    for name, value in flat.items():
        *folders, last = name.split("/")
        node = table
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = value
    if step is not None:
        table["step"] = step
    return table


class Calls(RuleBasedStateMachine):
    """Calls are collected; `end` and `kill` carry them out and compare the disk with the model."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp()) / "run"
        self.model = Model()
        self.calls: list = []
        self.resume = False

    def teardown(self):
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    # -- calls: what the run does, and what the model makes of it ---------------------------

    @rule(name=METRICS, value=VALUES, timestamp=st.booleans(), numpy=st.booleans())
    def metric(self, name, value, timestamp, numpy):
        plain = value
        if numpy and isinstance(value, float):
            value = np.float64(value)
        self.calls.append(lambda live: live.log_metric(name, value, timestamp=timestamp))
        self.model.timed.setdefault(name, timestamp)
        self.model.rows.setdefault(name, []).append((self.model.step or 0, str(plain)))
        self.model.summary[name] = kept(plain)

    @rule(name=ONLY_SUMMARY, value=VALUES)
    def metric_without_plot(self, name, value):
        self.calls.append(lambda live: live.log_metric(name, value, plot=False))
        self.model.summary[name] = kept(value)
        self.model.write_summary()

    @rule()
    def next_step(self):
        self.calls.append(lambda live: live.next_step())
        self.model.step = self.model.step or 0
        self.model.written_step = self.model.step
        self.model.write_summary()
        self.model.step += 1

    @rule(by=st.integers(1, 5))
    def move_step(self, by):
        step = (self.model.step or 0) + by
        self.calls.append(lambda live: setattr(live, "step", step))
        self.model.step = step

    @rule(name=st.sampled_from(["lr", "net", "a b", "1"]), value=PARAMS)
    def param(self, name, value):
        self.calls.append(lambda live: live.log_param(name, value))
        self.model.params[name] = value

    @rule(
        name=st.sampled_from(["a.png", "series/0.png", "series/1.png"]), shade=st.integers(0, 255)
    )
    def image(self, name, shade):
        pixels = np.full((2, 2), shade, np.uint8)
        self.calls.append(lambda live: live.log_image(name, pixels))
        self.model.images.add(name)

    @rule(name=st.sampled_from(["p", "q/r"]), ys=st.lists(st.integers(), min_size=1, max_size=3))
    def plot(self, name, ys):
        points = [{"x": i, "y": y} for i, y in enumerate(ys)]
        self.calls.append(lambda live: live.log_plot(name, points, "x", "y"))
        self.model.plots[name] = points

    @rule(mistake=st.sampled_from(MISTAKES))
    def mistake(self, mistake):
        beside, call = mistake

        def refused(live):
            with pytest.raises(CallerError):
                call(live)

        # Some are mistakes only beside what was logged before.
        if beside is None or beside in self.model.rows:
            self.calls.append(refused)

    @rule()
    def summarise(self):
        self.calls.append(lambda live: live.make_summary())
        if self.model.step is not None:
            self.model.written_step = self.model.step
        self.model.write_summary()

    # -- carrying out -----------------------------------------------------------------------

    def run(self, *, killed: bool):
        live = Live(self.folder, resume=self.resume, report=None, backend=NullBackend())
        if self.resume:
            assert live.step == (self.expected_step or 0)
            assert live.summary == self.expected_summary
        for call in self.calls:
            call(live)
        if killed:
            os.kill(os.getpid(), signal.SIGKILL)
        live.end()

    @rule()
    def end(self):
        self.run(killed=False)
        if self.model.written_step is None:
            self.model.written_step = self.model.step
        self.model.write_summary()
        self.check(described=True)
        self.go_on()

    @precondition(lambda self: self.calls)
    @rule()
    def kill(self):
        pid = os.fork()
        if pid == 0:
            try:
                self.run(killed=True)
            except BaseException:  # noqa: BLE001 - the parent is told by the code
                import traceback

                traceback.print_exc()
            finally:
                os._exit(1)
        code = os.waitpid(pid, 0)[1]
        assert os.WIFSIGNALED(code), "the segment failed before it was killed"
        note(f"killed after {len(self.calls)} calls")
        self.check(described=False)
        self.go_on()

    def go_on(self):
        """The next segment resumes; what it must find is what the model has."""
        self.calls = []
        self.resume = True
        model = self.model
        if model.written_step is not None:
            model.step = model.written_step + 1
        else:
            model.step = max((rows[-1][0] for rows in model.rows.values()), default=0)
        self.expected_step = model.step
        known = {
            name: value
            for name, value in model.summary.items()
            if name in model.rows or name in model.written
        }
        # A row logged after make_summary() in its step cannot be told from one that came before it
        # and gave way to a value of the user's in `summary`: what the file says stays.
        last = model.written_step
        for name in known.keys() & model.rows.keys() & model.written.keys():
            if last is not None and model.rows[name][-1][0] <= last:
                known[name] = model.written[name]
        model.summary = known
        self.expected_summary = nested(known, model.written_step)

    @rule()
    def start_anew(self):
        """Throws the calls of this segment away and starts without `resume`."""
        self.calls = []
        self.resume = False
        self.model = Model()

    # -- comparing --------------------------------------------------------------------------

    def check(self, *, described: bool):
        model, folder = self.model, self.folder
        found = {
            p.relative_to(folder / "plots/metrics").as_posix().removesuffix(".tsv")
            for p in (folder / "plots/metrics").rglob("*.tsv")
        }
        assert found == set(model.rows)
        for name, rows in model.rows.items():
            lines = (folder / "plots/metrics" / f"{name}.tsv").read_text().splitlines()
            columns = ["step", name.rpartition("/")[2]]
            assert lines[0].split("\t") == (["timestamp"] if model.timed[name] else []) + columns
            assert [tuple(line.split("\t")[-2:]) for line in lines[1:]] == [
                (str(step), cell) for step, cell in rows
            ]
        path = folder / "metrics.json"
        if path.exists():
            read = json.loads(path.read_text(), parse_constant=pytest.fail)
            assert read == nested(model.written, model.written_step)
        else:
            assert not model.written
            assert model.written_step is None
        path = folder / "params.yaml"
        assert path.exists() is bool(model.params)
        if model.params:
            assert load_yaml(str(path)) == model.params
            assert yaml.safe_load(path.read_text()) == model.params
        images = folder / "plots/images"
        assert {p.relative_to(images).as_posix() for p in images.rglob("*.*")} == model.images
        for name, points in model.plots.items():
            assert json.loads((folder / "plots/custom" / f"{name}.json").read_text()) == points
        assert not list(folder.rglob("*.dvclive-tmp")), "something half-written was left"
        if described:
            self.check_dvcyaml()

    def check_dvcyaml(self):
        model = self.model
        document = yaml.safe_load((self.folder / "dvc.yaml").read_text()) or {}
        expected: dict = {}
        if model.params:
            expected["params"] = ["params.yaml"]
        if model.summary or model.rows or model.written_step is not None:
            expected["metrics"] = ["metrics.json"]
        plots: list = []
        if model.rows:
            plots.append({"plots/metrics": {"x": "step"}})
        if model.images:
            plots.append("plots/images")
        look = {"template": "linear", "x": "x", "y": "y"}
        plots += [{f"plots/custom/{name}.json": look} for name in model.plots]

        def ordered(entries):
            return sorted(entries, key=str)

        assert ordered(document.pop("plots", [])) == ordered(plots)
        assert document == expected


Calls.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks of itself")
class TestCalls(Calls.TestCase):
    """Hypothesis runs the machine."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a fork of itself")
@pytest.mark.parametrize("delay", [0.0, 0.002, 0.01, 0.03, 0.06, 0.1])
def test_a_kill_at_any_moment_loses_nothing_that_was_logged(tmp_path, delay):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        live = Live(tmp_path / "run", report=None, backend=NullBackend())
        for i in range(10**6):
            live.log_metric("a", i)
            live.log_metric("b/c", i / 3, timestamp=True)
            live.log_param("p", {"i": i})
            live.log_image("i.png", np.full((2, 2), i % 256, np.uint8))
            live.next_step()
            os.write(writer, b"%d\n" % i)
        os._exit(0)
    os.close(writer)
    os.read(reader, 1)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with os.fdopen(reader, "rb") as file:
        told = file.read().split(b"\n")
    last = int(told[-2]) if len(told) > 1 and told[-2] else 0
    folder = tmp_path / "run"
    lines = (folder / "plots/metrics/a.tsv").read_text().splitlines()[1:]
    assert lines == [f"{i}\t{i}" for i in range(len(lines))]
    assert last + 1 <= len(lines) <= last + 2
    summary = json.loads((folder / "metrics.json").read_text())
    assert summary["step"] in {last, last + 1}
    assert yaml.safe_load((folder / "params.yaml").read_text())["p"]["i"] in {last, last + 1}
    with Live(folder, resume=True, report=None, backend=NullBackend()) as live:
        assert live.step == summary["step"] + 1
        assert live.summary["a"] == len(lines) - 1
        live.log_metric("a", "on")
        live.next_step()
    assert not list(folder.rglob("*.dvclive-tmp")), "what was half-written is swept"
